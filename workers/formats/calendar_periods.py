"""Extra dates that last longer or shorter than their event (RDATE;VALUE=PERIOD), said otherwise.

Few servers and clients know them (Radicale refuses, most programs ignore them). What every one
knows is an extra date and an override of it with another end: the same for whoever looks at the
calendar. The override says of itself what it was made of, so that both forms have one digest.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_meaning import canonical
from workers.formats.calendar_properties import ZoneNames, entries, made, property_of, relined
from workers.formats.calendar_records import Node
from workers.formats.calendar_writing import Writable
from workers.formats.content_lines import Line

MADE_OF: Final = "X-REINSTATE-PERIOD"
"""The property of an override that stands for a period."""

_OF_THE_SERIES: Final = frozenset(
    {"RRULE", "RDATE", "EXRULE", "EXDATE", "DTSTART", "DTEND", "DURATION", "RECURRENCE-ID"}
)


def without_periods(components: Sequence[Writable]) -> list[Writable]:
    """The components of one event with an override for each period.

    Raises:
        ItemRejected: a period is overridden already, so that two would say when it ends.
    """
    done: list[Writable] = []
    for component in components:
        periods = [line for line in component.lines if _holds_periods(line)]
        if not periods or component.name != "VEVENT":
            done.append(component)
            continue
        lines = [_starts(line) if _holds_periods(line) else line for line in component.lines]
        done.append(Node(component.name, lines, _nodes(component.children), []))
        overridden = {
            part
            for other in components
            for line in other.lines
            if line.name == "RECURRENCE-ID"
            for part in _meant(line)
        }
        for line in periods:
            for period in line.value.split(b","):
                override = _override(component, line, period)
                identity = next(one for one in override.lines if one.name == "RECURRENCE-ID")
                if not overridden.isdisjoint(_meant(identity)):
                    raise ItemRejected(Reason.REFUSED, "a period of RDATE that is overridden")
                override.lines.append(made(MADE_OF, period))
                done.append(override)
    return done


def with_periods(components: Sequence[Writable], means: ZoneNames) -> Sequence[Writable]:
    """The components as they were before `without_periods`, where nobody changed them since."""
    if not any(line.name == MADE_OF for one in components[1:] for line in one.lines):
        return components
    master = next(
        (one for one in components if all(line.name != "RECURRENCE-ID" for line in one.lines)), None
    )
    if master is None:
        return components
    lines = list(master.lines)
    kept: list[Writable] = []
    for one in components:
        period = next((line.value for line in one.lines if line.name == MADE_OF), None)
        identity = next((line for line in one.lines if line.name == "RECURRENCE-ID"), None)
        if period is None or identity is None:
            kept.append(one)
            continue
        dated = made("RDATE", identity.value, tuple(p for p in identity.params if p[0] == "TZID"))
        bare = Node(one.name, [line for line in one.lines if line.name != MADE_OF], [], [])
        bare.children = _nodes(one.children)
        expected = _override(master, relined(dated, period), period)
        rest = _without_date(lines, dated, means)
        if rest is None or canonical(bare, means) != canonical(expected, means):
            kept.append(one)
            continue
        lines = [*rest, relined(dated, period)]
    whole = Node(master.name, lines, _nodes(master.children), [])
    return [whole if one is master else one for one in kept]


def _holds_periods(line: Line) -> bool:
    return line.name == "RDATE" and b"/" in line.value


def _starts(line: Line) -> Line:
    starts = b",".join(period.partition(b"/")[0] for period in line.value.split(b","))
    return made("RDATE", starts, tuple(each for each in line.params if each[0] != "VALUE"))


def _override(master: Writable, line: Line, period: bytes) -> Node:
    """The one date of the event that a period of it says."""
    start, _, end = period.partition(b"/")
    zone = tuple(each for each in line.params if each[0] == "TZID")
    ends = made("DURATION", end) if end.startswith((b"P", b"+P")) else made("DTEND", end, zone)
    lines = [line for line in master.lines if line.name not in _OF_THE_SERIES]
    lines += [made("RECURRENCE-ID", start, zone), made("DTSTART", start, zone), ends]
    return Node(master.name, lines, _nodes(master.children), [])


def _nodes(components: Sequence[Writable]) -> list[Node]:
    return [Node(one.name, list(one.lines), _nodes(one.children), []) for one in components]


def _meant(line: Line) -> list[bytes]:
    """A date by value and zone, whatever property says it."""
    return [line.value.strip().upper() + b"@" + (line.param("TZID") or "").encode()]


def _without_date(lines: Sequence[Line], dated: Line, means: ZoneNames) -> list[Line] | None:
    """The lines without one date of RDATE; None where it is not among them."""
    (wanted,) = entries(dated, property_of(dated), means)
    rest: list[Line] = []
    found = False
    for line in lines:
        if line.name != "RDATE" or found:
            rest.append(line)
            continue
        parts = line.value.split(b",")
        left = [
            part
            for part in parts
            if wanted not in entries(relined(line, part), property_of(line), means)
        ]
        found = len(left) < len(parts)
        if left:
            rest.append(relined(line, b",".join(left)))
    return rest if found else None
