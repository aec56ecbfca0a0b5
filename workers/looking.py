"""What a target holds of some users, in the words that decisions are made in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from orchestrator.items import Digest, Ident, Item, UserId
from orchestrator.ports import Category, Entry, Likening, Live, Place, Target
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
    strangers: dict[tuple[UserId, str], Standing] = field(
        default_factory=dict[tuple[UserId, str], Standing]
    )
    """By owner and ref, what is alive and nobody can say which item it is."""
    _idents: dict[tuple[UserId, Digest], set[Ident]] = field(
        default_factory=dict[tuple[UserId, Digest], set[Ident]]
    )
    _alike: dict[tuple[UserId, bytes], set[Ident]] = field(
        default_factory=dict[tuple[UserId, bytes], set[Ident]]
    )
    """By what tells that two are the same thing, the idents that no source knows."""
    _idents_by_ref: dict[tuple[UserId, str], Ident] | None = None

    def at(self, owner: UserId, ident: Ident) -> Standing | Tombstone | None:
        """What is under this ident."""
        return self.standing.get((owner, ident))

    def by_ref(self, owner: UserId, ref: str) -> Standing | None:
        """What is alive at this place."""
        if self._idents_by_ref is None:
            self._idents_by_ref = {
                (whose, standing.ref): ident
                for (whose, ident), standing in self.standing.items()
                if isinstance(standing, Standing)
            }
        ident = self._idents_by_ref.get((owner, ref))
        found = None if ident is None else self.standing.get((owner, ident))
        return found if isinstance(found, Standing) else None

    def elsewhere(
        self, owner: UserId, item: Item, category: Category, *, besides: Callable[[Ident], bool]
    ) -> Standing | None:
        """What is equal, or else the same thing typed in again; its ident is none of `besides`."""
        equal = self._first(owner, self._idents.get((owner, item.digest), ()), besides)
        if equal is not None or not self._alike or not isinstance(category, Likening):
            return equal
        alike = {
            ident
            for likeness in category.likenesses(item.content)
            for ident in self._alike.get((owner, likeness), ())
        }
        return self._first(owner, alike, besides)

    def _first(
        self, owner: UserId, idents: Iterable[Ident], besides: Callable[[Ident], bool]
    ) -> Standing | None:
        """The same one whenever it is asked for."""
        ident = min((ident for ident in idents if not besides(ident)), default=None)
        found = None if ident is None else self.standing.get((owner, ident))
        return found if isinstance(found, Standing) else None

    def liken(self, owner: UserId, ident: Ident, likenesses: Iterable[bytes]) -> None:
        """Take in what tells of a live item which thing it is."""
        for likeness in likenesses:
            self._alike.setdefault((owner, likeness), set()).add(ident)

    def note(self, owner: UserId, ident: Ident, standing: Standing | Tombstone) -> None:
        """Take in one; what is alive hides a tombstone, and the first one alive stays."""
        known = self.standing.get((owner, ident))
        if known is None or isinstance(known, Tombstone):
            self.standing[owner, ident] = standing
        if isinstance(standing, Standing) and standing.digest is not None:
            self._idents.setdefault((owner, standing.digest), set()).add(ident)


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
    to_read: list[Entry] = []
    if survey is None:
        entries = target.survey(name, list(wanted))
    else:
        entries = survey.about(wanted[survey.owner])
    for entry in entries:
        if entry.deleted:
            grave = Tombstone(at=entry.modified, ref=entry.ref, version=entry.version)
            scene.graves[entry.owner, entry.ref] = grave
            if entry.ident is not None:
                scene.note(entry.owner, entry.ident, grave)
        elif not category.bulky or entry.ref in wanted[entry.owner]:
            to_read.append(entry)
    to_read.sort(key=lambda entry: entry.ref not in wanted[entry.owner])
    beat()
    for entry, live in _fetched(target, name, to_read, beat):
        if live is None and survey is not None:
            scene.graves[entry.owner, entry.ref] = Tombstone(ref=entry.ref)
        ident = _note_live(scene, category, entry, live)
        if ident is None or live is None or not isinstance(category, Likening):
            continue
        if not recovered(entry.owner, ident):
            scene.liken(entry.owner, ident, category.likenesses(live.content))
    return scene


def _fetched(
    target: Target, name: str, entries: Sequence[Entry], beat: Callable[[], None]
) -> Iterator[tuple[Entry, Live | None]]:
    remaining = iter(entries)
    while chunk := list(islice(remaining, FETCHED_AT_ONCE)):
        places = [Place(owner=entry.owner, ref=entry.ref) for entry in chunk]
        yield from zip(chunk, target.fetch(name, places), strict=True)
        beat()


def _note_live(scene: Scene, category: Category, entry: Entry, live: Live | None) -> Ident | None:
    if live is None:
        return None  # gone since the survey
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
        scene.strangers[entry.owner, entry.ref] = standing
    else:
        scene.note(entry.owner, ident, standing)
    return ident


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
