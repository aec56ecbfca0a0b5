"""Waits for a run: approves when asked to, keeps the engine alive, and says how it went."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.exits import Exit, exit_of
from orchestrator.cli.live import follow, picture
from orchestrator.cli.output import console, notices
from orchestrator.lifecycle import RunState
from orchestrator.progress import Status

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.embedded.one_machine import Engine


class Ended(Status, frozen=True, kw_only=True):
    """The last status of a run that was waited for."""

    exit: Exit


def wait_for(
    asked: "Session",
    run_id: str,
    engine: "Engine | None",
    *,
    approve: Sequence[str] = (),
    to_the_end: bool = True,
) -> Ended:
    """Follow a run until it ends or only a person can make it go on.

    `approve`: names to approve with, as soon as it can be. Without `to_the_end`, only until then.
    """
    waiting = list(approve)

    def look() -> Status:
        if engine is not None:
            engine.revive()
        status = asked.progress.status(run_id)
        if status.run.state is RunState.AWAITING_APPROVAL:
            for who in waiting:
                asked.runs.approve(run_id, who=who, reason="given with submit")
            if waiting:
                waiting.clear()
                status = asked.progress.status(run_id)
        return status

    def enough(status: Status) -> bool:
        if status.run.state is RunState.AWAITING_APPROVAL:
            return len(status.approvals) < status.approvals_needed
        return not to_the_end and status.run.state is RunState.RUNNING

    status = follow(look, until=enough)
    explain(status)
    return Ended(
        **{name: getattr(status, name) for name in status.__struct_fields__}, exit=exit_of(status)
    )


def explain(status: Status) -> None:
    """The last picture, where a log was shown so far, and what to do next."""
    if not console().is_terminal:
        notices().print(picture(status))
    run_id = status.run.id
    match exit_of(status):
        case Exit.SOME_FAILED:
            hint = f"reinstate failures {run_id}, then reinstate retry {run_id}"
        case Exit.LOSSES:
            hint = (
                f"reinstate losses {run_id}; when nothing more can be done: "
                f"reinstate losses {run_id} --accept --reason …"
            )
        case Exit.HELD:
            hint = f"reinstate failures {run_id}; then reinstate promote or resume {run_id}"
        case Exit.REFUSED if status.run.state is RunState.AWAITING_APPROVAL:
            hint = f"somebody else approves it: reinstate approve {run_id} --as NAME"
        case Exit.REFUSED if status.run.why:
            hint = status.run.why
        case _:
            return
    notices().print(f"hint: {hint}", markup=False)
