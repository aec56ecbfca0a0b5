"""Numbers, times and shapes as pages show them. Pure.

Shapes are given in a box of 100 by 100 units, which the page stretches.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from math import floor, log10

from msgspec import Struct, structs

from orchestrator.books import Books
from orchestrator.lifecycle import CellState
from orchestrator.operations import OperationProgress
from orchestrator.run_standing import PhaseProgress, Status

MINUTE, HOUR, DAY = 60, 3_600, 86_400
ROWS_OF_A_CURVE = 10
POINTS_OF_A_CURVE = 30
SMALL = 10
"""Below it, a tenth matters."""
NOTHING = "\N{EN DASH}"
"""Stands where there is no number."""


def number(value: float | None) -> str:
    """With separators; a dash for what is not known."""
    if value is None:
        return NOTHING
    small = 0 < value < SMALL and value != round(value)
    return f"{value:,.1f}" if small else f"{value:,.0f}"


def share(part: float, whole: float) -> float:
    """In per cent; of nothing, nothing."""
    return 100 * part / whole if whole else 0.0


def percent(part: float, whole: float) -> str:
    """Never rounded up to 100 %, nor down to 0 %: done means done, and some is not none."""
    if not whole:
        return NOTHING
    exact = 100 * part / whole
    if part == whole or not part:
        return f"{exact:.0f}%"
    return f"{min(99.9, max(0.1, exact)):.1f}%"


def span(seconds: float | None) -> str:
    """A length of time, as coarse as it matters."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def moment(at: datetime | None) -> str:
    """A time in UTC."""
    return NOTHING if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime) -> str:
    """The time of a day in UTC, for an axis."""
    return f"{at:%H:%M}"


def size(count: float) -> str:
    """Bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - what these units are made of
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def time_left(status: Status) -> str:
    """How long the rest will take: a range, or why nobody can say."""
    if status.over:
        return "over"
    if status.stalled:
        return "waits"
    if status.seconds_left is None:
        return "not known yet"
    return _range(*status.seconds_left)


# Shapes -------------------------------------------------------------------------------------------


class Segment(Struct, frozen=True, kw_only=True):
    """A part of a bar: how wide, and of what."""

    kind: str
    label: str
    count: int
    start: float
    width: float


def segments(parts: Sequence[tuple[str, str, int]], whole: int) -> list[Segment]:
    """A bar of `whole`, in the order of the parts (kind, label, count); empty ones are left out."""
    found: list[Segment] = []
    start = 0.0
    for kind, label, count in parts:
        if count:
            width = share(count, whole)
            found.append(Segment(kind=kind, label=label, count=count, start=start, width=width))
            start += width
    return found


def units_bar(phase: PhaseProgress) -> list[Segment]:
    """How far a phase is."""
    return segments(
        (
            ("settled", "done", phase.settled),
            ("failed", "failed", phase.failed),
            ("cancelled", "cancelled", phase.cancelled),
        ),
        phase.units,
    )


def operation_bar(progress: OperationProgress | None) -> list[Segment]:
    """How far an operation is."""
    if progress is None:
        return []
    return segments(
        (
            ("settled", "done", progress.settled),
            ("failed", "failed again", progress.failed),
            ("quarantined", "left out", progress.skipped),
            ("cancelled", "cancelled", progress.cancelled),
            ("edge", "under way", progress.waiting),
        ),
        progress.units,
    )


OUTCOMES: Mapping[str, str] = {
    "restored": "restored",
    "merged": "merged",
    "present": "were there already",
    "superseded": "the user's own is newer",
    "declined": "declined",
    "quarantined": "in quarantine",
    "pending": "not done yet",
    "lost": "not found in any source",
}


PREVIEWED: Mapping[str, str] = {
    "restored": "would be restored",
    "merged": "would be merged",
    "present": "are there already",
    "superseded": "the user's own is newer",
    "declined": "declined",
    "quarantined": "would be kept back",
    "pending": "not read yet",
    "lost": "not found in any source",
}
VERIFIED: Mapping[str, str] = {
    "restored": "as it was left",
    "superseded": "changed since",
    "declined": "gone since",
    "present": "never got there",
    "pending": "not compared yet",
}
UNDONE: Mapping[str, str] = {
    "restored": "removed or put back",
    "superseded": "left: somebody changed it",
    "present": "as before the run",
    "pending": "not done yet",
}


class Words(Struct, frozen=True, kw_only=True):
    """What a run's numbers are called, by what the run is for."""

    items: str
    """What became of its items, as a heading."""
    missing: str
    losses: str
    outcomes: Mapping[str, str]


