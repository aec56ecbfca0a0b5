"""A note as the one VJOURNAL that calendar servers take, its files inside of it.

A journal entry stays what it is. A note of any other format becomes one without DTSTART: such an
entry belongs to no day, which is what programs take for a note.
"""

from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import Attachment, Item
from orchestrator.reasons import Reason
from workers.formats.calendar_properties import made
from workers.formats.calendar_records import ZONE, Node, node, reading
from workers.formats.calendar_values import FIXED_STAMP
from workers.formats.calendar_writing import PRODUCT
from workers.formats.content_lines import Line, escape
from workers.formats.enex import files_inside, looks_like_enex
from workers.formats.journal_notes import FILE, KEPT, told
from workers.formats.journals import looks_like_calendar
from workers.formats.note_formats import interpreted
from workers.formats.notes import Note, note_digest
from workers.formats.shaping_calendar import written

_SEVERAL: Final = 2
_TYPES: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "amr": "audio/amr",
    "wav": "audio/wav",
    "3gp": "video/3gpp",
    "mp4": "video/mp4",
}


def shaped_journal(item: Item, largest: int) -> bytes:
    """The note in a calendar of its own, under its ident.

    Raises:
        ItemRejected: `TOO_LARGE` where its files alone are larger than `largest` bytes, else
            `REFUSED`: no journal entry means the same.
    """
    content = item.content
    note = interpreted(content)
    files = [*item.attachments, *(files_inside(content) if looks_like_enex(content) else ())]
    size = sum(len(part.data) for part in files)
    if size * 4 // 3 > largest:
        raise ItemRejected(Reason.TOO_LARGE, f"{size} bytes of files inside of one resource")
    zones: list[bytes] = []
    if looks_like_calendar(content):
        entry, zones = _entry(content)
        entry.lines = _described_once(entry.lines)
    else:
        entry = Node("VJOURNAL", _lines(note), [], [])
    entry.lines += map(_attached, files)
    resource = written([entry], zones, PRODUCT, item.ident)
    try:
        meant = interpreted(resource)
    except ItemRejected:
        meant = None
    if meant is None or note_digest(meant, ()) != item.digest or meant.ident != item.ident:
        raise ItemRejected(Reason.REFUSED, "no journal entry means the same")
    return resource


def _entry(content: bytes) -> tuple[Node, list[bytes]]:
    """The one entry of a calendar, and the zones in it."""
    zones: list[bytes] = []
    entry: Node | None = None
    for record in reading(content).records:
        raw = content[record.offset : record.end]
        if record.kind == ZONE:
            zones.append(raw)
        else:
            entry = node(raw)
    if entry is None:
        raise ItemRejected(Reason.STRUCTURE, "a journal entry that cannot be read")
    return entry, zones


def _described_once(lines: list[Line]) -> list[Line]:
    """An entry may have several DESCRIPTIONs (RFC 5545 §3.6.3), but for vobject it may not."""
    told = [line.value for line in lines if line.name == "DESCRIPTION"]
    if len(told) < _SEVERAL:
        return lines
    others = [line for line in lines if line.name != "DESCRIPTION"]
    return [*others, made("DESCRIPTION", b"\\n\\n".join(told))]


def _lines(note: Note) -> list[Line]:
    """A note of another format, in the properties of a journal entry."""
    tells = told(note)
    stamp = _time(note.revised or note.created) or FIXED_STAMP
    found: list[tuple[str, bytes]] = [("DTSTAMP", stamp)]
    found += [("CREATED", value) for value in _given(_time(note.created))]
    found += [("LAST-MODIFIED", value) for value in _given(_time(note.revised))]
    found += [("SUMMARY", value) for value in _given(_text(note.title.strip()))]
    found += [("DESCRIPTION", value) for value in _given(_text(tells.description))]
    labels = dict.fromkeys(_text(label) for label in note.labels if label)
    found += [("CATEGORIES", value) for value in _given(b",".join(labels))]
    if tells.cancelled:
        found.append(("STATUS", b"CANCELLED"))
    found.append((KEPT, escape(tells.kept)))
    return [made(name, value) for name, value in found]


def _given(value: bytes) -> Iterable[bytes]:
    return (value,) if value else ()


def _text(text: str) -> bytes:
    return escape(text.encode("utf-8", "surrogatepass"))


def _time(at: datetime | None) -> bytes:
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ").encode() if at is not None else b""


def _attached(part: Attachment) -> Line:
    mime = _TYPES.get(part.name.rpartition(".")[2], "application/octet-stream")
    params = (
        ("VALUE", ("BINARY",)),
        ("ENCODING", ("BASE64",)),
        ("FMTTYPE", (mime,)),
        (FILE, (part.name,)),
    )
    return made("ATTACH", b64encode(part.data), params)
