"""Notes that are plain text or Markdown, with or without front matter.

Front matter is read line by line, not as YAML: a title, labels, an ident and times are all that is
needed of it, the rest is kept as it is.
"""

import json
import re
from datetime import datetime
from typing import Final

from msgspec import Struct

from orchestrator.items import Ident
from workers.formats.html_notes import local_path
from workers.formats.notes import Note, marked_title, own_ident
from workers.formats.plain_text import checked_text
from workers.formats.record_times import read_time

_FENCE: Final = r"(?:---|\.\.\.)[ \t]*+\r?+(?:\n|\Z)"
_FRONT: Final = re.compile(
    r"---[ \t]*+\r?+\n((?:(?!" + _FENCE + r")[^\n]*+\n)*+)" + _FENCE,
)
_FIELD: Final = re.compile(r"([A-Za-z][\w -]*+):(?:[ \t]++(.*)|[ \t]*+)")
_ELEMENT: Final = re.compile(r"[ \t]*+-[ \t]++(.*)")
_HEADING: Final = re.compile(r"#[ \t]++([^\r\n]*+)")
_EMBED: Final = re.compile(
    r"!\[\[([^\[\]|#\n]++)[^\[\]\n]*+\]\]|!\[[^\[\]\n]*+\]\(<?+([^()<>\s]++)"
)

LABELS: Final = frozenset(("tags", "labels", "tag", "keywords"))
IDENTS: Final = frozenset(("uid", "uuid"))
CREATED: Final = frozenset(("created", "date", "created_at"))
REVISED: Final = frozenset(("updated", "modified", "revised", "updated_at", "lastmod"))


def read_markdown_note(data: bytes) -> Note:
    """The note that is one text.

    Raises:
        ItemRejected: not UTF-8, or control characters.
    """
    text = checked_text(data)
    front = _FRONT.match(text)
    body = text[front.end() :] if front is not None else text
    title, labels, more = "", list[str](), list[str]()
    ident: Ident | None = None
    created: datetime | None = None
    revised: datetime | None = None
    for key, lines in _fields(front[1]) if front is not None else ():
        values = _values(lines)
        value = values[0] if len(values) == 1 else ""
        if key == "title" and value:
            title = value
        elif key in LABELS:
            labels.extend(label.lstrip("#") for label in values)
        elif key in IDENTS and value:
            ident = own_ident(value)
        elif key in CREATED and (moment := read_time(value)) is not None:
            created = moment
        elif key in REVISED and (moment := read_time(value)) is not None:
            revised = moment
        else:
            more.extend(line.rstrip() for line in lines)
    return Note(
        title=title,
        body=body,
        labels=tuple(labels),
        more=[line for line in more if line],
        ident=ident,
        created=created,
        revised=revised,
        references=tuple(
            path
            for wiki, link in _EMBED.findall(body)
            if (path := wiki.strip() or local_path(link)) and "." in path
        ),
    )


class Parts(Struct, frozen=True):
    """A text, taken apart."""

    fields: list[tuple[str, list[str]]]
    """Of the front matter: each one's key in lower case, with its lines."""
    body: str


def parts_of(content: bytes) -> Parts:
    """Front matter and body.

    Raises:
        ItemRejected: not UTF-8, or control characters.
    """
    text = checked_text(content)
    front = _FRONT.match(text)
    if front is None:
        return Parts([], text)
    return Parts([(key, lines) for key, lines in _fields(front[1]) if lines], text[front.end() :])


def labels_of(lines: list[str]) -> list[str]:
    """The labels in the lines of a field that holds them."""
    return [label.lstrip("#") for label in _values(lines)]


def marked_markdown(content: bytes, ident: Ident, mark: str) -> bytes:
    """The text under another ident, with a marked title in its front matter."""
    text = checked_text(content)
    note = read_markdown_note(content)
    front = _FRONT.match(text)
    heading = _HEADING.match(note.body.lstrip())
    title = marked_title(note.title or (heading[1].strip() if heading is not None else ""), mark)
    kept: list[str] = []
    for key, lines in _fields(front[1]) if front is not None else ():
        if key != "title" and key not in IDENTS:
            kept.extend(line.rstrip("\r\n") for line in lines)
    quoted = (f"title: {json.dumps(title)}", f"uid: {json.dumps(ident)}")
    return "\n".join(("---", *quoted, *kept, "---", note.body)).encode()


def titled_markdown(content: bytes, title: str) -> bytes:
    """The text with a title in its front matter; nothing else of it changes."""
    text = checked_text(content)
    front = _FRONT.match(text)
    if front is None:
        return f"---\ntitle: {json.dumps(title)}\n---\n{text}".encode()
    at = text.index("\n") + 1
    return f"{text[:at]}title: {json.dumps(title)}\n{text[at:]}".encode()


def _fields(front: str) -> list[tuple[str, list[str]]]:
    """Each field's key in lower case with its lines; lines before the first have no key."""
    fields: list[tuple[str, list[str]]] = [("", [])]
    for line in front.splitlines(keepends=True):
        match = _FIELD.fullmatch(line.rstrip())
        if match is not None:
            fields.append((match[1].lower(), [line]))
        else:
            fields[-1][1].append(line)
    return fields


def _values(lines: list[str]) -> list[str]:
    """The value of a field, or the elements of its list."""
    first = _FIELD.fullmatch(lines[0].rstrip()) if lines else None
    value = (first[2] or "").strip() if first is not None else ""
    if value.startswith("[") and value.endswith("]"):
        parts = value[1:-1].split(",")
    elif value:
        parts = [value]
    else:
        found = (_ELEMENT.fullmatch(line.rstrip()) for line in lines[1:])
        parts = [match[1] for match in found if match is not None]
    return [plain for part in parts if (plain := _plain(part.strip()))]


def _plain(scalar: str) -> str:
    """A scalar without its quotes."""
    if len(scalar) > 1 and scalar[0] == scalar[-1] == "'":
        return scalar[1:-1].replace("''", "'")
    if len(scalar) > 1 and scalar[0] == scalar[-1] == '"':
        try:
            return str(json.loads(scalar))
        except ValueError:
            return scalar[1:-1]
    return scalar
