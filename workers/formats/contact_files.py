"""A file of contacts in whatever format it is: told by its content, read part by part."""

from collections.abc import Iterable, Iterator

from orchestrator.errors import ItemRejected
from orchestrator.items import UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.contact_rows import contact_of, is_contact
from workers.formats.contact_tables import Columns
from workers.formats.jcard import is_jcard, json_cards, properties_of
from workers.formats.json_records import pieces
from workers.formats.tables import rows, separator_of
from workers.formats.vcard import Property
from workers.formats.vcard_files import (
    BadCard,
    Part,
    Space,
    converted,
    is_vcard,
    read_cards,
)

_ZEROS = bytes(16)


def parts_of(data: bytes, owner: UserId, rules: Rules) -> Iterator[Part]:
    """Every byte of the file as contacts, damage and framing: in order, without a gap."""
    if is_vcard(data):
        return read_cards(data, rules)
    if is_jcard(data):
        return _filled(_json_cards(data, rules), len(data))
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        return _filled(_objects(data, owner, rules), len(data))
    columns = _columns(data)
    if columns is not None:
        return _table(data, columns, rules)
    reason = Reason.ZEROED if _ZEROS in data else Reason.UNSUPPORTED
    return iter([BadCard(offset=0, length=len(data), reason=reason, detail="no contacts in it")])


def _filled(parts: Iterable[Part], size: int) -> Iterator[Part]:
    """The parts, and what lies between them: syntax."""
    offset = 0
    for part in parts:
        if part.offset > offset:
            yield Space(offset, part.offset - offset)
        yield part
        offset = part.offset + part.length
    if size > offset:
        yield Space(offset, size - offset)


def _json_cards(data: bytes, rules: Rules) -> Iterator[Part]:
    for card in json_cards(data):
        if card.reason is not None:
            yield BadCard(
                offset=card.offset, length=card.length, reason=card.reason, detail=card.detail
            )
            continue
        try:
            version, properties = properties_of(card.value)
        except ItemRejected as rejected:
            yield _rejected(card.offset, card.length, rejected)
            continue
        yield converted(properties, version, card.offset, card.length, rules)


def _objects(data: bytes, owner: UserId, rules: Rules) -> Iterator[Part]:
    for piece in pieces(data, is_contact):
        if piece.fields is None:
            reason = piece.reason or Reason.STRUCTURE
            yield BadCard(
                offset=piece.offset, length=piece.length, reason=reason, detail=piece.detail
            )
            continue
        try:
            properties: list[Property] = contact_of(piece.fields, owner)
        except ItemRejected as rejected:
            yield _rejected(piece.offset, piece.length, rejected)
            continue
        yield converted(properties, "3.0", piece.offset, piece.length, rules)


def _columns(data: bytes) -> Columns | None:
    """What the first row says, where it is the header of an address book."""
    end = data.find(b"\n")
    if end < 0:
        return None
    header = rows(data[: end + 1], separator_of(data))
    if not header or not header[0].cells:
        return None
    columns = Columns(header[0].cells)
    return columns if columns.of_contacts else None


def _table(data: bytes, columns: Columns, rules: Rules) -> Iterator[Part]:
    header, *others = rows(data, separator_of(data))
    yield Space(header.offset, header.length)
    for row in others:
        raw = data[row.offset : row.offset + row.length]
        if row.cells is None:
            try:
                raw.decode()
                reason, detail = Reason.SYNTAX, "quotes that do not match"
            except UnicodeDecodeError:
                reason, detail = Reason.ENCODING, "not UTF-8"
            yield BadCard(offset=row.offset, length=row.length, reason=reason, detail=detail)
        elif not any(cell.strip() for cell in row.cells):
            yield Space(row.offset, row.length)
        elif len(row.cells) != len(columns.names):
            detail = f"{len(row.cells)} cells in {len(columns.names)} columns"
            yield BadCard(
                offset=row.offset, length=row.length, reason=Reason.STRUCTURE, detail=detail
            )
        else:
            properties = columns.contact(row.cells)
            yield converted(properties, "3.0", row.offset, row.length, rules)


def _rejected(offset: int, length: int, rejected: ItemRejected) -> BadCard:
    return BadCard(offset=offset, length=length, reason=rejected.reason, detail=rejected.detail)
