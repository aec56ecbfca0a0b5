"""Two calendar objects of one thing as one: an event with its overrides, a task, a journal entry.

When it is and how it recurs is one value: half of one schedule and half of the other would be a
third one. So is a task's state. What may stand once, and loses, stays as an X- property;
descriptions become one text. Overrides belong to a schedule: where the sides have different ones
and both are overridden, no one object can hold both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from orchestrator.items import Ident, Item, Side, UserId
from orchestrator.ports import Combined, Live, Origins
from workers.formats.calendar_meaning import canonical, instant_of, text_of, zone_meanings
from workers.formats.calendar_periods import with_periods
from workers.formats.calendar_properties import (
    SEPARATOR,
    Holds,
    ZoneNames,
    entries,
    made,
    property_of,
    relined,
)
from workers.formats.calendar_records import ZONE, Envelope, Node, node, reading
from workers.formats.calendar_writing import PRODUCT, Writable, write_component
from workers.formats.content_lines import Line, escape, fields, fold
from workers.formats.journal_notes import KEPT
from workers.formats.likenesses import hashed, words
from workers.formats.merging import (
    Reader,
    TwoThingsError,
    Value,
    checked,
    latest,
    together,
    told_of_all,
    within,
)
from workers.formats.time_zones import zone_name

_WHEN: Final = frozenset({"DTSTART", "DTEND", "DUE", "DURATION", "RRULE", "EXRULE"})
_STATE: Final = frozenset({"STATUS", "PERCENT-COMPLETE", "COMPLETED"})
_TEXT: Final = frozenset({"DESCRIPTION", KEPT})
"""A note's text, and how it was written before it became a journal entry."""
_SCHEDULE: Final = frozenset({"DTSTART", "RRULE", "EXRULE"})
_OVERRIDE: Final = "RECURRENCE-ID"
_LISTS: Final = frozenset({Holds.TEXTS, Holds.MOMENTS})

Parts = tuple[Line | Writable, ...]


class Thing(Struct, frozen=True, kw_only=True):
    """One object: its component, and what overrides single instances of it."""

    master: Writable
    overrides: Mapping[bytes, Writable]
    """By the instance that each is of."""
    zones: Mapping[str, Writable]
    envelope: Envelope


def thing(content: bytes, component: str) -> Thing | None:
    """The one object that a content is; None where it is none, or damaged."""
    found = reading(content)
    if found.strays or any(record.reason is not None for record in found.records):
        return None
    nodes: list[Node] = []
    zones: dict[str, Writable] = {}
    envelope = Envelope()
    for record in found.records:
        root = node(content[record.offset : record.end])
        if root is None or root.flaws or record.kind not in (ZONE, component):
            return None
        if record.kind == ZONE:
            name = next((text_of(line) for line in root.lines if line.name == "TZID"), "")
            zones.setdefault(name, root)
        else:
            nodes.append(root)
            envelope = found.envelopes[record.envelope]
    means = zone_meanings(frozenset(zones))
    whole = with_periods(nodes, means)
    masters = [one for one in whole if not _instance(one, means)]
    if len(masters) != 1:
        return None
    overrides = {_instance(one, means): one for one in whole if one is not masters[0]}
    if len(overrides) != len(whole) - 1:
        return None
    return Thing(master=masters[0], overrides=overrides, zones=zones, envelope=envelope)


def merged_item(
    category: Reader,
    owner: UserId,
    live: Live,
    item: Item,
    component: str,
    *,
    wins: Side,
    base: Item | None,
) -> Combined | None:
    """What a category whose items are such objects gives back."""
    mine, theirs = thing(live.content, component), thing(item.content, component)
    seen = category.recognise(owner, live.content)
    if mine is None or theirs is None or seen is None:
        return None
    older = thing(base.content, component) if base is not None else None
    try:
        merged = merged_thing(mine, theirs, older, ident=seen.ident, wins=wins)
    except TwoThingsError:
        return None
    if merged is None:
        return None
    content, origins = merged
    now = category.recognise(owner, content)
    if now is None:
        return None
    done = Item(
        ident=seen.ident,
        digest=now.digest,
        media=item.media,
        content=content,
        revised=latest(seen.revised, item.revised),
    )
    return checked(category, owner, live, done, origins)


