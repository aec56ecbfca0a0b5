"""Evernote's exports (ENEX): where each note lies, what it says, and one note as a file.

XML is parsed note by note, without DTD, entities or network. A note's text (ENML, in CDATA) is
taken out before: real exports hold ENML that is not well-formed, and it is kept as it is anyway.
"""

import html
import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterator
from hashlib import md5, sha256
from typing import Any, Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Attachment, Ident
from orchestrator.reasons import Reason
from workers.formats.notes import Note, marked_title, own_ident
from workers.formats.plain_text import checked_text
from workers.formats.record_times import read_time

IDENT_KEY: Final = "reinstate-ident"
"""The key of the `application-data` in which a note put beside another carries its ident."""

_HEAD: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<!DOCTYPE en-export SYSTEM "http://xml.evernote.com/pub/evernote-export4.dtd">\n'
    b"<en-export>\n"
)
_TAIL: Final = b"\n</en-export>\n"

_LOOKS: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?+\s*+(?:<\?xml[^<>]*+>)?+\s*+(?:<!--[^<>]*+>)?+\s*+"
    rb"(?:<!DOCTYPE\s++en-export|<en-export|<note>)"
)
_PROLOGUE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?+\s*+(?:<\?xml[^<>]*+>)?+\s*+(?:<!--[^<>]*+>)?+\s*+"
    rb"(?:<!DOCTYPE\s++en-export[^<>\[\]]*+>)?+\s*+(?:<en-export(?:\s[^<>]*+)?+>)?+\s*+"
    rb"(?:</en-export\s*+>)?+\s*+"
)
_EPILOGUE: Final = re.compile(rb"\s*+(?:</en-export\s*+>)?+\s*+")
_TOKEN: Final = re.compile(rb"<!\[CDATA\[|<note(?:\s[^<>]*+)?+>|</note\s*+>")
_NOTE_TAG: Final = re.compile(rb"<note(?:\s[^<>]*+)?+>|</note\s*+>")
_CONTENT: Final = re.compile(rb"<content\s*+(/?+)>")
_TITLE: Final = re.compile(rb"<title>[^<>]*+</title>|<title\s*+/>")
_ATTRIBUTES: Final = re.compile(rb"<note-attributes\s*+(/?+)>")
_EN_NOTE: Final = re.compile(r"<en-note(?:\s[^<>]*?)??(/?)>")
_MEDIA: Final = re.compile(r"<en-media\s[^<>]*?hash\s*+=\s*+[\"']([0-9a-fA-F]{32})[\"']")
_OPENED: Final = b"<![CDATA["
_CLOSED: Final = b"]]>"
_SPACE: Final = re.compile(rb"\s+")
_BOOKKEEPING: Final = frozenset(("title", "content", "created", "updated", "tag", "resource"))


class Stretch(Struct, frozen=True, gc=False):
    """Bytes `start` to `end` of a file: a note, or what stands where a note should be."""

    start: int
    end: int
    note: bool
    closed: bool = True


def looks_like_enex(data: bytes) -> bool:
    """Whether it starts as an export does."""
    return _LOOKS.match(data) is not None


def stretches(data: bytes) -> Iterator[Stretch]:
    """Every note of an export and everything that should not be there, in its order.

    What lies between is the export's frame. A note that ends nowhere ends before the next one.
    """
    opened: int | None = None
    offset = 0
    for start, end, opens in _note_tags(data):
        if opens:
            if opened is not None:
                yield Stretch(opened, start, note=True, closed=False)
            else:
                yield from _between(data, offset, start)
            opened = start
        elif opened is not None:
            yield Stretch(opened, end, note=True)
            opened, offset = None, end
    if opened is not None:
        yield Stretch(opened, len(data), note=True, closed=False)
    else:
        yield from _between(data, offset, len(data))


