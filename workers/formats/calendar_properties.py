"""What each property of iCalendar holds, and when two of them mean the same.

One table (RFC 5545, 7986, 9073, 9074, 9253) serves validation and the canonical form. What the
table does not know is kept as it is and compared by its unescaped text.

The canonical form leaves out identity and bookkeeping (UID, DTSTAMP, SEQUENCE …), and everything
that servers change without changing the meaning: order, folding, quoting, VALUE where the value
itself shows its type, one list in several lines, names of zones that are the same zone.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import IntEnum, auto
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from workers.formats.calendar_times import duration, moment, period
from workers.formats.content_lines import Line, Params, fields, lex, unescape, write_params
from workers.formats.recurrence import Rule, rule


class Holds(IntEnum):
    """What a property's value is made of."""

    OTHER = auto()
    """Kept as it is."""
    TEXT = auto()
    TEXTS = auto()
    """A list by commas."""
    MOMENT = auto()
    """DATE or DATE-TIME, in the zone that TZID names."""
    MOMENTS = auto()
    """A list of them, or of PERIODs."""
    INSTANT = auto()
    """DATE-TIME in UTC."""
    LENGTH = auto()
    TRIGGER = auto()
    """DURATION, or DATE-TIME in UTC."""
    RULE = auto()
    NUMBER = auto()
    PLACE = auto()
    """Two numbers: GEO."""
    ADDRESS = auto()
    BINARY = auto()
    """Base64, whatever the name."""


_HOLDS: Final[Mapping[str, Holds]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "CONTACT", "NAME", "UID"), Holds.TEXT
        ),
        **dict.fromkeys(("RELATED-TO", "STATUS", "CLASS", "TRANSP", "ACTION"), Holds.TEXT),
        **dict.fromkeys(("CATEGORIES", "RESOURCES"), Holds.TEXTS),
        **dict.fromkeys(("DTSTART", "DTEND", "DUE", "RECURRENCE-ID"), Holds.MOMENT),
        **dict.fromkeys(("EXDATE", "RDATE"), Holds.MOMENTS),
        **dict.fromkeys(("DTSTAMP", "CREATED", "LAST-MODIFIED", "COMPLETED"), Holds.INSTANT),
        "DURATION": Holds.LENGTH,
        "TRIGGER": Holds.TRIGGER,
        **dict.fromkeys(("RRULE", "EXRULE"), Holds.RULE),
        **dict.fromkeys(("PRIORITY", "PERCENT-COMPLETE", "SEQUENCE", "REPEAT"), Holds.NUMBER),
        "GEO": Holds.PLACE,
        **dict.fromkeys(("ATTENDEE", "ORGANIZER"), Holds.ADDRESS),
    }
)

SINGLE: Final = frozenset(
    {"UID", "DTSTAMP", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "RRULE", "CLASS"}
    | {"CREATED", "LAST-MODIFIED", "COMPLETED", "SEQUENCE", "SUMMARY", "DESCRIPTION", "LOCATION"}
    | {"STATUS", "TRANSP", "PRIORITY", "PERCENT-COMPLETE", "GEO", "URL", "ORGANIZER", "COLOR"}
)
"""At most once in an event, task or journal (which may have several DESCRIPTIONs)."""

RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "PRIORITY": (0, 9),
        "PERCENT-COMPLETE": (0, 100),
        "SEQUENCE": (0, 2**31 - 1),
        "REPEAT": (0, 2**31 - 1),
    }
)

_BOOKKEEPING: Final = frozenset(
    {"UID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE", "PRODID", "VERSION", "REV"}
)
ORIGINAL_ZONE: Final = "X-REINSTATE-TZID"
"""The parameter that keeps a TZID as it was before it was mapped."""
WHOLE_DAYS: Final = "X-REINSTATE-DAYS"
"""The parameter of an EXDATE whose times stand for their days."""

_DAY: Final = len("20091005")

