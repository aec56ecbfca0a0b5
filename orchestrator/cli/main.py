"""`reinstate`: every command, and what happens when one of them fails."""

import os
import sys

from cyclopts import App

import orchestrator
from orchestrator.cli import plans, steering, system, views
from orchestrator.cli.exits import Exit
from orchestrator.cli.quarantine import quarantine
from orchestrator.errors import (
    LeaseLost,
    NotFound,
    PlanInvalid,
    Refused,
    ReinstateError,
    Unavailable,
)

app = App(
    name="reinstate",
    help="Puts users' data back after a service lost it, and proves what it did.",
    version=orchestrator.VERSION,
    result_action="return_value",
)
for command in (
    system.demo,
    system.up,
    plans.check,
    plans.preview,
    plans.submit,
    steering.approve,
    steering.pause,
    steering.resume,
    steering.cancel,
    steering.promote,
    steering.decline,
    views.runs,
    views.status,
    views.watch,
    views.users,
    views.user,
    views.failures,
    steering.retry,
    quarantine,
    views.losses,
    views.report,
    views.audit,
    system.doctor,
    system.version,
):
    app.command(command)


def main() -> None:
    """Run one command; the exit status says how it went (docs/cli.md)."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        status = _run(arguments, debug=len(arguments) != len(sys.argv) - 1)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Exit.DONE
    sys.exit(status)


def _run(arguments: list[str], *, debug: bool) -> int:
    from orchestrator.cli.output import notices
    from orchestrator.cli.problems import show_error

    try:
        found = app(arguments, error_console=notices(), exit_on_error=True, print_error=True)
    except KeyboardInterrupt:
        notices().print("stopped watching; a submitted run goes on where an engine runs")
        return Exit.INTERRUPTED
    except ReinstateError as error:
        if debug:
            raise
        show_error(error)
        return _status(error)
    return found if isinstance(found, int) else Exit.DONE


def _status(error: ReinstateError) -> Exit:
    match error:
        case PlanInvalid() | NotFound():
            return Exit.USAGE
        case Unavailable():
            return Exit.UNREACHABLE
        case Refused() | LeaseLost():
            return Exit.REFUSED
        case _:
            return Exit.UNEXPECTED


if __name__ == "__main__":
    main()