def _note_tags(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Start, end and kind of each tag of a note that is not text of another.

    A CDATA section that holds the tag of a note has lost its end: it swallows what follows.
    """
    offset = 0
    last = data.rfind(_CLOSED)
    while (match := _TOKEN.search(data, offset)) is not None:
        offset = match.end()
        if match[0] != _OPENED:
            yield match.start(), match.end(), match[0].startswith(b"<note")
        elif offset <= last:
            end = data.find(_CLOSED, offset)
            if _NOTE_TAG.search(data, offset, end) is None:
                offset = end


def _between(data: bytes, start: int, end: int) -> Iterator[Stretch]:
    """What stands between notes and is neither the export's frame nor white space."""
    stretch = data[start:end]
    frame = _PROLOGUE if start == 0 else _EPILOGUE
    if frame.fullmatch(stretch) is not None:
        return
    inner = stretch.strip()
    at = start + stretch.find(inner)
    yield Stretch(at, at + len(inner), note=False)


def as_file(note: bytes) -> bytes:
    """One note, verbatim, as an export of its own."""
    return _HEAD + note + _TAIL


def only_note(content: bytes) -> bytes | None:
    """The one note of an export; None where there is none or more than one."""
    notes = [stretch for stretch in stretches(content) if stretch.note]
    return content[notes[0].start : notes[0].end] if len(notes) == 1 else None


def read_enex_note(data: bytes) -> Note:
    """The note in one `<note>` element.

    Raises:
        ItemRejected: not UTF-8, not XML, a part missing or twice, base64 that does not decode.
    """
    checked_text(data)
    frame, enml = _without_content(data)
    root = _parsed(frame)
    if enml is None:
        raise ItemRejected(Reason.STRUCTURE, "no content")
    titles = [child.text or "" for child in root.iterchildren("title")]
    if len(titles) > 1:
        raise ItemRejected(Reason.STRUCTURE, "more than one title")
    resources = [_resource(child) for child in root.iterchildren("resource")]
    hashes = {md5(part.data, usedforsecurity=False).hexdigest() for part in resources}
    shown = {found.lower() for found in _MEDIA.findall(enml)}
    degraded = ["attachments"] if shown - hashes else []
    return Note(
        form="enml",
        title=(titles[0] if titles else "").strip(),
        body=_inner(enml),
        labels=tuple((child.text or "").strip() for child in root.iterchildren("tag")),
        enclosed=tuple(sha256(part.data).hexdigest() for part in resources),
        more=_more(root) + [part.described for part in resources if part.described],
        ident=_ident(root),
        created=_time(root, "created", degraded),
        revised=_time(root, "updated", degraded),
        degraded=tuple(degraded),
    )


def files_inside(content: bytes) -> list[Attachment]:
    """The resources of an export of one note, each named by its hash and its type."""
    note = only_note(content)
    if note is None:
        return []
    root = _parsed(_without_content(note)[0])
    return [
        Attachment(
            name=f"{sha256(part.data).hexdigest()[:32]}.{_suffix(part.described)}", data=part.data
        )
        for part in map(_resource, root.iterchildren("resource"))
    ]


def _suffix(described: list[Any]) -> str:
    """What a file of that MIME type is usually called by; only what names can be made of."""
    subtype = str(described[0]).rpartition("/")[2].lower() if described else ""
    return subtype if subtype.isalnum() and subtype.isascii() else "bin"


def marked_enex(content: bytes, ident: Ident, mark: str) -> bytes:
    """The export of one note under another ident, its title marked."""
    note = only_note(content)
    if note is None:
        raise ValueError("not an export of one note")
    masked = _masked(note)
    named = html.escape(ident, quote=False)
    data = f'<application-data key="{IDENT_KEY}">{named}</application-data>'.encode()
    title = marked_title(read_enex_note(note).title, mark)
    titled_as = f"<title>{html.escape(title, quote=False)}</title>".encode()
    inside = masked.index(b">") + 1
    titled = _TITLE.search(masked)
    edits = [(titled.span() if titled is not None else (inside, inside), titled_as)]
    attributes = _ATTRIBUTES.search(masked)
    if attributes is None:
        at = masked.rindex(b"</note")
        edits.append(((at, at), b"<note-attributes>" + data + b"</note-attributes>"))
    else:
        closing = b"</note-attributes>" if attributes[1] else b""
        edits.append((attributes.span(), b"<note-attributes>" + data + closing))
    for (start, end), written in sorted(edits, reverse=True):
        note = note[:start] + written + note[end:]
    return as_file(note)


class _Resource(Struct, frozen=True, gc=False):
    data: bytes
    described: list[Any]


def _without_content(data: bytes) -> tuple[bytes, str | None]:
    """The note without its text, and the text; None where it has no content element."""
    match = _CONTENT.search(data)
    if match is None:
        return data, None
    if match[1]:
        return data[: match.start()] + data[match.end() :], ""
    end = data.rfind(b"</content>", match.end())
    if end < 0:
        raise ItemRejected(Reason.CUT, "its content does not end")
    frame = data[: match.start()] + data[end + len(b"</content>") :]
    raw = data[match.end() : end].strip()
    if not raw.startswith(_OPENED):
        return frame, html.unescape(raw.decode("utf-8"))
    end = raw.rfind(_CLOSED)
    if end < 0:
        raise ItemRejected(Reason.CUT, "its content does not end")
    return frame, raw[len(_OPENED) : end].decode("utf-8")


def _inner(enml: str) -> str:
    """What stands inside of `en-note`, from its first tag to the last that closes it."""
    match = _EN_NOTE.search(enml)
    if match is None:
        raise ItemRejected(Reason.EMPTY, "its content holds no en-note")
    if match[1]:
        return ""
    end = enml.rfind("</en-note", match.end())
    if end < 0:
        raise ItemRejected(Reason.CUT, "its en-note does not end")
    return enml[match.end() : end].strip()


def _masked(data: bytes) -> bytes:
    """The same length, with CDATA sections blanked out."""
    pieces: list[bytes] = []
    offset = 0
    while (start := data.find(_OPENED, offset)) >= 0:
        end = data.find(_CLOSED, start)
        end = end + len(_CLOSED) if end >= 0 else len(data)
        pieces.append(data[offset:start] + b" " * (end - start))
        offset = end
    return b"".join(pieces) + data[offset:]


def _parsed(frame: bytes) -> Any:
    from lxml import etree  # noqa: PLC0415 # pyright: ignore[reportAttributeAccessIssue] - late, because planning need not pay for it; lxml ships no types

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, recover=False
    )
    try:
        return etree.fromstring(frame, parser)
    except etree.XMLSyntaxError as error:
        raise ItemRejected(Reason.SYNTAX, f"not XML (libxml2 error {error.code})") from None