def merged_thing(
    live: Thing, recovered: Thing, base: Thing | None, *, ident: Ident, wins: Side
) -> tuple[bytes, Origins] | None:
    """Both as one object, under the live one's `ident`; None where none can hold both."""
    zones = _zones_of_both(live.zones, recovered.zones)
    if zones is None:
        return None
    merging = _Merging(live, recovered, base, wins, zone_meanings(frozenset(zones)))
    done = merging.components()
    if done is None:
        return None
    uids = [line for line in live.master.lines if line.name == "UID"][:1]
    uid = uids[0] if uids else made("UID", escape(ident.encode()))
    for one in done:
        one.lines = [uid, *(line for line in one.lines if line.name != "UID")]
    named = {zone for one in done for line in _all_lines(one) if (zone := line.param("TZID") or "")}
    pieces = [_opening(live.envelope)]
    pieces += [
        write_component(zone) for name, zone in zones.items() if name in live.zones or name in named
    ]
    pieces += map(write_component, done)
    return b"".join([*pieces, b"END:VCALENDAR\r\n"]), told_of_all(merging.told)


def likenesses_of(content: bytes, component: str) -> frozenset[bytes]:
    """What an event or a task is about, with when it is; empty where it says no time."""
    found = thing(content, component)
    if found is None:
        return frozenset()
    means = zone_meanings(frozenset(found.zones))
    about = next((text_of(line) for line in found.master.lines if line.name == "SUMMARY"), "")
    when = sorted(
        entry.decode("latin-1")
        for line in found.master.lines
        if line.name in ("DTSTART", "DUE", "RRULE")
        for entry in entries(line, property_of(line), means)
    )
    if not words(about) or not any(not one.startswith("RRULE") for one in when):
        return frozenset()
    return frozenset([hashed(words(about), *when)])


