"""What the conductor notices and tells: gates, a run that stalls, a promise that comes due."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, func, select

from orchestrator.admission import Cell, Facts, Move
from orchestrator.ledger.bulletins import promises
from orchestrator.ledger.flow import moment
from orchestrator.ledger.outbox import tell
from orchestrator.ledger.schema import cell, run
from orchestrator.lifecycle import CellState
from orchestrator.notices import NoticeKind
from orchestrator.plan import Plan

LOOKS_EVERY_MS = 10_000
STALLED_MS = 15 * 60 * 1000
"""So long nothing is settled although units are open; the alert rule says the same."""
DUE_SOON_MS = int(timedelta(minutes=15).total_seconds() * 1000)

_OF_CELLS: Mapping[CellState, NoticeKind] = {
    CellState.OPEN: NoticeKind.OPENED,
    CellState.HELD: NoticeKind.HELD,
    CellState.SETTLED: NoticeKind.SETTLED,
}


class NowAndThen:
    """Tells whether it is time to look at something again."""

    def __init__(self) -> None:
        self._looked: dict[str, int] = {}

    def is_due(self, what: str, now: int) -> bool:
        """Whether nobody looked for a while; counts as a look."""
        due = not 0 <= now - self._looked.get(what, 0) < LOOKS_EVERY_MS
        if due:
            self._looked[what] = now
        return due


def tell_moves(
    connection: Connection, run_id: str, plan: Plan, due: Sequence[Move], *, now: int
) -> None:
    """Keep notices of gates and waves."""
    for move in due:
        phase, wave = move.cell
        kind = _OF_CELLS.get(move.state)
        if kind is not None:
            tell(
                connection,
                run_id,
                kind,
                now=now,
                subject=f"{phase}.{wave}:{now}",
                data={
                    "phase": plan.phases[phase].restore,
                    "wave": plan.waves[wave].name,
                    "why": move.why,
                },
            )


def tell_stall(
    connection: Connection, run_id: str, facts: Mapping[Cell, Facts], *, now: int
) -> None:
    """Keep a notice, once, of a run whose open units are not settled."""
    if not any(one.state is CellState.OPEN and one.ended < one.units for one in facts.values()):
        return
    settled, opened = connection.execute(
        select(
            select(run.c.progressed_at).where(run.c.id == run_id).scalar_subquery(),
            select(func.max(cell.c.opened_at)).where(cell.c.run == run_id).scalar_subquery(),
        )
    ).one()
    since = max(settled or 0, opened or 0)
    if since and now - since > STALLED_MS:
        told = {"since": moment(since).isoformat()}
        tell(connection, run_id, NoticeKind.STALLED, now=now, subject=str(since), data=told)


def tell_promises(connection: Connection, *, now: int) -> None:
    """Keep a notice, once each, of what the public is owed soon, and since when."""
    for promise in promises(connection, now=now):
        if promise.late_ms:
            kind = NoticeKind.PROMISE_MISSED
        elif promise.due - now < DUE_SOON_MS:
            kind = NoticeKind.PROMISE_DUE
        else:
            continue
        told = {"due": moment(promise.due).isoformat()}
        tell(connection, promise.run, kind, now=now, subject=str(promise.due), data=told)
