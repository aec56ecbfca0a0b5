"""The ledger's statements on both databases: batches, leases, leaders, settling, the audit log."""

import gc
import multiprocessing
import shutil
import time

import pytest
from sqlalchemy import delete, func, insert, select, update

from orchestrator.books import Books
from orchestrator.causes import Cause
from orchestrator.errors import LeaseLost, Refused, Unavailable
from orchestrator.ledger import audit_log, expansion, leadership, leases, outcomes
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Known, Ring, halfway
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import audit_log as audit_rows
from orchestrator.ledger.schema import (
    batch,
    cause,
    counter,
    decline,
    exception,
    run,
    run_user,
    unit,
)
from orchestrator.lifecycle import BatchState, RunState, UnitState

RUN = "r1"
LEASE = 1_000
FULL = Books(copies=3, items=2, others=1, restored=2)
CAUSE = {
    "run": RUN,
    "fingerprint": "abcdef",
    "phase": 0,
    "code": "unavailable",
    "sentence": "away",
    "transient": True,
}
FORKS = multiprocessing.get_context("fork")
TROUBLE = Cause(fingerprint="abcdef", code="unavailable", sentence="away", transient=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'ledger.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("fresh_database")
    )
    ledger = Ledger(url)
    ledger.prepare(key_check=b"12345678")
    with ledger.begin() as connection:
        connection.execute(
            insert(run).values(
                id=RUN,
                name="n",
                purpose="restore",
                state=RunState.RUNNING,
                author="a",
                plan="{}",
                plan_text="",
                plan_digest="",
                folder="/",
                code_version="",
                created_at=0,
            )
        )
        connection.execute(
            insert(run_user),
            [
                {
                    "run": RUN,
                    "number": n,
                    "wave": int(n >= 20),
                    "user_hash": bytes([n]) * 16,
                    "sealed_id": b"",
                    "ambiguous": False,
                }
                for n in range(100)
            ],
        )
        expansion.expand(connection, RUN, categories=["notes", "photos"], batch_users=50)
        connection.execute(update(batch).values(state=BatchState.READY))
    yield ledger
    ledger.close()


def dispatched(ledger, *, now=0, room=1):
    with ledger.begin() as connection:
        return leases.dispatch(connection, [RUN], now=now, lease_ms=LEASE, room=room)


def claimed(ledger, ring, *, now=0):
    with ledger.begin() as connection:
        return leases.claim(connection, ring, now=now, lease_ms=LEASE, worker="w", release="")


def held_batch(ledger):
    (ring,) = dispatched(ledger)
    return claimed(ledger, ring)


def states(ledger, table=batch):
    with ledger.read() as connection:
        return list(
            connection.execute(
                select(table.c.state).order_by(table.c[next(iter(table.primary_key.columns)).name])
            ).scalars()
        )


def test_batches_cover_every_user_once_and_never_cross_a_wave(ledger):
    with ledger.read() as connection:
        rows = connection.execute(
            select(batch.c.phase, batch.c.wave, batch.c.first, batch.c.last).order_by(batch.c.id)
        ).all()
    assert [tuple(row) for row in rows if row.phase == 0] == [
        (0, 0, 0, 19),
        (0, 1, 20, 69),
        (0, 1, 70, 99),
    ]
    assert [tuple(row)[1:] for row in rows if row.phase == 1] == [
        tuple(row)[1:] for row in rows if row.phase == 0
    ]


def test_expanding_twice_expands_once(ledger):
    with ledger.begin() as connection:
        expansion.expand(connection, RUN, categories=["notes", "photos"], batch_users=10)
        assert connection.execute(select(func.count()).select_from(unit)).scalar_one() == 200


def test_a_ring_is_answered_once(ledger):
    (ring,) = dispatched(ledger)
    assert claimed(ledger, ring) is not None
    assert claimed(ledger, ring) is None
    assert claimed(ledger, Ring(batch=ring.batch, epoch=ring.epoch + 1)) is None


