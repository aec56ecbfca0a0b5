"""What is restored: copies as sources hold them, and the items they are copies of.

Knows nothing of formats: a category turns bytes into these values. There are millions of them and
none can be part of a cycle, so the cyclic garbage collector does not follow them (`gc=False`).
Between processes they travel as plain arrays, what is found with a number for its class (`tag`).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

from msgspec import Struct

from orchestrator.reasons import Reason

UserId = NewType("UserId", str)
"""The service's own name for one of its users, exactly as plans and sources spell it."""

Ident = NewType("Ident", str)
"""What makes two copies the same item of one user and category (a UID, a board, a photo's hash)."""

Digest = NewType("Digest", bytes)
"""What makes two contents equal by meaning: SHA-256 of the category's canonical form, 32 bytes."""


class Side(StrEnum):
    """Which of two contents of one item."""

    LIVE = "live"
    """What the target holds."""
    RECOVERED = "recovered"


class Media(Struct, frozen=True, array_like=True, gc=False):
    """How a content is written down: `suffix` without its dot, and the MIME type."""

    suffix: str
    mime: str


class Attachment(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A part of an item that lies in a file of its own: a photo's sidecar, a note's picture.

    `name` is made by the category from a fixed set or a hash, never taken from data as it is.
    """

    name: str
    data: bytes


class Item(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One contact, event, note, task, photo or score, in the form that is written to a target."""

    ident: Ident
    digest: Digest
    media: Media
    content: bytes
    attachments: tuple[Attachment, ...] = ()
    revised: datetime | None = None
    """When its user last changed it, aware; None where the data does not say."""

    @property
    def size(self) -> int:
        """Bytes that a target has to take."""
        size = len(self.content)
        if self.attachments:  # few items have any
            size += sum(len(part.data) for part in self.attachments)
        return size


class Span(Struct, frozen=True, array_like=True, gc=False):
    """`length` bytes at `offset` of the file called `file` in its folder."""

    file: str
    offset: int
    length: int


class Copy(Struct, frozen=True, kw_only=True, tag=0, array_like=True, gc=False):
    """One recovered copy that passed validation, repaired or as it was."""

    item: Item
    spans: tuple[Span, ...]
    repairs: tuple[str, ...] = ()
    """Names of the repairs that were needed, in the order in which they were applied."""
    degraded: tuple[str, ...] = ()
    """Names of fields known to be missing or left empty."""
    lossy: bool = False
    """A repair lost something, so any intact copy is better."""
    merit: int = 0
    """Ranks before the revision: a score by its board's rule. Higher is better."""
    sequence: int = 0
    """Ranks after the revision: iCalendar's SEQUENCE. Higher is newer."""
    favourite: bool = False
    """Its user marked it: it comes before others. Nothing is decided by it."""
    dated: datetime | None = None
    """When it is from, where that tells more than when it was revised: when a photo was taken."""


class Damaged(Struct, frozen=True, kw_only=True, tag=1, array_like=True, gc=False):
    """One recovered copy that failed validation: a value in the stream, never an exception."""

    reason: Reason
    spans: tuple[Span, ...]
    data: bytes
    """The raw bytes of the spans, one after the other."""
    ident: Ident | None = None
    """The item it is a copy of, where even the damaged bytes say so beyond doubt."""
    detail: str = ""
    """Where and what, for an operator. Property names and numbers only, never content."""
    repairs: tuple[str, ...] = ()
    """Repairs that were tried and did not suffice."""


class Framing(Struct, frozen=True, tag=2, array_like=True, gc=False):
    """Bytes that carry no item: envelopes, separators, headers, white space."""

    span: Span


Found = Copy | Damaged | Framing


HEAD_BYTES: Final = 256
"""So many first bytes tell what a file is, whoever vouches for the rest."""


class Vouched(Struct, frozen=True, kw_only=True, gc=False):
    """A file's bytes that are those of a digest which was recorded before the loss."""

    head: bytes
    """The first `HEAD_BYTES` of them, or all."""
    length: int
    sha256: bytes
    """32 bytes."""
    content: bytes
    """All of them, to be handed on unread: in a confined reader only a token that stands for
    them, and has no bytes."""


class File(Struct, frozen=True, kw_only=True):
    """One file (or database row) of recovered material.

    `name` is unique within its folder and stable between readings; '/' separates levels.
    `read` gives all its bytes, the same on every call; it raises `Unavailable` when the source
    is away and `ItemRejected` when these bytes cannot be had (unreadable, too large, encrypted,
    wrong hash); `ItemRejected.data` then holds what could be read.
    `beside` holds files that the source itself ties to this one (a row's second column); their
    bytes are accounted for under their own names.
    `vouched`, where a plan says that the source's digests were recorded before the loss, reads and
    checks the bytes as `read` does and raises what that raises; what it gives needs no proof but
    this one that it is what the service had once accepted.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    modified: datetime | None = None
    beside: tuple["File", ...] = ()
    vouched: Callable[[], Vouched] | None = None


class Folder(Struct, frozen=True, kw_only=True):
    """Everything that one source holds of one user's one category.

    `files` may be iterated more than once and gives the same files in the same order each time;
    it is light: bytes are read one file at a time.
    """

    owner: UserId
    files: Iterable[File]
