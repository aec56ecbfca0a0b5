"""Plan, books and clock in; which cells open, hold or settle out. Pure.

The cell of phase p in wave w opens when the gates of (p, w-1) and of (p-1, w) hold. With
`scope: user` the second condition becomes: (p-1, w) is open, since each user's own unit decides.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from orchestrator.lifecycle import CellState
from orchestrator.plan import Gate, Phase, Plan, Scope

Cell = tuple[int, int]
"""Phase and wave, both counted from 0."""


SOAKS = "soaks until "
"""How the reason of a gate begins that opens by itself, in time."""


class Facts(Struct, frozen=True, kw_only=True):
    """What the ledger knows of one cell."""

    state: CellState
    units: int
    settled: int = 0
    failed: int = 0
    cancelled: int = 0
    promoted: int = 0
    """By how many people."""
    quiet_since: datetime | None = None
    """When something last happened in it."""

    @property
    def ended(self) -> int:
        """Units that are terminal."""
        return self.settled + self.failed + self.cancelled


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether a gate holds, and what it waits for where not."""

    holds: bool
    why: str = ""


class Move(Struct, frozen=True, kw_only=True):
    """One change of a cell's state."""

    cell: Cell
    state: CellState
    why: str = ""


def judge(gate: Gate, facts: Facts, now: datetime) -> Verdict:
    """Does the gate of a cell hold?

    A promotion by as many people as the gate asks (at least one) overrules its thresholds, never
    its unfinished units: without `settled` a gate waits for every unit to end.
    """
    if facts.units == 0:
        return Verdict(holds=True)
    share_settled = facts.settled / facts.units
    if gate.settled is None or share_settled < gate.settled:
        waiting = facts.units - facts.ended
        if waiting:
            return Verdict(holds=False, why=f"{waiting} of {facts.units} units to go")
    if facts.promoted >= max(gate.approve, 1):
        return Verdict(holds=True)
    share_failed = facts.failed / facts.units
    if share_failed > gate.failed:
        return Verdict(
            holds=False,
            why=f"{share_failed:.2%} of its units failed, the gate allows {gate.failed:.2%}",
        )
    if gate.settled is not None and share_settled < gate.settled:
        return Verdict(
            holds=False,
            why=f"{share_settled:.2%} of its units settled, the gate asks {gate.settled:.2%}",
        )
    if facts.promoted < gate.approve:
        return Verdict(
            holds=False, why=f"waits to be promoted by {gate.approve}, so far {facts.promoted}"
        )
    soaked = (facts.quiet_since or now) + gate.soak
    if gate.soak and now < soaked:
        return Verdict(holds=False, why=f"{SOAKS}{soaked:%Y-%m-%d %H:%M} UTC")
    return Verdict(holds=True)


def moves(phases: Sequence[Phase], cells: Mapping[Cell, Facts], now: datetime) -> list[Move]:
    """Every change of state that is due now, in the order of phases and waves."""
    verdicts = {cell: judge(phases[cell[0]].gate, facts, now) for cell, facts in cells.items()}
    found: list[Move] = []
    for cell, facts in sorted(cells.items()):
        verdict = verdicts[cell]
        over = facts.ended == facts.units
        match facts.state:
            case CellState.CLOSED:
                if _may_open(phases, cells, verdicts, cell):
                    found.append(Move(cell=cell, state=CellState.OPEN))
            case CellState.OPEN if over and verdict.holds:
                found.append(Move(cell=cell, state=CellState.SETTLED))
            case CellState.OPEN if over:
                found.append(Move(cell=cell, state=CellState.HELD, why=verdict.why))
            case CellState.HELD if over and verdict.holds:
                found.append(Move(cell=cell, state=CellState.SETTLED))
            case CellState.HELD | CellState.SETTLED if not over:
                found.append(Move(cell=cell, state=CellState.OPEN))
            case _:
                pass
    return found


def without_gates(cells: Mapping[Cell, Facts]) -> list[Move]:
    """The same for a run that only looks, or takes back: everything is open at once."""
    found: list[Move] = []
    for cell, facts in sorted(cells.items()):
        over = facts.ended == facts.units
        match facts.state:
            case CellState.OPEN if over:
                found.append(Move(cell=cell, state=CellState.SETTLED))
            case CellState.CLOSED:
                found.append(Move(cell=cell, state=CellState.OPEN))
            case CellState.HELD | CellState.SETTLED if not over:
                found.append(Move(cell=cell, state=CellState.OPEN))
            case _:
                pass
    return found


def approvals_needed(purpose: str, plan: Plan) -> int:
    """How many people have to approve a run: of those that write, as many as the plan says."""
    return 0 if purpose in {"preview", "verify"} else plan.approvals


def _may_open(
    phases: Sequence[Phase],
    cells: Mapping[Cell, Facts],
    verdicts: Mapping[Cell, Verdict],
    cell: Cell,
) -> bool:
    phase, wave = cell
    if (phase, wave - 1) in cells and not verdicts[phase, wave - 1].holds:
        return False
    if phase == 0:
        return True
    if phases[phase].scope is Scope.USER:
        return cells[phase - 1, wave].state is not CellState.CLOSED
    return verdicts[phase - 1, wave].holds