def test_nobody_claims_for_a_run_that_stopped_or_that_another_release_began(ledger):
    (ring,) = dispatched(ledger)

    def claimed_while(**values):
        with ledger.begin() as connection:
            connection.execute(update(run).values(**values))
        return claimed(ledger, ring)

    assert claimed_while(state=RunState.PAUSED) is None
    assert claimed_while(state=RunState.RUNNING, code_version="1.3.0") is None
    with ledger.begin() as connection:
        held = leases.claim(connection, ring, now=0, lease_ms=LEASE, worker="w", release="1.3.9")
    assert held is not None


@pytest.mark.guarantee(6)
def test_who_claimed_what_a_crash_of_the_database_made_forgotten_writes_nothing_more(ledger):
    """Then the ring is answered once more, under the same epoch."""
    (ring,) = dispatched(ledger)
    lost = claimed(ledger, ring)
    with ledger.begin() as connection:
        connection.execute(
            update(batch).where(batch.c.id == ring.batch).values(state=BatchState.DISPATCHED)
        )
        again = leases.claim(connection, ring, now=0, lease_ms=LEASE, worker="other", release="")
        leases.still_held(connection, again)
    for change in (
        lambda c: leases.still_held(c, lost),
        lambda c: leases.heartbeat(c, lost, now=0, lease_ms=LEASE, progress=True),
        lambda c: outcomes.finish(c, lost, [settled(0)], verified=(), now=0),
    ):
        with pytest.raises(LeaseLost), ledger.begin() as connection:
            change(connection)


def test_a_claim_tells_what_there_is_to_ask_about_its_users(ledger):
    (ring,) = dispatched(ledger)
    with ledger.begin() as connection:
        connection.execute(insert(decline).values(run=RUN, user_hash=b"d" * 16, added_at=0))
        waits = {"run": RUN, "state": UnitState.WAITING, "cause": "abcdef", "since": 0}
        for user, phase in ((19, 1), (20, 0)):  # another phase, another batch
            connection.execute(insert(exception).values(user=user, phase=phase, **waits))
    assert claimed(ledger, ring).known == Known(
        declines=True, choices=False, exceptions=False, deaths=False, releases=False
    )
    (ring,) = dispatched(ledger)
    assert claimed(ledger, ring).known.exceptions


def test_no_more_is_dispatched_than_there_is_room_for(ledger):
    assert len(dispatched(ledger, room=4)) == 4
    assert len(dispatched(ledger, room=4)) == 2
    assert dispatched(ledger, room=4) == []


def test_a_lapsed_lease_is_reclaimed_and_its_holder_can_write_nothing_more(ledger):
    held = held_batch(ledger)
    with ledger.begin() as connection:
        assert leases.reclaim(connection, now=LEASE) == []
    with ledger.begin() as connection:
        leases.reclaim(connection, now=LEASE + 1)
    for act in (
        lambda c: leases.still_held(c, held),
        lambda c: leases.heartbeat(c, held, now=0, lease_ms=LEASE, progress=True),
        lambda c: outcomes.finish(c, held, [settled(0)], verified=(), now=0),
        lambda c: outcomes.checkpoint(c, held, [settled(0)], verified=(), now=0, lease_ms=LEASE),
        lambda c: outcomes.record_intents(c, held, [], now=0),
    ):
        with pytest.raises(LeaseLost), ledger.begin() as connection:
            act(connection)
    assert UnitState.SETTLED not in states(ledger, unit)


def test_a_message_that_was_lost_is_no_crash_and_two_crashes_are_told(ledger):
    dispatched(ledger)
    with ledger.begin() as connection:
        assert leases.reclaim(connection, now=LEASE + 1) == []
    found = []
    for _ in range(2):
        held = held_batch(ledger)
        with ledger.begin() as connection:
            found += leases.reclaim(connection, now=LEASE + 1)
    assert found == [held.id]


def test_progress_forgives_an_earlier_crash(ledger):
    held_batch(ledger)
    with ledger.begin() as connection:
        leases.reclaim(connection, now=LEASE + 1)
    held = held_batch(ledger)
    with ledger.begin() as connection:
        leases.heartbeat(connection, held, now=0, lease_ms=LEASE, progress=True)
    with ledger.begin() as connection:
        assert leases.reclaim(connection, now=LEASE + 1) == []


