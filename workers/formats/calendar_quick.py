"""The quick way for components that need nothing: most of what there is.

Looks at a component once, line by line, and gives its canonical form, or gives up: at the first
thing that is not plainly right `calendar_checks` decides instead. It decides nothing of its own:
what it accepts, `calendar_checks` accepts unchanged and with the same digest, and tests say so.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from msgspec import Struct

from workers.formats.calendar_meaning import form
from workers.formats.calendar_properties import (
    Holds,
    Property,
    ZoneNames,
    entries,
    in_range,
    made,
    properties,
    property_of,
    sound_moments,
)
from workers.formats.calendar_repairs import sound_text
from workers.formats.calendar_times import Moment, duration, moment, well_formed
from workers.formats.calendar_values import LEFT_OUT_EMPTY, TASK_STATUS, Bounds, Zones
from workers.formats.calendar_writing import as_written
from workers.formats.content_lines import Line, lex, unescape
from workers.formats.mojibake import looks_like_mojibake
from workers.formats.recurrence import Rule, rule
from workers.formats.time_zones import zone_name


class Quick(Struct, frozen=True, gc=False):
    """A sound component that stands alone."""

    content: bytes
    """Verbatim, with CRLF."""
    canonical: bytes
    uid: str
    changed: bytes
    """LAST-MODIFIED."""
    sequence: int
    zones: tuple[str, ...]
    """TZIDs whose VTIMEZONE it needs."""


def quick(raw: bytes, kind: str, *, zones: Zones, bounds: Bounds, means: ZoneNames) -> Quick | None:
    """The component in `raw`, which is UTF-8; None where a closer look has to decide."""
    content = as_written(raw)
    if content is None:
        return None
    plain = content
    if b"\r\n " in plain or b"\r\n\t" in plain:
        plain = plain.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
    lines = plain.split(b"\r\n")
    look = _Look(kind, zones, bounds, means)
    seen = look.seen
    if not look.through(lines) or not look.together():
        return None
    return Quick(
        content,
        form(kind, look.entries, look.alarms),
        unescape(seen["UID"]).decode("utf-8", "surrogateescape").strip(),
        seen.get("LAST-MODIFIED", b""),
        int(seen.get("SEQUENCE", b"0")),
        tuple(look.used),
    )


_ALARM: Final = "VALARM"
_BEGIN_ALARM: Final = b"BEGIN:VALARM"
_END_ALARM: Final = b"END:VALARM"
_EDGES: Final = frozenset({b"BEGIN", b"END"})
_INSTANT_BYTES: Final = 16
_PLAIN: Final = re.compile(rb"[^\\,;\x80-\xff]+").fullmatch
_DATE_BYTES: Final = 8
_LONGEST_NUMBER: Final = 9


class _Look:
    """One component while it is looked at."""

    __slots__ = (
        "alarms",
        "bounds",
        "entries",
        "found",
        "kind",
        "means",
        "places",
        "rule",
        "seen",
        "used",
        "zones",
    )

    def __init__(self, kind: str, zones: Zones, bounds: Bounds, means: ZoneNames) -> None:
        self.kind = kind
        self.zones = zones
        self.bounds = bounds
        self.means = means
        self.entries: list[bytes] = []
        self.found = self.entries
        """Where entries go: the component's own, or those of the alarm that is open."""
        self.alarms: list[bytes] = []
        self.seen: dict[str, bytes] = {}
        self.used: list[str] = []
        self.places: dict[str, str] = {}
        """TZID by property."""
        self.rule: Rule | None = None

    def through(self, lines: list[bytes]) -> bool:  # noqa: C901, PLR0912 - one loop: calls cost most here
        """Look at every line; False where one is not plainly right."""
        found, seen, heads = self.entries, self.seen, properties
        edge = self.kind.encode()
        if lines[0] != b"BEGIN:" + edge or lines[-2:] != [b"END:" + edge, b""]:
            return False
        for line in lines[1:-2]:
            head, colon, value = line.partition(b":")
            if not colon:
                return False
            known = heads.get(head)
            if known is None:
                if head in _EDGES:
                    if line == _BEGIN_ALARM and found is self.entries:
                        found = self.found = []
                        continue
                    if line == _END_ALARM and found is not self.entries:
                        self.alarms.append(form(_ALARM, found, ()))
                        found = self.found = self.entries
                        continue
                    return False
                learned = _learned(line)
                if learned is None:
                    return False
                known, value = learned
            if known.verbatim and _PLAIN(value) is not None:
                entry = known.canonical and known.canonical + value
            elif not known.tidy or known.stray_zone:
                return False
            elif known.repeats:
                entry = _lines.get(line)
                if entry is None:
                    entry = _LOOKS[known.holds](self, known, value)
                    if entry is None:
                        return False
                    _keep(_lines, line, entry)
            else:
                entry = _LOOKS[known.holds](self, known, value)
                if entry is None:
                    return False
            if entry:
                found.append(entry)
            if known.single and found is self.entries:
                if known.name in seen:
                    return False
                seen[known.name] = value if known.zone is None else value + b"@"
        return found is self.entries

    def together(self) -> bool:
        """Whether the lines make an event or a task that needs nothing."""
        seen = self.seen
        if not seen.get("UID", b"").strip() or "DTSTAMP" not in seen or "RECURRENCE-ID" in seen:
            return False
        start = seen.get("DTSTART")
        if self.rule is not None and self.rule.until is not None and start is not None:
            until = self.rule.until
            floats = start[-1:] not in (b"@", b"Z")
            if until.all_day is not (len(start) == _DATE_BYTES) or (
                not until.all_day and until.utc is floats
            ):
                return False
        if self.kind != "VEVENT":
            return "DURATION" not in seen and seen.get("STATUS", b"COMPLETED") in TASK_STATUS
        if start is None:
            return False
        end = seen.get("DTEND")
        if end is None:
            return "DURATION" not in seen or bool(duration(seen["DURATION"].decode("latin-1")))
        # In another form or zone, or empty: not for this look.
        alike = len(start) == len(end) and start[-1:] == end[-1:]
        return (
            alike
            and start < end
            and "DURATION" not in seen
            and self.places.get("DTSTART") == self.places.get("DTEND")
        )

    # By what a property holds: its entry, empty where it means nothing, None where unsure ------

    def other(self, known: Property, value: bytes) -> bytes | None:
        """Whatever is kept as it is."""
        if not value:
            return None if known.name in LEFT_OUT_EMPTY else b""
        prefix = known.canonical
        if not prefix:
            return b""
        return prefix + (unescape(value) if b"\\" in value else value)

    def text(self, known: Property, value: bytes) -> bytes | None:
        """TEXT."""
        if (b"," in value or b";" in value or b"\\" in value) and not sound_text(value):
            return None
        if not value.isascii() and looks_like_mojibake(value):
            return None
        if known.upper:
            upper = value.upper()
            plain = upper == upper.strip() and b"\\" not in upper
            return known.canonical + upper if plain and upper else None
        return self.other(known, value)

    def slowly(self, known: Property, value: bytes) -> bytes | None:
        """What is rare: as `calendar_checks` would find it, entry by entry."""
        if known.holds is Holds.TEXTS:
            if not sound_text(value, several=True) or looks_like_mojibake(value):
                return None
        elif known.holds is Holds.MOMENTS:
            return self.moments(known, value)
        elif not value:
            return None
        self.entries_of(known, value)
        return b""

    def entries_of(self, known: Property, value: bytes) -> None:
        """Several entries of one line."""
        line = Line(known.name, (), value, 0, 0)
        self.found.extend(entries(line, known, self.means))

    def moment(self, known: Property, value: bytes) -> bytes | None:
        """DTSTART, DTEND, DUE."""
        if not well_formed(value):
            return None
        if known.dated is not (len(value) == _DATE_BYTES):
            return None
        zone = known.zone
        if zone is None:
            return known.canonical + value
        if known.dated or value.endswith(b"Z"):
            return None
        named = self.zone(zone)
        if named is None:
            return None
        if self.found is self.entries:
            self.places[known.name] = zone
        return known.canonical + value + (b"Z" if named == b"Z" else b"@" + named)

    def moments(self, known: Property, value: bytes) -> bytes | None:
        """EXDATE, RDATE."""
        text = value.decode("latin-1")
        if not value or b" " in value or not sound_moments(text) or text != text.upper():
            return None
        kinds = {
            "PERIOD" if "/" in one else "DATE-TIME" if "T" in one else "DATE"
            for one in text.split(",")
        }
        if kinds != {known.declared or "DATE-TIME"}:
            return None
        if known.zone is not None and (
            "DATE" in kinds or b"Z" in value or self.zone(known.zone) is None
        ):
            return None
        self.entries_of(known, value)
        return b""

    def zone(self, zone: str) -> bytes | None:
        """What a TZID means; None where it has to be mapped or is not known."""
        if zone in self.zones.sound:
            if zone not in self.used:
                self.used.append(zone)
        elif zone_name(zone) != zone or zone in self.zones.broken:
            return None
        return self.means(zone)

    def instant(self, known: Property, value: bytes) -> bytes | None:
        """DTSTAMP, CREATED, LAST-MODIFIED, COMPLETED."""
        bounds = self.bounds
        if (
            len(value) != _INSTANT_BYTES
            or not bounds.first <= value <= bounds.last
            or not well_formed(value)
            or not value.endswith(b"Z")
        ):
            return None
        return known.canonical and known.canonical + value

    def length(self, known: Property, value: bytes) -> bytes | None:
        """DURATION, TRIGGER."""
        text = value.decode("latin-1")
        found = duration(text)
        if found is None or value.endswith(b"T"):
            if known.holds is not Holds.TRIGGER or not _is_time(moment(text)):
                return None
        elif found.days < 0 and known.holds is Holds.LENGTH:
            return None
        (entry,) = entries(made(known.name, value), known, self.means)
        return entry

    def rule_of(self, known: Property, value: bytes) -> bytes | None:
        """RRULE, EXRULE."""
        found = _rules.get(value)
        if found is None:
            parsed = rule(value.decode("latin-1"))
            if not isinstance(parsed, Rule):
                return None
            found = parsed, parsed.canonical.encode()
            _keep(_rules, value, found)
        if known.single and self.found is self.entries:
            self.rule = found[0]
        return known.canonical + found[1]

    def number(self, known: Property, value: bytes) -> bytes | None:
        """PRIORITY, PERCENT-COMPLETE, SEQUENCE, REPEAT."""
        if not value.isdigit() or len(value) > _LONGEST_NUMBER:
            return None
        if not in_range(known.name, value.decode("ascii")):
            return None
        return known.canonical and known.canonical + b"%d" % int(value)

    def address(self, known: Property, value: bytes) -> bytes | None:
        """ATTENDEE, ORGANIZER."""
        if value.startswith(b"mailto:") and value == value.strip():
            return known.canonical + value
        return self.slowly(known, value)

    def unsure(self, known: Property, value: bytes) -> bytes | None:
        """What wants a closer look."""
        del known, value


