"""Events as plain JSON objects: the row of a table, or what a simple exporter writes.

Every field becomes a property; one that is not known becomes an X- property of its name, so that
nothing of a row is dropped.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.items import UserId
from orchestrator.reasons import Reason
from workers.formats.calendar_material import Material, Part
from workers.formats.calendar_properties import made
from workers.formats.calendar_records import Envelope, Node, Stray
from workers.formats.calendar_times import Moment
from workers.formats.calendar_writing import PRODUCT
from workers.formats.content_lines import Line, Params, escape
from workers.formats.json_records import pieces
from workers.formats.ownership import OWNER_FIELDS, check_owner, plain_key
from workers.formats.record_times import read_time
from workers.formats.tiling import gaps
from workers.formats.time_zones import from_utc, zone_name

ROW_ENVELOPE: Final = Envelope(declared=True, properties={"VERSION": b"2.0", "PRODID": PRODUCT})
"""A row says nothing of a calendar: there is nothing to repair about it."""

_TEXTS: Final = {
    "summary": "SUMMARY",
    "title": "SUMMARY",
    "location": "LOCATION",
    "description": "DESCRIPTION",
    "notes": "DESCRIPTION",
    "status": "STATUS",
    "url": "URL",
}
_KNOWN: Final = frozenset(
    {"uid", "id", "start", "end", "all_day", "time_zone", "rrule", "revised", "created", *_TEXTS}
)
_DATE: Final = re.compile(r"\d{4}-?\d\d-?\d\d", re.ASCII)
_FIELD: Final = re.compile(r"[^A-Z0-9]+")

Convert = Callable[[Mapping[str, Any], Mapping[str, Any]], Node | None]
"""A record and the plain members of the objects around it, as a component; None: syntax."""


def is_event_row(keys: Collection[str]) -> bool:
    """Whether an object with these keys is an event."""
    return "start" in keys or ("summary" in keys and not {"vcalendar", "items"} & set(keys))


def rows_material(
    name: str,
    data: bytes,
    owner: UserId,
    is_record: Callable[[Collection[str]], bool],
    convert: Convert,
) -> Material:
    """The records of a JSON file as components."""
    found = Material(name=name, data=data, parts=[], strays=[], framing=[])
    taken: list[tuple[int, int]] = []
    for piece in pieces(data, is_record):
        node: Node | None = None
        reason, detail = piece.reason, piece.detail
        if piece.fields is not None:
            try:
                check_owner(piece.fields, owner)
                node = convert(piece.fields, piece.around)
            except ItemRejected as rejected:
                reason, detail = rejected.reason, rejected.detail
            if node is None and reason is None:
                continue  # the object that says what a list is called
        taken.append((piece.offset, piece.offset + piece.length))
        if node is None:
            found.strays.append(
                Stray(piece.offset, piece.length, reason or Reason.STRUCTURE, detail)
            )
            continue
        found.parts.append(
            Part(
                kind=node.name,
                offset=piece.offset,
                length=piece.length,
                envelope=ROW_ENVELOPE,
                uid=next((line.value for line in node.lines if line.name == "UID"), b""),
                load=_Made(node),
            )
        )
    for gap in gaps(name, len(data), taken):
        found.framing.append((gap.span.offset, gap.span.length))
    return found


class _Made:
    """A component that was read with its file."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __call__(self) -> Node:
        return self.node


def read_event_row(fields: Mapping[str, Any], around: Mapping[str, Any]) -> Node:
    """The event in one row.

    Raises:
        ItemRejected: a field is not what an event has.
    """
    del around
    lines = [
        *text_lines(fields, {"uid": "UID"} if fields.get("uid") is not None else {"id": "UID"}),
        *text_lines(fields, _TEXTS),
    ]
    zone = text_field(fields, "time_zone")
    all_day = flag(fields, "all_day")
    for key, name in (("start", "DTSTART"), ("end", "DTEND")):
        if fields.get(key) not in (None, ""):
            lines.append(time_line(name, fields[key], zone, all_day=all_day))
    rule = text_field(fields, "rrule")
    if rule:
        lines.append(made("RRULE", rule.removeprefix("RRULE:").encode()))
    lines += bookkeeping(fields, {"revised": "LAST-MODIFIED", "created": "CREATED"})
    lines += other_lines(fields, _KNOWN)
    return Node("VEVENT", lines, [], [])


