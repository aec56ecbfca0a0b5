"""Which items of a user come first: what matters more to people than which come last.

Favourites, then what is newest, then in the order of the sources. It follows from what was
recovered alone, so it is the same on every attempt. Knows nothing of what is done with the items.
"""

import heapq
from collections.abc import Iterator

from msgspec import Struct

from orchestrator.items import Copy, Ident

Usefulness = tuple[bool, float]

_UNDATED = float("-inf")


def usefulness(copy: Copy) -> Usefulness:
    """Sorts copies of different items, the one that comes first last."""
    dated = copy.dated or copy.item.revised
    return copy.favourite, _UNDATED if dated is None else dated.timestamp()


class Kept(Struct, frozen=True, gc=False):
    """A copy and where it was found."""

    copy: Copy
    trust: int
    ordinal: int


class Foremost:
    """The most useful copies of those offered, as many as there is room for.

    Of one item the last that was offered counts, and whoever asks has to compare: another one may
    have turned out to be better since, and not have found room here.
    """

    def __init__(self, room: int) -> None:
        self._most = self._room = room
        self._kept: dict[Ident, Kept] = {}
        self._heap: list[tuple[Usefulness, int, int, Ident]] = []
        """The least useful on top: usefulness, how early it came, weight, ident."""
        self._came = 0

    def offer(self, kept: Kept, *, weight: int) -> None:
        """Keep a copy where it is more useful than those that have to make room for it."""
        rank = usefulness(kept.copy)
        full = self._room < weight and bool(self._heap) and rank <= self._heap[0][0]
        if full or weight > self._most:
            return
        self._came -= 1
        ident = kept.copy.item.ident
        self._kept[ident] = kept
        heapq.heappush(self._heap, (rank, self._came, weight, ident))
        self._room -= weight
        while self._room < 0:
            _, _, freed, gone = heapq.heappop(self._heap)
            self._room += freed
            self._kept.pop(gone, None)

    def taken(self) -> Iterator[Kept]:
        """Give them away, the most useful first."""
        for _, _, _, ident in sorted(self._heap, reverse=True):
            kept = self._kept.pop(ident, None)
            if kept is not None:
                yield kept
        self._heap = []
