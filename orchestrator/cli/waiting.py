"""Waits for a run: approves when asked to, keeps an engine alive, and says how it went."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from orchestrator.cli.exits import Exit, exit_of
from orchestrator.cli.live import STARTING, follow
from orchestrator.cli.output import hint, notices, say
from orchestrator.cli.picture import picture
from orchestrator.client.asking import Client
from orchestrator.client.following import following
from orchestrator.errors import Refused
from orchestrator.findings import VERIFY, drifts, undone, would_be_undone
from orchestrator.lifecycle import CellState, RunState
from orchestrator.run_standing import NOT_LED, Status

if TYPE_CHECKING:
    from orchestrator.cli.attendance import Attendance

NO_DIGEST = "0" * 64
"""Of a run that was not inspected yet: nothing has this one."""
GRACE = 20.0
"""So many seconds an engine that was just started may need until it leads."""


class Ended(Status, frozen=True, kw_only=True):
    """The last status of a run that was waited for."""

    exit: Exit


def wait_for(
    asked: Client,
    run_id: str,
    *,
    approve: Sequence[str] = (),
    until: Callable[[Status], bool] = lambda _: False,
) -> Ended:
    """Follow a run until it ends or only a person can make it go on, with an engine if need be.

    `approve`: names to approve with, as soon as it can be. `until` ends it earlier.
    """
    from orchestrator.cli.attendance import attendance

    with attendance(asked.settings) as engine, following(asked, run_id) as looks:
        looks.moved()
        waiting = list(approve)
        look = _patient(looks.look, engine)

        def look_and_approve() -> Status:
            status = look()
            if waiting and status.run.state is RunState.AWAITING_APPROVAL:
                for who in waiting:
                    approve_as_inspected(asked.named(who), run_id, reason="given with submit")
                waiting.clear()
                looks.moved()
                status = look()
            return status

        def enough(status: Status) -> bool:
            if status.run.state is RunState.AWAITING_APPROVAL:
                return len(status.approvals) < status.approvals_needed
            return until(status)

        try:
            status = follow(look_and_approve, until=enough, out=notices(), sure=lambda: looks.sure)
        except KeyboardInterrupt:
            _say_interrupted(run_id, ours=engine.ours)
            raise
    explain(status, remote=asked.remote)
    return Ended(
        **{name: getattr(status, name) for name in status.__struct_fields__}, exit=exit_of(status)
    )


def approve_as_inspected(
    asked: Client, run_id: str, *, reason: str, digest: str | None = None
) -> Status:
    """Approve what stands there at this moment, or only `digest`. Raises `Refused`."""

    def given(status: Status) -> dict[str, str]:
        if digest is not None and digest != status.digest:
            raise Refused(
                "this is not what was inspected",
                hint=f"look at it again: reinstate status {run_id}",
            )
        return {"digest": status.digest or NO_DIGEST, "reason": reason}

    return asked.change(run_id, "approve", Status, given)


def _patient(look: Callable[[], Status], engine: "Attendance") -> Callable[[], Status]:
    """Looks that keep the engine alive, and do not call it missing while it starts."""
    patience = time.monotonic() + GRACE

    def patient() -> Status:
        engine.tend()
        status = look()
        if status.stalled == NOT_LED and engine.ours and time.monotonic() < patience:
            return structs.replace(status, stalled=STARTING)
        return status

    return patient


def _say_interrupted(run_id: str, *, ours: bool) -> None:
    if ours:
        say(
            f"stopping: the engine was started for this command, so run {run_id} stops with it; "
            "what is restored stays restored, and nothing is done twice"
        )
        hint(f"it goes on with `reinstate up`, or with any --wait; look: reinstate watch {run_id}")
    else:
        say(f"stopped watching; run {run_id} goes on")
        hint(f"come back: reinstate watch {run_id}")


def stop_watching(run_id: str, *, stalled: str) -> None:
    """Say, after ctrl-c, what goes on and how to come back."""
    if stalled == NOT_LED:
        say(f"stopped watching; run {run_id} waits for an engine: reinstate up")
        hint(f"come back: reinstate watch {run_id}")
    else:
        _say_interrupted(run_id, ours=False)


def explain(status: Status, *, again: bool = True, remote: bool = False) -> None:
    """The last picture, where a log was shown so far (`again`), and what to do next."""
    if again and not notices().is_terminal:
        notices().print(picture(status))
    if status.run.about is not None and status.over:
        say(found_by(status))
    for line in next_steps(status, remote=remote):
        hint(line)


def found_by(status: Status) -> str:
    """What a verify or an undo has found or done, in its own words."""
    if status.run.purpose != VERIFY:
        return counted(undone(status.books))
    again = counted(would_be_undone(status.books))
    return f"{counted(drifts(status.books))}\nan undo would now find {again}"


def counted(places: Mapping[str, int]) -> str:
    """Sums by finding, as a sentence."""
    parts = [
        f"{number:,} {word.replace('_', ' ')}"
        for word, number in places.items()
        if word != "places" and number
    ]
    total = places.get("places", 0)
    return f"{total:,} place{'' if total == 1 else 's'}: {', '.join(parts) or 'nothing there'}"


def next_steps(status: Status, *, remote: bool = False) -> Sequence[str]:
    """What an operator can do about a run as it stands; `remote`: a server knows who asks."""
    run_id = status.run.id
    as_whom = "" if remote else " --as NAME"
    if status.run.purpose == "preview":
        return ()
    if status.run.about is not None and exit_of(status) is Exit.LOSSES:
        return (f"whose they are: reinstate users {run_id} --limit 0",)
    match exit_of(status):
        case Exit.SOME_FAILED:
            return (
                f"why: reinstate failures {run_id}",
                f"again, when that is mended: reinstate retry {run_id} --wait",
            )
        case Exit.LOSSES:
            return (
                f"what and why: reinstate losses {run_id}, reinstate quarantine {run_id}",
                f"when nothing more can be done: reinstate losses {run_id} --accept --reason TEXT",
            )
        case Exit.HELD if status.run.state is RunState.PAUSED:
            return (f"go on: reinstate resume {run_id}",)
        case Exit.HELD:
            held = [at for at in status.cells if at.state is CellState.HELD]
            why = f"what failed: reinstate failures {run_id}"
            who = f"somebody who is not {status.run.author} lets the next ones in"
            promote = f"{who}: reinstate promote {run_id}{as_whom}"
            return (why, promote) if any(at.failed for at in held) else (promote,)
        case Exit.REFUSED if status.run.state is RunState.AWAITING_APPROVAL:
            missing = status.approvals_needed - len(status.approvals)
            people = "1 person has" if missing == 1 else f"{missing} people have"
            who = f"{people} to approve it, none of them {status.run.author}"
            return (f"{who}: reinstate approve {run_id}{as_whom}",)
        case _:
            return ()
