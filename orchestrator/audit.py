"""Checks a run's books again from the raw rows: every law, every counter, and the audit log."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, exists, func, select

from orchestrator.books import FIELDS, Books, imbalances, lost
from orchestrator.findings import UNDO, VERIFY
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import cell, counter, exception, journal, run, run_user, unit
from orchestrator.lifecycle import TERMINAL_UNITS, RunState, UnitState

MOST_FINDINGS = 100


def audit(ledger: Ledger, run_id: str) -> list[str]:
    """What does not add up, as sentences that name users by number; empty when all is well."""
    found: list[str] = []
    with ledger.read() as connection:
        for finding in _findings(connection, run_id):
            found.append(finding)
            if len(found) == MOST_FINDINGS:
                found.append("there is more; mend this first")
                break
    return found


def _findings(connection: Connection, run_id: str) -> Iterator[str]:
    yield from (
        f"row {row} of the audit log does not follow from the one before"
        for row in audit_log.broken_links(connection)
    )
    known = connection.execute(
        select(run.c.purpose, run.c.about, run.c.root, run.c.state).where(run.c.id == run_id)
    ).one()
    sums: dict[int, Books] = {}
    states: dict[tuple[int, str], int] = {}
    rows = connection.execute(
        select(unit)
        .where(unit.c.run == run_id)
        .order_by(unit.c.user, unit.c.phase)
        .execution_options(yield_per=5_000)
    ).mappings()
    for row in rows:
        books = Books(**{name: row[name] for name in FIELDS})
        phase, state = row["phase"], UnitState(row["state"])
        who = f"user #{row['user']}, phase {phase + 1}"
        for broken in imbalances(books, settled=state is UnitState.SETTLED):
            yield f"{who}: {broken}"
        short = lost(expected=row["expected"], items=books.items)
        counted = state is UnitState.SETTLED and not books.declined and known.root is None
        if counted and books.lost != short:
            yield f"{who}: {books.lost} lost in the books, {short} by the census"
        sums[phase] = sums.get(phase, Books()) + books
        states[phase, state] = states.get((phase, state), 0) + 1
    yield from _counters(connection, run_id, sums, states)
    yield from _ends(connection, run_id, states, known)
    if known.about is not None:
        yield from _traces(connection, run_id, known)


def _counters(
    connection: Connection,
    run_id: str,
    sums: dict[int, Books],
    states: dict[tuple[int, str], int],
) -> Iterator[str]:
    """The counters are the sums of the rows."""
    names = ("settled", "failed", "held", "cancelled", *FIELDS)
    counted = {
        row["phase"]: row
        for row in connection.execute(
            select(counter.c.phase, *(func.sum(counter.c[name]).label(name) for name in names))
            .where(counter.c.run == run_id)
            .group_by(counter.c.phase)
        ).mappings()
    }
    for phase, books in sorted(sums.items()):
        row = counted.get(phase)
        for name in names:
            rows = (
                getattr(books, name) if name in FIELDS else states.get((phase, UnitState(name)), 0)
            )
            counts = int(row[name]) if row is not None else 0
            if rows != counts:
                yield f"phase {phase + 1}: {name} is {counts} by counters, {rows} by rows"


def _ends(
    connection: Connection, run_id: str, states: dict[tuple[int, str], int], known: Any
) -> Iterator[str]:
    """A finished run has no open unit; totals are what was fixed before the first write."""
    unfinished = sum(n for (_, unit_state), n in states.items() if unit_state not in TERMINAL_UNITS)
    if known.state == RunState.FINISHED and unfinished:
        yield f"the run is finished, but {unfinished} units are not"
    users = connection.execute(
        select(func.count()).select_from(run_user).where(run_user.c.run == run_id)
    ).scalar_one()
    for row in connection.execute(
        select(cell.c.phase, func.sum(cell.c.units).label("units"))
        .where(cell.c.run == run_id)
        .group_by(cell.c.phase)
    ):
        rows = sum(n for (phase, _), n in states.items() if phase == row.phase)
        everyone = users if known.root is None else rows
        if not rows == row.units == everyone:
            yield f"phase {row.phase + 1}: {rows} units for {users} users, {row.units} planned"
    failed = sum(n for (_, unit_state), n in states.items() if unit_state == UnitState.FAILED)
    excused = connection.execute(
        select(func.count())
        .select_from(exception)
        .where(exception.c.run == run_id, exception.c.state == UnitState.FAILED)
    ).scalar_one()
    if failed != excused:
        yield f"{failed} units failed, {excused} of them with a cause"


def _traces(connection: Connection, run_id: str, known: Any) -> Iterator[str]:
    """What an undo says that it took back is in its journal, read back; a verify has none."""
    of_unit = (journal.c.run == run_id, journal.c.user == unit.c.user)
    proven = exists().where(*of_unit, journal.c.phase == unit.c.phase, journal.c.verified)
    taken_back = (
        select(func.count())
        .select_from(unit)
        .where(unit.c.run == run_id, unit.c.restored > 0, ~proven)
    )
    untold = connection.execute(taken_back).scalar_one()
    if known.purpose == UNDO and untold:
        yield f"{untold} units say that something was undone, and no journal says so"
    written = connection.execute(
        select(func.count()).select_from(journal).where(journal.c.run == run_id)
    ).scalar_one()
    if known.purpose == VERIFY and written:
        yield f"a verify has {written} rows in the journal: it must not write"
    untraced = connection.execute(
        select(func.count())
        .select_from(unit)
        .where(
            unit.c.run == run_id,
            ~exists().where(
                journal.c.run == known.about,
                journal.c.user == unit.c.user,
                journal.c.phase == unit.c.phase,
            ),
        )
    ).scalar_one()
    if untraced:
        yield f"{untraced} units have no trace in the journal of run {known.about}"