def words_of(purpose: str) -> Words:
    """Books have the same words for every purpose (`orchestrator.findings`); people have not."""
    match purpose:
        case "preview":
            return Words(
                items="What would become of the items",
                missing="lost or kept back",
                losses="Items that would be lost or kept back",
                outcomes=PREVIEWED,
            )
        case "verify":
            return Words(
                items="How places compare with what was left there",
                missing="not as left",
                losses="Places that are not as left",
                outcomes=VERIFIED,
            )
        case "undo":
            return Words(
                items="What became of the places",
                missing="left as they are",
                losses="Places left as they are",
                outcomes=UNDONE,
            )
        case _:
            return Words(
                items="What became of the items",
                missing="lost or kept back",
                losses="Items lost or in quarantine",
                outcomes=OUTCOMES,
            )


def outcomes_bar(books: Books, outcomes: Mapping[str, str] = OUTCOMES) -> list[Segment]:
    """What became of items; the lost are part of the whole, so that nobody overlooks them."""
    counts = [(kind, label, int(getattr(books, kind))) for kind, label in outcomes.items()]
    if "lost" not in outcomes:
        return segments(counts, books.items)
    return segments(counts, books.items + books.lost)


class Point(Struct, frozen=True):
    """How much was done by a moment."""

    at: datetime
    items: int


class Curve(Struct, frozen=True, kw_only=True):
    """Items a second over time, as a line and the area below it."""

    line: str
    area: str
    top: float
    """The end of the axis: a round number."""
    fastest: float
    since: datetime
    middle: datetime
    until: datetime
    rows: list[tuple[datetime, float]]