def test_a_split_batch_covers_the_same_users(ledger):
    (ring,) = dispatched(ledger)
    with ledger.begin() as connection:
        assert leases.split(connection, ring.batch)
    with ledger.read() as connection:
        rows = connection.execute(
            select(batch.c.first, batch.c.last).where(
                batch.c.phase == 0, batch.c.wave == 0, batch.c.state == BatchState.READY
            )
        ).all()
    assert sorted(tuple(row) for row in rows) == [(0, 15), (16, 19)]


def test_halving_ends_at_single_users():
    parts = [(0, 99)]
    while any(first < last for first, last in parts):
        parts = [
            part
            for first, last in parts
            for part in (
                [(first, last)]
                if first == last
                else [(first, halfway(first, last) - 1), (halfway(first, last), last)]
            )
        ]
    assert parts == [(n, n) for n in range(100)]


def settled(user, books=FULL):
    return UnitResult(user=user, state=UnitState.SETTLED, books=books)


def test_settling_moves_unit_counter_and_exception_together(ledger):
    held = held_batch(ledger)
    failed = UnitResult(user=1, state=UnitState.FAILED, books=Books(), cause=TROUBLE)
    with ledger.begin() as connection:
        outcomes.finish(connection, held, [settled(0), failed], verified=(), now=5)
    with ledger.read() as connection:
        sums = connection.execute(
            select(counter.c.settled, counter.c.failed, counter.c.restored)
        ).one()
        assert tuple(sums) == (1, 1, 2)
        assert connection.execute(select(exception.c.user, exception.c.cause)).one() == (
            1,
            TROUBLE.fingerprint,
        )
        row = (
            connection.execute(select(unit).where(unit.c.user == 0, unit.c.phase == 0))
            .mappings()
            .one()
        )
    assert (row["state"], row["attempts"], row["restored"]) == (UnitState.SETTLED, 1, 2)


@pytest.mark.parametrize("users", [range(20), range(1, 20, 2)])
def test_units_of_nothing_are_settled_as_one(ledger, users):
    """Also those that were tried before, whose books are taken back, and beside others."""
    held = held_batch(ledger)
    with ledger.begin() as connection:
        later = UnitResult(
            user=3, state=UnitState.WAITING, books=Books(lost=4), cause=TROUBLE, not_before=9
        )
        outcomes.finish(connection, held, [later], verified=(), now=5, state=BatchState.READY)
    (ring,) = dispatched(ledger)
    held = claimed(ledger, ring)
    others = [settled(0)] if 0 not in users else []
    with ledger.begin() as connection:
        outcomes.finish(connection, held, others, verified=(), now=6, nothing=[*users])
    with ledger.read() as connection:
        rows = connection.execute(
            select(unit.c.user, unit.c.state, unit.c.attempts, unit.c.lost, unit.c.settled_at)
            .where(unit.c.phase == 0, unit.c.user.in_(users))
            .order_by(unit.c.user)
        )
        assert [tuple(row) for row in rows] == [
            (user, UnitState.SETTLED, 2 if user == 3 else 1, 0, 6) for user in users
        ]
        sums = connection.execute(select(counter.c.settled, counter.c.lost, counter.c.restored))
        assert tuple(sums.one()) == (len(users) + len(others), 0, 2 * len(others))
        assert connection.execute(select(exception.c.user)).all() == []


def test_settling_again_moves_counters_by_the_difference(ledger):
    held = held_batch(ledger)
    with ledger.begin() as connection:
        outcomes.checkpoint(connection, held, [settled(0)], verified=(), now=5, lease_ms=LEASE)
        outcomes.finish(
            connection,
            held,
            [settled(0, Books(copies=1, items=1, present=1))],
            verified=(),
            now=6,
        )
    with ledger.read() as connection:
        row = connection.execute(
            select(counter.c.settled, counter.c.copies, counter.c.restored, counter.c.present)
        ).one()
    assert tuple(row) == (1, 1, 0, 1)


