"""What a category, a source and a target promise.

A kind is one module of a family package (`workers.sources`, …); the module's name is the kind's
name in plans. It defines one frozen, keyword-only dataclass, named in the module's `KIND`, whose
fields are the plan's options: their types are the validation, their docstrings the reference.

Contract in one line each: sources are read only and give the same bytes in the same order every
time; categories are pure; targets never overwrite what they were not told the version of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from msgspec import Struct

from orchestrator.items import (
    Attachment,
    Digest,
    Folder,
    Found,
    Ident,
    Item,
    Media,
    Side,
    UserId,
)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a kind may use of the world beyond its own options."""

    folder: Path
    """Where relative paths of the plan start."""
    secret: Callable[[str], str]
    """Resolves `env:NAME` or `file:/path`; anything else is returned as it is.

    Raises `Unavailable` when the reference leads nowhere."""
    clock: Callable[[], datetime]
    categories: frozenset[str] = frozenset()
    """The names of all installed categories: what a source finds of any other belongs to none.

    Empty: they are not known, and nothing is judged by them."""
    loss: datetime | None = None
    """The plan's as_of; None: it is not known, and nothing is judged by it."""


# Categories ------------------------------------------------------------------------------------


class Rules(Struct, frozen=True, kw_only=True):
    """What a plan lets a category do, and between which moments its data can lie."""

    repairs: frozenset[str]
    """Names of the repairs that are switched on."""
    loss: datetime
    """as_of: nothing recovered can be newer (apart from clock skew)."""
    service_start: datetime | None = None
    item_bytes: int = 128 * 1024 * 1024
    """An item larger than this is quarantined, before it is parsed."""


class Recognised(Struct, frozen=True, kw_only=True, gc=False):
    """What a live content is: the item's ident, its content by meaning, its last change."""

    ident: Ident
    digest: Digest
    revised: datetime | None = None
    merit: int | None = None
    """Of categories whose best wins, whenever it was: comparable with `Copy.merit`."""


class Category(Protocol):
    """Reads, validates and repairs one kind of item. Pure: no disk, clock, network, randomness."""

    repairs: ClassVar[Mapping[str, str]]
    """Every repair by its name, with one sentence of what it does."""
    lossy: ClassVar[frozenset[str]]
    """Those of `repairs` that lose something; off unless a plan names them."""
    bulky: ClassVar[bool]
    """Items are large: targets are not asked to list contents, chunks are counted by bytes."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Every byte of every file of `folder`, exactly once, as copy, damage or framing.

        Never raises for damaged data; `Unavailable` from a file passes through. Nothing of a
        file is lost when one of its records is damaged. Deterministic: the same folder gives the
        same stream, whatever the locale, hash seed or time of day.
        """
        ...

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """What a live content is, or None where it cannot be read as one item.

        `recognise(owner, item.content, item.attachments).digest == item.digest` for every item
        that `read` gives: this is how a write is verified. Tolerant: what servers reorder, fold
        or re-case without changing the meaning gives the same digest.
        """
        ...

    def beside(self, item: Item, mark: str) -> Item:
        """The same item under a new ident that depends on the old one only, visibly marked."""
        ...


class Origins(Struct, frozen=True, kw_only=True, gc=False):
    """What of a merged item came from where: names of fields, never what they hold."""

    added: tuple[str, ...] = ()
    """Only the recovered copy had it."""
    taken: tuple[str, ...] = ()
    """Both had it, and the recovered copy's stands."""
    kept: tuple[str, ...] = ()
    """Both had it, and the live one stands."""
    left_out: tuple[str, ...] = ()
    """One side had it still; the other, which wins, had let go of it."""

    def __str__(self) -> str:
        """One line for those who ask what became of an item."""
        told = (
            ("added", self.added),
            ("recovered one stands", self.taken),
            ("live one stands", self.kept),
            ("left out", self.left_out),
        )
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in told if names)


class Combined(Struct, frozen=True, kw_only=True, gc=False):
    """A live content and a recovered item as one."""

    item: Item
    """Under the live content's ident, and in its place."""
    origins: Origins


@runtime_checkable
class Merging(Protocol):
    """A category whose items are made of fields; without it no plan can ask for `merge`."""

    def merge(
        self, owner: UserId, live: "Live", item: Item, *, wins: Side, base: Item | None = None
    ) -> Combined | None:
        """Everything that both sides have; where they differ, the side that `wins`.

        Nothing is lost: what loses stays in the result wherever its format has room. Only what
        `base`, an older state of both, had and the side that wins has no more is left out. None
        where no one item can hold both. Merging the same once more changes nothing; the result's
        digest is what `recognise` gives for it.
        """
        ...


@runtime_checkable
class Likening(Protocol):
    """A category in which an item typed in again, under another ident, can be told."""

    def likenesses(self, content: bytes) -> frozenset[bytes]:
        """Two items are the same thing when they have one of these in common; may be empty."""
        ...


# Sources ---------------------------------------------------------------------------------------