# Fields ----------------------------------------------------------------------------------------


def text_field(fields: Mapping[str, Any], key: str) -> str:
    """A field as text; empty where there is none.

    Raises:
        ItemRejected: it is an object or an array.
    """
    value = fields.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ItemRejected(Reason.VALUE, f"field {key!r} is no text")
    return str(value)


def flag(fields: Mapping[str, Any], key: str) -> bool:
    """A field as yes or no; tables write 0 and 1.

    Raises:
        ItemRejected: it is neither.
    """
    value = fields.get(key)
    if value in (None, False, 0, "0", "false", "f", ""):
        return False
    if value in (True, 1, "1", "true", "t"):
        return True
    raise ItemRejected(Reason.VALUE, f"field {key!r} is neither yes nor no")


def text_lines(fields: Mapping[str, Any], names: Mapping[str, str]) -> list[Line]:
    """The text fields that are there, as properties."""
    return [
        made(name, escape(text_field(fields, key).encode("utf-8", "surrogateescape")))
        for key, name in names.items()
        if fields.get(key) not in (None, "")
    ]


def time_line(name: str, value: object, zone: str, *, all_day: bool = False) -> Line:
    """A date or time as a property, in the zone that the record names.

    Raises:
        ItemRejected: it is none, or its zone is not known and would be needed.
    """
    if isinstance(value, str) and (all_day or _DATE.fullmatch(value.strip())):
        plain = value.strip()[:10]
        day = _naive(plain) if _DATE.fullmatch(plain) else None
        if day is None:
            raise ItemRejected(Reason.VALUE, f"{name} is no date")
        return made(name, Moment(day, all_day=True).text.encode(), (("VALUE", ("DATE",)),))
    wall = _naive(value.strip()) if isinstance(value, str) else None
    instant = None if wall is not None else read_time(value)
    if wall is None and instant is None:
        raise ItemRejected(Reason.VALUE, f"{name} is no date or time")
    params: Params = (("TZID", (zone,)),) if zone else ()
    if instant is not None:
        if not zone:
            return made(name, Moment(instant, utc=True).text.encode())
        known = zone_name(zone)
        if known is None:
            raise ItemRejected(Reason.TIME_ZONE, f"the zone of {name} is not known")
        wall = from_utc(instant, known)
    return made(name, Moment(wall or datetime.min).text.encode(), params)  # noqa: DTZ901 - never: one of the two is there


def _naive(text: str) -> datetime | None:
    """A time without an offset; None where it is none or has one."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is None and not text.isdigit() else None


def bookkeeping(fields: Mapping[str, Any], names: Mapping[str, str]) -> list[Line]:
    """Times in UTC. What is no time stays as it is, for validation to judge."""
    lines: list[Line] = []
    for key, name in names.items():
        value = fields.get(key)
        if value in (None, ""):
            continue
        at = read_time(value)
        written = text_field(fields, key) if at is None else Moment(at, utc=True).text
        lines.append(made(name, written.replace("\n", " ").encode("utf-8", "surrogateescape")))
    return lines


def other_lines(fields: Mapping[str, Any], known: Collection[str]) -> list[Line]:
    """Whatever no property is made for, as X- properties by the names of their fields."""
    lines: list[Line] = []
    for key, value in fields.items():
        if key in known or plain_key(key) in OWNER_FIELDS or value in (None, "", [], {}):
            continue
        name = _FIELD.sub("-", key.upper()).strip("-")
        if not name:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(made(f"X-REINSTATE-{name}", escape(text.encode("utf-8", "surrogateescape"))))
    return lines
