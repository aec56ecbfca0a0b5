"""A note by its meaning, whatever format it was written in, and the digest of that meaning."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Attachment, Digest, Ident
from orchestrator.reasons import Reason
from workers.formats.plain_text import even_lines

Form = Literal["text", "list", "html", "enml", "journal"]

LONGEST_IDENT: Final = 500
"""Characters of an ident that a note may bring along."""


class Note(Struct, frozen=True, kw_only=True):
    """What a note says. Formats that can say less leave the rest empty."""

    form: Form = "text"
    title: str = ""
    body: str = ""
    entries: tuple[tuple[str, bool], ...] = ()
    """Of a list: each entry's text, and whether it is ticked off."""
    labels: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    """Trashed, archived, pinned, a colour: whatever is not the default."""
    enclosed: tuple[str, ...] = ()
    """SHA-256 of each file inside of the note, in hexadecimal."""
    more: Any = None
    """Everything else that carries meaning, as JSON values."""
    ident: Ident | None = None
    """The note's own, where it has one."""
    created: datetime | None = None
    revised: datetime | None = None
    references: tuple[str, ...] = ()
    """Files beside the note that it shows, as the note names them."""
    degraded: tuple[str, ...] = ()
    """Fields known to be missing, whatever lies beside the note."""
    needs: tuple[str, ...] = ()
    """Names of the repairs without which it is not valid."""

    @property
    def says_nothing(self) -> bool:
        """There is no title, text, entry, file or anything else in it."""
        said = self.title.strip() or self.body.strip() or self.entries or self.enclosed
        return not (said or self.more)


def own_ident(value: object) -> Ident | None:
    """The ident that a note brings along, None where it brings none.

    Raises:
        ItemRejected: `VALUE` where it is no text or number, or nobody could address it.
    """
    if value is None or value == "":
        return None
    text = str(value)
    fits = isinstance(value, str | int) and not isinstance(value, bool)
    if not fits or len(text) > LONGEST_IDENT or not text.isprintable() or text != text.strip():
        raise ItemRejected(Reason.VALUE, "its id cannot be one")
    return Ident(text)


def marked_title(title: str, mark: str) -> str:
    """A title that its user can tell from the unmarked one."""
    return f"{title} ({mark})" if title else f"({mark})"


_encode: Final = msgspec.json.Encoder(order="sorted").encode


def note_digest(note: Note, attachments: Sequence[Attachment]) -> Digest:
    """The same for the same title, text, list, labels, state and files, in every format.

    Leaves out when it was written, what it is called, and in which order labels and files stand.
    """
    return Digest(
        sha256(
            _encode(
                (
                    note.form,
                    even_lines(note.title).strip(),
                    even_lines(note.body),
                    note.entries,
                    sorted(set(note.labels)),
                    sorted(note.state),
                    sorted(
                        {*note.enclosed, *(sha256(part.data).hexdigest() for part in attachments)}
                    ),
                    note.more or None,
                )
            )
        ).digest()
    )