@pytest.mark.guarantee(2)
def test_a_unit_whose_books_do_not_balance_is_not_settled(ledger):
    held = held_batch(ledger)
    with ledger.begin() as connection:
        outcomes.finish(
            connection,
            held,
            [settled(0, Books(copies=3, items=2, restored=2))],
            verified=(),
            now=5,
        )
    with ledger.read() as connection:
        state = connection.execute(
            select(unit.c.state).where(unit.c.user == 0, unit.c.phase == 0)
        ).scalar_one()
        why = connection.execute(select(exception.c.cause)).scalar_one()
    assert (state, why) == (UnitState.FAILED, outcomes.UNBALANCED.fingerprint)


def test_one_conductor_leads_until_its_lease_lapses(ledger):
    def lead(name, term, now):
        with ledger.begin() as connection:
            return leadership.lead(connection, name=name, term=term, now=now, lease_ms=LEASE)

    first = lead("one", None, 1)
    assert first == 1
    assert lead("two", None, 500) is None
    assert lead("one", first, 900) == first
    assert lead("two", None, 1_500) is None
    second = lead("two", None, 1_901)
    assert second == 2
    assert lead("one", first, 1_902) is None
    with ledger.begin() as connection:
        leadership.resign(connection, name="two")
    assert lead("one", None, 1_903) == 3


@pytest.mark.guarantee(14)
def test_the_audit_log_shows_edits_removals_and_reorders(ledger):
    with ledger.begin() as connection:
        for number in range(5):
            audit_log.append(
                connection, now=number, who="mia", action="a", run=RUN, detail={"n": number}
            )
    with ledger.read() as connection:
        assert audit_log.broken_links(connection) == []
    for damage in (
        update(audit_rows).where(audit_rows.c.id == 2).values(who="jo"),
        delete(audit_rows).where(audit_rows.c.id == 3),
        update(audit_rows).where(audit_rows.c.id == 1).values(id=9),
    ):
        with ledger.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(damage)
            assert audit_log.broken_links(connection)
            transaction.rollback()


def test_another_key_or_schema_is_refused(ledger):
    ledger.prepare(key_check=b"12345678")
    with pytest.raises(Refused, match="key"):
        ledger.prepare(key_check=b"87654321")


def test_a_ledger_that_is_away_is_unavailable():
    away = Ledger("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        away.now()


def test_a_batch_that_outlived_its_run_is_not_kept_ready(ledger):
    held_batch(ledger)
    with ledger.begin() as connection:
        connection.execute(update(run).values(state=RunState.FINISHED))
        leases.reclaim(connection, now=LEASE + 1)
    assert BatchState.READY not in states(ledger)


def test_its_time_goes_on_also_where_nothing_else_is_asked(ledger):
    before = ledger.now()
    time.sleep(0.01)
    assert 0 < ledger.now() - before < 60_000


def test_a_ledger_file_put_back_from_a_backup_is_the_one_that_is_asked(tmp_path):
    path, kept = tmp_path / "ledger.db", tmp_path / "kept.db"
    ledger = Ledger(f"sqlite:///{path}")
    ledger.prepare()
    ledger.close()
    shutil.copy(path, kept)
    with ledger.begin() as connection:
        connection.execute(insert(cause), [CAUSE])
    with ledger.read() as connection:
        assert connection.execute(select(cause.c.code)).scalars().all() == ["unavailable"]
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    kept.rename(path)
    with ledger.read() as connection:
        assert connection.execute(select(cause.c.code)).scalars().all() == []


def test_a_child_that_ends_in_whatever_way_leaves_its_parents_ledger_as_it_is(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.prepare()
    for number in range(3):
        with ledger.begin() as connection:
            connection.execute(insert(cause), [{**CAUSE, "fingerprint": f"p{number}"}])
        child = FORKS.Process(target=_note, args=(ledger, f"c{number}"))
        child.start()
        child.join()
        assert child.exitcode == 0
    with ledger.begin() as connection:
        found = set(connection.execute(select(cause.c.fingerprint)).scalars())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert found == {f"{who}{number}" for who in "pc" for number in range(3)}


def _note(ledger, fingerprint):
    with ledger.begin() as connection:
        connection.execute(insert(cause), [{**CAUSE, "fingerprint": fingerprint}])
    ledger.close()
    gc.collect()
