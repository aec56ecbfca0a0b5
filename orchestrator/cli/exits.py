"""What the exit status of a command means; the same for every command."""

from enum import IntEnum
from typing import TYPE_CHECKING

from orchestrator.lifecycle import CellState, RunState

if TYPE_CHECKING:
    from orchestrator.run_standing import Status


class Exit(IntEnum):
    """Exit statuses, as documented in docs/cli.md."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    SOME_FAILED = 3
    LOSSES = 4
    HELD = 5
    UNREACHABLE = 6
    REFUSED = 7
    INTERRUPTED = 130


def exit_of(status: "Status") -> Exit:
    """How a run ended, or what it waits for."""
    match status.run.state:
        case RunState.REFUSED | RunState.CANCELLED | RunState.AWAITING_APPROVAL:
            return Exit.REFUSED
        case RunState.PAUSED:
            return Exit.HELD
        case RunState.FINISHED:
            if any(phase.failed for phase in status.phases):
                return Exit.SOME_FAILED
            if status.run.about is not None and status.books.lost:  # not as it should be
                return Exit.LOSSES
            if status.losses and status.accepted_by is None and status.run.purpose == "restore":
                return Exit.LOSSES
            return Exit.DONE
        case _:
            held = any(cell.state is CellState.HELD for cell in status.cells)
            return Exit.HELD if held else Exit.DONE
