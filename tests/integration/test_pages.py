"""What pages ask of a large ledger: every look goes by an index, whatever the planner knows."""

import re

import pytest
from sqlalchemy import event, insert, text, update

from orchestrator import VERSION
from orchestrator.books import Books
from orchestrator.causes import Cause
from orchestrator.ledger import expansion, leases, outcomes
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import batch, quarantine, run, run_user, trouble
from orchestrator.lifecycle import BatchState, RunState, UnitState
from orchestrator.progress import Progress
from orchestrator.query import parse
from orchestrator.standing import copies
from tests.in_process import Service
from workers.unit_work import Evidence, encode, quarantine_context

PLAN = """
version: 1
name: pages
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory, name: none}}
targets: {live: {kind: memory, name: none}}
phases: [{restore: notes, to: live}, {restore: photos, to: live}]
"""
USERS = 600
WALKED = re.compile(r"Seq Scan on (unit|exception|run_user|quarantine|account)\b")
AWAY = Cause(fingerprint="abcdef", code="unavailable", sentence="away", transient=True)


def result(user):
    """Of ten users, one failed, one lost something, and the others are well."""
    if user % 10 == 0:
        return UnitResult(user=user, state=UnitState.FAILED, books=Books(), cause=AWAY)
    lost = int(user % 10 == 1)
    books = Books(copies=1, items=1, restored=1, lost=lost)
    return UnitResult(user=user, state=UnitState.SETTLED, books=books)


@pytest.fixture(params=["sqlite", "postgresql"])
def populated(request, tmp_path):
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path, ledger_url=url)
    run_id = service.submit(PLAN)
    with service.ledger.begin() as connection:
        connection.execute(
            insert(run_user),
            [
                {
                    "run": run_id,
                    "number": number,
                    "wave": 0,
                    "user_hash": service.sealer.user_hash(f"u{number}"),
                    "sealed_id": service.sealer.seal(
                        f"u{number}".encode(), f"user:{run_id}".encode()
                    ),
                    "ambiguous": False,
                }
                for number in range(USERS)
            ],
        )
        expansion.expand(connection, run_id, categories=["notes", "photos"], batch_users=100)
        connection.execute(update(batch).values(state=BatchState.READY))
        connection.execute(update(run).values(state=RunState.RUNNING))
        for ring in leases.dispatch(connection, [run_id], now=1, lease_ms=1_000, room=100):
            held = leases.claim(
                connection, ring, now=1, lease_ms=1_000, worker="w", release=VERSION
            )
            users = range(held.first, held.last + 1)
            outcomes.finish(connection, held, [result(u) for u in users], verified=(), now=2)
    yield service, run_id
    service.work.close()


def pages(progress, run_id):
    plan = progress.plan(run_id)
    yield lambda: progress.status(run_id)
    yield lambda: progress.causes(run_id)
    yield lambda: progress.user(run_id, "u17")
    yield lambda: progress.user(run_id, "#17")
    yield lambda: list(progress.losses(run_id, after=(300, 0)))
    yield lambda: list(progress.quarantine(run_id, user=17))
    yield lambda: list(progress.quarantine(run_id, after=3))
    yield lambda: progress.reasons(run_id)
    for words in ("", "state:settled", "state:failed", "cause:abcdef", "category:photos"):
        query = parse(words.split(), plan)
        yield lambda query=query: progress.units(run_id, query, after=(300, 0))


@pytest.mark.parametrize("populated", ["postgresql"], indirect=True)
def test_no_page_walks_a_table_of_units(populated):
    service, run_id = populated
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    progress = Progress(service.ledger, service.sealer)
    event.listen(service.ledger.engine, "before_cursor_execute", note)
    for page in pages(progress, run_id):
        page()
    event.remove(service.ledger.engine, "before_cursor_execute", note)
    selects = [one for one in asked if one[0].lstrip().startswith("SELECT")]
    assert len(selects) > 20
    with service.ledger.begin() as connection:
        connection.execute(text("ANALYZE"))
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        cursor = connection.connection.cursor()
        for statement, parameters in selects:
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert not WALKED.search(plan), f"{statement}\n{plan}"


@pytest.mark.parametrize("populated", ["postgresql"], indirect=True)
def test_what_no_unit_is_costs_no_walk(populated):
    service, run_id = populated
    progress = Progress(service.ledger, service.sealer)
    plan = progress.plan(run_id)
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(service.ledger.engine, "before_cursor_execute", note)
    for words in ("state:waiting", "state:held", "state:cancelled", "outcome:merged"):
        assert progress.units(run_id, parse([words], plan)) == []
    event.remove(service.ledger.engine, "before_cursor_execute", note)
    assert len(asked) > 4
    assert not [statement for statement, _ in asked if re.search(r"FROM unit\b", statement)]


