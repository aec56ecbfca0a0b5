"""Single lines of a calendar component: whether their values are sound, and how they are mended.

By what a property holds: text, dates, lengths, rules, numbers. What several lines say together is
in `calendar_checks`.
"""

import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.calendar_properties import (
    ORIGINAL_ZONE,
    RANGES,
    Holds,
    Property,
    in_range,
    made,
    property_of,
    relined,
    sound_moments,
    with_params,
)
from workers.formats.calendar_records import Node
from workers.formats.calendar_repairs import (
    Mending,
    decoded_printable,
    escaped,
    sound_text,
    tidied,
    tidy_rule,
)
from workers.formats.calendar_times import Moment, duration, moment, well_formed
from workers.formats.content_lines import Line
from workers.formats.mojibake import unmixed
from workers.formats.record_times import EARLIEST, SKEW
from workers.formats.recurrence import Flaw, rule
from workers.formats.time_zones import to_utc, zone_name

FIXED_STAMP: Final = b"19700101T000000Z"
"""The DTSTAMP of what has none: always the same, and plainly nobody's clock."""

TASK_STATUS: Final = frozenset({b"NEEDS-ACTION", b"COMPLETED", b"IN-PROCESS", b"CANCELLED"})
LEFT_OUT_EMPTY: Final = frozenset(
    {"RDATE", "EXDATE", "DTEND", "DUE", "DURATION", "COMPLETED", "CREATED", "LAST-MODIFIED"}
    | {"SEQUENCE", "PRIORITY", "PERCENT-COMPLETE", "GEO", "URL", "UID", "ATTENDEE", "ORGANIZER"}
    | {"STATUS", "CLASS", "TRANSP", "RELATED-TO", "ATTACH", "DTSTAMP"}
)
_ZONED: Final = frozenset({Holds.MOMENT, Holds.MOMENTS})
_INSTANT_BYTES: Final = 16
_FEWEST_FIXED: Final = 2
"""Characters that have to become right before text counts as encoded twice."""


class Zones(Struct, kw_only=True):
    """The VTIMEZONE components of a file, by TZID."""

    sound: Mapping[str, bytes]
    """As they are written into an object."""
    broken: frozenset[str] = frozenset()


class Bounds(Struct, frozen=True):
    """Between which moments bookkeeping can lie, as iCalendar writes them."""

    first: bytes
    last: bytes

    @classmethod
    def of(cls, rules: Rules) -> "Bounds":
        """The bounds that a plan's rules set."""
        first = (rules.service_start or EARLIEST).astimezone(UTC)
        last = (rules.loss + SKEW).astimezone(UTC)
        return cls(Moment(first, utc=True).text.encode(), Moment(last, utc=True).text.encode())


