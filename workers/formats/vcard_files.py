"""A file of cards: where each begins and ends, sound ones at once, others line by line."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Digest
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.components import Component, components
from workers.formats.content_lines import Blank
from workers.formats.mojibake import looks_like_mojibake
from workers.formats.record_times import possible
from workers.formats.vcard import Property, has_controls, sound, with_crlf, write
from workers.formats.vcard_meaning import digest_of
from workers.formats.vcard_properties import UID
from workers.formats.vcard_reading import finished, live_card, moment, read_card
from workers.formats.vcard_repairs import PLAIN, Repairing, has_needless_escapes

_END_LINE: Final = re.compile(rb"[\r\n]END:VCARD[ \t]*(?=[\r\n]|\Z)", re.IGNORECASE)
_REST: Final = re.compile(rb"[ \t]*+(?:\r{0,2}\n|\r|\Z)")
_WHITE: Final = b" \t\r\n"
_BREAKS: Final = re.compile(rb"(?:\r{0,2}\n|\r)++")
_ZEROS: Final = bytes(16)
_NEVER_NAMED_BY: Final = frozenset(
    {Reason.CUT, Reason.ZEROED, Reason.SYNTAX, Reason.STRUCTURE, Reason.TOO_LARGE}
)


class WholeCard(Struct, frozen=True, kw_only=True):
    """A card that can be restored."""

    offset: int
    length: int
    content: bytes
    """With CRLF line endings; verbatim otherwise where nothing was repaired."""
    digest: Digest
    uid: bytes
    """As it stands there, empty where there is none."""
    revised: datetime | None
    repairs: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


class BadCard(Struct, frozen=True, kw_only=True):
    """Bytes that cannot: a damaged card, or what lies between cards."""

    offset: int
    length: int
    reason: Reason
    detail: str
    uid: bytes = b""
    """Only where it names the card beyond doubt."""
    repairs: tuple[str, ...] = ()


class Space(Struct, frozen=True):
    """White space between cards."""

    offset: int
    length: int


Part = WholeCard | BadCard | Space


def is_vcard(data: bytes) -> bool:
    """Whether something in there begins or ends a card."""
    return data.startswith(b"BEGIN:VCARD") or _BEGIN_OR_END.search(data) is not None


_BEGIN_OR_END: Final = re.compile(rb"(?:BEGIN|END):VCARD[ \t]*(?=[\r\n]|\Z)", re.IGNORECASE)


def read_cards(data: bytes, rules: Rules) -> Iterator[Part]:
    """Every byte of `data` in cards, damage and white space: in order, without a gap."""
    for start, end in _stretches(data):
        begin = start
        if data[start] in _WHITE:
            begin = end - len(data[start:end].lstrip(_WHITE))
            yield Space(start, begin - start)
            if begin == end:
                continue
        if end - begin > rules.item_bytes:
            yield BadCard(
                offset=begin,
                length=end - begin,
                reason=Reason.TOO_LARGE,
                detail=f"{end - begin} bytes",
            )
            continue
        record = data[begin:end]
        whole = _sound_card(record, begin, rules)
        if whole is not None:
            yield whole
        else:
            yield from _with_care(record, begin, rules)


class LiveCard(Struct, frozen=True):
    """What a card in a live system says."""

    uid: bytes
    digest: Digest
    revised: datetime | None


def live(content: bytes) -> LiveCard | None:
    """The one card that `content` is, whatever a server made of it; None where it is not one."""
    lined = with_crlf(content)
    card = sound(lined) if lined is not None else None
    if card is not None:
        return LiveCard(card.uid, digest_of(card.properties), moment(card.rev))
    tops = [top for top in components(content) if not isinstance(top, Blank)]
    if len(tops) != 1 or not isinstance(tops[0], Component) or tops[0].name != "VCARD":
        return None
    other = live_card(tops[0], content)
    if other is None:
        return None
    return LiveCard(
        other.first("UID").strip(), digest_of(other.properties), moment(other.first("REV"))
    )


def converted(
    properties: list[Property], version: str, offset: int, length: int, rules: Rules
) -> Part:
    """What a record of another format becomes, its values escaped already."""
    if length > rules.item_bytes:
        return BadCard(
            offset=offset, length=length, reason=Reason.TOO_LARGE, detail=f"{length} bytes"
        )
    repairing = Repairing(rules.repairs)
    try:
        card = finished(properties, version, rules, repairing)
    except ItemRejected as rejected:
        return BadCard(
            offset=offset,
            length=length,
            reason=rejected.reason,
            detail=rejected.detail,
            repairs=tuple(repairing.applied),
        )
    return WholeCard(
        offset=offset,
        length=length,
        content=write(card),
        digest=digest_of(card.properties),
        uid=card.first("UID").strip(),
        revised=moment(card.first("REV")),
        repairs=tuple(repairing.applied),
        degraded=tuple(repairing.degraded),
    )


def _stretches(data: bytes) -> Iterator[tuple[int, int]]:
    """From one END:VCARD to the next: each holds one whole card, or whatever else it holds."""
    token = b"\nEND:VCARD"
    if token not in data:
        other = _END_LINE.search(data)
        token = other[0].rstrip(b" \t") if other is not None else b""
    # A card may hold another as its AGENT (vCard 2.1): then an END is not the end.
    if not token or b"AGENT" in data or b"agent" in data or b"Agent" in data:
        yield 0, len(data)
        return
    start = position = 0
    while (at := data.find(token, position)) >= 0:
        position = at + len(token)
        rest = _REST.match(data, position)
        if rest is None:
            continue
        position = rest.end()
        yield start, position
        start = position
    if start < len(data):
        yield start, len(data)


def _sound_card(record: bytes, offset: int, rules: Rules) -> WholeCard | None:
    """A card of which nothing needs repair; None where a closer look is needed."""
    length = len(record)
    lined = with_crlf(record)
    if lined is None or (PLAIN in rules.repairs and has_needless_escapes(lined)):
        return None
    if not lined.isascii() and looks_like_mojibake(lined):
        return None
    card = sound(lined)
    if card is None:
        return None
    revised = None
    if card.rev:
        revised = moment(card.rev)
        if revised is None or not possible(revised, rules):
            return None
    return WholeCard(
        offset=offset,
        length=length,
        content=lined,
        digest=digest_of(card.properties),
        uid=card.uid,
        revised=revised,
    )


def _with_care(record: bytes, offset: int, rules: Rules) -> Iterator[Part]:
    for top in components(record):
        if isinstance(top, Blank):
            yield Space(offset + top.offset, top.length)
            continue
        span = record[top.offset : top.offset + top.length]
        if isinstance(top, Component) and top.name == "VCARD":
            yield _read(top, record, offset, rules)
            continue
        reason = Reason.UNSUPPORTED if isinstance(top, Component) else top.reason
        detail = "no card" if isinstance(top, Component) else top.detail
        if _ZEROS in span:
            reason, detail = Reason.ZEROED, f"zeros at {span.index(_ZEROS)}"
        yield BadCard(offset=offset + top.offset, length=top.length, reason=reason, detail=detail)


def _read(component: Component, record: bytes, offset: int, rules: Rules) -> Part:
    repairing = Repairing(rules.repairs)
    try:
        card = read_card(component, record, rules, repairing)
    except ItemRejected as rejected:
        return BadCard(
            offset=offset + component.offset,
            length=component.length,
            reason=rejected.reason,
            detail=rejected.detail,
            uid=_certain_uid(component, rejected.reason),
            repairs=tuple(repairing.applied),
        )
    uid = card.first("UID").strip()
    if uid or not card.values("UID"):
        content = write(card) if repairing.applied else _verbatim(component, record)
    else:
        kept = [each for each in card.properties if each[0].bit != UID]
        content = write(type(card)(version=card.version, properties=kept))
    return WholeCard(
        offset=offset + component.offset,
        length=component.length,
        content=content,
        digest=digest_of(card.properties),
        uid=uid,
        revised=moment(card.first("REV")),
        repairs=tuple(repairing.applied),
        degraded=tuple(repairing.degraded),
    )


def _verbatim(component: Component, record: bytes) -> bytes:
    """The bytes of the card with CRLF line endings and without blank lines."""
    span = record[component.offset : component.offset + component.length]
    return _BREAKS.sub(b"\r\n", span.strip(b"\r\n") + b"\n")


def _certain_uid(component: Component, reason: Reason) -> bytes:
    """The UID of a card whose lines are all in order, whatever is wrong with a value."""
    if reason in _NEVER_NAMED_BY or component.flaws:
        return b""
    found = [line.value.strip() for line in component.lines if line.name == "UID"]
    names = [line for line in component.lines if line.name == "VERSION"]
    if len(found) != 1 or len(names) != 1 or not found[0].isascii() or has_controls(found[0]):
        return b""
    return found[0]