def test_states_and_outcomes_are_found_where_there_are_some(populated):
    service, run_id = populated
    progress = Progress(service.ledger, service.sealer)
    plan = progress.plan(run_id)

    def found(*words):
        return len(progress.units(run_id, parse(words, plan), limit=2_000))

    assert found("state:settled") == 1_080
    assert found("state:settled", "state:failed") == 1_200
    assert found("outcome:restored") == 1_080
    assert found("outcome:lost") == 120
    assert found("outcome:lost", "outcome:merged") == 120


def test_large_copies_are_held_few_at_a_time_and_none_is_left_out(populated, monkeypatch):
    service, run_id = populated
    sizes = [10, 70, 20, 20, 200, 10]
    with service.ledger.begin() as connection:
        for user, size in enumerate(sizes):
            evidence = Evidence(
                file="a", spans=(), data=bytes(size), ident=None, detail="", repairs=()
            )
            sealed = service.sealer.seal(encode(evidence), quarantine_context(run_id, user, 0))
            row = {"run": run_id, "user": user, "phase": 0, "source": "core", "reason": "cut"}
            row |= {"sha256": "0" * 64, "length": size, "sealed": sealed}
            connection.execute(insert(quarantine), [row])
    held = []
    really = copies.opened

    def opened(connection, sealer, values):
        held.append(len(values))
        return really(connection, sealer, values)

    monkeypatch.setattr(copies, "opened", opened)
    monkeypatch.setattr(copies, "BYTES_AT_ONCE", 100)
    found = list(service.progress.quarantine(run_id))
    assert [row["length"] for row in found] == sizes
    assert held == [3, 1, 1, 1]
    (reason,) = service.progress.reasons(run_id)
    assert (reason["reason"], reason["copies"]) == ("cut", 6)


def test_losses_come_in_order_from_where_one_left_off(populated):
    service, run_id = populated
    found = [(row["number"], row["phase"]) for row in service.progress.losses(run_id)]
    assert found == [(user, phase) for user in range(1, USERS, 10) for phase in (0, 1)]
    rest = [(row["number"], row["phase"]) for row in service.progress.losses(run_id, after=(11, 0))]
    assert rest == [place for place in found if place > (11, 0)]


def test_pages_of_units_follow_each_other_without_gap_or_overlap(populated):
    service, run_id = populated
    query = parse(["state:failed"], service.progress.plan(run_id))
    found, after = [], (-1, -1)
    while page := service.progress.units(run_id, query, after=after, limit=7):
        found += [(row["number"], row["phase"]) for row in page]
        after = found[-1]
    assert found == [(user, phase) for user in range(0, USERS, 10) for phase in (0, 1)]


def test_causes_are_counted_as_units_fail_and_are_tried_again(populated):
    service, run_id = populated
    assert [(row.fingerprint, row.units) for row in service.progress.causes(run_id)] == [
        ("abcdef", USERS // 10),
        ("abcdef", USERS // 10),
    ]
    with service.ledger.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'running'"))
    assert service.retry(run_id, "category:notes") == USERS // 10
    counted = {
        (row.category, row.fingerprint, row.state, row.units)
        for row in service.progress.causes(run_id)
    }
    assert counted == {
        ("notes", "a6a123", UnitState.WAITING, USERS // 10),
        ("photos", "abcdef", UnitState.FAILED, USERS // 10),
    }
    with service.ledger.begin() as connection:
        rows = connection.execute(
            text("SELECT phase, cause, state, count(*) FROM exception GROUP BY 1, 2, 3")
        ).all()
        sums = connection.execute(
            text("SELECT phase, cause, state, sum(units) FROM trouble GROUP BY 1, 2, 3")
        ).all()
    assert sorted(map(tuple, rows)) == sorted(tuple(row) for row in sums if row[3])


def test_cancelling_forgets_the_causes_of_what_waited(populated):
    service, run_id = populated
    with service.ledger.begin() as connection:
        connection.execute(text("UPDATE run SET state = 'running'"))
    service.retry(run_id, "category:notes")
    service.runs.cancel(run_id, who="jo", reason="enough")
    assert [(row.category, row.units) for row in service.progress.causes(run_id)] == [
        ("photos", USERS // 10)
    ]
    with service.ledger.read() as connection:
        assert connection.execute(trouble.select()).first() is not None
