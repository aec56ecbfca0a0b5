"""What a target holds of some users, in the words that decisions are made in."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from orchestrator.items import Digest, Ident, Item, UserId
from orchestrator.ports import Category, Entry, Likening, Live, Place, Target
from orchestrator.reconcile import Standing, Tombstone
from workers.packed import Shelf

FETCHED_AT_ONCE = 500


_Row = tuple[str, str, Digest | None, str, str | None, datetime | None, datetime | None, int | None]
_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_Row).decode
_decode_idents = msgspec.msgpack.Decoder(list[Ident]).decode


class _Found(Struct, frozen=True, gc=False):
    """What is alive, whose, and under which ident."""

    owner: UserId
    ident: Ident
    standing: Standing


def _pack(found: _Found) -> bytes:
    digest, version, ref, *more = astuple(found.standing)
    if ref == found.ident:  # on most targets; it need not be kept twice
        ref = None
    return _encode((found.owner, found.ident, digest, version, ref, *more))


def _unpack(data: bytes) -> _Found:
    owner, ident, digest, version, ref, modified, revised, merit = _decode_row(data)
    standing = Standing(
        digest=digest,
        version=version,
        ref=ident if ref is None else ref,
        modified=modified,
        revised=revised,
        merit=merit,
    )
    return _Found(UserId(owner), Ident(ident), standing)


_decode_grave = msgspec.msgpack.Decoder(tuple[datetime | None, str, str]).decode


def _pack_grave(grave: Tombstone) -> bytes:
    return _encode(astuple(grave))


def _unpack_grave(data: bytes) -> Tombstone:
    at, ref, version = _decode_grave(data)
    return Tombstone(at=at, ref=ref, version=version)


def _key(owner: UserId, name: str) -> str:
    return f"{len(owner)}:{owner}{name}"


@dataclass(slots=True)
class Scene:
    """Live items and tombstones by owner and ident, and which contents are there at all."""

    _alive: Shelf[_Found] = field(default_factory=lambda: Shelf(_pack, _unpack))
    _gone: Shelf[Tombstone] = field(default_factory=lambda: Shelf(_pack_grave, _unpack_grave))
    """By owner and ident."""
    _graves: Shelf[Tombstone] = field(default_factory=lambda: Shelf(_pack_grave, _unpack_grave))
    """By owner and ref, what was deleted; not every target says which ident it had."""
    _strangers: Shelf[_Found] = field(default_factory=lambda: Shelf(_pack, _unpack))
    """By owner and ref, what is alive and nobody can say which item it is."""
    _equal: Shelf[list[Ident]] = field(default_factory=lambda: Shelf(_encode, _decode_idents))
    """By owner and digest, the idents that no source knows."""
    _alike: Shelf[list[Ident]] = field(default_factory=lambda: Shelf(_encode, _decode_idents))
    """By owner and what tells that two are the same thing, the idents that no source knows."""
    _idents_by_ref: Shelf[list[Ident]] | None = None

    def at(self, owner: UserId, ident: Ident) -> Standing | Tombstone | None:
        """What is under this ident."""
        if not self._alive and not self._gone:
            return None
        key = _key(owner, ident)
        found = self._alive.get(key)
        return self._gone.get(key) if found is None else found.standing

    def at_place(self, owner: UserId, ref: str) -> Standing | Tombstone | None:
        """What was deleted there; or what is alive there and nobody can say which item it is."""
        if not self._graves and not self._strangers:
            return None
        key = _key(owner, ref)
        found = self._graves.get(key)
        if found is not None:
            return found
        stranger = self._strangers.get(key)
        return None if stranger is None else stranger.standing

    def by_ref(self, owner: UserId, ref: str) -> Standing | None:
        """What is alive at this place."""
        if self._idents_by_ref is None:
            self._idents_by_ref = Shelf(_encode, _decode_idents)
            for found in self._alive.values():
                self._idents_by_ref.put(_key(found.owner, found.standing.ref), [found.ident])
        idents = self._idents_by_ref.get(_key(owner, ref))
        found = None if idents is None else self._alive.get(_key(owner, idents[0]))
        return None if found is None else found.standing

    def elsewhere(
        self, owner: UserId, item: Item, category: Category, *, besides: Callable[[Ident], bool]
    ) -> Standing | None:
        """What is equal, or else the same thing typed in again; its ident is none of `besides`."""
        if not self._alive:
            return None
        equal = self._first(owner, self._equal.get(_key(owner, _text(item.digest))) or (), besides)
        if equal is not None or not self._alike or not isinstance(category, Likening):
            return equal
        alike = {
            ident
            for likeness in category.likenesses(item.content)
            for ident in self._alike.get(_key(owner, _text(likeness))) or ()
        }
        return self._first(owner, alike, besides)

    def _first(
        self, owner: UserId, idents: Iterable[Ident], besides: Callable[[Ident], bool]
    ) -> Standing | None:
        """The same one whenever it is asked for."""
        ident = min((ident for ident in idents if not besides(ident)), default=None)
        found = None if ident is None else self._alive.get(_key(owner, ident))
        return None if found is None else found.standing

    def liken(
        self, owner: UserId, ident: Ident, digest: Digest | None, likenesses: Iterable[bytes]
    ) -> None:
        """Take in what tells of a live item, whose ident no source knows, which thing it is."""
        if digest is not None:
            _add(self._equal, _key(owner, _text(digest)), ident)
        for likeness in likenesses:
            _add(self._alike, _key(owner, _text(likeness)), ident)

    def bury(self, owner: UserId, ident: Ident | None, grave: Tombstone) -> None:
        """Take in what was deleted; what is alive hides it."""
        self._graves.put(_key(owner, grave.ref), grave)
        if ident is not None:
            self._gone.put(_key(owner, ident), grave)

    def note(self, owner: UserId, ident: Ident, standing: Standing) -> None:
        """Take in what is alive; the first one of an ident stays."""
        key = _key(owner, ident)
        if self._alive.get(key) is None:
            self._alive.put(key, _Found(owner, ident, standing))

    def wonder(self, owner: UserId, ref: str, standing: Standing) -> None:
        """Take in what is alive and nobody can say which item it is."""
        self._strangers.put(_key(owner, ref), _Found(owner, Ident(""), standing))


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _add(shelf: Shelf[list[Ident]], key: str, ident: Ident) -> None:
    known = shelf.get(key)
    if known is None:
        shelf.put(key, [ident])
    elif ident not in known:
        shelf.put(key, [*known, ident])


class _Seen(Struct, frozen=True, array_like=True, gc=False):
    """As much of an entry as it takes to read it."""

    owner: UserId
    ref: str
    ident: Ident | None


_decode_page = msgspec.msgpack.Decoder(list[_Seen]).decode


@dataclass(slots=True)
class _Queue:
    """Entries that are to be read, in pages, full ones packed: a user may have 200,000."""

    packed: deque[bytes] = field(default_factory=deque[bytes])
    rest: list[_Seen] = field(default_factory=list[_Seen])

    def add(self, entry: _Seen) -> None:
        """Take in one more."""
        self.rest.append(entry)
        if len(self.rest) == FETCHED_AT_ONCE:
            self.packed.append(_encode(self.rest))
            self.rest = []

    def full(self) -> Iterator[list[_Seen]]:
        """Its full pages, which it then lets go of."""
        while self.packed:
            yield _decode_page(self.packed.popleft())


@dataclass(slots=True)
class Survey:
    """What a survey told of one user, kept for the chunks to come."""

    owner: UserId
    alive: dict[str, Entry] = field(default_factory=dict[str, Entry])
    graves: list[Entry] = field(default_factory=list[Entry])

    @classmethod
    def of(cls, target: Target, name: str, owner: UserId) -> "Survey":
        """All that the target tells of the user now."""
        found = cls(owner)
        for entry in target.survey(name, [owner]):
            if entry.deleted:
                found.graves.append(entry)
            else:
                found.alive[entry.ref] = entry
        return found

    def about(self, refs: AbstractSet[str]) -> Iterator[Entry]:
        """What it told of these places, and of deletions."""
        yield from self.graves
        yield from (self.alive[ref] for ref in sorted(refs & self.alive.keys()))


def look(
    target: Target,
    category: Category,
    name: str,
    wanted: Mapping[UserId, set[str]],
    *,
    recovered: Callable[[UserId, Ident], bool],
    survey: Survey | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Scene:
    """Survey the owners in `wanted` and read what matters of what they have.

    Everything is read, except of bulky categories: of those, only the refs that are wanted. What
    has an ident that was not `recovered` may be something typed in again. `survey`: what an
    earlier one told of the only owner; what is not there any more counts as deleted by its user.
    `beat` is called now and then.
    """
    scene = Scene()
    first, then = _Queue(), _Queue()
    if survey is None:
        entries = target.survey(name, list(wanted))
    else:
        entries = survey.about(wanted[survey.owner])
    for entry in entries:
        if entry.deleted:
            grave = Tombstone(at=entry.modified, ref=entry.ref, version=entry.version)
            scene.bury(entry.owner, entry.ident, grave)
        elif entry.ref in wanted[entry.owner]:
            first.add(_Seen(entry.owner, entry.ref, entry.ident))
        elif not category.bulky:
            then.add(_Seen(entry.owner, entry.ref, entry.ident))
    beat()
    for entry, live in _fetched(target, name, _pages(first, then), beat):
        if live is None and survey is not None:
            scene.bury(entry.owner, None, Tombstone(ref=entry.ref))
        noted = None if live is None else _note_live(scene, category, entry, live)
        if noted is None or live is None or recovered(entry.owner, noted.ident):
            continue
        alike = category.likenesses(live.content) if isinstance(category, Likening) else ()
        scene.liken(entry.owner, noted.ident, noted.standing.digest, alike)
    return scene


def _pages(first: _Queue, then: _Queue) -> Iterator[Sequence[_Seen]]:
    """What is wanted comes first; of what is little altogether it is one page."""
    yield from first.full()
    rest = iter([*first.rest, *then.rest])
    while page := list(islice(rest, FETCHED_AT_ONCE)):
        yield page
    yield from then.full()


def _fetched(
    target: Target, name: str, pages: Iterable[Sequence[_Seen]], beat: Callable[[], None]
) -> Iterator[tuple[_Seen, Live | None]]:
    for page in pages:
        places = [Place(owner=entry.owner, ref=entry.ref) for entry in page]
        yield from zip(page, target.fetch(name, places), strict=True)
        beat()


def _note_live(scene: Scene, category: Category, entry: _Seen, live: Live) -> _Found | None:
    """What is noted; None where nobody can say which item it is."""
    seen = category.recognise(entry.owner, live.content, live.attachments)
    ident = entry.ident if seen is None else seen.ident
    standing = Standing(
        digest=None if seen is None else seen.digest,
        version=live.entry.version,
        ref=live.entry.ref,
        modified=_later(live.entry.modified, None if seen is None else seen.revised),
        revised=None if seen is None else seen.revised,
        merit=None if seen is None else seen.merit,
    )
    if ident is None:
        scene.wonder(entry.owner, entry.ref, standing)
        return None
    scene.note(entry.owner, ident, standing)
    return _Found(entry.owner, ident, standing)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
