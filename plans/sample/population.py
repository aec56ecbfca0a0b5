"""A sample population: what its users had, what befell it, what was found, what is live."""

import csv
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

from msgspec import structs

from plans.sample import fates, people
from plans.sample.belongings import (
    BOARDS,
    CATEGORIES,
    LOSS,
    Belonging,
    Event,
    Note,
    Photo,
    Score,
    Task,
    changed,
    made,
    score,
    worsened,
)
from plans.sample.fates import CORE, MENDS, NEEDS_ACCENTS, Story, Told
from plans.sample.live import SINCE, LiveSystem
from plans.sample.people import Person, pick
from plans.sample.sources import Given, Material
from plans.sample.truth import FILE, Fate, GroundTruth, TrueCopy, TrueItem, canary

PLAN: Final = "sidekick-2009.yaml"
FEWEST: Final = 8
"""Two erased ones, two with ids like one another, and four more."""
MOST: Final = {"contacts": 12, "calendar": 7, "notes": 5, "tasks": 5, "photos": 4}
"""So many items of a category a user has at most; of scores, one a board."""

_SIMPLE: Final = frozenset({"everywhere", "in the backup", "in the core", "on the phone"})
"""Stories of items that the live system may hold as well."""
_LIVE: Final = {
    "contacts": ("newer", "equal", "stale", "elsewhere"),
    "calendar": ("newer", "equal", "stale"),
    "notes": ("newer", "equal"),
    "tasks": ("newer", "equal"),
    "photos": ("equal",),
    "high_scores": ("newer", "worse", "deleted"),
}
_LIVE_SHARE: Final = 0.08
_OWN_SHARE: Final = 0.15
_ERASED_SHARE: Final = 0.02
_LOST_CORE: Final = 0.5
"""Share of users of whom the core database lost everything."""
_BEFORE: Final = LOSS - timedelta(days=30)


