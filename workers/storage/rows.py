"""Rows on their way into and out of a table of items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from orchestrator.items import Ident, UserId
from orchestrator.ports import Entry, Fate, Removal, Write, Written
from workers.storage.tables import Layout, field_fits, key_fits, text_fits

ROWS: Final = 5000
"""Writes in one transaction, at most."""

BYTES: Final = 32 * 1024 * 1024
"""Bytes of content in one transaction, unless one item is larger."""


@dataclass(kw_only=True, slots=True)
class Row:
    """A write on its way into the table."""

    write: Write
    content: bytes | str
    answer: Written | None = None


def fits(write: Write, layout: Layout) -> bool:
    """Whether its owner and ref can be a key of that table."""
    return key_fits(write.owner, layout.user) and key_fits(write.ref, layout.ident)


def row_of(write: Write, layout: Layout, *, replaces: bool) -> Row:
    """The write with its content as the table takes it, or with its answer if it never will."""
    item = write.item
    row = Row(write=write, content=item.content)
    if not fits(write, layout):
        row.answer = Written(fate=Fate.REFUSED, detail="its user or ident cannot be a key there")
    elif item.attachments and layout.attachments is None:
        row.answer = Written(fate=Fate.REFUSED, detail="the table has no place for attachments")
    elif item.attachments and not all(text_fits(part.name) for part in item.attachments):
        row.answer = Written(fate=Fate.REFUSED, detail="an attachment's name is no text")
    elif not layout.binary:
        text = _text(item.content)
        if text is None:
            row.answer = Written(fate=Fate.REFUSED, detail="its content is no text")
        elif layout.fields and (strange := _unmapped(text, layout)):
            row.answer = Written(fate=Fate.REFUSED, detail=strange)
        else:
            row.content = text
    if row.answer is None and write.expected is not None and not replaces:
        row.answer = Written(fate=Fate.CONFLICT, detail="the table's versions cannot be compared")
    return row


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if text_fits(text) else None


def _unmapped(text: str, layout: Layout) -> str:
    """Why the content cannot be spread over the table's columns without a loss."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return "its content is no JSON object"
    columns = dict(layout.fields)
    strange = fields.keys() - columns.keys() - layout.dropped
    if strange:
        return f"{len(strange)} of its fields have no column"
    for name, column in columns.items():
        value = fields.get(name)
        if value is not None and not field_fits(value, column):
            return f"its {name} is no {column.family}"
    return ""


def chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows for one transaction each, in an order that all writers share, no key twice in one."""
    chunk: list[Row] = []
    keys: set[tuple[str, str]] = set()
    size = 0
    for row in rows:
        key = (row.write.owner, row.write.ref)
        if chunk and (len(chunk) == ROWS or size > BYTES or key in keys):
            yield _ordered(chunk)
            chunk, keys, size = [], set(), 0
        chunk.append(row)
        keys.add(key)
        size += row.write.item.size
    if chunk:
        yield _ordered(chunk)


def _ordered(rows: list[Row]) -> list[Row]:
    """Sorted by key: two who lock the same rows in one order do not deadlock."""
    return sorted(rows, key=lambda row: (row.write.owner, row.write.ref))


def arrays(rows: Sequence[Row], now: datetime) -> dict[str, Any]:
    """One array a column, for PostgreSQL; `expecteds` are only asked for by a replace."""
    return {
        "users": [row.write.owner for row in rows],
        "idents": [row.write.ref for row in rows],
        "medias": [row.write.item.media.mime for row in rows],
        "contents": [row.content for row in rows],
        "reviseds": [row.write.item.revised for row in rows],
        "now": now,
        "expecteds": [row.write.expected for row in rows],
    }


def copied(row: Row, now: datetime) -> tuple[Any, ...]:
    """One new row for a COPY into a table of ours."""
    item = row.write.item
    return row.write.owner, row.write.ref, row.content, item.media.mime, item.revised, now


def named(row: Row, now: datetime) -> dict[str, Any]:
    """One row by name, for SQLite."""
    revised = row.write.item.revised
    return {
        "user": row.write.owner,
        "ident": row.write.ref,
        "media": row.write.item.media.mime,
        "content": row.content,
        "revised": None if revised is None else _stamp(revised),
        "now": _stamp(now),
        "expected": row.write.expected,
    }


def removed_arrays(removals: Sequence[Removal], now: datetime) -> dict[str, Any]:
    """Removals as arrays, for PostgreSQL."""
    return {
        "users": [removal.owner for removal in removals],
        "idents": [removal.ref for removal in removals],
        "expecteds": [removal.expected for removal in removals],
        "now": now,
    }


def removed(removal: Removal, now: datetime) -> dict[str, Any]:
    """One removal by name, for SQLite."""
    return {
        "user": removal.owner,
        "ident": removal.ref,
        "expected": removal.expected,
        "now": _stamp(now),
    }


def _stamp(when: datetime) -> str:
    """A time as SQLite's own functions, SQLAlchemy and Django write it, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _moment(told: object) -> datetime | None:
    """A time as the statements give it; None for what no calendar has: the user's own then."""
    try:
        match told:
            case float():
                return datetime.fromtimestamp(told, tz=UTC)
            case str():
                when = datetime.fromisoformat(told)
                return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
            case _:
                return None
    except (OverflowError, ValueError, OSError):
        return None


def entry(
    owner: UserId,
    ident: str,
    version: str | None,
    modified: object,
    deleted: object,
    deleted_at: object,
    size: int,
) -> Entry:
    """A row of a survey; a tombstone's time is that of its deletion."""
    when = _moment(modified)
    return Entry(
        owner=owner,
        ref=ident,
        version=version or "",
        ident=Ident(ident),
        modified=(_moment(deleted_at) or when) if deleted else when,
        deleted=bool(deleted),
        size=size,
    )


def content_of(content: bytes | str | None, layout: Layout) -> bytes:
    """What was fetched, as the item it is; fields without a value are left out."""
    data = content if isinstance(content, bytes) else (content or "").encode()
    if not layout.fields:
        return data
    fields = msgspec.json.decode(data, type=dict[str, Any])
    return msgspec.json.encode({n: v for n, v in fields.items() if v is not None}, order="sorted")