class _Merging:
    """The components of both sides, one after the other."""

    def __init__(
        self, live: Thing, recovered: Thing, base: Thing | None, wins: Side, means: ZoneNames
    ) -> None:
        self.live, self.recovered, self.base = live, recovered, base
        self.wins = wins
        self.means = means
        self.told: list[Origins] = []

    def components(self) -> list[Node] | None:
        """The master and the overrides; None where the overrides are of different schedules."""
        base = None if self.base is None else self.base.master
        master = self.merged(self.live.master, self.recovered.master, base)
        schedule = self.schedule(master)
        for side, other in ((self.live, self.recovered), (self.recovered, self.live)):
            if self.schedule(side.master) != schedule and set(side.overrides) - set(
                other.overrides
            ):
                return None
        overrides = list(self.overrides())
        winner = self.live if self.wins is Side.LIVE else self.recovered
        self.without_dates(master, {key for key in winner.overrides if key in dict(overrides)})
        return [master, *(one for _, one in overrides)]

    def overrides(self) -> Iterator[tuple[bytes, Node]]:
        """Of each instance that either side overrides, one; none where the winner deleted it."""
        base = {} if self.base is None else self.base.overrides
        live, recovered = self.live.overrides, self.recovered.overrides
        live_wins = self.wins is Side.LIVE
        for key in dict.fromkeys([*live, *recovered]):
            if key in live and key in recovered:
                yield key, self.merged(live[key], recovered[key], base.get(key))
                continue
            winner = self.live if live_wins else self.recovered
            there = live.get(key) or recovered[key]
            if key not in winner.overrides and (key in base or key in self.deleted(winner)):
                self.told.append(Origins(left_out=(_OVERRIDE,)))
                continue
            if key in recovered:
                self.told.append(Origins(added=(_OVERRIDE,)))
            yield key, _node(there)

    def schedule(self, component: Writable) -> list[bytes]:
        """By what overrides name their instances."""
        return sorted(
            entry
            for line in component.lines
            if line.name in _SCHEDULE
            for entry in entries(line, property_of(line), self.means)
        )

    def deleted(self, side: Thing) -> set[bytes]:
        """Instances that a side's series leaves out."""
        return {
            _moment_of(entry)
            for line in side.master.lines
            if line.name == "EXDATE"
            for entry in entries(line, property_of(line), self.means)
        }

    def without_dates(self, master: Node, kept: set[bytes]) -> None:
        """An instance that the side which wins has, the other one cannot have deleted."""
        winner = self.live if self.wins is Side.LIVE else self.recovered
        unwanted = kept - self.deleted(winner)
        if not unwanted:
            return
        lines: list[Line] = []
        for line in master.lines:
            if line.name == "EXDATE":
                left = [
                    part
                    for part in line.value.split(b",")
                    if not unwanted.intersection(
                        map(_moment_of, entries(relined(line, part), property_of(line), self.means))
                    )
                ]
                if left:
                    lines.append(relined(line, b",".join(left)))
            else:
                lines.append(line)
        master.lines = lines

    def merged(self, live: Writable, recovered: Writable, base: Writable | None) -> Node:
        """One component of both."""
        values, origins = together(
            self.values(live, opaque=True),
            [value for value in self.values(recovered) if value.key],
            () if base is None else self.values(base),
            wins=self.wins,
            form=_ComponentForm(notes=live.name == "VJOURNAL"),
        )
        self.told.append(origins)
        lines: list[Line] = []
        children: list[Node] = []
        for part in (part for value in values for part in value.holds):
            if isinstance(part, Line):
                _append(lines, part)
            else:
                children.append(_node(part))
        return Node(live.name, _kept_up(lines, recovered), children, [])

    # Values ------------------------------------------------------------------------------------

    def values(self, component: Writable, *, opaque: bool = False) -> list[Value[Parts]]:
        """The values of a component in order, each where its first line stands.

        `opaque`: with what says which record it is.
        """
        lines = component.lines
        grouped: dict[str, list[Line]] = {}
        for line in lines:
            grouped.setdefault(_field(line, property_of(line).single), []).append(line)
        found: list[Value[Parts]] = []
        for line in lines:
            known = property_of(line)
            if not known.canonical or line.name == _OVERRIDE:
                if opaque:
                    found.append(Value(field=f"\0{line.name}", key=line.value, holds=(line,)))
                continue
            field = _field(line, known.single)
            if field:
                together_with = grouped.pop(field, None)
                if together_with is not None:
                    found.append(self.single(field, together_with))
            elif known.holds is Holds.ADDRESS:
                address = line.value.strip().lower()
                found.append(self.single(line.name, [line], of=address))
            elif known.holds in _LISTS:
                parts = [part for part in fields(line.value, b",") if part.strip()]
                found += [self.several(relined(line, part)) for part in parts]
            else:
                found.append(self.several(line))
        for child in component.children:
            key = canonical(child, self.means)
            inside: Value[Parts] = Value(field=child.name, key=key, holds=(child,))
            found.append(inside)
        return found

    def single(self, field: str, lines: Sequence[Line], of: bytes = b"") -> Value[Parts]:
        says = frozenset(self.meant(lines))
        key = b"\x1e".join(sorted(says))
        return Value(field=field, key=key, says=says, single=True, of=of, holds=tuple(lines))

    def several(self, line: Line) -> Value[Parts]:
        return Value(field=line.name, key=b"\x1e".join(self.meant([line])), holds=(line,))

    def meant(self, lines: Iterable[Line]) -> list[bytes]:
        return [entry for line in lines for entry in entries(line, property_of(line), self.means)]


def _field(line: Line, single: bool) -> str:  # noqa: FBT001  a property of the line
    """The value that a line is a part of; empty where it is one by itself."""
    if line.name in _WHEN:
        return "DTSTART"
    if line.name in _STATE:
        return "STATUS"
    if line.name in _TEXT:
        return "DESCRIPTION"
    return line.name if single else ""


def _instance(component: Writable, means: ZoneNames) -> bytes:
    """Which instance a component overrides; empty: it is the whole."""
    found = (
        entry
        for line in component.lines
        if line.name == _OVERRIDE
        for entry in entries(line, property_of(line), means)
    )
    return next(map(_moment_of, found), b"")


