"""A target in this process's memory: exact, and ready to be disturbed by a test.

Targets opened under the same `name` share one `Store`, as clients of one server would. It cannot
be shared between processes.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from msgspec import Struct, structs

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, Digest, Ident, Item, Media, UserId
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)

PROBE = UserId("reinstate-probe")
"""Whose place the probe writes to; never a real user's."""


class Held(Struct, frozen=True, kw_only=True):
    """One thing in a store; a deleted one keeps its place, without content."""

    version: str
    modified: datetime
    content: bytes = b""
    attachments: tuple[Attachment, ...] = ()
    ident: Ident | None = None
    """None: someone else put it there."""
    deleted: bool = False


class Disturbance(Struct, frozen=True, kw_only=True):
    """What befalls one write or removal."""

    fate: Fate = Fate.DONE
    """DONE: nothing is wrong with it; REFUSED and CONFLICT: nothing is stored."""
    stored: bool = True
    """With UNKNOWN: whether it happened after all."""
    altered: Callable[[bytes], bytes] | None = None
    """What the store makes of the content, without saying so."""


Disturb = Callable[[str, Write | Removal], Disturbance | None]
"""Asked before each write or removal with its category; None leaves it alone.

It may change the store itself (a user who was faster), or raise `Unavailable`.
"""

Followed = Callable[[str, Write | Removal], None]
"""Told with its category of each write or removal that took effect, before anybody looks.

It may change the store itself: a user who comes right after.
"""

Key = tuple[str, UserId, str]
"""Category, owner, ref."""


_BIRTHS = count(1)


@dataclass(kw_only=True)
class Store:
    """What every target of one name shares, and a test's hands on it."""

    held: dict[Key, Held] = field(default_factory=dict[Key, Held])
    disturb: Disturb | None = None
    followed: Followed | None = None
    away: bool = False
    """Every call raises `Unavailable` while this is set."""
    writes: int = 0
    """How many writes and removals were asked for, probes included."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    versions: Iterator[int] = field(default_factory=lambda: count(1))
    born: int = field(default_factory=lambda: next(_BIRTHS))
    """Which of the stores of this process it is."""

    def put(
        self,
        category: str,
        owner: UserId,
        ref: str,
        content: bytes,
        *,
        at: datetime,
        attachments: Sequence[Attachment] = (),
    ) -> str:
        """What a user does: adds or overwrites, and asks nobody. Gives the new version."""
        with self.lock:
            before = self.held.get((category, owner, ref))
            version = str(next(self.versions))
            self.held[category, owner, ref] = Held(
                version=version,
                modified=at,
                content=content,
                attachments=tuple(attachments),
                ident=None if before is None else before.ident,
            )
            return version

    def delete(self, category: str, owner: UserId, ref: str, *, at: datetime) -> None:
        """What a user does: deletes, and leaves a tombstone. KeyError where nothing is."""
        with self.lock:
            before = self.held[category, owner, ref]
            self.held[category, owner, ref] = Held(
                version=str(next(self.versions)), modified=at, ident=before.ident, deleted=True
            )

    def contents(self, category: str, owner: UserId) -> dict[str, bytes]:
        """What that user sees, by ref."""
        with self.lock:
            return {
                ref: held.content
                for (kind, whose, ref), held in self.held.items()
                if kind == category and whose == owner and not held.deleted
            }


_STORES: dict[str, Store] = {}
_STORES_LOCK = threading.Lock()


def store(name: str) -> Store:
    """The store of that name in this process, made on first use."""
    with _STORES_LOCK:
        return _STORES.setdefault(name, Store())


def forget(name: str) -> None:
    """The next target of that name starts with nothing."""
    with _STORES_LOCK:
        _STORES.pop(name, None)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Keeps items in this process's memory, for trials and tests; gone when it ends."""

    name: str = "default"
    """Targets of one name in one process share what they hold."""

    def open(self, surroundings: Surroundings) -> "MemoryTarget":
        """Ready to write."""
        return MemoryTarget(name=self.name, store=store(self.name), clock=surroundings.clock)


