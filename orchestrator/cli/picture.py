"""How a run looks: a headline, a line a phase, what failed, and what it waits for."""

from typing import TYPE_CHECKING

from orchestrator.admission import SOAKS
from orchestrator.cli.cells import cell
from orchestrator.cli.sides import sides_of
from orchestrator.lifecycle import TERMINAL_RUNS, CellState, RunState
from orchestrator.run_standing import NOT_LED, PhaseProgress, Status

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

ROOMY = 104
"""Columns of a terminal that show everything."""
BARS = (8, 14, 22)
"""Columns of a bar, by the room there is."""


EN_DASH = "\N{EN DASH}"
_DOING = {"verify": "comparing", "undo": "undoing"}


class _Look:
    """A mark, its colour and a word for what a phase is doing."""

    def __init__(self, status: Status, phase: PhaseProgress) -> None:
        preview = status.run.purpose == "preview"
        doing = _DOING.get(status.run.purpose, "restoring")
        done = phase.units - phase.waiting
        self.mark, self.colour, self.word = "○", "dim", "waiting"
        if phase.units and not phase.waiting:
            self.mark, self.colour, self.word = "✔", "green", "read" if preview else "settled"
            if phase.state is CellState.HELD and status.run.state not in TERMINAL_RUNS:
                self.mark, self.colour, self.word = "‖", "yellow", _held(phase)
            elif phase.cancelled:
                self.mark, self.colour, self.word = "✘", "dim", "cancelled"
        elif status.run.state is RunState.PAUSED:
            self.mark, self.colour, self.word = "‖", "yellow", "paused"
        elif status.run.state in TERMINAL_RUNS:
            self.mark, self.colour, self.word = "✘", "dim", str(status.run.state)
        elif preview and status.run.state is RunState.RUNNING:
            self.mark, self.colour, self.word = "●", "blue", "reading"
        elif phase.state is CellState.HELD:
            self.mark, self.colour, self.word = "‖", "yellow", _held(phase)
        elif phase.state is CellState.OPEN:
            self.mark, self.colour, self.word = "●", "blue", doing
        elif done:
            waves = [at for at in status.cells if at.category == phase.category]
            following = next((at.wave for at in waves if at.waiting), None)
            self.mark, self.colour = "◐", "blue"
            self.word = f"next: {following}" if following else "waiting"


def _held(phase: PhaseProgress) -> str:
    why = phase.why.partition(": ")[2]
    if SOAKS in why:
        return "soaks"
    return f"held: {phase.why.partition(':')[0]}" if phase.why else "held"


def picture(status: Status, *, watching: bool = False) -> "RenderableType":
    """The whole run in a few lines, as wide as there is room for."""
    return _Picture(status, watching=watching)


class _Picture:
    def __init__(self, status: Status, *, watching: bool) -> None:
        self._status = status
        self._watching = watching

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        status = self._status
        yield _bold_name(status)
        if status.run.why:
            yield Text(cell(status.run.why), style="yellow")
        if status.run.users is not None:
            yield _phases(status, options.max_width)
        for at in status.cells:
            if at.state is CellState.HELD and status.run.state not in TERMINAL_RUNS:
                yield Text(f"‖ {at.category}, wave {at.wave}: {cell(at.why)}", style="yellow")
        failed = _failed_line(status)
        if failed:
            yield Text(failed, style="red")
        if status.stalled and not (at_gate(status) and status.stalled != NOT_LED):
            yield Text(cell(status.stalled), style="yellow")
        if self._watching and status.run.state not in TERMINAL_RUNS:
            yield Text("ctrl-c stops watching; the run goes on", style="dim")


def headline(status: Status) -> str:
    """The run in one line."""
    run = status.run
    under_way = run.state is RunState.RUNNING
    words = [f"{'run' if run.purpose == 'restore' else run.purpose} {run.id}"]
    if run.about is not None:
        words[0] += f" of {run.about}"
    words.append(str(run.state).replace("_", " "))
    if run.state is RunState.AWAITING_APPROVAL:
        words.append(f"{len(status.approvals)} of {status.approvals_needed} approvals")
    if run.users is not None:
        people = _counted(run.users, "user")
        done = sum(phase.units - phase.waiting for phase in status.phases)
        total = sum(phase.units for phase in status.phases)
        words.append(f"{100 * done // max(total, 1)} % of {people}" if under_way else people)
    if under_way and status.items_per_second and not at_gate(status):
        over = f" over {duration(status.measured)}" if status.measured is not None else ""
        words.append(f"{status.items_per_second:,.0f} items/s{over}")
    if under_way and status.workers:
        words.append(f"{status.workers} at work")
    if status.elapsed is not None:
        words.append(duration(status.elapsed) + (_left(status) if under_way else ""))
    return f"{cell(run.name)}  " + " · ".join(words)


def _left(status: Status) -> str:
    """How long the rest takes at that pace; nothing where time is not what is missing."""
    if status.seconds_left is None or at_gate(status):
        return ""
    return f", {span(*status.seconds_left)} left"