def curve(points: Sequence[Point]) -> Curve | None:
    """None where there are too few points for a line; of many, so few that the line is calm."""
    every = max(1, len(points) // POINTS_OF_A_CURVE)
    points = points[(len(points) - 1) % every :: every]
    rows = [
        (later.at, max(0.0, (later.items - earlier.items) / seconds))
        for earlier, later in pairwise(points)
        if (seconds := (later.at - earlier.at).total_seconds()) > 0
    ]
    if len(rows) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    fastest = max(pace for _, pace in rows)
    top = nice(fastest)
    since, until = rows[0][0], rows[-1][0]
    length = (until - since).total_seconds() or 1.0
    places = [
        f"{100 * (at - since).total_seconds() / length:.2f},{100 - 100 * pace / top:.2f}"
        for at, pace in rows
    ]
    line = "M" + "L".join(places)
    return Curve(
        line=line,
        area=f"{line}L100,100L0,100Z",
        top=top,
        fastest=fastest,
        middle=since + (until - since) / 2,
        since=since,
        until=until,
        rows=rows[-ROWS_OF_A_CURVE:],
    )


SQUARES = 96
"""Of a row of the wavefront, shared out among its waves."""
FEWEST = 2
"""Squares of the smallest wave."""
LETTER = 1.3
"""Per cent of a row that a letter of a wave's name takes."""


class WaveCell(Struct, frozen=True, kw_only=True):
    """One category in one wave: how far, and how it goes."""

    category: str
    wave: str
    state: str
    start: float
    width: float
    squares: int
    parts: list[Segment]
    """Within the cell, in per cent of it."""
    units: int
    settled: int
    failed: int
    waiting: int
    text: str
    why: str


def widths(sizes: Sequence[int]) -> list[int]:
    """Squares for each wave, by its size; the smallest can still be seen."""
    whole = sum(sizes) or 1
    return [max(FEWEST, round(SQUARES * size / whole)) for size in sizes]


def wavefront(status: Status) -> list[tuple[str, list[WaveCell]]]:
    """Every category with its waves, in the order of the plan."""
    rows: dict[str, list[WaveCell]] = {phase.category: [] for phase in status.phases}
    for category, cells in rows.items():
        of_category = [at for at in status.cells if at.category == category]
        squares = widths([at.units for at in of_category])
        start = 0
        for at, count in zip(of_category, squares, strict=True):
            cells.append(_cell(at, start=start, count=count, whole=sum(squares)))
            start += count
    return list(rows.items())


def wave_names(cells: Sequence[WaveCell]) -> list[tuple[str, float]]:
    """Names of waves that are wide enough for them, and where they stand, in per cent."""
    return [(at.wave, at.start) for at in cells if LETTER * len(at.wave) <= at.width]


def _cell(at: PhaseProgress, *, start: int, count: int, whole: int) -> WaveCell:
    """A failed restore among millions can be seen, too: it has a width of its own."""
    parts = units_bar(at)
    least = 100 / (count * 4)
    seen = [max(part.width, least) if part.kind == "failed" else part.width for part in parts]
    shrunk = 100 / max(100.0, sum(seen))
    placed: list[Segment] = []
    for part, width in zip(parts, seen, strict=True):
        begin = placed[-1].start + placed[-1].width if placed else 0.0
        placed.append(structs.replace(part, start=begin, width=width * shrunk))
    return WaveCell(
        category=at.category,
        wave=at.wave or "",
        state=str(at.state),
        start=share(start, whole),
        width=share(count, whole),
        squares=count,
        parts=placed,
        units=at.units,
        settled=at.settled,
        failed=at.failed,
        waiting=at.waiting,
        text=percent(at.settled, at.units) if at.units else NOTHING,
        why=at.why,
    )


class Left(Struct, frozen=True, kw_only=True):
    """When a phase will be done: a range as a bar, or why nobody can say."""

    category: str
    text: str
    start: float = 0.0
    width: float = 0.0


def left_of_phases(status: Status) -> list[Left]:
    """For each phase, when it will be done, if restores go on in the order of the plan.

    At the pace of late, so `seconds_left` of the run is the last phase's; bars are in per cent of
    the longest.
    """
    found: list[Left] = []
    whole = sum(phase.waiting for phase in status.phases)
    so_far = 0
    for phase in status.phases:
        so_far += phase.waiting
        if not phase.waiting:
            found.append(Left(category=phase.category, text="done"))
        elif status.over:
            found.append(Left(category=phase.category, text=NOTHING))
        elif phase.state is CellState.HELD:
            found.append(Left(category=phase.category, text="waits for a gate"))
        elif status.seconds_left is None or status.stalled:
            found.append(Left(category=phase.category, text="not known yet"))
        else:
            part = so_far / whole
            least, most = (seconds * part for seconds in status.seconds_left)
            longest = status.seconds_left[1] or 1.0
            found.append(
                Left(
                    category=phase.category,
                    text=_range(least, most),
                    start=100 * least / longest,
                    width=max(0.7, 100 * (most - least) / longest),
                )
            )
    return found


def _range(least: float, most: float) -> str:
    first, last = span(least), span(most)
    return first if first == last else f"{first} to {last}"


def nice(top: float) -> float:
    """A round number that is at least `top`, for the end of an axis."""
    if top <= 0:
        return 1.0
    tenth = 10.0 ** floor(log10(top))
    return next(step * tenth for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * tenth >= top)