def _resource(element: Any) -> _Resource:
    """A file inside of the note, and what is said about it."""
    coded = element.findtext("data") or ""
    try:
        data = b64decode(_SPACE.sub(b"", coded.encode("ascii")), validate=True)
    except (BinasciiError, UnicodeEncodeError):
        raise ItemRejected(Reason.VALUE, "a resource that is not base64") from None
    described = [
        value
        for value in (
            (element.findtext("mime") or "").strip(),
            (element.findtext("resource-attributes/file-name") or "").strip(),
        )
        if value
    ]
    return _Resource(data, described)


def _ident(root: Any) -> Ident | None:
    for part in root.iterfind("note-attributes/application-data"):
        if part.get("key") == IDENT_KEY:
            return own_ident((part.text or "").strip())
    return None


def _more(root: Any) -> list[Any]:
    """Tasks, place, author, reminder and whatever else is said, each with its path."""
    told: list[Any] = []
    for child in root.iterchildren("*"):
        if child.tag not in _BOOKKEEPING:
            told.extend(_told(child, str(child.tag)))
    return sorted(told)


def _told(element: Any, path: str) -> Iterator[list[str]]:
    if element.get("key") == IDENT_KEY:
        return
    text = (element.text or "").strip()
    if text:
        yield [path, element.get("key") or "", text]
    for child in element.iterchildren("*"):
        yield from _told(child, f"{path}/{child.tag}")


def _time(root: Any, name: str, degraded: list[str]) -> Any:
    text = (root.findtext(name) or "").strip()
    moment = read_time(text) if text else None
    if text and moment is None:
        degraded.append({"updated": "revised"}.get(name, name))
    return moment
