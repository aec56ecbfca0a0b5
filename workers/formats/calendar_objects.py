"""Calendar files as items: all components of one UID, master and overrides, are one object.

Knows how components become objects, what an object is written like, when two of them mean the
same, and what has to be quarantined together. The rules of single components are in
`calendar_checks`; where a file's components lie, `calendar_records` and `jcal` say.

Why an object is damaged as a whole when one of its overrides is: a series restored without one of
its exceptions puts a meeting where it was cancelled or moved, and nobody would know.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    Copy,
    Damaged,
    Found,
    Framing,
    Ident,
    Item,
    Media,
    Span,
    UserId,
)
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.calendar_checks import Checked, check
from workers.formats.calendar_material import Material, Part
from workers.formats.calendar_meaning import (
    canonical,
    digest_of,
    digest_of_forms,
    instant_of,
    text_of,
    zone_meanings,
)
from workers.formats.calendar_periods import with_periods
from workers.formats.calendar_properties import ZoneNames, made
from workers.formats.calendar_quick import quick
from workers.formats.calendar_records import ZONE, Envelope
from workers.formats.calendar_repairs import LOSSY, Mending
from workers.formats.calendar_values import FIXED_STAMP, Bounds, Zones, instant
from workers.formats.calendar_writing import PRODUCT, as_written, write_component
from workers.formats.calendar_zones import FileZones
from workers.formats.content_lines import Line, escape, fold
from workers.formats.idents import derived_ident

MEDIA: Final = Media("ics", "text/calendar")

COMPONENTS: Final = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY"})

_REPLIES: Final = frozenset({b"REPLY", b"CANCEL", b"COUNTER", b"DECLINECOUNTER", b"REFRESH"})


class Shape(Struct, frozen=True, kw_only=True):
    """Which component is a category's."""

    component: str
    category: str
    leave_others: bool = False
    """Components of other categories are framing here; else they are quarantined."""


def found_in(
    owner: UserId, material: Material, shape: Shape, rules: Rules, bounds: Bounds | None = None
) -> Iterator[Found]:
    """Every byte of a file as copies, damage and framing, exactly once."""
    name, data = material.name, material.data
    for offset, length in material.framing:
        yield Framing(Span(name, offset, length))
    for stray in material.strays:
        yield _damaged(material, [(stray.offset, stray.length)], stray.reason, stray.detail)
    groups: dict[bytes, list[Part]] = {}
    zones = FileZones()
    for part in material.parts:
        span = Span(name, part.offset, part.length)
        if part.kind == ZONE:
            yield zones.add(part, span, data)
        elif part.kind == shape.component:
            # Without a UID nothing belongs to anything else.
            key = part.uid or b"\0%d" % part.offset
            groups.setdefault(key, []).append(part)
        elif shape.leave_others and part.kind in COMPONENTS:
            yield Framing(span)
        else:
            kind = part.kind if part.kind in COMPONENTS else "component that is not known"
            yield _damaged(
                material,
                [(part.offset, part.length)],
                Reason.UNSUPPORTED,
                f"a {kind}, which is not of the category {shape.category}",
            )
    reader = _Reader(owner, material, shape, rules, zones, bounds or Bounds.of(rules))
    for group in groups.values():
        yield from reader.group(group)


def _damaged(
    material: Material,
    stretches: Iterable[tuple[int, int]],
    reason: Reason,
    detail: str,
    ident: Ident | None = None,
) -> Damaged:
    ordered = sorted(stretches)
    return Damaged(
        reason=reason,
        spans=tuple(Span(material.name, offset, length) for offset, length in ordered),
        data=b"".join(material.data[offset : offset + length] for offset, length in ordered),
        ident=ident,
        detail=detail,
    )


# Objects ---------------------------------------------------------------------------------------


class _Sound(Struct, kw_only=True):
    """One component that passed, with what it took."""

    part: Part
    checked: Checked
    mending: Mending
    uid: str

    @property
    def revision(self) -> tuple[bytes, int]:
        """LAST-MODIFIED and SEQUENCE: newer is greater."""
        changed = self.checked.first("LAST-MODIFIED")
        return changed.value if changed is not None else b"", self.sequence

    @property
    def sequence(self) -> int:
        """SEQUENCE, 0 where there is none."""
        line = self.checked.first("SEQUENCE")
        return int(line.value) if line is not None else 0


class _Broken(Struct, kw_only=True):
    """One component that did not."""

    part: Part
    rejected: ItemRejected
    uid: str
    master: bool


