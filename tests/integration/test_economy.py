"""How little a batch and a tick ask of the ledger, however large the run and whatever it knows."""

import random
import re
from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert, select, text, update

from orchestrator.ledger import flow
from orchestrator.ledger.schema import batch, exception, run_user, unit
from orchestrator.lifecycle import BatchState, UnitState
from tests.in_process import Service
from workers.jobs import perform
from workers.sources import memory as source
from workers.targets import memory as target

PLAN = """
version: 1
name: economy
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory, name: economy}}
targets: {live: {kind: memory, name: economy}}
approvals: 0
phases: [{restore: notes, to: live}, {restore: tasks, to: live, scope: user}]
"""
MOST_FOR_A_BATCH = 24
"""With items: claimed, known, journalled, written, read back, finished; begins and ends too."""
MOST_FOR_NOTHING = 11
"""The same where nothing was recovered."""
UNITS = re.compile(r"(FROM|UPDATE|INTO|JOIN) (unit|exception|run_user)\b")
UNDONE = (BatchState.WAITING, BatchState.READY, BatchState.DISPATCHED, BatchState.RUNNING)


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path / "service", ledger_url=url)
    yield service
    service.work.close()
    source.put("economy", {})
    target.forget("economy")


@contextmanager
def heard(service):
    """What the ledger is asked meanwhile, each statement and each end of a transaction."""
    asked = []

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    def ended(_connection):
        asked.append("COMMIT or ROLLBACK")

    listened = (("before_cursor_execute", note), ("commit", ended), ("rollback", ended))
    for name, listener in listened:
        event.listen(service.ledger.engine, name, listener)
    yield asked
    for name, listener in listened:
        event.remove(service.ledger.engine, name, listener)


def item(number):
    return f'{{"id": "n{number}", "title": "t", "body": "b{number}"}}'.encode()


def ready(service, users, *, notes):
    """A run of so many users whose batches are ready; the rings of its first ones."""
    category = "notes" if notes else "tasks"  # the first phase is of notes
    source.put(
        "economy",
        {f"user{user}of{users}": {category: {"1.json": item(user)}} for user in range(users)},
    )
    run_id = service.submit(PLAN)
    for _ in range(20):
        service.conductor.tick()
        with service.ledger.read() as connection:
            kinds = connection.execute(
                select(batch.c.kind).where(batch.c.state == BatchState.DISPATCHED)
            ).scalars()
            if "restore" in set(kinds):
                service.work.site(run_id)  # once a process and run
                return service.rings.waiting
        service.answer()
    raise AssertionError("no batch was handed out")


@pytest.mark.parametrize("service", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("notes", "most"), [(True, MOST_FOR_A_BATCH), (False, MOST_FOR_NOTHING)])
def test_a_batch_asks_the_ledger_little_whatever_its_size(service, notes, most):
    asked = {}
    for users in (3, 60):
        ring = ready(service, users, notes=notes)[0]
        with heard(service) as statements:
            perform(service.work, ring)
        asked[users] = len(statements)
        service.go_on()
    assert asked[3] == asked[60] <= most


def test_whatever_a_batch_asks_of_units_names_their_range(service):
    """Else a planner that knows nothing of a new run reads all of its units for each batch."""
    ring = ready(service, 60, notes=True)[0]
    with heard(service) as statements:
        perform(service.work, ring)
    of_units = [statement for statement in statements if UNITS.search(statement)]
    assert len(of_units) >= 3
    for statement in of_units:
        inserts = statement.startswith("INSERT")
        assert inserts or " BETWEEN " in statement, statement


def batches(service, run_id, rows):
    """Instead of the run's batches these, given as phase, state, first and last user."""
    names = ("phase", "state", "first", "last")
    with service.ledger.begin() as connection:
        connection.execute(update(batch).values(state=BatchState.DONE))
        connection.execute(
            insert(batch),
            [
                dict(zip(names, row, strict=True)) | {"run": run_id, "wave": 0, "kind": "restore"}
                for row in rows
            ],
        )


def ranges(chance, phase, states):
    """Batches of a thousand users side by side, of any sizes and states."""
    first, found = 0, []
    while first < 1_000:
        last = min(999, first + chance.choice((0, 1, 5, 30)))
        found.append((phase, chance.choice(states), first, last))
        first = last + 1
    return found


def test_a_batch_follows_when_its_users_have_no_undone_batch_before(service):
    run_id = service.submit(PLAN)
    chance = random.Random(1)
    for _ in range(8):
        before = ranges(chance, 0, (*UNDONE, *[BatchState.DONE] * 40))
        waiting = ranges(chance, 1, (BatchState.WAITING, BatchState.DONE))
        batches(service, run_id, [*before, *waiting])
        after, released = -1, 0
        with service.ledger.begin() as connection:
            while (after >= 0) or not released:
                made, after = flow.release_following(
                    connection, run_id, (1, 0), after=after, most=7
                )
                released += made
                if after < 0:
                    break
            found = set(
                connection.execute(
                    select(batch.c.first).where(
                        batch.c.phase == 1, batch.c.state == BatchState.READY
                    )
                ).scalars()
            )
        undone = [(first, last) for _, state, first, last in before if state in UNDONE]
        free = {
            first
            for _, state, first, last in waiting
            if state is BatchState.WAITING
            and not any(low <= last and high >= first for low, high in undone)
        }
        assert found == free
        assert released == len(free)


def test_units_that_wait_for_another_phase_are_looked_through_a_few_at_a_time(service):
    run_id = service.submit(PLAN)
    users = range(300)
    with service.ledger.begin() as connection:
        people = {"run": run_id, "wave": 0, "sealed_id": b"", "ambiguous": False}
        connection.execute(
            insert(run_user), [people | {"number": n, "user_hash": bytes([n % 256])} for n in users]
        )
        states = (UnitState.SETTLED, UnitState.WAITING, UnitState.FAILED)
        connection.execute(
            insert(unit),
            [{"run": run_id, "user": n, "phase": 0, "state": states[n % 3]} for n in users],
        )
        connection.execute(
            text(
                "INSERT INTO cell (run, phase, wave, state, units) VALUES (:run, 0, 0, 'open', 300)"
            ),
            {"run": run_id},
        )
        waits = {"run": run_id, "phase": 1, "state": UnitState.WAITING, "cause": "aha17s"}
        connection.execute(
            insert(exception), [waits | {"user": n, "awaits": 0, "since": 0} for n in users]
        )
        after, looks = -1, 0
        while looks == 0 or after >= 0:
            _, after = flow.follow_up_after(connection, run_id, after=after, size=1)
            looks += 1
        taken = connection.execute(
            select(exception.c.user)
            .where(exception.c.batch.is_not(None))
            .order_by(exception.c.user)
        ).scalars()
        assert list(taken) == [n for n in users if n % 3 != 1]
    assert looks > 4


def test_a_tick_asks_the_same_however_many_batches_wait(service):
    asked = []
    for users in (2, 40):
        service.clock.advance(minutes=5)  # until nobody leads
        service.conductor = service.another_conductor(f"of {users}", batch_users=1)
        ready(service, users, notes=False)
        with heard(service) as statements:
            service.conductor.tick()
        asked.append(len(statements))
        service.go_on()
    assert asked[1] <= asked[0]
