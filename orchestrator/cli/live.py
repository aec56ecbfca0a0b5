"""How a run looks while it is under way: a picture for terminals, lines for everything else."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator.cli.output import console, notices
from orchestrator.lifecycle import TERMINAL_RUNS, CellState, RunState
from orchestrator.progress import PhaseProgress, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOK_EVERY = 0.25
LOOK_EVERY_REMOTE = 1.0
HEARTBEAT = 30.0
"""Seconds after which a log shows that the watcher lives."""
BAR = 24

_MARKS = {
    CellState.CLOSED: ("○", "dim", "waiting"),
    CellState.OPEN: ("●", "blue", "restoring"),
    CellState.HELD: ("‖", "yellow", "held"),
    CellState.SETTLED: ("✔", "green", "settled"),
}


def follow(
    look: Callable[[], Status],
    *,
    until: Callable[[Status], bool] = lambda _: False,
    detachable: bool = True,
) -> Status:
    """Show a run until it ends, is held, or `until` says so; the last look.

    `detachable`: the run goes on without whoever follows it.
    """
    looks = _looks(look, until)
    return _draw(looks, detachable=detachable) if console().is_terminal else _log(looks)


def _looks(look: Callable[[], Status], until: Callable[[Status], bool]) -> Iterator[Status]:
    while True:
        status = look()
        yield status
        if status.run.state in TERMINAL_RUNS or is_stuck(status) or until(status):
            return
        time.sleep(LOOK_EVERY)


def is_stuck(status: Status) -> bool:
    """Whether only a person can make it go on."""
    if status.run.state is RunState.PAUSED:
        return True
    if status.run.state is not RunState.RUNNING:
        return False
    states = {cell.state for cell in status.cells}
    return CellState.HELD in states and CellState.OPEN not in states


def _draw(looks: Iterator[Status], *, detachable: bool) -> Status:
    from rich.live import Live

    status = next(looks)
    first = picture(status, watching=detachable)
    with Live(first, console=console(), refresh_per_second=8) as live:
        for status in looks:
            live.update(picture(status, watching=detachable))
    return status


def _log(looks: Iterator[Status]) -> Status:
    """One line a change, and one now and then that says it is still at it."""
    shown: dict[str, str] = {}
    spoke = time.monotonic()
    last: Status | None = None
    for status in looks:
        last = status
        lines = {"": f"{status.run.name} {status.run.id} {status.run.state}"}
        lines |= {phase.category: _line(phase) for phase in status.phases}
        quiet = time.monotonic() - spoke > HEARTBEAT
        for key, line in lines.items():
            coarse = line if key == "" else _coarse(status, key)
            if shown.get(key) != coarse or (quiet and key == ""):
                shown[key] = coarse
                spoke = time.monotonic()
                notices().print(line, markup=False)
    assert last is not None  # noqa: S101  there is always a first look
    return last


def _coarse(status: Status, category: str) -> str:
    """What has to change for a line of its own: the state, or a quarter of the units."""
    phase = next(phase for phase in status.phases if phase.category == category)
    done = phase.units - phase.waiting
    return f"{phase.state} {4 * done // max(phase.units, 1)} {bool(phase.failed)}"


def _line(phase: PhaseProgress) -> str:
    done = phase.units - phase.waiting
    return (
        f"  {phase.category}: {_MARKS[phase.state][2]}, {done:,} of {phase.units:,} users, "
        f"{phase.books.restored:,} restored, {phase.failed:,} failed, {phase.books.lost:,} lost"
        + (f" ({phase.why})" if phase.why else "")
    )


def picture(status: Status, *, watching: bool = False) -> "RenderableType":
    """The whole run in a few lines."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column("PHASE")
    table.add_column("STATE")
    table.add_column("PROGRESS", no_wrap=True, min_width=BAR + 6)
    for name in ("RESTORED", "FAILED", "QUARANTINED", "LOST"):
        table.add_column(name, justify="right")
    for phase in status.phases:
        mark, colour, word = _MARKS[phase.state]
        books = phase.books
        table.add_row(
            Text(mark, style=colour),
            phase.category,
            Text(_state(phase, word), style=colour, overflow="ellipsis", no_wrap=True),
            _bar(phase),
            _number(books.restored + books.merged),
            _number(phase.failed, "red"),
            _number(books.quarantined, "yellow"),
            _number(books.lost, "yellow"),
        )
    parts: list[RenderableType] = [_headline(status), table]
    failed = [cause for cause in status.causes if cause.state == "failed"]
    if failed:
        total = sum(cause.units for cause in failed)
        first = failed[0]
        parts.append(
            Text(
                f"{total:,} failed in {len(failed)} causes · most: {first.fingerprint} "
                f"{first.sentence} ({first.units:,}) → reinstate failures {status.run.id}",
                style="red",
            )
        )
    if status.stalled:
        parts.append(Text(status.stalled, style="yellow"))
    if watching and status.run.state not in TERMINAL_RUNS:
        parts.append(Text("ctrl-c stops watching; the run goes on", style="dim"))
    return Group(*parts)


def _headline(status: Status) -> "RenderableType":
    from rich.text import Text

    run = status.run
    parts = [f"run {run.id}", run.state.replace("_", " ")]
    if run.users is not None:
        parts.append(f"{run.users:,} users")
    if status.items_per_second:
        parts.append(f"{status.items_per_second:,.0f} items/s")
    if status.workers:
        parts.append(f"{status.workers} at work")
    if status.seconds_left is not None and run.state is RunState.RUNNING:
        least, most = status.seconds_left
        parts.append(f"{duration(least)} to {duration(most)} left")
    if run.state is RunState.AWAITING_APPROVAL:
        parts.append(f"{len(status.approvals)} of {status.approvals_needed} approvals")
    headline = Text(f"{run.name}  ", style="bold")
    headline.append(" · ".join(parts), style="not bold")
    if run.why:
        headline.append(f"\n{run.why}", style="not bold yellow")
    return headline


def _state(phase: PhaseProgress, word: str) -> str:
    return f"{word}: {phase.why}" if phase.why else word


def _number(value: int, colour: str = "") -> "RenderableType":
    from rich.text import Text

    return Text(f"{value:,}" if value else "-", style=colour if value else "dim")


def _bar(phase: PhaseProgress) -> "RenderableType":
    from rich.text import Text

    total = max(phase.units, 1)
    settled = BAR * phase.settled // total
    failed = -(-BAR * (phase.failed + phase.cancelled) // total)
    failed = min(failed, BAR - settled)
    bar = Text("━" * settled, style="green")
    bar.append("━" * failed, style="red")
    bar.append("━" * (BAR - settled - failed), style="bright_black")
    bar.append(f" {100 * (phase.units - phase.waiting) // total:3d} %")
    return bar


def duration(seconds: float) -> str:
    """So long, in the largest two units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
