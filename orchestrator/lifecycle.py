"""States of runs, cells, batches and units, and the only moves between them.

A cell is one phase in one wave. Everything that changes a state asks `moved` first, or names the
old state in its UPDATE; a move that is not in `MOVES` does not exist.
"""

from enum import StrEnum

from orchestrator.errors import Refused


class RunState(StrEnum):
    """What a run is doing."""

    SUBMITTED = "submitted"
    INSPECTING = "inspecting"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class CellState(StrEnum):
    """Whether a phase is open for a wave."""

    CLOSED = "closed"
    OPEN = "open"
    HELD = "held"
    SETTLED = "settled"


class BatchState(StrEnum):
    """Where a batch is between ledger, broker and worker."""

    WAITING = "waiting"
    READY = "ready"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    DONE = "done"
    SPLIT = "split"
    CANCELLED = "cancelled"


class UnitState(StrEnum):
    """Whether a unit has ended, and how."""

    WAITING = "waiting"
    SETTLED = "settled"
    FAILED = "failed"
    HELD = "held"
    CANCELLED = "cancelled"


State = RunState | CellState | BatchState | UnitState

_run, _cell, _batch, _unit = RunState, CellState, BatchState, UnitState

# One table a kind of state: states are strings, and "running" of a run equals that of a batch.
MOVES: dict[type[State], dict[State, frozenset[State]]] = {
    RunState: {
        _run.SUBMITTED: frozenset({_run.INSPECTING, _run.CANCELLED}),
        _run.INSPECTING: frozenset({_run.AWAITING_APPROVAL, _run.REFUSED, _run.CANCELLED}),
        _run.AWAITING_APPROVAL: frozenset({_run.RUNNING, _run.REFUSED, _run.CANCELLED}),
        _run.RUNNING: frozenset({_run.PAUSED, _run.FINISHED, _run.CANCELLED}),
        _run.PAUSED: frozenset({_run.RUNNING, _run.CANCELLED}),
        _run.FINISHED: frozenset({_run.RUNNING}),  # retry
        _run.REFUSED: frozenset(),
        _run.CANCELLED: frozenset(),
    },
    CellState: {
        _cell.CLOSED: frozenset({_cell.OPEN}),
        _cell.OPEN: frozenset({_cell.HELD, _cell.SETTLED}),
        _cell.HELD: frozenset({_cell.OPEN, _cell.SETTLED}),
        _cell.SETTLED: frozenset({_cell.OPEN}),  # retry
    },
    BatchState: {
        _batch.WAITING: frozenset({_batch.READY, _batch.SPLIT, _batch.CANCELLED}),
        _batch.READY: frozenset({_batch.DISPATCHED, _batch.SPLIT, _batch.CANCELLED}),
        _batch.DISPATCHED: frozenset({_batch.RUNNING, _batch.READY, _batch.CANCELLED}),
        _batch.RUNNING: frozenset({_batch.DONE, _batch.READY, _batch.CANCELLED}),
        _batch.DONE: frozenset(),
        _batch.SPLIT: frozenset(),
        _batch.CANCELLED: frozenset(),
    },
    UnitState: {
        _unit.WAITING: frozenset({_unit.SETTLED, _unit.FAILED, _unit.HELD, _unit.CANCELLED}),
        _unit.HELD: frozenset({_unit.WAITING, _unit.CANCELLED}),
        _unit.FAILED: frozenset({_unit.WAITING, _unit.CANCELLED}),  # retry
        _unit.SETTLED: frozenset({_unit.WAITING}),  # retry, after its quarantine was released
        _unit.CANCELLED: frozenset(),
    },
}

TERMINAL_RUNS = frozenset({_run.FINISHED, _run.REFUSED, _run.CANCELLED})
TERMINAL_UNITS = frozenset({_unit.SETTLED, _unit.FAILED, _unit.CANCELLED})


def moved(old: State, new: State) -> State:
    """`new`, where the move exists; raises `Refused` where it does not."""
    if new not in MOVES[type(old)][old]:
        raise Refused(
            f"a {type(old).__name__.removesuffix('State').lower()} cannot go from {old} to {new}"
        )
    return new
