"""The work of a batch that verifies: compare what a run left with what is there now.

Writes nothing to the target. A unit's findings are its books; what is not as it was left is in its
account, place by place.
"""

from collections import Counter

from orchestrator.books import Note
from orchestrator.findings import Drift, Undone, books_of, note_of, outcome_of
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.lifecycle import BatchState, UnitState
from workers.account import Line
from workers.tenure import Stopped, Tenure
from workers.traces import Verdict, judge
from workers.trailing import Round, Spot, There, Trailed, put_off


class Verification:
    """Works off one batch; made for one and thrown away."""

    def __init__(self, going: Round) -> None:
        self._going = going
        self._tenure = Tenure(going.work, going.held, going.ring)
        self._found: dict[int, Counter[Drift | Undone]] = {
            unit.work.user: _out_of_sight(unit) for unit in going.units
        }
        self._over = Counter[int]()

    def carry_out(self) -> None:
        """Look at every place of the batch and give it back. Raises `LeaseLost`."""
        try:
            with put_off(self._going, self._tenure):
                self._settle_untouched()
                for spots in self._going.spots():
                    for spot, there in zip(spots, self._going.look(spots), strict=True):
                        self._note(spot, there)
                    self._tenure.beat()
        except Stopped as stopped:
            self._tenure.finish(state=stopped.leaves)
            return
        self._tenure.finish(state=BatchState.DONE)

    def _settle_untouched(self) -> None:
        for unit in self._going.units:
            if not unit.pending:
                self._settle(unit)

    def _note(self, spot: Spot, there: There) -> None:
        verdict = judge(spot.trail.steps, there.image, tombstone=there.tombstone)
        unit = spot.unit
        self._found[unit.work.user][verdict.drift] += 1
        if verdict.drift is Drift.AS_LEFT:
            self._over[unit.work.user] += verdict.undo is Undone.PUT_BACK
        else:
            unit.work.lines.append(_line(spot, verdict))
        unit.pending -= 1
        if not unit.pending:
            self._settle(unit)

    def _settle(self, unit: Trailed) -> None:
        user = unit.work.user
        self._tenure.results.append(
            UnitResult(
                user=user,
                state=UnitState.SETTLED,
                books=books_of(self._found.pop(user), over=self._over[user]),
                account=unit.work.account(),
            )
        )


def _line(spot: Spot, verdict: Verdict) -> Line:
    note: Note | None = note_of(verdict.drift, over=False)
    return Line(
        ident=spot.trail.last.ident,
        outcome=outcome_of(verdict.drift),
        note=note or "",
        reason=verdict.drift,
    )


def _out_of_sight(unit: Trailed) -> Counter[Drift | Undone]:
    """Places whose collection is not there any more, and rows whose keys were erased."""
    found = Counter[Drift | Undone]()
    if lost := len(unit.elsewhere) + unit.unreadable:
        found[Drift.GONE] = lost
    return found