def make_population(folder: Path, *, users: int, seed: int) -> GroundTruth:
    """Write material, live system, lists, plan and truth below `folder`, which is made.

    The same for the same seed, whatever the hash seed and the clock. At least `FEWEST` users.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).touch()  # by which it is known, even if it is never finished
    plan = (files("plans") / PLAN).read_bytes()
    world = _World(folder, users=max(users, FEWEST), seed=seed)
    truth = world.tell()
    (folder / PLAN).write_bytes(plan)
    _lists(folder / "material", truth)
    truth.save(folder)
    return truth


def is_population(folder: Path) -> bool:
    """Whether `make_population` wrote there, as far as the folder tells."""
    return (folder / FILE).is_file()


def remove_population(folder: Path) -> None:
    """Take away what `make_population` wrote and what was restored there; nothing else."""
    for name in ("material", "restored"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (PLAN, FILE):
        (folder / name).unlink(missing_ok=True)


class _World:
    """One population while it is made."""

    def __init__(self, folder: Path, *, users: int, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        crowd = people.people(users - 2, seed)
        rng = Random(f"{seed}/order")
        erased = max(2, round(users * _ERASED_SHARE))
        self.erased = [who.user for who in crowd[:erased]]
        name = f"{pick(rng, people.GIVEN)}.{pick(rng, people.FAMILY)}.jr"
        self.pair = [people.person(seed, user, name) for user in (name.lower(), name)]
        self.ordinary = crowd[erased:]
        self.crowd = [*crowd, *self.pair]
        rng.shuffle(self.crowd)
        self.material = Material(seed)
        self.live = LiveSystem(folder / "restored")
        self.items: list[TrueItem] = []
        self.planned: set[tuple[str, str, date | None]] = set()
        """Whose, what, on which day: nobody has two of the same, or one would be taken for both."""
        self.number = 0

    def tell(self) -> GroundTruth:
        """Everything, user by user."""
        for owner in self.crowd:
            self._user(owner, Random(f"{self.seed}/{owner.user}"))
        self.live.close()
        return GroundTruth(
            seed=self.seed,
            users=tuple(who.user for who in self.crowd),
            tokens={who.user: who.token for who in self.crowd},
            erased=tuple(self.erased),
            ambiguous=tuple(who.user for who in self.pair),
            items=tuple(self.items),
            material=self.material.write(self.folder / "material"),
        )

    def _user(self, owner: Person, rng: Random) -> None:
        core_lost = rng.random() < _LOST_CORE
        old_form = rng.random() < 0.5
        for category in CATEGORIES:
            if category == "high_scores":
                boards = [board for board in BOARDS if rng.random() < 0.45]
            else:
                boards = [""] * rng.randrange(1, MOST[category] + 1)
            for board in boards:
                telling = _Telling(self, owner, category, board, rng)
                self.items.append(telling.item(core_lost=core_lost, old_form=old_form))
            if category != "high_scores" and owner in self.ordinary and rng.random() < _OWN_SHARE:
                self.items.append(_Telling(self, owner, category, "", rng).own())

    def stranger(self, owner: Person, rng: Random) -> Person:
        """Somebody else, who is restored."""
        while (other := pick(rng, self.ordinary)) == owner:
            pass
        return other

    def next_number(self) -> int:
        """Of an item."""
        self.number += 1
        return self.number


class _Telling:
    """One item while its story is told."""

    def __init__(
        self, world: _World, owner: Person, category: str, board: str, rng: Random
    ) -> None:
        self.world = world
        self.owner = owner
        self.category = category
        self.board = board
        self.rng = rng
        self.number = world.next_number()
        self.versions: dict[int, Belonging] = {}

    def item(self, *, core_lost: bool, old_form: bool) -> TrueItem:
        """Put the copies of one item into the sources, and note what must become of it."""
        rng = self.rng
        erased = self.owner.user in self.world.erased
        ambiguous = self.owner in self.world.pair
        story = self._story(core_lost=core_lost and not erased, whole=erased or ambiguous)
        damages = [fates.damage_of(told, self.category, rng) for told in story.copies]
        self._make(story, accented=bool(NEEDS_ACCENTS & set(damages)))
        copies = tuple(
            self._copy(told, damage, old_form=old_form)
            for told, damage in zip(story.copies, damages, strict=True)
        )
        best = max((copy.version for copy in copies if copy.whole), default=None)
        live = ""
        if story.name in _SIMPLE and not erased and not ambiguous and rng.random() < _LIVE_SHARE:
            live = self._live(pick(rng, _LIVE[self.category]))
        fate: Fate
        if erased:
            fate, after = "declined", None
        elif ambiguous or best is None:
            fate, after = "lost", None
        elif live == "deleted":
            fate, after = "declined", None
        elif live in {"newer", "equal", "elsewhere"}:
            fate, after = "stays", max(self.versions) if live == "newer" else best
        else:
            fate, after = "restored", best
        return self._true(fate, after, live, copies)

    def own(self) -> TrueItem:
        """An item that its user made after the loss."""
        self._make(Story("own", 1, ()), accented=False)
        thing = structs.replace(self.versions[1], revised=SINCE)
        self.versions[1] = thing
        self._hold(thing, at=SINCE)
        return self._true("own", 1, "own", ())

    def _story(self, *, core_lost: bool, whole: bool) -> Story:
        """One that fits: nothing of it in a core database that lost its user, nothing damaged."""
        while True:
            story = fates.story_for(self.category, self.rng)
            in_core = any(told.source == CORE for told in story.copies)
            sound = story.copies and all(not told.damage for told in story.copies)
            if (in_core and core_lost and story.name != "everywhere") or (whole and not sound):
                continue
            if in_core and core_lost:
                copies = tuple(told for told in story.copies if told.source != CORE)
                return Story(story.name, story.weight, copies)
            return story

    def _make(self, story: Story, *, accented: bool) -> None:
        """The versions that the story tells of."""
        first = canary(self.owner.token, self.number, 1)
        if self.board:
            thing: Belonging = score(self.board, self.owner, first, self.rng)
        else:
            thing = made(self.category, self.owner, first, self.rng, accented=accented)
        damaged = any(told.damage for told in story.copies)
        if isinstance(thing, Event) and damaged:
            thing = structs.replace(thing, moved=None)
        if isinstance(thing, Event) and accented and not thing.zone:
            thing = structs.replace(thing, rule="", zone=self.owner.zone)
        if isinstance(thing, Event) and any(
            told.damage in {"contradictory-rule", "fatal", "flaw"} for told in story.copies
        ):
            thing = structs.replace(thing, zone=self.owner.zone, rule="FREQ=WEEKLY")
        if isinstance(thing, Note) and any(told.source == CORE for told in story.copies):
            thing = structs.replace(thing, is_list=False)
        if isinstance(thing, Note) and any(told.damage == "wrong-owner" for told in story.copies):
            thing = structs.replace(thing, is_list=False)
        if isinstance(thing, Photo):
            digest = sha256(self.world.material.picture(thing)).hexdigest()
            thing = structs.replace(thing, uid=f"sha256:{digest}")
        self.versions[1] = self._told_apart(thing)
        if any(told.version > 1 for told in story.copies):
            self._change()

    def _told_apart(self, thing: Belonging) -> Belonging:
        """The same, called otherwise where its owner has another of that name on that day."""
        match thing:
            case Event(summary=name, start=start):
                day = start.date()
            case Task(title=name, due=day):
                pass
            case _:
                return thing
        key = self.owner.user, name, day
        if key not in self.world.planned:
            self.world.planned.add(key)
            return thing
        name = f"{name}, number {self.number}"
        if isinstance(thing, Event):
            return structs.replace(thing, summary=name)
        return structs.replace(thing, title=name)

    def _change(self, *, since: bool = False) -> Belonging:
        number = max(self.versions) + 1
        mark = canary(self.owner.token, self.number, number)
        new = changed(self.versions[number - 1], mark, self.rng, at=SINCE if since else None)
        self.versions[number] = new
        return new

    def _copy(self, told: Told, damage: str, *, old_form: bool) -> TrueCopy:
        """Put one copy in."""
        folder = self.owner
        if damage == "wrong-owner":
            folder = self.world.stranger(self.owner, self.rng)
        place = self.world.material.put(
            Given(
                category=self.category,
                source=told.source,
                owner=self.owner,
                folder=folder,
                number=self.number,
                thing=self.versions[told.version],
                damage=damage,
                old_form=old_form,
            )
        )
        return TrueCopy(
            source=told.source,
            place=place,
            version=told.version,
            damage=damage,
            mends=damage in MENDS,
        )

    def _live(self, how: str) -> str:
        """What the live system holds of it already."""
        thing = self.versions[1]
        match how:
            case "newer":
                self._hold(self._change(since=True), at=SINCE)
            case "equal":
                self._hold(thing, at=SINCE)
            case "elsewhere":
                again = str(UUID(int=self.rng.getrandbits(128), version=4))
                self._hold(thing, at=SINCE, uid=again)
            case "stale":
                before = thing.revised - timedelta(days=200)
                at = min(thing.revised - timedelta(days=100), _BEFORE)
                mark = canary(self.owner.token, self.number, 0)
                old = changed(thing, mark, self.rng, at=before)
                self.versions[0] = old
                self._hold(old, at=at)
            case "worse" if isinstance(thing, Score):
                mark = canary(self.owner.token, self.number, 0)
                self.versions[0] = worsened(thing, mark, at=SINCE)
                self._hold(self.versions[0], at=SINCE)
            case _ if isinstance(thing, Score):
                self.world.live.remove(self.owner.user, thing, at=SINCE)
            case _:
                raise ValueError(how)
        return how

    def _hold(self, thing: Belonging, *, at: datetime, uid: str = "") -> None:
        picture = self.world.material.picture(thing) if isinstance(thing, Photo) else b""
        self.world.live.hold(self.owner.user, thing, at=at, uid=uid, picture=picture)

    def _true(
        self, fate: Fate, after: int | None, live: str, copies: tuple[TrueCopy, ...]
    ) -> TrueItem:
        described = any(copy.whole and copy.source != "devices" for copy in copies)
        return TrueItem(
            user=self.owner.user,
            category=self.category,
            number=self.number,
            fate=fate,
            after=after,
            live=live,
            versions={
                str(number): self._facts(thing, described=described and fate == "restored")
                for number, thing in sorted(self.versions.items())
            },
            copies=copies,
        )

    def _facts(self, thing: Belonging, *, described: bool) -> dict[str, str]:
        if not isinstance(thing, Photo):
            return thing.facts()
        return {"picture": thing.uid, "caption": thing.caption if described else ""}


def _lists(material: Path, truth: GroundTruth) -> None:
    """Who is affected, who is erased, and what each had."""
    _table(material / "affected.csv", ("user",), ((user,) for user in truth.users))
    _table(material / "erased.csv", ("user",), ((user,) for user in truth.erased))
    had: dict[tuple[str, str], int] = {}
    for item in truth.items:
        if item.fate != "own":
            key = item.user, item.category
            had[key] = had.get(key, 0) + 1
    rows = ((user, category, str(number)) for (user, category), number in had.items())
    _table(material / "census.csv", ("user", "category", "expected"), rows)


def _table(path: Path, header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
