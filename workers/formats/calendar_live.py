"""Calendar objects that are in a target already, and objects that are put beside them."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from orchestrator.items import Digest, Ident, Item, UserId
from orchestrator.ports import Recognised
from workers.formats.calendar_meaning import digest_of, instant_of, text_of, zone_meanings
from workers.formats.calendar_objects import Shape
from workers.formats.calendar_periods import with_periods
from workers.formats.calendar_properties import lines_of, made, relined
from workers.formats.calendar_records import ZONE, Node, node, reading
from workers.formats.calendar_writing import write_component
from workers.formats.content_lines import Line, escape
from workers.formats.idents import derived_ident, ident_beside


class Seen(Struct, frozen=True, kw_only=True):
    """What one live object says of itself."""

    uid: str
    """Empty where it has none."""
    digest: Digest
    revised: datetime | None


def recognise(owner: UserId, content: bytes, shape: Shape) -> Recognised | None:
    """What a live object is, or None where it is none, or more than one."""
    seen = recognised(content, shape.component)
    if seen is None:
        return None
    return Recognised(
        ident=Ident(seen.uid) if seen.uid else derived_ident(owner, shape.category, seen.digest),
        digest=seen.digest,
        revised=seen.revised,
    )


def recognised(content: bytes, component: str) -> Seen | None:
    """The same, whoever's it is. `component`: VEVENT, VTODO."""
    found = reading(content)
    if any(record.reason is not None for record in found.records):
        return None
    nodes: list[Node] = []
    zones: set[str] = set()
    for record in found.records:
        root = node(content[record.offset : record.end])
        if root is None:
            return None
        if record.kind == ZONE:
            zones |= {text_of(line) for line in root.lines if line.name == "TZID"}
        elif record.kind == component:
            nodes.append(root)
        else:
            return None
    uids = {
        next((text_of(line) for line in root.lines if line.name == "UID"), "") for root in nodes
    }
    if len(uids) != 1:
        return None
    changed = [line.value for root in nodes for line in root.lines if line.name == "LAST-MODIFIED"]
    means = zone_meanings(frozenset(zones))
    return Seen(
        uid=uids.pop(),
        digest=digest_of(with_periods(nodes, means), means),
        revised=max(filter(None, map(instant_of, changed)), default=None),
    )


def beside(item: Item, mark: str, shape: Shape) -> Item:
    """The same object under a new UID, its summaries marked."""
    ident = ident_beside(item.ident, mark)
    found = reading(item.content)
    uid = made("UID", escape(ident.encode()))
    pieces: list[bytes] = []
    nodes: list[Node] = []
    zones: set[str] = set()
    stretches = [(record.offset, record.end, record) for record in found.records]
    stretches += [(offset, offset + length, None) for offset, length in found.framing]
    for start, end, record in sorted(stretches, key=lambda stretch: stretch[0]):
        raw = item.content[start:end]
        root = node(raw) if record is not None else None
        if root is None or record is None or record.kind != shape.component:
            if root is not None:
                zones |= {text_of(line) for line in root.lines if line.name == "TZID"}
            pieces.append(raw)
            continue
        root.lines = [uid, *_marked(root.lines, mark)]
        nodes.append(root)
        pieces.append(write_component(root))
    return Item(
        ident=ident,
        digest=digest_of(nodes, zone_meanings(frozenset(zones))),
        media=item.media,
        content=b"".join(pieces),
        attachments=item.attachments,
        revised=item.revised,
    )


def _marked(lines: Sequence[Line], mark: str) -> list[Line]:
    """The lines without UID, with the mark at the end of the summary."""
    written = escape(mark.encode())
    kept = [
        relined(line, line.value + b" (" + written + b")") if line.name == "SUMMARY" else line
        for line in lines
        if line.name != "UID"
    ]
    if not any(line.name == "SUMMARY" for line in kept):
        kept.append(made("SUMMARY", b"(" + written + b")"))
    return kept


def parents_of(content: bytes) -> frozenset[str]:
    """The UIDs of what an object of ours is a part of."""
    if b"RELATED-TO" not in content.upper():
        return frozenset()
    return frozenset(
        text_of(line)
        for line in lines_of(content)
        if line.name == "RELATED-TO" and (line.param("RELTYPE") or "PARENT").upper() == "PARENT"
    )
