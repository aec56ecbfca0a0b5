from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.admission import Facts, Move, judge, moves
from orchestrator.lifecycle import MOVES, CellState
from orchestrator.plan import Gate, Phase, Scope

NOW = datetime(2009, 10, 20, tzinfo=UTC)
CLOSED, OPEN, HELD, SETTLED = (
    CellState.CLOSED,
    CellState.OPEN,
    CellState.HELD,
    CellState.SETTLED,
)


def phase(name="contacts", **more):
    return Phase(restore=name, to="t", sources=("s",), **more)


def facts(state=OPEN, units=100, **more):
    return Facts(state=state, units=units, **more)


def test_the_first_cell_opens_at_once_and_no_other_with_it():
    cells = {(p, w): facts(CLOSED) for p in range(2) for w in range(2)}
    assert moves([phase(), phase("notes")], cells, NOW) == [Move(cell=(0, 0), state=OPEN)]


def test_a_finished_cell_opens_the_next_wave_and_the_next_phase():
    cells = {(p, w): facts(CLOSED) for p in range(2) for w in range(2)}
    cells[0, 0] = facts(OPEN, settled=100)
    found = moves([phase(), phase("notes")], cells, NOW)
    assert {move.cell: move.state for move in found} == {
        (0, 0): SETTLED,
        (0, 1): OPEN,
        (1, 0): OPEN,
    }


def test_a_users_own_scope_opens_with_the_phase_before():
    cells = {(0, 0): facts(OPEN, settled=10), (1, 0): facts(CLOSED)}
    assert moves([phase(), phase("notes")], cells, NOW) == []
    found = moves([phase(), phase("notes", scope=Scope.USER)], cells, NOW)
    assert found == [Move(cell=(1, 0), state=OPEN)]


def test_too_many_failures_hold_the_gate_until_somebody_promotes():
    gate = Gate(failed=0.01)
    at = facts(settled=98, failed=2)
    assert not judge(gate, at, NOW).holds
    assert judge(gate, replace(at, promoted=1), NOW).holds


def test_nobody_promotes_unfinished_units():
    assert not judge(Gate(), facts(settled=50, promoted=9), NOW).holds


def test_a_threshold_lets_the_next_wave_start_before_the_last_unit_ended():
    assert judge(Gate(settled=0.95), facts(settled=95), NOW).holds
    assert not judge(Gate(settled=0.95), facts(settled=94), NOW).holds


def test_a_gate_waits_for_as_many_people_as_it_asks():
    at = facts(settled=100)
    assert not judge(Gate(approve=2), replace(at, promoted=1), NOW).holds
    assert judge(Gate(approve=2), replace(at, promoted=2), NOW).holds


def test_a_gate_soaks():
    gate = Gate(soak=timedelta(hours=18))
    at = facts(settled=100, quiet_since=NOW - timedelta(hours=17))
    assert not judge(gate, at, NOW).holds
    assert judge(gate, at, NOW + timedelta(hours=1)).holds


def test_retry_reopens_a_cell_that_had_settled():
    cells = {(0, 0): facts(SETTLED, settled=99)}
    assert moves([phase()], cells, NOW) == [Move(cell=(0, 0), state=OPEN)]


counts = st.integers(0, 60)
gates = st.builds(
    Gate,
    settled=st.none() | st.floats(0, 1),
    failed=st.floats(0, 1),
    approve=st.integers(0, 2),
)


@pytest.mark.guarantee(4)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(CellState)), counts, counts, counts, st.integers(0, 2)),
        min_size=6,
        max_size=6,
    ),
    st.lists(gates, min_size=3, max_size=3),
    st.lists(st.sampled_from(list(Scope)), min_size=3, max_size=3),
)
def test_no_cell_opens_before_the_gates_in_front_of_it_hold(states, of_phases, scopes):
    phases = [
        phase(f"c{number}", gate=gate, scope=scope)
        for number, (gate, scope) in enumerate(zip(of_phases, scopes, strict=True))
    ]
    cells = {}
    for number, (state, settled, failed, waiting, promoted) in enumerate(states):
        cells[divmod(number, 2)] = facts(
            state, settled + failed + waiting, settled=settled, failed=failed, promoted=promoted
        )
    for move in moves(phases, cells, NOW):
        old = cells[move.cell].state
        assert move.state in MOVES[CellState][old]
        if old is not CLOSED:
            continue
        p, w = move.cell
        if w:
            assert judge(phases[p].gate, cells[p, w - 1], NOW).holds
        if p and phases[p].scope is Scope.WAVE:
            assert judge(phases[p - 1].gate, cells[p - 1, w], NOW).holds
