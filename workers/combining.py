"""Fetches the live sides of merges and says what both sides are together. Changes nothing."""

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from orchestrator.items import Attachment, Item, UserId
from orchestrator.ports import Category, Combined, Live, Merging, Place, Target
from orchestrator.reconcile import Merge

FETCHED_AT_ONCE = 100
"""Live contents that are held at a time, beside the chunk's own."""


class Pair(Struct, frozen=True, kw_only=True):
    """A recovered item, and what it is to be combined with."""

    owner: UserId
    item: Item
    merge: Merge
    base: Item | None
    """An older state of both."""


class Union(Struct, frozen=True, kw_only=True):
    """Both sides together."""

    live: Live
    combined: Combined | None
    """None: no one item can hold both."""
    changed: bool
    """The live content would be another than it is."""


class Combining:
    """Combines for one batch.

    In a preview nothing is written, so what several recovered items would make of one live item is
    remembered.
    """

    def __init__(self, target: Target, category: Category, name: str, *, preview: bool) -> None:
        self._target = target
        self._category = category
        self._name = name
        self._preview = preview
        self._made: dict[tuple[UserId, str], tuple[bytes, tuple[Attachment, ...]]] = {}

    def unions(self, pairs: Sequence[Pair]) -> Iterator[Union | None]:
        """One for each pair, in their order; None where the live side is not what it was."""
        remaining = iter(pairs)
        while chunk := list(islice(remaining, FETCHED_AT_ONCE)):
            places = [Place(owner=pair.owner, ref=pair.merge.ref) for pair in chunk]
            found = self._target.fetch(self._name, places)
            for pair, live in zip(chunk, found, strict=True):
                same = live is not None and live.entry.version == pair.merge.version
                yield self._union(pair, live) if same and live is not None else None

    def _union(self, pair: Pair, live: Live) -> Union:
        category, place = self._category, (pair.owner, pair.merge.ref)
        if self._preview and place in self._made:
            content, attachments = self._made[place]
            live = Live(entry=live.entry, content=content, attachments=attachments)
        combined = None
        if isinstance(category, Merging):
            combined = category.merge(
                pair.owner, live, pair.item, wins=pair.merge.wins, base=pair.base
            )
        if combined is None:
            return Union(live=live, combined=None, changed=False)
        seen = category.recognise(pair.owner, live.content, live.attachments)
        changed = seen is None or seen.digest != combined.item.digest
        if changed and self._preview and combined.item.ident != pair.item.ident:
            self._made[place] = (combined.item.content, combined.item.attachments)
        return Union(live=live, combined=combined, changed=changed)
