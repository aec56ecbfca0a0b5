"""Follows a run while it is under way: a living picture on terminals, lines everywhere else."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.admission import SOAKS
from orchestrator.cli.cells import cell
from orchestrator.cli.output import console
from orchestrator.cli.picture import at_gate, headline, phase_line, picture
from orchestrator.lifecycle import TERMINAL_RUNS, CellState, RunState
from orchestrator.run_standing import NOT_LED, PhaseProgress, Status

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["follow", "is_stuck", "picture"]

LOOK_EVERY = 0.25
STILL = 1.5
"""A run is stuck when it was for so many seconds: what a person just did has to be seen first."""
STARTING = "the engine is starting"
HEARTBEAT = 30.0
"""Seconds after which a log shows that the watcher lives."""
STEPS = 10
"""A phase of a log has so many lines on its way, at most."""


def follow(
    look: Callable[[], Status],
    *,
    until: Callable[[Status], bool] = lambda _: False,
    detachable: bool = True,
    out: "Console | None" = None,
    sure: Callable[[], bool] = lambda: True,
) -> Status:
    """Show a run until it ends, only a person can move it, or `until` says so; the last look.

    `detachable`: the run goes on without whoever follows it. `out`: where it is shown; stdout.
    While it is not `sure` that looks are of now, none of them ends it.
    """
    out = out or console()
    looks = _looks(look, until, sure)
    if out.is_terminal:
        return _draw(looks, out, detachable=detachable)
    return _log(looks, out)


def _looks(
    look: Callable[[], Status], until: Callable[[Status], bool], sure: Callable[[], bool]
) -> Iterator[Status]:
    stuck_since: float | None = None
    while True:
        trusted = sure()
        status = look()
        yield status
        if trusted and (status.run.state in TERMINAL_RUNS or until(status)):
            return
        if not is_stuck(status):
            stuck_since = None
        elif stuck_since is None:
            stuck_since = time.monotonic()
        elif time.monotonic() - stuck_since > STILL:
            return
        time.sleep(LOOK_EVERY)


def is_stuck(status: Status) -> bool:
    """Whether only a person can make it go on. A gate that soaks opens by itself."""
    if status.run.state is RunState.PAUSED:
        return True
    if status.run.state is not RunState.RUNNING or status.stalled in {NOT_LED, STARTING}:
        return False
    held = [cell for cell in status.cells if cell.state is CellState.HELD]
    moving = any(cell.state is CellState.OPEN for cell in status.cells)
    return bool(held) and not moving and not any(cell.why.startswith(SOAKS) for cell in held)


def _draw(looks: Iterator[Status], out: "Console", *, detachable: bool) -> Status:
    from rich.live import Live

    status = next(looks)
    with Live(
        picture(status, watching=detachable), console=out, refresh_per_second=8, transient=False
    ) as live:
        for status in looks:
            live.update(picture(status, watching=detachable))
        live.update(picture(status))
    return status


def _log(looks: Iterator[Status], out: "Console") -> Status:
    """One line a change, and one now and then that says it is still at it."""
    shown: dict[str, str] = {}
    spoke = time.monotonic()
    last: Status | None = None
    for status in looks:
        last = status
        for key, (change, line) in _lines(status).items():
            if shown.get(key) != change:
                shown[key] = change
                spoke = time.monotonic()
                _write(out, line)
        if time.monotonic() - spoke > HEARTBEAT:
            spoke = time.monotonic()
            _write(out, headline(status))
    assert last is not None  # noqa: S101  there is always a first look
    return last


def _lines(status: Status) -> dict[str, tuple[str, str]]:
    """What can be said now, each with what has to change for it to be said again."""
    run = status.run
    found = {"run": (str(run.state), headline(status))}
    if status.stalled and not (at_gate(status) and status.stalled != NOT_LED):
        found["stalled"] = (status.stalled, status.stalled)
    for phase in status.phases:
        if phase.state is not CellState.CLOSED or phase.waiting < phase.units:
            found[phase.category] = (_change(phase), phase_line(status, phase))
    return found


def _change(phase: PhaseProgress) -> str:
    done = phase.units - phase.waiting
    return f"{phase.state} {phase.why} {STEPS * done // max(phase.units, 1)} {bool(phase.failed)}"


def _write(out: "Console", line: str) -> None:
    now = datetime.now(UTC)
    out.print(f"{now:%H:%M:%S} {cell(line)}", markup=False, soft_wrap=True)
    out.file.flush()