def _bold_name(status: Status) -> "RenderableType":
    from rich.text import Text

    line = Text(headline(status))
    line.stylize("bold", 0, len(cell(status.run.name)))
    return line


def phase_line(status: Status, phase: PhaseProgress) -> str:
    """One phase in one line of a log."""
    first, *others = sides_of(status.run.purpose, phase)
    parts = [
        f"{phase.units - phase.waiting:,} of {_counted(phase.units, 'user')}",
        *(
            f"{side.number:,} {side.word}"
            for side in (first, *others)
            if side.number or side is first
        ),
    ]
    over = status.run.state in TERMINAL_RUNS
    why = f" ({phase.why})" if phase.why and not over else ""
    return f"  {phase.category}: {_Look(status, phase).word}, {', '.join(parts)}{why}"


def _failed_line(status: Status) -> str:
    failed = [cause for cause in status.causes if cause.state == "failed"]
    if not failed:
        return ""
    total, first = sum(cause.units for cause in failed), failed[0]
    causes = _counted(len({cause.fingerprint for cause in failed}), "cause")
    return (
        f"{_counted(total, 'unit')} failed in {causes} · most: {first.fingerprint} "
        f"{cell(first.sentence)} ({first.units:,}) → reinstate failures {status.run.id}"
    )


# The table ----------------------------------------------------------------------------------------


def _phases(status: Status, width: int) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    roomy = width >= ROOMY
    bar = BARS[2] if roomy else BARS[1] if width >= ROOMY - 20 else BARS[0]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("PHASE", no_wrap=True)
    table.add_column("STATE", no_wrap=True, overflow="ellipsis")
    table.add_column("PROGRESS", no_wrap=True, min_width=bar + 6)
    sides = [sides_of(status.run.purpose, phase) for phase in status.phases]
    for side in sides[0] if sides else ():
        if roomy or not side.roomy:
            table.add_column(side.title, justify="right", no_wrap=True)
    under_way = status.run.state in {RunState.RUNNING, RunState.PAUSED}
    if under_way:
        table.add_column("ETA", no_wrap=True)
    for number, phase in enumerate(status.phases):
        look = _Look(status, phase)
        cells = [
            Text(look.mark, style=look.colour),
            Text(phase.category),
            Text(look.word, style=look.colour),
            _bar(phase, bar),
        ]
        cells += [
            _number(side.number, side.colour) for side in sides[number] if roomy or not side.roomy
        ]
        if under_way:
            cells.append(Text(eta(status, number), style="dim"))
        table.add_row(*cells)
    return table


def _number(value: int, colour: str = "") -> "RenderableType":
    from rich.text import Text

    return Text(f"{value:,}" if value else "-", style=colour if value else "dim")


def _bar(phase: PhaseProgress, width: int) -> "RenderableType":
    from rich.text import Text

    total = max(phase.units, 1)
    settled = width * phase.settled // total
    failed = min(-(-width * (phase.failed + phase.cancelled) // total), width - settled)
    bar = Text("━" * settled, style="green")
    bar.append("╍" * failed, style="red")
    bar.append("─" * (width - settled - failed), style="bright_black")
    bar.append(f" {100 * (phase.units - phase.waiting) // total:3d} %")
    return bar


# Time ---------------------------------------------------------------------------------------------


def eta(status: Status, number: int) -> str:
    """When a phase will be over: a range, `waits for a gate`, or nothing without evidence.

    Whatever is left of the phases before it is done first, at the pace of late.
    """
    phase = status.phases[number]
    if not phase.waiting:
        return "done" if phase.state is not CellState.HELD else _soak_end(phase)
    if status.run.state is not RunState.RUNNING:
        return ""
    before = status.phases[: number + 1]
    if any(at.state is CellState.HELD for at in before) and at_gate(status):
        return "waits for a gate"
    left = sum(at.waiting for at in status.phases)
    if status.seconds_left is None or not left:
        return ""
    share = sum(at.waiting for at in before) / left
    least, most = status.seconds_left
    return span(least * share, most * share)


def _soak_end(phase: PhaseProgress) -> str:
    _, soaks, until = phase.why.partition(SOAKS)
    return f"until {until}" if soaks else "waits for a gate"


def at_gate(status: Status) -> bool:
    """Whether a gate is held and nothing is open, so that time is not what is missing."""
    states = {at.state for at in status.cells}
    return CellState.HELD in states and CellState.OPEN not in states


def span(least: float, most: float) -> str:
    """A range of time, in the unit of its larger end."""
    unit, seconds = next(
        (unit for unit in (("h", 3600), ("m", 60)) if most >= 2 * unit[1]), ("s", 1)
    )
    low, high = round(least / seconds), max(round(most / seconds), 1)
    return f"{high} {unit}" if low >= high else f"{low}{EN_DASH}{high} {unit}"


def duration(seconds: float) -> str:
    """So long, in the largest two units."""
    if seconds < 10:  # noqa: PLR2004  below, tenths can be felt
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
