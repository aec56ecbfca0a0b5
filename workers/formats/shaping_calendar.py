"""An event, task or journal entry as the one VCALENDAR that calendar servers take.

Knows what vobject (inside Radicale) and icalendar (inside Xandikos) do to it: a property that
vobject does not know ends at its first bare comma, and so does an ATTACH of an alarm; a period in
RDATE is refused.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import Item
from orchestrator.reasons import Reason
from workers.formats.calendar_live import recognised
from workers.formats.calendar_periods import without_periods
from workers.formats.calendar_properties import (
    WHOLE_DAYS,
    Holds,
    lines_of,
    made,
    property_of,
    relined,
)
from workers.formats.calendar_records import ZONE, Node, node, reading
from workers.formats.calendar_writing import PRODUCT, Writable, write_component
from workers.formats.content_lines import Line, escape, fields, fold, unescape
from workers.formats.shaping_values import with_commas_escaped

_KNOWN: Final = frozenset({"ATTACH", "ATTENDEE", "GEO", "ORGANIZER", "REQUEST-STATUS", "URL"})
"""Neither text nor list, and kept verbatim wherever they may stand."""
_LISTED: Final = frozenset({"CATEGORIES"})
"""A list in one line for every server; icalendar takes that of RESOURCES for one text."""

_DAY: Final = len("20091005")
_TIMES_OF_THEIR_OWN: Final = (
    b"HOURLY",
    b"MINUTELY",
    b"SECONDLY",
    b"BYHOUR",
    b"BYMINUTE",
    b"BYSECOND",
)


def shaped_object(item: Item, component: str) -> bytes:
    """The object of one UID, which is the item's ident, in a calendar without METHOD.

    Raises:
        ItemRejected: no object of this form means the same.
    """
    content = item.content
    zones: list[bytes] = []
    nodes: list[Node] = []
    for record in reading(content).records:
        raw = content[record.offset : record.end]
        root = node(raw)
        if record.kind == ZONE:
            zones.append(raw if raw.endswith(b"\n") else raw + b"\r\n")
        elif record.kind == component and root is not None:
            nodes.append(root)
    product = next((line.value for line in _envelope(content) if line.name == "PRODID"), PRODUCT)
    resource = written(nodes, zones, product, item.ident)
    meant = recognised(resource, component)
    if meant is None or meant.digest != item.digest or meant.uid != item.ident:
        raise ItemRejected(Reason.REFUSED, "no object of it that servers take means the same")
    return resource


def written(nodes: Sequence[Node], zones: Sequence[bytes], product: bytes, ident: str) -> bytes:
    """The calendar of these components, each line as servers read it, under one UID.

    Raises:
        ItemRejected: its periods cannot be said otherwise.
    """
    uid = made("UID", escape(ident.encode("utf-8", "surrogateescape")))
    pieces = [b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", fold(b"PRODID:" + product), *zones]
    pieces += map(write_component, without_periods([_plain(one, uid) for one in nodes]))
    pieces.append(b"END:VCALENDAR\r\n")
    return b"".join(pieces)


def _envelope(content: bytes) -> list[Line]:
    """What the calendar says of itself: the lines before the first component in it."""
    lines = lines_of(content)
    begins = [place for place, line in enumerate(lines) if line.name == "BEGIN"]
    return lines[: begins[1]] if len(begins) > 1 else []


def _plain(root: Writable, uid: Line | None = None) -> Node:
    lines = [] if uid is None else [uid]
    for line in root.lines:
        if uid is None or line.name != "UID":
            lines += _plain_lines(line, root.name)
    lines = _with_times(lines)
    return Node(root.name, lines, [_plain(child) for child in root.children], [])


def _plain_lines(line: Line, component: str) -> list[Line]:
    """A property in which servers read what is meant: none that says nothing, one, or several."""
    value = line.value
    match property_of(line).holds:
        case Holds.TEXT:
            plain = [escape(unescape(value))]
        case Holds.TEXTS:
            parts = [escape(unescape(part)) for part in fields(value, b",")]
            plain = [b",".join(parts)] if line.name in _LISTED else parts
        case Holds.OTHER if line.name not in _KNOWN or component == "VALARM":
            plain = [with_commas_escaped(value)] if value else []
        case Holds.PLACE | Holds.ADDRESS | Holds.NUMBER:
            plain = [value] if value else []
        case _:
            plain = [value]
    return [line if each == value else relined(line, each) for each in plain]


def _with_times(lines: list[Line]) -> list[Line]:
    """Days that are left out of a series of times, as the times that are on those days.

    Evolution writes EXDATE;VALUE=DATE in events that have a time. What Radicale makes of it is
    what is meant, but only where every time of the series is that of DTSTART.
    """
    named = {line.name: line for line in lines}
    start = named.get("DTSTART")
    if start is None or b"T" not in start.value or "RDATE" in named:
        return lines
    rule = named["RRULE"].value.upper() if "RRULE" in named else b""
    if any(part in rule for part in _TIMES_OF_THEIR_OWN):
        return lines
    zone = tuple(each for each in start.params if each[0] == "TZID")
    time = start.value.strip()[_DAY:]
    return [
        made(
            "EXDATE",
            b",".join(day.strip() + time for day in line.value.split(b",")),
            (*zone, (WHOLE_DAYS, ("1",))),
        )
        if line.name == "EXDATE" and property_of(line).dated
        else line
        for line in lines
    ]
