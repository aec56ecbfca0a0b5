"""The VTIMEZONE components of a file: which are sound, and which are needed.

A zone's name counts more than its definition: a broken VTIMEZONE of a known name harms nothing,
and one that is sound is written into the objects that refer to it, verbatim.
"""

from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import Damaged, Framing, Span
from orchestrator.reasons import Reason
from workers.formats.calendar_material import Part
from workers.formats.calendar_meaning import text_of
from workers.formats.calendar_properties import sound_moments
from workers.formats.calendar_records import Envelope, Node
from workers.formats.calendar_times import moment, utc_offset
from workers.formats.calendar_values import Zones
from workers.formats.calendar_writing import write_component
from workers.formats.recurrence import Flaw, rule
from workers.formats.time_zones import zone_name

# Sound zones repeat from file to file. Bounded, because data is hostile.
_met: Final[dict[bytes, tuple[str, bytes]]] = {}
_MOST_MET: Final = 512
_LONGEST_MET: Final = 16_384


class FileZones:
    """The VTIMEZONEs of one file, by the envelope that they stand in."""

    def __init__(self) -> None:
        self.sound: dict[int, dict[str, bytes]] = {}
        self.everywhere: dict[str, bytes] = {}
        self.broken: set[str] = set()
        self.made: dict[int, Zones] = {}

    def add(self, part: Part, span: Span, data: bytes) -> Framing | Damaged:
        """Keep a zone; one that is broken and unknown by its name is damage."""
        raw = data[span.offset : span.offset + span.length]
        known = _met.get(raw) if part.verbatim else None
        if known is not None:
            self.keep(part.envelope, *known)
            return Framing(span)
        tzid = ""
        try:
            root = part.load()
            tzid = next((text_of(line) for line in root.lines if line.name == "TZID"), "")
            check_zone(root)
        except ItemRejected as rejected:
            if tzid:
                self.broken.add(tzid)
            if tzid and zone_name(tzid) is not None:
                return Framing(span)
            return Damaged(
                reason=rejected.reason,
                spans=(span,),
                data=raw,
                detail=f"a VTIMEZONE: {rejected.detail}",
            )
        written = write_component(root)
        self.keep(part.envelope, tzid, written)
        if part.verbatim and len(raw) <= _LONGEST_MET:
            if len(_met) >= _MOST_MET:
                _met.clear()
            _met[raw] = (tzid, written)
        return Framing(span)

    def keep(self, envelope: Envelope, tzid: str, written: bytes) -> None:
        """A sound zone; the first of a name counts, in its envelope and elsewhere."""
        self.sound.setdefault(id(envelope), {}).setdefault(tzid, written)
        self.everywhere.setdefault(tzid, written)

    def of(self, envelope: Envelope) -> Zones:
        """What can be referred to from inside of an envelope."""
        found = self.made.get(id(envelope))
        if found is None:
            sound = {**self.everywhere, **self.sound.get(id(envelope), {})}
            found = Zones(sound=sound, broken=frozenset(self.broken - sound.keys()))
            self.made[id(envelope)] = found
        return found


def check_zone(zone: Node) -> None:
    """Refuse a VTIMEZONE that says nothing, or something impossible.

    Raises:
        ItemRejected: `TIME_ZONE`.
    """
    names = [line for line in zone.lines if line.name == "TZID"]
    if zone.flaws or len(names) != 1 or not names[0].value.strip():
        raise ItemRejected(Reason.TIME_ZONE, "it has no name")
    observances = [child for child in zone.children if child.name in ("STANDARD", "DAYLIGHT")]
    if not observances:
        raise ItemRejected(Reason.TIME_ZONE, "it has neither STANDARD nor DAYLIGHT")
    for observance in observances:
        found: dict[str, str] = {}
        for line in observance.lines:
            value = line.value.strip().decode("latin-1")
            if line.name == "RRULE" and isinstance(rule(value), Flaw):
                raise ItemRejected(Reason.TIME_ZONE, "RRULE")
            if line.name == "RDATE" and value and not sound_moments(value):
                raise ItemRejected(Reason.TIME_ZONE, "RDATE")
            found.setdefault(line.name, value)
        start = moment(found.get("DTSTART", ""))
        if start is None or start.all_day:
            raise ItemRejected(Reason.TIME_ZONE, "DTSTART")
        for name in ("TZOFFSETFROM", "TZOFFSETTO"):
            if utc_offset(found.get(name, "")) is None:
                raise ItemRejected(Reason.TIME_ZONE, name)
