"""Notes of other formats as journal entries: what the entry itself cannot say, and back.

SUMMARY, DESCRIPTION, CATEGORIES and STATUS are what programs show and users change: they count.
`X-REINSTATE-NOTE` keeps the rest as JSON: which form the note had, its state, its list or its
HTML. The last two count only as long as nobody changed the DESCRIPTION that was made of them, which
a hash of it tells. Files lie inside, each as an ATTACH that says what it was called.
"""

import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from orchestrator.items import Attachment
from workers.formats.content_lines import Line
from workers.formats.html_text import plain_text
from workers.formats.notes import Form, Note
from workers.formats.plain_text import even_lines

KEPT: Final = "X-REINSTATE-NOTE"
"""The property that holds what a journal entry has no place for."""
FILE: Final = "X-REINSTATE-FILE"
"""The parameter of an ATTACH that says what the note called it."""
TRASHED: Final = "trashed"
CANCELLED: Final = "cancelled"
"""How a journal entry says so, in lower case."""


class _Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    form: Form
    shown: str = ""
    """Of the DESCRIPTION that `body` and `entries` count with; empty: it is the body itself."""
    body: str = ""
    entries: tuple[tuple[str, bool], ...] = ()
    labels: tuple[str, ...] = ()
    """Only where one is empty, or has white space or breaks that CATEGORIES do not keep."""
    state: tuple[str, ...] = ()
    more: Any = None


class Told(Struct, frozen=True, kw_only=True):
    """A note in the words of a journal entry."""

    description: str
    cancelled: bool
    kept: bytes
    """The value of `KEPT`, not escaped."""


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(_Kept).decode


def told(note: Note) -> Told:
    """The note, which is of any form but `journal`, as an entry tells it."""
    description = _shown(note)
    plain = note.form == "text" and not note.entries
    itself = plain and even_lines(note.body) == description.strip()
    kept = _Kept(
        form=note.form,
        shown="" if itself else _hash(description),
        body="" if itself else note.body,
        entries=note.entries,
        labels=note.labels if any(_bare(each) != each for each in note.labels) else (),
        state=tuple(sorted(each for each in note.state if each != TRASHED)),
        more=note.more or None,
    )
    return Told(description=description, cancelled=TRASHED in note.state, kept=_encode(kept))


def meant(journal: Note, value: str, added: Sequence[Any]) -> Note:
    """The note that an entry tells, `value` being that of `KEPT`.

    `journal` is the entry read as one, `added` what others have put into it since. Where the value
    is none of ours, the entry is what it says.
    """
    try:
        kept = _decode(value.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return journal
    state = [TRASHED if each == CANCELLED else each for each in journal.state]
    more = kept.more
    if added:
        more = [more, *added]
    unchanged = not kept.shown or kept.shown == _hash(journal.body)
    return structs.replace(
        journal,
        form=kept.form if unchanged else "text",
        body=kept.body if kept.shown and unchanged else journal.body,
        entries=kept.entries if unchanged else (),
        labels=kept.labels if _same_labels(kept.labels, journal.labels) else journal.labels,
        state=(*kept.state, *state),
        more=more,
    )


def file_of(line: Line) -> Attachment | None:
    """The file that an ATTACH of ours holds; None where it is another's, or cannot be read."""
    name = line.param(FILE)
    if line.name != "ATTACH" or name is None:
        return None
    try:
        return Attachment(name=name, data=binascii.a2b_base64(line.value))
    except binascii.Error:
        return None


def _bare(label: str) -> str:
    return even_lines(label).strip() or " "


def _same_labels(kept: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether the labels that are shown are still those that were kept."""
    return bool(kept) and {*map(_bare, kept), " "} == {*map(_bare, shown), " "}


def _shown(note: Note) -> str:
    """What a program shows that knows nothing but text."""
    body = plain_text(note.body) if note.form in ("html", "enml") else even_lines(note.body)
    entries = (f"[{'x' if ticked else ' '}] {text}" for text, ticked in note.entries)
    return "\n".join((*([body] if body else []), *entries))


def _hash(description: str) -> str:
    return sha256(even_lines(description).strip().encode("utf-8", "surrogatepass")).hexdigest()[:32]