def _moment_of(entry: bytes) -> bytes:
    return entry.partition(SEPARATOR)[2]


# Writing ---------------------------------------------------------------------------------------


class _ComponentForm(Struct, frozen=True):
    """How a component holds two values."""

    notes: bool = False

    def joined(self, value: Value[Parts], other: Value[Parts]) -> Value[Parts]:
        """Nothing is said besides."""
        del other
        return value

    def both(self, value: Value[Parts], other: Value[Parts]) -> Value[Parts] | None:
        """Descriptions are one text; those of notes only where one holds the other."""
        if value.field != "DESCRIPTION":
            return None
        first, second = _description(value), _description(other)
        if within(second, first):
            return value
        if within(first, second):
            return other
        mine = _only_line(value)
        if self.notes:
            raise TwoThingsError
        if mine is None:
            return None
        text = escape(f"{first}\n\n{second}".encode("utf-8", "surrogateescape"))
        line = relined(mine, text)
        meant = frozenset(entries(line, property_of(line), _no_zone))
        return Value(
            field=value.field, key=b"\x1e".join(meant), says=meant, single=True, holds=(line,)
        )

    def aside(self, value: Value[Parts]) -> list[Value[Parts]]:
        """Under the name with X-; TZID with it, which only times may have."""
        found: list[Value[Parts]] = []
        for part in value.holds:
            if isinstance(part, Line) and part.value.strip():
                params = tuple(
                    (f"X-{name}" if name in ("TZID", "VALUE") else name, kinds)
                    for name, kinds in part.params
                )
                line = made(f"X-{part.name}", part.value, params)
                key = b"\x1e".join(entries(line, property_of(line), _no_zone))
                found.append(Value(field=line.name, key=key, holds=(line,)))
        return found


def _no_zone(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _description(value: Value[Parts]) -> str:
    lines = (part for part in value.holds if isinstance(part, Line) and part.name != KEPT)
    return "\n\n".join(map(text_of, lines))


def _only_line(value: Value[Parts]) -> Line | None:
    match value.holds:
        case (Line() as line,):
            return line
        case _:
            return None


def _append(lines: list[Line], line: Line) -> None:
    """Add a line; a part of a list goes on where the line before is of the same list."""
    known = property_of(line)
    if lines and known.holds in _LISTS and lines[-1].head == line.head:
        lines[-1] = relined(line, lines[-1].value + b"," + line.value)
    else:
        lines.append(line)


def _kept_up(lines: list[Line], recovered: Writable) -> list[Line]:
    """LAST-MODIFIED and SEQUENCE no older than those of either side."""
    kept: list[Line] = []
    for line in lines:
        theirs = next((other for other in recovered.lines if other.name == line.name), None)
        if theirs is not None and line.name == "LAST-MODIFIED":
            mine, other = instant_of(line.value), instant_of(theirs.value)
            newer = other is not None and (mine is None or other > mine)
            kept.append(theirs if newer else line)
        elif theirs is not None and line.name == "SEQUENCE":
            kept.append(theirs if _number(theirs) > _number(line) else line)
        else:
            kept.append(line)
    return kept


def _number(line: Line) -> int:
    text = line.value.strip()
    return int(text) if text.isdigit() and len(text) < 12 else -1  # noqa: PLR2004 - more is no number


def _node(component: Writable) -> Node:
    children = [_node(child) for child in component.children]
    return Node(component.name, list(component.lines), children, [])


def _all_lines(component: Writable) -> Iterator[Line]:
    yield from component.lines
    for child in component.children:
        yield from _all_lines(child)


def _zones_of_both(
    live: Mapping[str, Writable], recovered: Mapping[str, Writable]
) -> dict[str, Writable] | None:
    """The zones of both; None where one name means two that nobody else knows."""
    for name in live.keys() & recovered.keys():
        same = canonical(live[name], _no_zone) == canonical(recovered[name], _no_zone)
        if not same and zone_name(name) is None:
            return None
    return {**recovered, **live}


def _opening(envelope: Envelope) -> bytes:
    product = envelope.properties.get("PRODID") or PRODUCT
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + fold(b"PRODID:" + product)
