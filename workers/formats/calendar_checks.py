"""Whether one component of a calendar can be restored, and what has to be mended before it can.

The rules of RFC 5545 section 3.6 that a restored object has to keep, each with the repair that
may be applied where it is broken. Damage that no repair mends raises `ItemRejected`, which ends at
the component's object: nothing beyond it is touched.
"""

from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_properties import (
    Holds,
    made,
    property_of,
    relined,
)
from workers.formats.calendar_records import Node
from workers.formats.calendar_repairs import (
    Mending,
)
from workers.formats.calendar_times import Moment, duration
from workers.formats.calendar_values import (
    Bounds,
    LineMending,
    Zones,
    instant,
)
from workers.formats.content_lines import Line
from workers.formats.recurrence import Rule, rule
from workers.formats.time_zones import to_utc, zone_name

_NEVER_TWICE: Final = frozenset(
    {"UID", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "COMPLETED"}
)
_ZONED: Final = frozenset({Holds.MOMENT, Holds.MOMENTS})


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


class _Checker(LineMending):
    """One component while it is checked."""

    def __init__(
        self, node: Node, *, zones: Zones, bounds: Bounds, mending: Mending, top: bool
    ) -> None:
        super().__init__(node, zones=zones, bounds=bounds, mending=mending)
        self.top = top
        self.children: list[Checked] = []
        self.single: dict[str, int] = {}

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
            mended = self.mended(line, known)
            if mended is not source:
                self.changed = True
            if mended is None:
                continue
            line = mended
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
            if node.name != "VALARM":
                raise
            self.mending.use("drop-broken-alarms", rejected.reason, rejected.detail)
            self.mending.missing("VALARM")
            self.changed = True
            return
        self.changed |= inner.changed
        self.used |= inner.used
        self.children.append(inner.result())

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
