"""Kill everything at the Nth boundary of an undo, for every N, start again, and compare.

The boundaries are those of `test_crash_sweep`: around every transaction, and every call of the
target. While it is undone, a user changes things, too.
"""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.findings import undone
from orchestrator.lifecycle import RunState
from orchestrator.query import Query
from tests.afterwards import seen_in
from tests.faults.simulation.population import content
from tests.faults.simulation.schedule import Killed
from tests.faults.test_crash_sweep import PLAN, RECOVERED, Boundaries, Sweep, in_memory
from workers.targets import memory as target

__all__ = ["in_memory"]
EDITED = datetime(2009, 11, 1, tzinfo=UTC)


class UndoSweep(Sweep):
    """The same installation; every run is restored whole, then its undo is killed."""

    def run(self, deadly):
        service, name = self.service, f"sweep{deadly}"
        target.forget(name)
        store = target.store(name)
        old = content("notes", "bob-0", "bobxold", RECOVERED - timedelta(days=99))
        store.put("notes", "bob", "bob-0", old, at=RECOVERED - timedelta(days=99))
        before = seen_in(name)
        self.start(Boundaries(0))
        run_id = service.submit(PLAN.format(number=deadly))
        service.go_on()
        store.put("notes", "ann", "ann-1", content("notes", "ann-1", "annxown", EDITED), at=EDITED)
        boundaries = Boundaries(deadly)
        self.start(boundaries)
        care = Aftercare(service.ledger, service.sealer)
        undo = care.undo(run_id, Query(), who="mia", reason="swept")
        try:
            service.go_on()
        except Killed:
            self.start(boundaries)
            service.clock.advance(minutes=2)
            service.go_on()
        assert service.ended(undo) is RunState.FINISHED
        assert audit(service.ledger, undo) == []
        wished = before | {("notes", "ann", "ann-1"): seen_in(name)["notes", "ann", "ann-1"]}
        assert seen_in(name) == wished
        assert undone(service.status(undo).books) == {
            "places": 6,
            "removed": 4,
            "put_back": 1,
            "left": 1,
            "already": 0,
        }
        reached = boundaries.passed >= deadly
        boundaries.deadly = 0
        if not reached:
            self.check_redo(care, undo, name)
        return reached

    def check_redo(self, care, undo, name):
        redo = care.undo(undo, Query(), who="mia", reason="swept back")
        self.service.go_on()
        assert self.service.ended(redo) is RunState.FINISHED
        assert undone(self.service.status(redo).books)["left"] == 0
        assert len(seen_in(name)) == 6


@pytest.mark.guarantee(10)
@pytest.mark.parametrize(
    "first", [1, *(pytest.param(first, marks=pytest.mark.long) for first in (2, 3, 4))]
)
def test_killed_at_any_boundary_an_undo_ends_in_the_same_state(tmp_path, in_memory, first):
    sweep = UndoSweep(tmp_path, in_memory)
    last = next(deadly for deadly in count(first, 4) if not sweep.run(deadly))
    assert last > 60


@pytest.mark.long
@pytest.mark.guarantee(10)
def test_killed_at_a_boundary_an_undo_on_postgresql_ends_in_the_same_state(
    tmp_path, fresh_database
):
    sweep = UndoSweep(tmp_path, fresh_database)
    last = next(deadly for deadly in count(1, 13) if not sweep.run(deadly))
    assert last > 60
    sweep.service.ledger.close()