class _Reader:
    """Makes the objects of one file."""

    def __init__(
        self,
        owner: UserId,
        material: Material,
        shape: Shape,
        rules: Rules,
        zones: FileZones,
        bounds: Bounds,
    ) -> None:
        self.owner = owner
        self.material = material
        self.shape = shape
        self.rules = rules
        self.zones = zones
        self.bounds = bounds
        self.places: dict[int, _Place] = {}

    def group(self, parts: Sequence[Part]) -> Iterator[Found]:
        """All components of one UID."""
        if sum(part.length for part in parts) > self.rules.item_bytes:
            yield self.damaged(parts, ItemRejected(Reason.TOO_LARGE, "larger than an item may be"))
            return
        if len(parts) == 1 and parts[0].clean:
            copy = self.quickly(parts[0])
            if copy is not None:
                yield copy
                return
        sound: list[_Sound] = []
        broken: list[_Broken] = []
        for part in parts:
            found = self.component(part)
            if isinstance(found, _Sound):
                sound.append(found)
            else:
                broken.append(found)
        masters = [one for one in sound if not one.checked.overrides]
        if broken and (not masters or any(not one.master for one in broken)):
            yield self.damaged(parts, broken[0].rejected, broken[0].uid)
            return
        if len({one.uid for one in sound}) > 1:
            yield self.damaged(parts, ItemRejected(Reason.STRUCTURE, "more than one UID"))
            return
        for one in broken:
            yield self.damaged([one.part], one.rejected, one.uid)
        overrides = [one for one in sound if one.checked.overrides]
        if not masters:
            orphaned = ItemRejected(Reason.ORPHAN, "RECURRENCE-ID without the event that recurs")
            yield self.damaged(parts, orphaned, sound[0].uid)
            return
        # Of several masters, the newest has the overrides; of equal ones, the first.
        newest = max(masters, key=lambda one: one.revision)
        for master in masters:
            yield self.object(master, overrides if master is newest else [])

    def raw(self, part: Part) -> bytes:
        """The bytes of a component."""
        return self.material.data[part.offset : part.offset + part.length]

    def quickly(self, part: Part) -> Copy | None:
        """A component that stands alone and needs nothing; None where it may need something."""
        place = self.places.get(id(part.envelope))
        if place is None:
            place = _Place(part.envelope, self.zones.of(part.envelope), self.rules)
            self.places[id(part.envelope)] = place
        if not place.sound:
            return None
        found = quick(
            self.raw(part),
            part.kind,
            zones=place.zones,
            bounds=self.bounds,
            means=place.means,
        )
        if found is None:
            return None
        return Copy(
            item=Item(
                ident=Ident(found.uid),
                digest=digest_of_forms((found.canonical,)),
                media=MEDIA,
                content=place.around(found.zones, found.content),
                revised=instant_of(found.changed),
            ),
            spans=(Span(self.material.name, part.offset, part.length),),
            repairs=place.repairs,
            sequence=found.sequence,
        )

    def component(self, part: Part) -> _Sound | _Broken:
        """Read and check one."""
        uid, master = "", False
        mending = Mending(self.rules.repairs)
        try:
            root = part.load()
            uids = {text_of(line) for line in root.lines if line.name == "UID"} - {""}
            uid = uids.pop() if len(uids) == 1 else ""
            master = all(line.name != "RECURRENCE-ID" for line in root.lines)
            envelope_repairs(part.envelope, mending)
            zones = self.zones.of(part.envelope)
            checked = check(root, zones=zones, bounds=self.bounds, mending=mending)
        except ItemRejected as rejected:
            return _Broken(part=part, rejected=rejected, uid=uid, master=master)
        named = checked.first("UID")
        uid = text_of(named) if named is not None else ""
        return _Sound(part=part, checked=checked, mending=mending, uid=uid)

    def damaged(self, parts: Sequence[Part], rejected: ItemRejected, uid: str = "") -> Damaged:
        """A whole object, or one component, as damage."""
        return _damaged(
            self.material,
            [(part.offset, part.length) for part in parts],
            rejected.reason,
            rejected.detail,
            Ident(uid) if uid else None,
        )

    def object(self, master: _Sound, overrides: Sequence[_Sound]) -> Copy | Damaged:
        """One object of a master and what overrides it."""
        every = [master, *overrides]
        try:
            return self.copy(master, every)
        except ItemRejected as rejected:
            return self.damaged([one.part for one in every], rejected, master.uid)

    def copy(self, master: _Sound, every: Sequence[_Sound]) -> Copy:
        """The object as it will be written.

        Raises:
            ItemRejected: the components do not make one object.
        """
        mending = Mending(self.rules.repairs)
        zones = self.zones.of(master.part.envelope)
        means = zone_meanings(zones.sound)
        for one in every:
            mending.applied += [name for name in one.mending.applied if name not in mending.applied]
            for field in one.mending.degraded:
                mending.missing(field)
        kept = [master, *_one_an_instance(every[1:], means, mending)]
        if len(kept) > 1:
            _check_recurs(master.checked, kept[1:])
        digest = digest_of(with_periods([one.checked for one in kept], means), means)
        ident = Ident(master.uid)
        if not master.uid:
            mending.use("derive-uid", Reason.STRUCTURE, "no UID")
            ident = derived_ident(self.owner, self.shape.category, digest)
        self.complete(kept, ident, mending)
        content = self.content(master.part.envelope, kept, zones)
        revised = max(one.revision[0] for one in kept)
        return Copy(
            item=Item(
                ident=ident,
                digest=digest,
                media=MEDIA,
                content=content,
                revised=instant_of(revised),
            ),
            spans=tuple(
                Span(self.material.name, part.offset, part.length)
                for part in sorted((one.part for one in every), key=lambda part: part.offset)
            ),
            repairs=tuple(mending.applied),
            degraded=tuple(mending.degraded),
            lossy=not LOSSY.isdisjoint(mending.applied),
            sequence=max(one.sequence for one in kept),
        )

    def complete(self, kept: Sequence[_Sound], ident: Ident, mending: Mending) -> None:
        """Give every component its UID and DTSTAMP."""
        for one in kept:
            lines = one.checked.lines
            names = {line.name for line in lines}
            missing: list[Line] = []
            if "UID" not in names:
                missing.append(made("UID", escape(ident.encode())))
            if "DTSTAMP" not in names:
                mending.use("fix-dtstamp", Reason.STRUCTURE, "no DTSTAMP")
                missing.append(made("DTSTAMP", FIXED_STAMP))
            if missing:
                one.checked.lines = [*missing, *lines]
                one.checked.changed = True

    def content(self, envelope: Envelope, kept: Sequence[_Sound], zones: Zones) -> bytes:
        """The VCALENDAR of one object."""
        pieces = [_opening(envelope)]
        needed = {zone for one in kept for zone in one.checked.zones}
        pieces += [zones.sound[zone] for zone in sorted(needed)]
        for one in kept:
            verbatim = (
                None
                if one.checked.changed or not one.part.verbatim
                else as_written(self.raw(one.part))
            )
            pieces.append(write_component(one.checked) if verbatim is None else verbatim)
        pieces.append(_CLOSING)
        return b"".join(pieces)


