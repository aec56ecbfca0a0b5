"""Whether one component of a calendar can be restored, and what has to be mended before it can.

The rules of RFC 5545 section 3.6 that a restored object has to keep, each with the repair that
may be applied where it is broken. Damage that no repair mends raises `ItemRejected`, which ends at
the component's object: nothing beyond it is touched.
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
from workers.formats.recurrence import Flaw, Rule, rule
from workers.formats.time_zones import to_utc, zone_name

FIXED_STAMP: Final = b"19700101T000000Z"
"""The DTSTAMP of what has none: always the same, and plainly nobody's clock."""

TASK_STATUS: Final = frozenset({b"NEEDS-ACTION", b"COMPLETED", b"IN-PROCESS", b"CANCELLED"})
LEFT_OUT_EMPTY: Final = frozenset(
    {"RDATE", "EXDATE", "DTEND", "DUE", "DURATION", "COMPLETED", "CREATED", "LAST-MODIFIED"}
    | {"SEQUENCE", "PRIORITY", "PERCENT-COMPLETE", "GEO", "URL", "UID", "ATTENDEE", "ORGANIZER"}
    | {"STATUS", "CLASS", "TRANSP", "RELATED-TO", "ATTACH", "DTSTAMP"}
)
_NEVER_TWICE: Final = frozenset(
    {"UID", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "COMPLETED"}
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


class Checked(Struct, kw_only=True):
    """One component that may be restored."""

    name: str
    lines: list[Line]
    children: list["Checked"]
    changed: bool
    """Its lines are not those of the source any more."""
    zones: set[str]
    """TZIDs that need their VTIMEZONE."""
    start: Moment | None = None
    start_zone: str | None = None
    recurs: bool = False
    """It has an RRULE or RDATE."""
    overrides: bytes = b""
    """Which instance it overrides, in one spelling; empty: it is a master."""

    def first(self, name: str) -> Line | None:
        """Its first property of that name."""
        for line in self.lines:
            if line.name == name:
                return line
        return None


def check(node: Node, *, zones: Zones, bounds: Bounds, mending: Mending) -> Checked:
    """A VEVENT, VTODO or VJOURNAL, mended where that is needed and allowed.

    Raises:
        ItemRejected: no repair that is switched on makes it whole.
    """
    if node.flaws:
        flaw = node.flaws[0]
        if flaw.reason is not Reason.SYNTAX:
            raise ItemRejected(flaw.reason, flaw.detail)
        mending.use("drop-unreadable-lines", flaw.reason, flaw.detail)
        mending.missing("unreadable lines")
    checker = _Checker(node, zones=zones, bounds=bounds, mending=mending, top=True)
    checker.changed |= bool(node.flaws)
    checker.run()
    match node.name:
        case "VEVENT":
            checker.check_event()
        case "VTODO":
            checker.check_task()
        case _:
            checker.check_rule()
    return checker.result()


class _Checker:
    """One component while it is checked."""

    def __init__(
        self, node: Node, *, zones: Zones, bounds: Bounds, mending: Mending, top: bool
    ) -> None:
        self.node = node
        self.zones = zones
        self.bounds = bounds
        self.mending = mending
        self.top = top
        self.lines: list[Line] = []
        self.children: list[Checked] = []
        self.single: dict[str, int] = {}
        self.moments: dict[str, Moment] = {}
        self.used: set[str] = set()
        self.changed = False

    # One line after the other ------------------------------------------------------------------

    def run(self) -> None:
        """Look at every line by itself, and at the components inside."""
        lines, single, top = self.lines, self.single, self.top
        for source in self.node.lines:
            line = source
            known = property_of(line)
            if not known.tidy:
                line = self.tidy(line)
                known = property_of(line)
            mend = _MEND[known.holds]
            if mend is not None:
                mended = mend(self, line, known)
                if mended is None:
                    self.changed = True
                    continue
                line = mended
            elif not line.value and known.name in LEFT_OUT_EMPTY:
                self.empty(line.name)
                continue
            if known.zone is not None:
                if known.holds in _ZONED:
                    line = self.zoned(line, known.zone)
                elif known.zone in self.zones.sound:
                    self.used.add(known.zone)
            if line is not source:
                self.changed = True
            if top and known.single:
                first = single.get(known.name)
                if first is not None:
                    self.doubled(lines[first], line)
                    continue
                single[known.name] = len(lines)
            lines.append(line)
        for child in self.node.children:
            self.child(child)

    def child(self, node: Node) -> None:
        """A component inside: an alarm, a location."""
        inner = _Checker(
            node, zones=self.zones, bounds=self.bounds, mending=self.mending, top=False
        )
        try:
            inner.run()
        except ItemRejected as rejected:
            if node.name != "VALARM" or "drop-broken-alarms" not in self.mending.allowed:
                raise
            self.mending.use("drop-broken-alarms", rejected.reason, rejected.detail)
            self.mending.missing("VALARM")
            self.changed = True
            return
        self.changed |= inner.changed
        self.used |= inner.used
        self.children.append(inner.result())

    def tidy(self, line: Line) -> Line:
        """Parameters as RFC 5545 knows them, and text without a transfer encoding."""
        plain = line
        keys = [key for key, _ in line.params]
        if len(set(keys)) != len(keys) or not all(key and values for key, values in line.params):
            self.mending.use("tidy-parameters", Reason.SYNTAX, f"parameters of {line.name}")
            plain = tidied(line)
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

    def doubled(self, first: Line, second: Line) -> None:
        """A property that may stand only once stands there again."""
        name = first.name
        if name == "DESCRIPTION" and self.node.name == "VJOURNAL":
            self.lines.append(second)
            return
        if first.value == second.value and first.params == second.params:
            self.mending.use("drop-repeated-properties", Reason.STRUCTURE, f"{name} twice")
        elif name == "RRULE":
            raise ItemRejected(Reason.RECURRENCE, "RRULE twice")
        elif name in _NEVER_TWICE:
            raise ItemRejected(Reason.STRUCTURE, f"{name} twice, with different values")
        else:
            self.mending.use("set-aside-doubled-properties", Reason.STRUCTURE, f"{name} twice")
            self.lines.append(made(f"X-REINSTATE-{name}", second.value, second.params))
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
        return with_params(line, (*line.params, ("VALUE", (kind,))))

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
                line = relined(line, line.value[:-1])
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

    # What the lines say together ---------------------------------------------------------------

    def check_event(self) -> None:
        """A VEVENT: a start, and at most one end, after it."""
        start = self.moments.get("DTSTART")
        if start is None:
            raise ItemRejected(Reason.STRUCTURE, "no DTSTART")
        end = self.moments.get("DTEND")
        if end is not None:
            self.check_end(start, end)
        elif "DURATION" in self.single:
            line = self.lines[self.single["DURATION"]]
            if not duration(line.value.decode("latin-1")):
                self.leave_out("DURATION", "drop-empty-end", "DURATION is nothing")
        self.check_rule()

    def check_end(self, start: Moment, end: Moment) -> None:
        """DTEND: of the type of DTSTART, and later; and no DURATION beside it."""
        if start.all_day is not end.all_day:
            raise ItemRejected(Reason.VALUE, "DTEND is of another type than DTSTART")
        begin_zone, end_zone = self.zone_of("DTSTART"), self.zone_of("DTEND")
        if self.floats(start, begin_zone) is not self.floats(end, end_zone):
            raise ItemRejected(Reason.VALUE, "one of DTSTART and DTEND has a zone, the other none")
        first, last = start.at, end.at
        if begin_zone != end_zone or start.utc is not end.utc:
            begin, finish = instant(start, begin_zone), instant(end, end_zone)
            if begin is None or finish is None:
                return  # in zones that only the file knows: nothing can be compared
            first, last = begin, finish
        if last < first:
            raise ItemRejected(Reason.VALUE, "DTEND is before DTSTART")
        if "DURATION" in self.single:
            length = duration(self.lines[self.single["DURATION"]].value.decode("latin-1"))
            if length != last - first:
                raise ItemRejected(Reason.STRUCTURE, "DTEND and DURATION contradict each other")
            self.leave_out("DURATION", "drop-redundant-length", "DTEND and DURATION")
        if last == first:
            self.leave_out("DTEND", "drop-empty-end", "DTEND is DTSTART")

    def check_task(self) -> None:
        """A VTODO: DUE or DURATION, and what DURATION needs."""
        start, due = self.moments.get("DTSTART"), self.moments.get("DUE")
        if "DURATION" in self.single:
            if start is None:
                raise ItemRejected(Reason.STRUCTURE, "DURATION without DTSTART")
            if due is not None:
                length = duration(self.lines[self.single["DURATION"]].value.decode("latin-1"))
                begin = instant(start, self.zone_of("DTSTART"))
                finish = instant(due, self.zone_of("DUE"))
                if begin is None or finish is None or finish - begin != length:
                    raise ItemRejected(Reason.STRUCTURE, "DUE and DURATION contradict each other")
                self.leave_out("DURATION", "drop-redundant-length", "DUE and DURATION")
        self.check_rule()

    def check_rule(self) -> None:
        """UNTIL has the form that DTSTART asks for."""
        position, start = self.single.get("RRULE"), self.moments.get("DTSTART")
        if position is None or start is None:
            return
        line = self.lines[position]
        found = rule(line.value.decode("latin-1"))
        if not isinstance(found, Rule) or found.until is None:
            return
        until = found.until
        zone = self.zone_of("DTSTART")
        floats = self.floats(start, zone)
        if until.all_day is start.all_day and (start.all_day or until.utc is not floats):
            return
        self.mending.use("align-until", Reason.RECURRENCE, "UNTIL is of another type than DTSTART")
        aligned = _aligned(until, start, zone, floats=floats)
        if aligned is None:
            raise ItemRejected(
                Reason.RECURRENCE, "UNTIL is of another type than DTSTART, in a zone of its own"
            )
        parts = {**found.parts, "UNTIL": aligned.text}
        self.lines[position] = relined(line, Rule(parts=parts).text.encode())
        self.changed = True

    def leave_out(self, name: str, repair: str, detail: str) -> None:
        """Take out a property that says nothing more than others do."""
        self.mending.use(repair, Reason.VALUE, detail)
        self.lines = [line for line in self.lines if line.name != name]
        self.single = {
            line.name: position
            for position, line in reversed(list(enumerate(self.lines)))
            if line.name in self.single
        }
        self.moments.pop(name, None)
        self.changed = True

    def zone_of(self, name: str) -> str | None:
        """The TZID of one of its properties, after mapping."""
        position = self.single.get(name)
        return None if position is None else property_of(self.lines[position]).zone

    def floats(self, at: Moment, zone: str | None) -> bool:
        """Whether a time has no zone at all."""
        return not at.all_day and not at.utc and zone is None

    def result(self) -> Checked:
        """What is left of it, ready to be written."""
        identity = b""
        which = self.moments.get("RECURRENCE-ID")
        if which is not None:
            zone = self.zone_of("RECURRENCE-ID")
            known = instant(which, zone) if not self.floats(which, zone) else None
            identity = (
                Moment(known, utc=True).text if known is not None else f"{which.text}@{zone}"
            ).encode("utf-8", "surrogateescape")
        return Checked(
            name=self.node.name,
            lines=self.lines,
            children=self.children,
            changed=self.changed,
            zones=self.used,
            start=self.moments.get("DTSTART"),
            start_zone=self.zone_of("DTSTART"),
            recurs=any(line.name in ("RRULE", "RDATE") for line in self.lines),
            overrides=identity,
        )


_MEND: Final[Mapping[Holds, Callable[[_Checker, Line, Property], Line | None] | None]] = {
    Holds.OTHER: None,
    Holds.TEXT: _Checker.text,
    Holds.TEXTS: _Checker.text,
    Holds.MOMENT: _Checker.moment,
    Holds.MOMENTS: _Checker.moments_listed,
    Holds.INSTANT: _Checker.instant,
    Holds.LENGTH: _Checker.length,
    Holds.TRIGGER: _Checker.trigger,
    Holds.RULE: _Checker.rule,
    Holds.NUMBER: _Checker.number,
    Holds.PLACE: None,
    Holds.ADDRESS: None,
    Holds.BINARY: _Checker.binary,
}


def instant(at: Moment, zone: str | None) -> datetime | None:
    """Naive, in UTC where the zone is known by its name; dates and floating times as they are."""
    if zone is None or at.utc or at.all_day:
        return at.at
    name = zone_name(zone)
    return None if name is None else to_utc(at.at, name).replace(tzinfo=None)


def _aligned(until: Moment, start: Moment, zone: str | None, *, floats: bool) -> Moment | None:
    """UNTIL in the form of DTSTART; a day lasts until its end. None where nobody can tell."""
    if start.all_day:
        return Moment(until.at.replace(hour=0, minute=0, second=0), all_day=True)
    last = until.at.replace(hour=23, minute=59, second=59) if until.all_day else until.at
    if floats:
        return Moment(last)
    if until.utc or start.utc:
        return Moment(last, utc=True)
    name = zone_name(zone or "")
    return None if name is None else Moment(to_utc(last, name), utc=True)
