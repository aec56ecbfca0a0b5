"""One run as a whole: what moves, what is done, how fast, and what is in the way."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from orchestrator.admission import approvals_needed
from orchestrator.books import FIELDS, Books
from orchestrator.ledger import bulletins, leadership, previews
from orchestrator.ledger.flow import moment
from orchestrator.ledger.pressure import SOURCES
from orchestrator.ledger.schema import (
    approval,
    batch,
    cause,
    cell,
    circuit,
    counter,
    speed,
    trouble,
)
from orchestrator.lifecycle import BatchState, CellState, RunState, UnitState
from orchestrator.plan import Plan
from orchestrator.run_standing import NOT_LED, NOT_WORKED, CauseRow, PhaseProgress, Status
from orchestrator.standing.rows import books_of, plan_of, row_of, run_row

_NUMBERS = ("settled", "failed", "held", "cancelled", *FIELDS)


def status(connection: Connection, run_id: str, *, now: int) -> Status:
    """The run as it stands now."""
    row = row_of(connection, run_id)
    plan = plan_of(row)
    cells = _cells(connection, run_id, plan)
    phases = [
        _summed(phase.restore, [c for c in cells if c.category == phase.restore])
        for phase in plan.phases
    ]
    books = sum((phase.books for phase in phases), Books())
    rate, left, measured = _speed(connection, run_id, phases)
    workers = _working(connection, run_id)
    inventory = json.loads(row.inventory) if row.inventory else {}
    needed = approvals_needed(row.purpose, plan)
    approvals = tuple(
        connection.execute(
            select(approval.c.name)
            .where(approval.c.run == run_id, approval.c.digest == row.digest)
            .order_by(approval.c.at)
        ).scalars()
    )
    led = is_led(connection, now) or len(approvals) < needed
    promise = next(iter(bulletins.promises(connection, now=now, runs=[run_id])), None)
    return Status(
        run=run_row(row),
        digest=row.digest,
        approvals=approvals,
        approvals_needed=needed,
        phases=tuple(phases),
        cells=tuple(cells),
        causes=tuple(causes(connection, run_id, plan)),
        books=books,
        workers=workers,
        items_per_second=rate,
        seconds_left=left,
        stalled=_stall(row, cells, workers, now, led=led),
        warnings=(
            *_broken_promise(promise),
            *inventory.get("warnings", ()),
            *_circuits(connection, run_id),
        ),
        accepted_by=row.accepted_by,
        elapsed=_elapsed(row, now),
        measured=measured,
        previewed=_previewed(connection, row),
        promised=None if promise is None else moment(promise.due),
        overdue=None if promise is None else promise.late_ms / 1000 or None,
    )


def is_led(connection: Connection, now: int) -> bool:
    """Whether a conductor looks after runs."""
    found = leadership.leader(connection)
    return found is not None and found[1] > now


def causes(connection: Connection, run_id: str, plan: Plan) -> list[CauseRow]:
    """Why units fail or wait, the commonest first."""
    units = func.sum(trouble.c.units)
    rows = connection.execute(
        select(
            trouble.c.cause,
            trouble.c.phase,
            trouble.c.state,
            units.label("units"),
            func.min(cause.c.code).label("code"),
            func.min(cause.c.sentence).label("sentence"),
        )
        .join(cause, and_(cause.c.run == trouble.c.run, cause.c.fingerprint == trouble.c.cause))
        .where(trouble.c.run == run_id)
        .group_by(trouble.c.cause, trouble.c.phase, trouble.c.state)
        .having(units > 0)
        .order_by(units.desc(), trouble.c.cause, trouble.c.phase)
    )
    return [
        CauseRow(
            fingerprint=row.cause,
            category=plan.phases[row.phase].restore,
            code=row.code,
            sentence=row.sentence,
            state=UnitState(row.state),
            transient=row.state == UnitState.WAITING,
            units=int(row.units),
        )
        for row in rows
    ]


def _cells(connection: Connection, run_id: str, plan: Plan) -> list[PhaseProgress]:
    sums = {
        (row["phase"], row["wave"]): row
        for row in connection.execute(
            select(
                counter.c.phase,
                counter.c.wave,
                *(func.sum(counter.c[name]).label(name) for name in _NUMBERS),
            )
            .where(counter.c.run == run_id)
            .group_by(counter.c.phase, counter.c.wave)
        ).mappings()
    }
    nothing = dict.fromkeys(_NUMBERS, 0)
    found: list[PhaseProgress] = []
    for row in connection.execute(
        select(cell).where(cell.c.run == run_id).order_by(cell.c.phase, cell.c.wave)
    ):
        numbers: Any = sums.get((row.phase, row.wave), nothing)
        found.append(
            PhaseProgress(
                category=plan.phases[row.phase].restore,
                wave=plan.waves[row.wave].name,
                state=CellState(row.state),
                units=row.units,
                settled=int(numbers["settled"]),
                failed=int(numbers["failed"]),
                held=int(numbers["held"]),
                cancelled=int(numbers["cancelled"]),
                books=books_of(numbers),
                why=row.why or "",
            )
        )
    return found


def _summed(category: str, cells: Sequence[PhaseProgress]) -> PhaseProgress:
    """A phase over all its waves; its state is the one that matters most."""
    states = {at.state for at in cells}
    state = CellState.CLOSED
    for candidate in (CellState.HELD, CellState.OPEN, CellState.CLOSED, CellState.SETTLED):
        if candidate in states:
            state = candidate
            break
    return PhaseProgress(
        category=category,
        wave=None,
        state=state,
        units=sum(at.units for at in cells),
        settled=sum(at.settled for at in cells),
        failed=sum(at.failed for at in cells),
        held=sum(at.held for at in cells),
        cancelled=sum(at.cancelled for at in cells),
        books=sum((at.books for at in cells), Books()),
        why="; ".join(f"{at.wave}: {at.why}" for at in cells if at.why),
    )


def _working(connection: Connection, run_id: str) -> int:
    return connection.execute(
        select(func.count())
        .select_from(batch)
        .where(batch.c.run == run_id, batch.c.state == BatchState.RUNNING)
    ).scalar_one()


def _speed(
    connection: Connection, run_id: str, phases: Sequence[PhaseProgress]
) -> tuple[float | None, tuple[float, float] | None, float | None]:
    """Items a second of late, how long the rest may take, and over how many seconds that is."""
    rows = connection.execute(
        select(speed).where(speed.c.run == run_id).order_by(speed.c.at.desc()).limit(31)
    ).all()
    if len(rows) < 2:  # noqa: PLR2004  a speed needs two points
        return None, None, None
    newest, oldest = rows[0], rows[-1]
    seconds = (newest.at - oldest.at) / 1000
    if seconds <= 0:
        return None, None, None
    rate = (newest.items - oldest.items) / seconds
    units_left = sum(phase.waiting for phase in phases)
    paces = [
        (later.units - earlier.units) / (later.at - earlier.at) * 1000
        for later, earlier in pairwise(rows)
        if later.at > earlier.at
    ]
    moving = sorted(pace for pace in paces if pace > 0)
    if not moving or not units_left:
        return rate, None, seconds
    slow, fast = moving[len(moving) // 4], moving[(3 * len(moving)) // 4]
    return rate, (units_left / fast, units_left / slow), seconds


def _previewed(connection: Connection, row: Row[Any]) -> str | None:
    if row.expected_digest is None or row.purpose == "preview":
        return None
    found = previews.find(connection, row.expected_digest)
    return None if found is None else str(found.id)


def _elapsed(row: Row[Any], now: int) -> float | None:
    if row.started_at is None:
        return None
    return max(0, (row.finished_at or now) - row.started_at) / 1000


QUIET_MS = 60_000
_MOVING = frozenset(
    {RunState.SUBMITTED, RunState.INSPECTING, RunState.AWAITING_APPROVAL, RunState.RUNNING}
)


def _stall(
    row: Row[Any], cells: Sequence[PhaseProgress], workers: int, now: int, *, led: bool
) -> str:
    """Why nothing moves, for a run that should; `led`: somebody looks after it, or need not."""
    if row.state not in _MOVING:
        return ""
    if not led:
        return NOT_LED
    held = [at for at in cells if at.state is CellState.HELD]
    if held and not any(at.state is CellState.OPEN for at in cells):
        return f"waits at the gate of {held[0].category} in wave {held[0].wave}: {held[0].why}"
    quiet = now - (row.progressed_at or row.started_at or row.created_at)
    if row.state != RunState.AWAITING_APPROVAL and quiet > QUIET_MS and not workers:
        return NOT_WORKED
    return ""


def _broken_promise(promise: bulletins.Promise | None) -> Iterator[str]:
    """That the public waits for an update."""
    if promise is not None and promise.late_ms:
        yield (
            f"the public was promised an update by {moment(promise.due):%Y-%m-%d %H:%M} UTC, "
            "and nothing was said since: publish a bulletin"
        )


def _circuits(connection: Connection, run_id: str) -> Iterator[str]:
    """Targets, and sources, that are left alone for a while."""
    for row in connection.execute(
        select(circuit).where(circuit.c.run == run_id).order_by(circuit.c.target)
    ):
        when = f"at {moment(row.probe_at):%H:%M:%S} UTC" if row.state == "open" else "now"
        sources = row.target.startswith(SOURCES)
        who = f"one of {row.target}" if sources else f"'{row.target}'"
        yield f"{who} does not answer; one batch will probe it {when}"