_UNMEANT: Final = frozenset(
    {"VALUE", "TZID", "ENCODING", "CHARSET", ORIGINAL_ZONE, WHOLE_DAYS, "X-VOBJ-ORIGINAL-TZID"}
    | {"X-VOBJ-FLOATINGTIME-ALLOWED", "SCHEDULE-AGENT", "SCHEDULE-STATUS", "SCHEDULE-FORCE-SEND"}
)
_WORDS: Final = frozenset(
    {"PARTSTAT", "ROLE", "CUTYPE", "RSVP", "RELTYPE", "RELATED", "FBTYPE", "RANGE"}
)
_ASSUMED: Final = frozenset({("RELTYPE", "PARENT"), ("RELATED", "START")})
_WORD_VALUES: Final = frozenset({"STATUS", "CLASS", "TRANSP", "ACTION"})
_UTC_NAMES: Final = frozenset(
    {"UTC", "Etc/UTC", "Etc/GMT", "GMT", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal"}
    | {"Etc/Universal", "Etc/GMT0", "Etc/GMT+0", "Etc/GMT-0", "GMT0", "GMT+0", "GMT-0"}
    | {"Greenwich", "Etc/Greenwich"}
)


class Property(Struct, frozen=True, gc=False):
    """What the head of a line says: equal heads, equal properties."""

    name: str
    holds: Holds
    single: bool
    zone: str | None
    """TZID, unquoted."""
    declared: str
    """VALUE in upper case, empty where there is none."""
    canonical: bytes
    """Name and the parameters that mean something, in one order; empty: bookkeeping."""
    tidy: bool
    """No parameter without a name, no transfer encoding of text."""
    dated: bool
    """It says VALUE=DATE."""
    upper: bool
    """Its value is a word that may be written in any case."""
    whole_days: bool
    """Its times stand for their days."""
    repeats: bool
    """Few values are all that it ever has, and they mean the same everywhere."""
    stray_zone: bool
    """It has a TZID and holds no time."""
    verbatim: bool
    """It is tidy, and its value means itself where nothing in it is escaped."""


properties: Final[dict[bytes, Property]] = {}
"""What was met before, by head. Bounded, because data is hostile."""
_MOST_KEPT: Final = 4_096
_LONGEST_KEPT: Final = 256

SEPARATOR: Final = b"\x1f"
"""Between the parts of a canonical entry. Control characters are never part of a valid text."""


def property_of(line: Line) -> Property:
    """What a line is; quick for heads met before."""
    known = properties.get(line.head)
    if known is not None:
        return known
    known = _study(line)
    if len(line.head) <= _LONGEST_KEPT:
        if len(properties) >= _MOST_KEPT:
            properties.clear()
        properties[line.head] = known
    return known


def _study(line: Line) -> Property:
    name, params = line.name, line.params
    found = {key: values for key, values in reversed(params)}  # noqa: C416 - the first of several counts
    declared = "".join(found.get("VALUE", ())).upper()
    encoding = "".join(found.get("ENCODING", ())).upper()
    binary = encoding in ("BASE64", "B") or declared == "BINARY"
    holds = Holds.BINARY if binary else _HOLDS.get(name, Holds.OTHER)
    meant: list[str] = []
    for key, values in params:
        kept = sorted(value.strip() for value in values if value.strip())
        if key in _UNMEANT or not kept:
            continue
        if key in _WORDS:
            kept = [value.upper() for value in kept]
        if (key, kept[0]) not in _ASSUMED:
            meant.append(f"{key}={','.join(kept)}")
    canonical = ";".join([name, *sorted(meant)]).encode("utf-8", "surrogateescape")
    zone = found.get("TZID")
    tidy = (
        all(key and values and values == tidy_values(line, values) for key, values in params)
        and encoding != "QUOTED-PRINTABLE"
        and len(found) == len(params)
    )
    return Property(
        name=name,
        holds=holds,
        single=name in SINGLE,
        zone=",".join(zone) if zone else None,
        declared=declared,
        canonical=b"" if name in _BOOKKEEPING else canonical + SEPARATOR,
        tidy=tidy,
        dated=declared == "DATE",
        upper=name in _WORD_VALUES,
        whole_days=WHOLE_DAYS in found,
        repeats=not zone
        and (name in _WORD_VALUES or holds in (Holds.TRIGGER, Holds.LENGTH, Holds.NUMBER)),
        stray_zone=bool(zone) and holds not in (Holds.MOMENT, Holds.MOMENTS),
        verbatim=tidy
        and not zone
        and holds in (Holds.OTHER, Holds.TEXT)
        and name not in _WORD_VALUES,
    )


def tidy_values(line: Line, values: tuple[str, ...]) -> tuple[str, ...]:
    """A parameter's values without white space around them and without stray quotes."""
    if b"^'" not in line.head:  # RFC 6868: a quote that is meant
        values = tuple(value.replace('"', "") for value in values)
    return tuple(value.strip() for value in values)


def made(name: str, value: bytes, params: Params = ()) -> Line:
    """A line that was in no file."""
    head = name.encode("utf-8", "surrogateescape") + write_params(params)
    return Line(name, params, value, 0, 0, head=head)


def relined(line: Line, value: bytes) -> Line:
    """The same line with another value, its head as it was."""
    return Line(line.name, line.params, value, line.offset, line.length, head=line.head)


def with_params(line: Line, params: Params) -> Line:
    """The same line with other parameters."""
    return made(line.name, line.value, params)


def lines_of(data: bytes) -> list[Line]:
    """The lines of a piece of iCalendar that is known to be sound."""
    return [lexeme for lexeme in lex(data) if isinstance(lexeme, Line)]


# Canonical form --------------------------------------------------------------------------------

ZoneNames = Callable[[str], bytes]
"""What a TZID means, in one spelling for all that mean the same."""


def entries(line: Line, known: Property, zones: ZoneNames) -> Iterable[bytes]:
    """What a line adds to the canonical form of its component: nothing, one entry, or several."""
    prefix, value = known.canonical, line.value
    if not prefix:
        return ()
    holds = known.holds
    if holds is Holds.TEXT or holds is Holds.OTHER:
        if b"\\" in value:
            value = unescape(value)
        if known.upper:
            value = value.upper()
        return (prefix + value,) if value else ()
    if holds is Holds.MOMENT:
        return (prefix + _moment(value, known.zone, zones),)
    if holds is Holds.TEXTS:
        return [prefix + unescape(one) for one in fields(value, b",") if one]
    if holds is Holds.MOMENTS and known.whole_days:
        return [prefix + one.strip()[:_DAY] for one in value.split(b",") if one]
    if holds is Holds.MOMENTS:
        return [prefix + _moment(one, known.zone, zones) for one in value.split(b",") if one]
    return (prefix + _plain(holds, value),) if value else ()


def _moment(value: bytes, zone: str | None, zones: ZoneNames) -> bytes:
    text = value.strip().upper()
    if b"/" in text:
        return _period(text, zone, zones)
    if zone is None or text.endswith(b"Z") or b"T" not in text:
        return text
    named = zones(zone)
    return text + b"Z" if named == b"Z" else text + b"@" + named


def _period(text: bytes, zone: str | None, zones: ZoneNames) -> bytes:
    start, _, end = text.partition(b"/")
    if end.startswith((b"P", b"+P", b"-P")):
        return _moment(start, zone, zones) + b"/" + _length(end)
    return _moment(start, zone, zones) + b"/" + _moment(end, zone, zones)


def _length(value: bytes) -> bytes:
    length = duration(value.strip().decode("latin-1"))
    return value if length is None else b"%d" % (length // timedelta(seconds=1))


def _plain(holds: Holds, value: bytes) -> bytes:
    """The values that have no zone and no list."""
    value = value.strip()
    text = value.decode("latin-1")
    match holds:
        case Holds.RULE:
            found = rule(text)
            return found.canonical.encode() if isinstance(found, Rule) else value.upper()
        case Holds.LENGTH:
            return _length(value)
        case Holds.TRIGGER:
            return value.upper() if moment(text) is not None else _length(value)
        case Holds.NUMBER:
            return b"%d" % int(text) if _is_number(text) else value
        case Holds.PLACE:
            return _place(text)
        case Holds.ADDRESS:
            return b"mailto:" + value[7:] if value[:7].lower() == b"mailto:" else value
        case Holds.BINARY:
            return b"".join(value.split())
        case _:
            return value


def _place(text: str) -> bytes:
    try:
        numbers = text.replace("\\;", ";").split(";")  # vobject escapes it in what is no event
        return ";".join(f"{float(number):.6f}" for number in numbers).encode()
    except ValueError:
        return text.encode("latin-1")


def _is_number(text: str) -> bool:
    return len(text) < 12 and text.removeprefix("-").isdecimal() and text.isascii()  # noqa: PLR2004 - more is no number


def in_range(name: str, text: str) -> bool:
    """Whether a NUMBER is one, and one that its property allows."""
    low, high = RANGES[name]
    return _is_number(text) and low <= int(text) <= high


def is_utc(name: str) -> bool:
    """Whether an IANA name is one of UTC's."""
    return name in _UTC_NAMES


def sound_moments(value: str) -> bool:
    """Whether every entry of an EXDATE or RDATE is a DATE, DATE-TIME or PERIOD."""
    return all((period(one) if "/" in one else moment(one)) is not None for one in value.split(","))