class LineMending:
    """One component while its lines are looked at."""

    def __init__(self, node: Node, *, zones: Zones, bounds: Bounds, mending: Mending) -> None:
        self.node = node
        self.zones = zones
        self.bounds = bounds
        self.mending = mending
        self.lines: list[Line] = []
        self.moments: dict[str, Moment] = {}
        self.used: set[str] = set()
        self.changed = False

    def mended(self, line: Line, known: Property) -> Line | None:
        """The line, itself where it is sound; None where it is left out.

        Raises:
            ItemRejected: no repair that is switched on mends it.
        """
        mend = _MEND[known.holds]
        if mend is not None:
            found = mend(self, line, known)
            if found is None:
                return None
            line = found
        elif not line.value and known.name in LEFT_OUT_EMPTY:
            self.empty(line.name)
            return None
        if known.zone is not None:
            if known.holds in _ZONED:
                return self.zoned(line, known.zone)
            if known.zone in self.zones.sound:
                self.used.add(known.zone)
        return line

    def tidy(self, line: Line) -> Line:
        """Parameters as RFC 5545 knows them, and text without a transfer encoding."""
        plain = tidied(line)
        if plain.params != line.params:
            self.mending.use("tidy-parameters", Reason.SYNTAX, f"parameters of {line.name}")
        if (plain.param("ENCODING") or "").upper() == "QUOTED-PRINTABLE":
            self.mending.use(
                "decode-quoted-printable", Reason.ENCODING, f"{line.name} is quoted-printable"
            )
            plain = decoded_printable(plain)
        return plain

    def empty(self, name: str) -> None:
        """A typed property that says nothing."""
        self.mending.use("drop-empty-properties", Reason.VALUE, f"{name} is empty")
        self.changed = True

    def text(self, line: Line, known: Property) -> Line | None:
        """TEXT, or a list of it."""
        value = line.value
        several = known.holds is Holds.TEXTS
        if not value and known.name in LEFT_OUT_EMPTY:
            self.empty(known.name)
            return None
        if (b"\\" in value or b";" in value or b"," in value) and not sound_text(
            value, several=several
        ):
            self.mending.use("escape-text", Reason.VALUE, f"{known.name} is not escaped")
            line = relined(line, escaped(value, several=several))
        if not value.isascii() and "fix-mojibake" in self.mending.allowed:
            meant, characters = unmixed(line.value)
            if characters >= _FEWEST_FIXED:
                self.mending.use("fix-mojibake", Reason.ENCODING, known.name)
                line = relined(line, meant)
        if (
            known.name == "STATUS"
            and self.node.name == "VTODO"
            and value.strip().upper() not in TASK_STATUS
        ):
            raise ItemRejected(Reason.VALUE, "STATUS is none of a task's")
        return line

    def trimmed(self, line: Line) -> Line | None:
        """The line without white space around its value; None where nothing else is there."""
        value = line.value.strip()
        if not value and line.name in LEFT_OUT_EMPTY:
            self.empty(line.name)
            return None
        if value == line.value:
            return line
        self.mending.use("tidy-values", Reason.VALUE, f"{line.name} has white space around it")
        return relined(line, value)

    def moment(self, line: Line, known: Property) -> Line | None:
        """DTSTART, DTEND, DUE, RECURRENCE-ID."""
        found = moment(line.value.decode("latin-1"))
        if found is None:
            trimmed = self.trimmed(line)
            if trimmed is None:
                return None
            line = trimmed
            found = moment(line.value.decode("latin-1"))
            if found is None:
                raise ItemRejected(Reason.VALUE, f"{known.name} is no date or time")
        self.moments.setdefault(known.name, found)
        if found.all_day is not known.dated:
            line = self.declared(line, known, "DATE" if found.all_day else "DATE-TIME")
        if known.zone is not None and (found.all_day or found.utc):
            line = self.unzoned(line)
        return line

    def moments_listed(self, line: Line, known: Property) -> Line | None:
        """EXDATE, RDATE."""
        value = line.value
        if b" " in value or not value or value.startswith(b",") or value.endswith(b","):
            parts = b",".join(part for part in value.replace(b" ", b"").split(b",") if part)
            if not parts:
                self.empty(known.name)
                return None
            self.mending.use("tidy-values", Reason.VALUE, f"{known.name} has empty entries")
            line = relined(line, parts)
        text = line.value.decode("latin-1")
        if not sound_moments(text):
            raise ItemRejected(Reason.VALUE, f"{known.name} holds what is no date, time or period")
        kinds = {
            "PERIOD" if "/" in one else "DATE-TIME" if "T" in one.upper() else "DATE"
            for one in text.split(",")
        }
        if len(kinds) > 1:
            raise ItemRejected(Reason.VALUE, f"{known.name} mixes value types")
        (kind,) = kinds
        if kind != (known.declared or "DATE-TIME"):
            line = self.declared(line, known, kind)
        if known.zone is not None and (kind == "DATE" or text.upper().endswith("Z")):
            line = self.unzoned(line)
        return line

    def declared(self, line: Line, known: Property, kind: str) -> Line:
        """The line with the VALUE that its value shows."""
        if known.declared and known.declared != kind:
            raise ItemRejected(Reason.VALUE, f"{known.name} is not of the type it declares")
        self.mending.use("declare-dates", Reason.VALUE, f"{known.name} does not say it is a {kind}")
        others = tuple(pair for pair in line.params if pair[0] != "VALUE")
        return with_params(line, (*others, ("VALUE", (kind,))))

    def unzoned(self, line: Line) -> Line:
        """The line without its TZID, which means nothing there."""
        self.mending.use("drop-idle-zones", Reason.VALUE, f"{line.name} has a TZID and needs none")
        return with_params(line, tuple(pair for pair in line.params if pair[0] != "TZID"))

    def zoned(self, line: Line, zone: str) -> Line:
        """The line in a zone that can be found: in the file, or by its name."""
        if property_of(line).zone is None:
            return line
        if zone in self.zones.sound:
            self.used.add(zone)
            return line
        name = zone_name(zone)
        if name is None:
            raise ItemRejected(Reason.TIME_ZONE, f"the TZID of {line.name} is not known")
        if zone in self.zones.broken:
            self.mending.use("drop-broken-time-zones", Reason.TIME_ZONE, "its VTIMEZONE is broken")
        if name == zone:
            return line
        self.mending.use("map-time-zones", Reason.TIME_ZONE, f"the TZID of {line.name}")
        params = tuple((key, (name,) if key == "TZID" else values) for key, values in line.params)
        return with_params(line, (*params, (ORIGINAL_ZONE, (zone,))))

    def instant(self, line: Line, known: Property) -> Line | None:
        """DTSTAMP, CREATED, LAST-MODIFIED, COMPLETED."""
        value = line.value
        if (
            len(value) == _INSTANT_BYTES
            and value.endswith(b"Z")
            and self.bounds.first <= value <= self.bounds.last
            and well_formed(value)
        ):
            return line if known.zone is None else self.unzoned(line)
        trimmed = self.trimmed(line)
        if trimmed is None:
            return None
        line = self.in_utc(trimmed, known)
        found = moment(line.value.decode("latin-1"))
        sound = found is not None and found.utc
        if sound and self.bounds.first <= line.value <= self.bounds.last:
            return line
        if sound and known.name == "DTSTAMP" and line.value == FIXED_STAMP:
            return line
        if known.name == "DTSTAMP":
            self.mending.use("fix-dtstamp", Reason.VALUE, "DTSTAMP is no time in UTC")
            return made("DTSTAMP", FIXED_STAMP)
        reason = Reason.TIME_TRAVEL if sound else Reason.VALUE
        self.mending.use("drop-impossible-times", reason, f"{known.name} cannot be")
        self.mending.missing(known.name)
        if known.name == "COMPLETED" and not any(
            other.name == "STATUS" for other in self.node.lines
        ):
            return made("STATUS", b"COMPLETED")
        return None

    def in_utc(self, line: Line, known: Property) -> Line:
        """A local time in a zone that is known by its name, as the instant that it is."""
        found = moment(line.value.decode("latin-1"))
        if found is None or found.all_day or known.zone is None:
            return line
        name = zone_name(known.zone)
        if found.utc:
            return self.unzoned(line)
        if name is None:
            return line
        self.mending.use("write-in-utc", Reason.VALUE, f"{known.name} is not in UTC")
        instant = Moment(to_utc(found.at, name), utc=True).text.encode()
        params = tuple(pair for pair in line.params if pair[0] not in ("TZID", "VALUE"))
        return made(line.name, instant, params)

    def length(self, line: Line, known: Property) -> Line | None:
        """DURATION."""
        found = duration(line.value.decode("latin-1"))
        if found is None or line.value.endswith((b"T", b"t")):
            trimmed = self.trimmed(line)
            if trimmed is None:
                return None
            line = trimmed
            if line.value.endswith((b"T", b"t")):
                self.mending.use("tidy-values", Reason.VALUE, f"{known.name} ends too early")
                line = relined(line, line.value.rstrip(b"Tt"))
            found = duration(line.value.decode("latin-1"))
        if found is None or found < timedelta(0):
            raise ItemRejected(Reason.VALUE, f"{known.name} is no duration")
        return line

    def trigger(self, line: Line, known: Property) -> Line | None:
        """When an alarm goes off."""
        text = line.value.decode("latin-1")
        found = moment(text)
        if duration(text) is None and (found is None or found.all_day):
            trimmed = self.trimmed(line)
            text = trimmed.value.decode("latin-1") if trimmed is not None else ""
            found = moment(text)
            if trimmed is None or (duration(text) is None and (found is None or found.all_day)):
                raise ItemRejected(Reason.VALUE, f"{known.name} is no duration or time")
            return trimmed
        return line

    def rule(self, line: Line, known: Property) -> Line | None:
        """RRULE, EXRULE: never dropped."""
        text = line.value.decode("latin-1")
        found = rule(text)
        if isinstance(found, Flaw):
            tidy = tidy_rule(text)
            again = rule(tidy) if tidy != text else found
            if isinstance(again, Flaw):
                raise ItemRejected(Reason.RECURRENCE, f"{known.name}: {found.detail}")
            self.mending.use("tidy-values", Reason.RECURRENCE, f"{known.name} is untidy")
            return relined(line, tidy.encode("latin-1"))
        return line

    def number(self, line: Line, known: Property) -> Line | None:
        """PRIORITY, PERCENT-COMPLETE, SEQUENCE, REPEAT."""
        name = known.name
        if line.value.isdigit() and in_range(name, line.value.decode("ascii")):
            return line
        trimmed = self.trimmed(line)
        if trimmed is None:
            return None
        if in_range(name, trimmed.value.decode("latin-1")):
            return trimmed
        if name == "SEQUENCE":
            self.mending.use("drop-impossible-times", Reason.VALUE, "SEQUENCE is no number")
            self.mending.missing(name)
            return None
        low, high = RANGES[name]
        raise ItemRejected(Reason.VALUE, f"{name} is not within {low} and {high}")

    def binary(self, line: Line, known: Property) -> Line | None:
        """Base64."""
        try:
            binascii.a2b_base64(b"".join(line.value.split()), strict_mode=True)
        except binascii.Error:
            raise ItemRejected(Reason.VALUE, f"{known.name} is no base64") from None
        return line


_MEND: Final[Mapping[Holds, Callable[[LineMending, Line, Property], Line | None] | None]] = {
    Holds.OTHER: None,
    Holds.TEXT: LineMending.text,
    Holds.TEXTS: LineMending.text,
    Holds.MOMENT: LineMending.moment,
    Holds.MOMENTS: LineMending.moments_listed,
    Holds.INSTANT: LineMending.instant,
    Holds.LENGTH: LineMending.length,
    Holds.TRIGGER: LineMending.trigger,
    Holds.RULE: LineMending.rule,
    Holds.NUMBER: LineMending.number,
    Holds.PLACE: None,
    Holds.ADDRESS: None,
    Holds.BINARY: LineMending.binary,
}


def instant(at: Moment, zone: str | None) -> datetime | None:
    """Naive, in UTC where the zone is known by its name; dates and floating times as they are."""
    if zone is None or at.utc or at.all_day:
        return at.at
    name = zone_name(zone)
    return None if name is None else to_utc(at.at, name).replace(tzinfo=None)
