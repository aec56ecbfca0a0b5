"""jCal (RFC 7265): the components of a JSON calendar as content lines, and where they lie.

Lossless: what is read here and what the same object says in iCalendar have one digest.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_material import Material, Part
from workers.formats.calendar_properties import made
from workers.formats.calendar_records import (
    DEEPEST,
    ENVELOPE,
    TOP_LEVEL,
    Envelope,
    Node,
    Stray,
)
from workers.formats.content_lines import Line, Params, escape
from workers.formats.json_outline import Part as Element
from workers.formats.json_outline import outline
from workers.formats.json_records import decoded

_DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE"), "date-time"),
        **dict.fromkeys(("RDATE", "DTSTAMP", "CREATED", "LAST-MODIFIED"), "date-time"),
        "COMPLETED": "date-time",
        **dict.fromkeys(("RRULE", "EXRULE"), "recur"),
        **dict.fromkeys(("DURATION", "TRIGGER"), "duration"),
        **dict.fromkeys(("PRIORITY", "PERCENT-COMPLETE", "SEQUENCE", "REPEAT"), "integer"),
        **dict.fromkeys(("ATTENDEE", "ORGANIZER"), "cal-address"),
        **dict.fromkeys(("URL", "ATTACH", "TZURL", "SOURCE", "CONFERENCE"), "uri"),
        **dict.fromkeys(("TZOFFSETFROM", "TZOFFSETTO"), "utc-offset"),
        "GEO": "float",
        "FREEBUSY": "period",
    }
)
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,255}")
_PARTS_OF_PROPERTY: Final = 4
_PARTS_OF_COMPONENT: Final = 3
_PLAIN_TYPES: Final = frozenset({"uri", "cal-address", "unknown", "duration", "binary"})
_LINE_BREAKS: Final = re.compile(r"[\r\n]")


def is_jcal(data: bytes) -> bool:
    """Whether a file is jCal rather than another JSON: an array that begins with a name."""
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:64]
    return re.match(rb'\[\s*(?:\[\s*)?"v[a-z]+"', start, re.IGNORECASE) is not None


def jcal_material(name: str, data: bytes) -> Material:
    """The components of a jCal file of one or more calendars; whole ones are kept in a cut one."""
    found = Material(name=name, data=data, parts=[], strays=[], framing=[])
    whole = outline(data, len(data) - len(data.lstrip(b"\xef\xbb\xbf")))
    first = whole.parts[0] if whole.parts else None
    if first is not None and data[first.start : first.start + 1] == b"[":
        for element in whole.parts:
            _calendar(found, element.start, element.end)
    else:
        _calendar(found, whole.start, whole.end)
    after = len(data) - len(data[whole.end :].lstrip(b" \t\r\n"))
    if after < len(data):
        found.strays.append(
            Stray(after, len(data) - after, Reason.SYNTAX, "something after the calendar")
        )
    _frame(found)
    return found


def _calendar(found: Material, start: int, end: int) -> None:
    """One `["vcalendar", properties, components]`, or a component that stands alone."""
    data = found.data
    parts = outline(data, start, end).parts
    kind = _kind(data, parts[0]) if parts else ""
    if kind != ENVELOPE:
        _component(found, Element(start, end), kind, Envelope())
        return
    envelope = Envelope(declared=True, properties={})
    if len(parts) > 1:
        try:
            properties = decoded(data[parts[1].start : parts[1].end])
            for line in _lines(properties):
                envelope.properties.setdefault(line.name, line.value.strip())
        except ItemRejected as rejected:
            where = parts[1]
            found.strays.append(
                Stray(where.start, where.end - where.start, rejected.reason, rejected.detail)
            )
    for listed in parts[2:_PARTS_OF_COMPONENT]:
        for element in outline(data, listed.start, listed.end).parts:
            children = outline(data, element.start, element.end).parts
            _component(found, element, _kind(data, children[0]) if children else "", envelope)
    for extra in parts[_PARTS_OF_COMPONENT:]:
        length = extra.end - extra.start
        found.strays.append(Stray(extra.start, length, Reason.STRUCTURE, "a fourth part"))


def _component(found: Material, element: Element, kind: str, envelope: Envelope) -> None:
    length = element.end - element.start
    if length == 0:
        return
    if not element.whole:
        found.strays.append(Stray(element.start, length, Reason.CUT, "ends inside of a component"))
        return
    load = _Loader(found.data[element.start : element.end])
    if not kind:
        found.strays.append(Stray(element.start, length, Reason.STRUCTURE, "not a component"))
        return
    found.parts.append(
        Part(
            kind=kind,
            offset=element.start,
            length=length,
            envelope=envelope,
            uid=load.uid(),
            load=load,
        )
    )


def _frame(found: Material) -> None:
    """Brackets, commas, the envelope's properties: whatever nothing else covers."""
    taken = [(part.offset, part.length) for part in found.parts]
    taken += [(stray.offset, stray.length) for stray in found.strays]
    offset = 0
    for start, length in sorted(taken):
        if start > offset:
            found.framing.append((offset, start - offset))
        offset = start + length
    if len(found.data) > offset:
        found.framing.append((offset, len(found.data) - offset))


