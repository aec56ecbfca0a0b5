"""Which format a note is written in, told from its content alone, and how each is read and marked.

Why from the content: what is read back from a target has no file name, and must mean the same.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident, Media
from orchestrator.reasons import Reason
from workers.formats.enex import looks_like_enex, marked_enex, only_note, read_enex_note
from workers.formats.html_notes import looks_like_html, marked_html, read_html_note
from workers.formats.journals import (
    looks_like_calendar,
    marked_journal,
    only_entry,
    read_journal,
)
from workers.formats.json_records import decoded
from workers.formats.keep import is_keep, read_keep
from workers.formats.markdown_notes import marked_markdown, read_markdown_note
from workers.formats.note_rows import is_note_row, read_note_row
from workers.formats.notes import Note, marked_title
from workers.formats.plain_text import BOM

JSON: Final = Media("json", "application/json")
ENEX: Final = Media("enex", "application/enex+xml")
ICS: Final = Media("ics", "text/calendar")
HTML: Final = Media("html", "text/html")
MARKDOWN: Final = Media("md", "text/markdown")
TEXT: Final = Media("txt", "text/plain")

MEDIA: Final[Mapping[str, Media]] = {
    "json": JSON,
    "jsonl": JSON,
    "ndjson": JSON,
    "enex": ENEX,
    "ics": ICS,
    "html": HTML,
    "htm": HTML,
    "md": MARKDOWN,
    "markdown": MARKDOWN,
    "txt": TEXT,
    "text": TEXT,
    "": TEXT,
}
"""By the suffix of a file, in lower case, in the order in which a folder's files are read."""


def media_of(data: bytes, suffix: str) -> Media | None:
    """How a file has to be read; None where it is none of these formats."""
    named = MEDIA.get(suffix)
    if named in (JSON, ENEX, ICS):
        return named
    if looks_like_enex(data):
        return ENEX
    if looks_like_calendar(data):
        return ICS
    start = data[:64].removeprefix(BOM).lstrip()[:1]
    if start == b"{" and named in (MARKDOWN, TEXT) and suffix and note_fields(data) is None:
        return named
    if start == b"{" or (start == b"[" and not suffix):
        return JSON
    if looks_like_html(data):
        return HTML if named is TEXT or named is None else named
    return named


def is_note(keys: Any) -> bool:
    """Whether a JSON object with these keys is a note."""
    return is_keep(keys) or is_note_row(keys)


def note_fields(data: bytes) -> Mapping[str, Any] | None:
    """The fields of a JSON object that is a note; None where it is anything else."""
    try:
        fields = decoded(data.removeprefix(BOM))
    except ItemRejected:
        return None
    return fields if isinstance(fields, dict) and is_note(fields) else None  # pyright: ignore[reportUnknownVariableType]  # JSON is Any


def read_note_object(fields: Mapping[str, Any]) -> Note:
    """The note in a JSON object.

    Raises:
        ItemRejected: its fields are not what they should be.
    """
    return read_keep(fields) if is_keep(fields) else read_note_row(fields)


def interpreted(content: bytes) -> Note:
    """The note in a content.

    Raises:
        ItemRejected: it cannot be read as one note.
    """
    start = content[:64].removeprefix(BOM).lstrip()[:1]
    if start == b"{" and (fields := note_fields(content)) is not None:
        return read_note_object(fields)
    if looks_like_enex(content):
        note = only_note(content)
        if note is None:
            raise ItemRejected(Reason.STRUCTURE, "not one note")
        return read_enex_note(note)
    if looks_like_calendar(content):
        entry = only_entry(content)
        if entry is None:
            raise ItemRejected(Reason.STRUCTURE, "not one entry")
        return read_journal(entry)
    return read_html_note(content) if looks_like_html(content) else read_markdown_note(content)


def marked(content: bytes, media: Media, ident: Ident, mark: str) -> tuple[bytes, Media]:
    """The content under another ident, visibly marked; a plain text becomes Markdown for that."""
    start = content[:64].removeprefix(BOM).lstrip()[:1]
    if start == b"{" and (fields := note_fields(content)) is not None:
        title = marked_title(str(fields.get("title") or ""), mark)
        return msgspec.json.encode({**fields, "id": ident, "title": title}), media
    if looks_like_enex(content):
        return marked_enex(content, ident, mark), media
    if looks_like_calendar(content):
        return marked_journal(content, ident, mark), media
    if looks_like_html(content):
        return marked_html(content, ident, mark), media
    return marked_markdown(content, ident, mark), MARKDOWN
