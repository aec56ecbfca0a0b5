"""Numbers, times and shapes as pages show them. Pure.

Shapes are given in a box of 100 by 100 units, which the page stretches.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from msgspec import Struct

from orchestrator.books import Books
from orchestrator.progress import PhaseProgress, Status

MINUTE, HOUR, DAY = 60, 3_600, 86_400
ROWS_OF_A_CURVE = 10
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
    least, most = (span(seconds) for seconds in status.seconds_left)
    return least if least == most else f"{least} to {most}"


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


def outcomes_bar(books: Books) -> list[Segment]:
    """What became of items; the lost are part of the whole, so that nobody overlooks them."""
    counts = [(kind, label, int(getattr(books, kind))) for kind, label in OUTCOMES.items()]
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
    """The fastest."""
    since: datetime
    until: datetime
    rows: list[tuple[datetime, float]]


def curve(points: Sequence[Point]) -> Curve | None:
    """None where there are too few points for a line."""
    rows = [
        (later.at, max(0.0, (later.items - earlier.items) / seconds))
        for earlier, later in pairwise(points)
        if (seconds := (later.at - earlier.at).total_seconds()) > 0
    ]
    if len(rows) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    top = max(pace for _, pace in rows) or 1.0
    since, until = rows[0][0], rows[-1][0]
    length = (until - since).total_seconds() or 1.0
    places = [
        f"{100 * (at - since).total_seconds() / length:.2f},{100 - 95 * pace / top:.2f}"
        for at, pace in rows
    ]
    line = "M" + "L".join(places)
    return Curve(
        line=line,
        area=f"{line}L100,100L0,100Z",
        top=top,
        since=since,
        until=until,
        rows=rows[-ROWS_OF_A_CURVE:],
    )


class WaveCell(Struct, frozen=True, kw_only=True):
    """One category in one wave: how far, and how it goes."""

    category: str
    wave: str
    state: str
    done: float
    failing: bool
    text: str
    why: str


def wavefront(status: Status) -> list[tuple[str, list[WaveCell]]]:
    """Every category with its waves, in the order of the plan."""
    rows: dict[str, list[WaveCell]] = {phase.category: [] for phase in status.phases}
    for at in status.cells:
        rows[at.category].append(
            WaveCell(
                category=at.category,
                wave=at.wave or "",
                state=str(at.state),
                done=share(at.settled + at.failed + at.cancelled, at.units),
                failing=at.failed > 0,
                text=percent(at.settled, at.units) if at.units else NOTHING,
                why=at.why,
            )
        )
    return list(rows.items())
