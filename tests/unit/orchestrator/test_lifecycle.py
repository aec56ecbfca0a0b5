import pytest

from orchestrator.errors import Refused
from orchestrator.lifecycle import (
    MOVES,
    TERMINAL_RUNS,
    BatchState,
    CellState,
    RunState,
    UnitState,
    moved,
)

EVERY_STATE = [state for kind in MOVES for state in kind]


def test_every_state_has_its_moves_in_the_one_table():
    for kind in (RunState, CellState, BatchState, UnitState):
        assert set(MOVES[kind]) == set(kind)
        assert all(isinstance(old, kind) for old in MOVES[kind])


def test_moves_stay_within_one_kind_of_state():
    for kind, table in MOVES.items():
        for targets in table.values():
            assert all(type(new) is kind for new in targets)


@pytest.mark.parametrize("kind", list(MOVES), ids=lambda kind: kind.__name__)
def test_a_move_that_is_not_in_the_table_is_refused(kind):
    for old in kind:
        for new in kind:
            if new in MOVES[kind][old]:
                assert moved(old, new) is new
            else:
                with pytest.raises(Refused):
                    moved(old, new)


@pytest.mark.parametrize("kind", list(MOVES), ids=lambda kind: kind.__name__)
def test_every_state_can_be_reached_from_the_first(kind):
    first = next(iter(kind))
    seen, frontier = {first}, [first]
    while frontier:
        for new in MOVES[kind][frontier.pop()]:
            if new not in seen:
                seen.add(new)
                frontier.append(new)
    assert seen == set(kind)


def test_only_retry_leaves_a_terminal_run():
    leaving = {run: MOVES[RunState][run] for run in TERMINAL_RUNS if MOVES[RunState][run]}
    assert leaving == {RunState.FINISHED: {RunState.RUNNING}}