@dataclass(frozen=True, kw_only=True)
class MemoryTarget:
    """A memory store, opened."""

    name: str
    store: Store
    clock: Callable[[], datetime]

    def identity(self, category: str) -> str:
        """The store's name, and which of its stores over time."""
        del category
        return f"memory:{self.name}:{self.store.born}"

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Probe each category under one lock, so that nobody ever sees the probe."""
        create_only = compare_and_set = True
        with self.store.lock:
            for category in categories:
                before = dict(self.store.held)
                try:
                    probed = self._probe(category)
                finally:
                    self.store.held.clear()
                    self.store.held.update(before)
                create_only = create_only and probed[0]
                compare_and_set = compare_and_set and probed[1]
        self._check()
        return Capabilities(
            create_only=create_only, compare_and_set=compare_and_set, tombstones=True
        )

    def _probe(self, category: str) -> tuple[bool, bool]:
        """Whether a second create is refused, and whether a stale replace is."""
        media = Media("probe", "application/octet-stream")
        item = Item(ident=Ident("probe"), digest=Digest(bytes(32)), media=media, content=b"probe")
        create = Write(owner=PROBE, item=item, ref=self.ref(category, item.ident, media))
        replace = structs.replace(create, expected="0")
        first, second, stale = (self.write(category, [w])[0] for w in (create, create, replace))
        if first.fate is not Fate.DONE:
            raise Unavailable(
                f"memory target: the probe was not taken ({first.fate})",
                hint="look at what disturbs the store",
            )
        return second.fate is Fate.CONFLICT, stale.fate is Fate.CONFLICT

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The ident itself."""
        del category, media
        return str(ident)

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Everything of these users as it is at the call, tombstones included."""
        self._check()
        wanted = set(owners)
        with self.store.lock:
            found = [
                (key, held)
                for key, held in self.store.held.items()
                if key[0] == category and key[1] in wanted
            ]
        found.sort(key=lambda pair: pair[0])
        return (_entry(owner, ref, held) for (_, owner, ref), held in found)

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents at these places; None where nothing is, or not any more."""
        self._check()
        with self.store.lock:
            found = [self.store.held.get((category, p.owner, p.ref)) for p in places]
        return [
            None
            if held is None or held.deleted
            else Live(
                entry=_entry(place.owner, place.ref, held),
                content=held.content,
                attachments=held.attachments,
            )
            for place, held in zip(places, found, strict=True)
        ]

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each by itself. A tombstone is replaced by its version like anything else."""
        return [self._change(category, write) for write in writes]

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each by itself; a tombstone stays."""
        return [self._change(category, removal) for removal in removals]

    def close(self) -> None:
        """Nothing to let go of: the store stays."""

    def _check(self) -> None:
        if self.store.away:
            raise Unavailable("memory target: away", retry_in=1.0, hint="set `away` to False")

    def _change(self, category: str, change: Write | Removal) -> Written:
        self._check()
        with self.store.lock:
            self.store.writes += 1
            disturbance = self.store.disturb(category, change) if self.store.disturb else None
            disturbance = disturbance or Disturbance()
            match disturbance.fate:
                case Fate.REFUSED | Fate.CONFLICT:
                    return Written(fate=disturbance.fate, detail="disturbed")
                case Fate.UNKNOWN:
                    if disturbance.stored:
                        self._carry_out(category, change, disturbance)
                    return Written(fate=Fate.UNKNOWN, detail="disturbed")
                case Fate.DONE:
                    return self._carry_out(category, change, disturbance)

    def _carry_out(
        self, category: str, change: Write | Removal, disturbance: Disturbance
    ) -> Written:
        if isinstance(change, Removal):
            written = self._delete(category, change)
        else:
            written = self._store(category, change, disturbance)
        if self.store.followed and written.fate is Fate.DONE:
            self.store.followed(category, change)
        return written

    def _delete(self, category: str, removal: Removal) -> Written:
        before = self.store.held.get((category, removal.owner, removal.ref))
        if before is None or before.deleted or before.version != removal.expected:
            return Written(fate=Fate.CONFLICT)
        self.store.delete(category, removal.owner, removal.ref, at=self.clock())
        after = self.store.held[category, removal.owner, removal.ref]
        return Written(fate=Fate.DONE, version=after.version)

    def _store(self, category: str, write: Write, disturbance: Disturbance) -> Written:
        key = (category, write.owner, write.ref)
        before = self.store.held.get(key)
        if (None if before is None else before.version) != write.expected:
            return Written(fate=Fate.CONFLICT)
        content = write.item.content
        after = Held(
            version=str(next(self.store.versions)),
            modified=self.clock(),
            content=content if disturbance.altered is None else disturbance.altered(content),
            attachments=write.item.attachments,
            ident=write.item.ident,
        )
        self.store.held[key] = after
        return Written(fate=Fate.DONE, version=after.version)


def _entry(owner: UserId, ref: str, held: Held) -> Entry:
    return Entry(
        owner=owner,
        ref=ref,
        version=held.version,
        ident=held.ident,
        modified=held.modified,
        deleted=held.deleted,
        size=len(held.content) + sum(len(part.data) for part in held.attachments),
    )


KIND = Memory