def _is_time(found: Moment | None) -> bool:
    return found is not None and not found.all_day


def _learned(line: bytes) -> tuple[Property, bytes] | None:
    """A line whose head was not met before, or holds a colon in quotes."""
    found = lex(line + b"\r\n")
    if len(found) != 1 or not isinstance(found[0], Line):
        return None
    return property_of(found[0]), found[0].value


_Value = TypeVar("_Value")

# Rules, words and lengths repeat. Bounded, because data is hostile.
_MOST_KEPT: Final = 4_096
_LONGEST_KEPT: Final = 128
_rules: dict[bytes, tuple[Rule, bytes]] = {}
_lines: dict[bytes, bytes] = {}


def _keep(kept: dict[bytes, _Value], key: bytes, value: _Value) -> None:
    if len(key) <= _LONGEST_KEPT:
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        kept[key] = value


_LOOKS: Final[Mapping[Holds, Callable[[_Look, Property, bytes], bytes | None]]] = MappingProxyType(
    {
        Holds.OTHER: _Look.other,
        Holds.TEXT: _Look.text,
        Holds.TEXTS: _Look.slowly,
        Holds.MOMENT: _Look.moment,
        Holds.MOMENTS: _Look.slowly,
        Holds.INSTANT: _Look.instant,
        Holds.LENGTH: _Look.length,
        Holds.TRIGGER: _Look.length,
        Holds.RULE: _Look.rule_of,
        Holds.NUMBER: _Look.number,
        Holds.PLACE: _Look.slowly,
        Holds.ADDRESS: _Look.address,
        Holds.BINARY: _Look.unsure,
    }
)