class Unowned(Struct, frozen=True, kw_only=True):
    """Bytes of a source that belong to no user or no category, and why."""

    why: str
    files: int
    size: int


class Inventory(Struct, frozen=True, kw_only=True):
    """What a source proved to be at inspection."""

    manifest: str
    """A hash that changes whenever the recovered material does."""
    newest: datetime | None
    """The youngest change that it holds."""
    notes: tuple[str, ...] = ()
    """For the operator: what was seen and matters. No user ids, no content."""
    unowned: tuple[Unowned, ...] = ()


class Source(Protocol):
    """Recovered material, opened. Read only. One per process; closed by `close`."""

    def inspect(self) -> Inventory:
        """Prove that it can be read. Raises `Unavailable` with a hint where not."""
        ...

    def users(self) -> Iterator[UserId]:
        """Every user it holds anything of, each once, in a stable order, in bounded memory."""
        ...

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """One folder for each of `owners`, in their order; empty where it holds nothing.

        Raises `Unavailable` when the source is away; damage of one file is that file's
        (`File.read` raises `ItemRejected`).
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class SourceKind(Protocol):
    """A source's options, as the plan gives them."""

    def open(self, surroundings: Surroundings) -> Source:
        """Ready to read; cheap, connects on first use."""
        ...


# Targets ---------------------------------------------------------------------------------------


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a target proved to do at inspection; the preview says what follows from it."""

    create_only: bool
    """A create fails when something is there already, even when it came a moment ago."""
    compare_and_set: bool
    """A replace fails when the version is not the expected one."""
    tombstones: bool
    """It tells what its users deleted, and when."""
    notes: tuple[str, ...] = ()
    removes: bool | None = None
    """A removal takes exactly the version that it names; None: where it compares and sets."""

    @property
    def can_remove(self) -> bool:
        """Whether an undo may take anything away."""
        return self.compare_and_set if self.removes is None else self.removes


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """One thing that a target holds, or remembers as deleted."""

    owner: UserId
    ref: str
    """The target's own name for it, unique for owner and category."""
    version: str
    """Changes whenever it does."""
    ident: Ident | None = None
    """Where the target knows it without reading the content."""
    modified: datetime | None = None
    deleted: bool = False
    size: int = 0


class Live(Struct, frozen=True, kw_only=True, gc=False):
    """An entry with its content."""

    entry: Entry
    content: bytes
    attachments: tuple[Attachment, ...] = ()


class Place(Struct, frozen=True, kw_only=True, gc=False):
    """Where something is or goes: whose, and the target's own name for it."""

    owner: UserId
    ref: str


class Write(Struct, frozen=True, kw_only=True, gc=False):
    """One change: create where `expected` is None, else replace exactly that version of `ref`."""

    owner: UserId
    item: Item
    ref: str
    expected: str | None = None


class Removal(Struct, frozen=True, kw_only=True, gc=False):
    """One removal: of `ref` in exactly the version `expected`, with its attachments."""

    owner: UserId
    ref: str
    expected: str


class Fate(StrEnum):
    """What became of a write or a removal."""

    DONE = "done"
    CONFLICT = "conflict"
    """The precondition did not hold: nothing was changed."""
    REFUSED = "refused"
    """The target will never take this item; `detail` says why, without content."""
    UNKNOWN = "unknown"
    """It may or may not have happened: look before anything else."""


class Written(Struct, frozen=True, kw_only=True, gc=False):
    """The answer to one write."""

    fate: Fate
    version: str = ""
    detail: str = ""


class Target(Protocol):
    """A live system, opened. One per process; closed by `close`."""

    def identity(self, category: str) -> str:
        """Which live collection this is: the same whatever the options say besides. No secrets.

        Another one where it was emptied by making it anew: what earlier runs put into the old one
        says nothing of what users deleted from the new one. Asked after `inspect`.
        """
        ...

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Prove by a probe that it can be written, and how. The probe leaves nothing behind.

        Raises `Unavailable` with a hint where it cannot be reached or written.
        """
        ...

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """Where an item of that ident goes: always the same, safe whatever the ident holds."""
        ...

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Everything that it holds of these users, tombstones included, without contents."""
        ...

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents at these places, in their order; None where nothing is."""
        ...

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Carry out each write by itself or not at all; the answers are in the same order.

        A replace leaves what was there or what it puts there, never nothing. One item's refusal
        harms no other. Raises `Unavailable` when the target is away; what was written by then is
        found by looking again.
        """
        ...

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Carry out each removal by itself or not at all; the answers are in the same order.

        What undo asks for. CONFLICT where another version is there, a tombstone, or nothing; what
        a removal that died left half done is finished then. REFUSED, and nothing is ever removed,
        where the target cannot compare versions. Where its users' deletions leave a tombstone a
        removal leaves one too, and `version` is its; else `version` is empty. Raises
        `Unavailable` when the target is away; what was removed by then is found by looking again.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class TargetKind(Protocol):
    """A target's options, as the plan gives them."""

    def open(self, surroundings: Surroundings) -> Target:
        """Ready to write; cheap, connects on first use."""
        ...
