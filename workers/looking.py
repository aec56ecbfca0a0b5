"""What a target holds of some users, in the words that decisions are made in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from orchestrator.items import Digest, Ident, UserId
from orchestrator.ports import Category, Entry, Live, Place, Target
from orchestrator.reconcile import Standing, Tombstone

FETCHED_AT_ONCE = 500


@dataclass(slots=True)
class Scene:
    """Live items and tombstones by owner and ident, and which contents are there at all."""

    standing: dict[tuple[UserId, Ident], Standing | Tombstone] = field(
        default_factory=dict[tuple[UserId, Ident], Standing | Tombstone]
    )
    graves: dict[tuple[UserId, str], Tombstone] = field(
        default_factory=dict[tuple[UserId, str], Tombstone]
    )
    """By owner and ref, what was deleted; not every target says which ident it had."""
    _idents: dict[tuple[UserId, Digest], set[Ident]] = field(
        default_factory=dict[tuple[UserId, Digest], set[Ident]]
    )

    def at(self, owner: UserId, ident: Ident) -> Standing | Tombstone | None:
        """What is under this ident."""
        return self.standing.get((owner, ident))

    def holds(self, owner: UserId, digest: Digest, *, besides: Callable[[Ident], bool]) -> bool:
        """Whether equal content is there under an ident that is none of `besides`."""
        idents = self._idents.get((owner, digest))
        return idents is not None and any(not besides(ident) for ident in idents)

    def note(self, owner: UserId, ident: Ident, standing: Standing | Tombstone) -> None:
        """Take in one; what is alive hides a tombstone, and the first one alive stays."""
        known = self.standing.get((owner, ident))
        if known is None or isinstance(known, Tombstone):
            self.standing[owner, ident] = standing
        if isinstance(standing, Standing) and standing.digest is not None:
            self._idents.setdefault((owner, standing.digest), set()).add(ident)


def look(
    target: Target,
    category: Category,
    name: str,
    wanted: Mapping[UserId, set[str]],
) -> Scene:
    """Survey the owners in `wanted` and read what matters of what they have.

    Everything is read, except of bulky categories: of those, only the refs that are wanted.
    """
    scene = Scene()
    to_read: list[Entry] = []
    for entry in target.survey(name, list(wanted)):
        if entry.deleted:
            grave = Tombstone(at=entry.modified, ref=entry.ref, version=entry.version)
            scene.graves[entry.owner, entry.ref] = grave
            if entry.ident is not None:
                scene.note(entry.owner, entry.ident, grave)
        elif not category.bulky or entry.ref in wanted[entry.owner]:
            to_read.append(entry)
    to_read.sort(key=lambda entry: entry.ref not in wanted[entry.owner])
    for entry, live in _fetched(target, name, to_read):
        _note_live(scene, category, entry, live)
    return scene


def _fetched(
    target: Target, name: str, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, Live | None]]:
    remaining = iter(entries)
    while chunk := list(islice(remaining, FETCHED_AT_ONCE)):
        places = [Place(owner=entry.owner, ref=entry.ref) for entry in chunk]
        yield from zip(chunk, target.fetch(name, places), strict=True)


def _note_live(scene: Scene, category: Category, entry: Entry, live: Live | None) -> None:
    if live is None:
        return  # gone since the survey
    seen = category.recognise(entry.owner, live.content, live.attachments)
    ident = entry.ident if seen is None else seen.ident
    if ident is None:
        return
    scene.note(
        entry.owner,
        ident,
        Standing(
            digest=None if seen is None else seen.digest,
            version=live.entry.version,
            ref=live.entry.ref,
            modified=_later(live.entry.modified, None if seen is None else seen.revised),
            revised=None if seen is None else seen.revised,
            merit=None if seen is None else seen.merit,
        ),
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
