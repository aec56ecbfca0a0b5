"""The best copy so far of each item of one unit: few as they are, many packed.

Knows which copy it is (source and ordinal in its stream), how it ranks and what else was seen of
its item. Beyond a number of items contents are let go of, and what is left takes some hundred bytes
an item: see `packed`.
"""

from array import array
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from msgspec import Struct

from orchestrator.items import Copy, Digest, Ident, Item
from workers.packed import Packed

K = TypeVar("K", bound=Hashable)
Rank = tuple[bool, int, bool, float, int, int]
"""What `precedence` gives: the trust in the copy's source stands last."""


class Base(Struct, array_like=True, gc=False):
    """The best copy that is older than the one that speaks for its item."""

    rank: Rank
    trust: int
    ordinal: int
    item: Item | None


class Candidate(Struct, array_like=True, gc=False):
    """The best copy so far of one ident."""

    rank: Rank
    trust: int
    ordinal: int
    digest: Digest
    copy: Copy | None
    copies: int
    seen_by: int
    """Bit n is set when source n holds the ident."""
    base: Base | None = None


_Row = tuple[Rank, int, int, bytes, int, int, tuple[Rank, int, int] | None]
_encode_row = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_Row).decode


def _encode(one: Candidate) -> bytes:
    base = one.base
    old = None if base is None else (base.rank, base.trust, base.ordinal)
    return _encode_row((one.rank, one.trust, one.ordinal, one.digest, one.copies, one.seen_by, old))


def _decode(data: bytes) -> Candidate:
    rank, trust, ordinal, digest, copies, seen_by, old = _decode_row(data)
    base = None if old is None else Base(*old, None)
    return Candidate(rank, trust, ordinal, Digest(digest), None, copies, seen_by, base)


class Candidates:
    """By ident. What `get` gave and was changed has to be put again."""

    def __init__(self) -> None:
        self._few: dict[Ident, Candidate] = {}
        self._many: Packed[Candidate] | None = None

    def __len__(self) -> int:
        return len(self._few if self._many is None else self._many)

    def __contains__(self, ident: Ident) -> bool:
        return ident in self._few if self._many is None else ident in self._many

    def get(self, ident: Ident) -> Candidate | None:
        """The item's best copy so far."""
        return self._few.get(ident) if self._many is None else self._many.get(ident)

    def put(self, ident: Ident, candidate: Candidate) -> None:
        """Keep the item's best copy so far."""
        if self._many is None:
            self._few[ident] = candidate
        else:
            self._many.put(ident, candidate)

    def pack(self) -> None:
        """Let go of contents; from now on every item takes some hundred bytes."""
        if self._many is None:
            self._many = Packed(_encode, _decode)
            for ident, candidate in self._few.items():
                self._many.put(ident, candidate)
            self._few = {}

    def all(self) -> Iterator[Candidate]:
        """Every item's, in the order in which the items were first seen."""
        if self._many is None:
            yield from self._few.values()
        else:
            yield from map(self._many.at, self._many.places())

    # Equal contents -----------------------------------------------------------------------------

    def collapse(self) -> None:
        """One item where sources hold equal content under different idents.

        A source that itself holds both idents says that they are two things; then they stay two.
        """
        if self._many is None:
            _collapse_few(self._few)
        else:
            _collapse_many(self._many)


def _collapse_few(few: dict[Ident, Candidate]) -> None:
    first: dict[Digest, Ident] = {}
    groups: dict[Digest, list[Ident]] = {}  # few: most contents are there once
    for ident, candidate in few.items():
        known = first.setdefault(candidate.digest, ident)
        if known is not ident:
            groups.setdefault(candidate.digest, [known]).append(ident)
    for group in groups.values():
        for ident in _redundant([(ident, few[ident]) for ident in group]):
            del few[ident]


def _collapse_many(many: Packed[Candidate]) -> None:
    """The same; in memory together are only those whose digests begin alike."""
    starts = array("Q", (_start(many.at(place)) for place in many.places()))
    ordered = array("Q", sorted(starts))
    shared = {start for start, following in pairwise(ordered) if start == following}
    groups: dict[Digest, list[tuple[int, Candidate]]] = {}
    for place, start in zip(list(many.places()) if shared else (), starts, strict=False):
        if start in shared:
            candidate = many.at(place)
            groups.setdefault(candidate.digest, []).append((place, candidate))
    for group in groups.values():
        gone = _redundant(group)
        for place, candidate in group if gone else ():
            if place in gone:
                many.remove(place)
            else:
                many.put_at(place, candidate)


def _start(candidate: Candidate) -> int:
    return int.from_bytes(candidate.digest[:8])


def _redundant(group: Sequence[tuple[K, Candidate]]) -> set[K]:
    """Those that become further copies of others in the group, which take them in."""
    kept: list[Candidate] = []
    gone: set[K] = set()
    for key, candidate in sorted(group, key=lambda pair: pair[1].trust):
        for other in kept:
            if not other.seen_by & candidate.seen_by:
                other.copies += candidate.copies
                other.seen_by |= candidate.seen_by
                gone.add(key)
                break
        else:
            kept.append(candidate)
    return gone