_CLOSING: Final = b"END:VCALENDAR\r\n"


def _opening(envelope: Envelope) -> bytes:
    product = envelope.properties.get("PRODID") or PRODUCT
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + fold(b"PRODID:" + product)


class _Place:
    """What is the same for all components of one envelope."""

    def __init__(self, envelope: Envelope, zones: Zones, rules: Rules) -> None:
        mending = Mending(rules.repairs)
        try:
            envelope_repairs(envelope, mending)
        except ItemRejected:
            self.sound = False
        else:
            self.sound = True
        self.repairs = tuple(mending.applied)
        self.zones = zones
        self.means = zone_meanings(zones.sound)
        self.opening = _opening(envelope)

    def around(self, needed: Sequence[str], component: bytes) -> bytes:
        """The whole object of one component."""
        zones = b"".join(self.zones.sound[zone] for zone in sorted(needed))
        return self.opening + zones + component + _CLOSING


def envelope_repairs(envelope: Envelope, mending: Mending) -> None:
    """What a component's calendar needs before it is one that can be stored.

    Raises:
        ItemRejected: it is a message or of another version, or a repair is not switched on.
    """
    properties = envelope.properties
    version = properties.get("VERSION", b"")
    if version not in (b"", b"2.0"):
        raise ItemRejected(Reason.UNSUPPORTED, "VERSION of the calendar is not 2.0")
    if properties.get("CALSCALE", b"GREGORIAN").upper() != b"GREGORIAN":
        raise ItemRejected(Reason.UNSUPPORTED, "CALSCALE is not GREGORIAN")
    if not version:
        mending.use("wrap-in-calendar", Reason.STRUCTURE, "no calendar of version 2.0 around it")
    if not properties.get("PRODID"):
        mending.use("fix-product-id", Reason.STRUCTURE, "no PRODID")
    method = properties.get("METHOD")
    if method is not None:
        if method.upper() in _REPLIES:
            raise ItemRejected(Reason.UNSUPPORTED, "a message about an event, not a stored object")
        mending.use("drop-method", Reason.STRUCTURE, "METHOD in a stored object")


def _one_an_instance(
    overrides: Sequence[_Sound], means: ZoneNames, mending: Mending
) -> list[_Sound]:
    """The overrides, of each instance one.

    Raises:
        ItemRejected: two contradict each other, and none of them is newer.
    """
    kept: dict[bytes, _Sound] = {}
    for one in overrides:
        other = kept.setdefault(one.checked.overrides, one)
        if other is one:
            continue
        mending.use("one-override-an-instance", Reason.STRUCTURE, "an instance overridden twice")
        if canonical(one.checked, means) == canonical(other.checked, means):
            continue
        if one.revision == other.revision:
            raise ItemRejected(Reason.STRUCTURE, "two overrides of an instance, none newer")
        if one.revision > other.revision:
            kept[one.checked.overrides] = one
    return list(kept.values())


def _check_recurs(master: Checked, overrides: Sequence[_Sound]) -> None:
    """Refuse overrides of what does not recur: its rule was lost, or they are not its.

    Raises:
        ItemRejected: `STRUCTURE`.
    """
    if master.recurs:
        return
    start = b""
    if master.start is not None:
        at = instant(master.start, master.start_zone)
        start = at.strftime("%Y%m%d").encode() if at is not None else b""
    if any(not one.checked.overrides.startswith(start) or not start for one in overrides):
        raise ItemRejected(Reason.STRUCTURE, "overrides of an event that does not recur")