def _kind(data: bytes, element: Element) -> str:
    raw = data[element.start : element.end]
    return raw[1:-1].decode("ascii", "replace").upper() if raw[:1] == b'"' else ""


class _Loader:
    """Reads one component when it is needed; knows its UID before."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __call__(self) -> Node:
        return _node(decoded(self.raw))

    def uid(self) -> bytes:
        """The quick look at its UID; empty where there is none or nothing can be read."""
        try:
            root = self()
        except ItemRejected:
            return b""
        return next((line.value for line in root.lines if line.name == "UID"), b"")


def _node(value: Any, level: int = 0) -> Node:
    match value:
        case [str(name), list(properties), list(components)] if _PROPERTY_NAME.fullmatch(name):
            children = [_node(component, level + 1) for component in components]
            if level >= DEEPEST:
                raise ItemRejected(Reason.TOO_LARGE, f"more than {DEEPEST} levels of components")
            if any(child.name in TOP_LEVEL or child.name == ENVELOPE for child in children):
                raise ItemRejected(Reason.STRUCTURE, "a component that stands in another")
            return Node(name.upper(), _lines(properties), children, [])
        case _:
            raise ItemRejected(Reason.STRUCTURE, "a component is a name and two arrays")


def _lines(properties: Any) -> list[Line]:
    if not isinstance(properties, list):
        raise ItemRejected(Reason.STRUCTURE, "properties are an array")
    return [_line(one) for one in properties]


def _line(value: Any) -> Line:
    if not isinstance(value, list) or len(value) < _PARTS_OF_PROPERTY:
        raise ItemRejected(Reason.STRUCTURE, "a property has four parts or more")
    name, params, kind, *values = value
    if (
        not isinstance(name, str)
        or not isinstance(kind, str)
        or not isinstance(params, dict)
        or _PROPERTY_NAME.fullmatch(name) is None
    ):
        raise ItemRejected(Reason.STRUCTURE, "a property is name, parameters, type, values")
    group, _, plain = name.upper().rpartition(".")
    written = [_value(kind.lower(), one, plain) for one in values]
    if any(map(_LINE_BREAKS.search, written)):
        raise ItemRejected(Reason.VALUE, f"{plain} has a line break")
    separator = ";" if plain == "GEO" else ","
    line = made(plain, separator.join(written).encode(), _params(plain, kind.lower(), params))
    return Line(plain, line.params, line.value, 0, 0, group, _grouped(group, line.head))


def _grouped(group: str, head: bytes) -> bytes:
    return group.encode() + b"." + head if group else head


def _params(name: str, kind: str, params: Mapping[str, Any]) -> Params:
    found: list[tuple[str, tuple[str, ...]]] = []
    for key, values in params.items():
        listed: Sequence[Any] = values if isinstance(values, list) else (values,)
        if _PROPERTY_NAME.fullmatch(key) is None or not all(isinstance(one, str) for one in listed):
            raise ItemRejected(Reason.STRUCTURE, f"parameters of {name}")
        found.append((key.upper(), tuple(one.replace("\r\n", "\n") for one in listed)))
    if kind not in ("unknown", _DEFAULTS.get(name, "text")):
        found.append(("VALUE", (kind.upper(),)))
    if kind == "binary":
        found.append(("ENCODING", ("BASE64",)))
    return tuple(found)


def _value(kind: str, value: Any, name: str) -> str:
    """One value as iCalendar writes it (RFC 7265 section 3.6)."""
    if kind == "recur":
        return _rule(value, name)
    if kind == "period":
        if isinstance(value, list) and len(value) == 2:  # noqa: PLR2004 - start, and end or length
            return "/".join(_value("date-time", one, name) for one in value)
        return _squeezed(value, name)
    if isinstance(value, list):
        return ";".join(_value(kind, one, name) for one in value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ItemRejected(Reason.VALUE, f"{name} is no {kind}")
    if kind in ("date", "date-time", "time", "utc-offset"):
        return _squeezed(value, name) if not value.startswith(("P", "-P", "+P")) else value
    if kind in _PLAIN_TYPES:
        return value
    return escape(value.encode()).decode()


def _squeezed(value: Any, name: str) -> str:
    """A date or time without the separators of ISO 8601's extended form."""
    if not isinstance(value, str):
        raise ItemRejected(Reason.VALUE, f"{name} is no date or time")
    sign = value[:1] if value[:1] in ("-", "+") else ""
    return sign + value[len(sign) :].replace("-", "").replace(":", "")


def _rule(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ItemRejected(Reason.RECURRENCE, f"{name} is no rule")
    parts: list[str] = []
    for key, part in value.items():
        listed: Sequence[Any] = part if isinstance(part, list) else (part,)
        texts = [_squeezed(one, name) if key == "until" else str(one) for one in listed]
        parts.append(f"{key.upper()}={','.join(texts)}")
    return ";".join(parts)
