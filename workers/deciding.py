"""From items, what the target holds and what we did before, to writes or outcomes.

The only place where a category, a scene and `reconcile.decide` meet. Nothing is changed here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from orchestrator.books import Note, Outcome
from orchestrator.items import Ident, Item, UserId
from orchestrator.plan import OnConflict
from orchestrator.ports import Capabilities, Write
from orchestrator.reconcile import (
    Create,
    Decision,
    Hand,
    Leave,
    Merge,
    Replace,
    Revive,
    Standing,
    Tombstone,
    concluded,
    decide,
    of_beside,
    of_merged,
)
from workers.assignment import Assignment
from workers.combining import Combining, Pair, Union
from workers.journal import Before
from workers.looking import Scene, Survey, look
from workers.reading import Reading, Winner
from workers.unit_work import UnitWork

BESIDE_MARK = "recovered"


class Open(Struct, frozen=True, kw_only=True, gc=False):
    """One item of the chunk in hand that has no outcome yet."""

    unit: UnitWork
    winner: Winner


class Planned(Struct, frozen=True, kw_only=True, gc=False):
    """A write that was decided, and what it will count as."""

    open: Open
    write: Write
    note: Note | None = None
    hand: Hand | None = None
    """What our journal said before."""
    outcome: Outcome = Outcome.RESTORED
    origins: str = ""
    """Of what is merged: what comes from where."""
    before: Before | None = None
    """What is about to be replaced, where it was read already."""

    @property
    def overwrites(self) -> bool:
        """Something with a content is there, which undo will want back."""
        beside = self.note is Note.BESIDE and self.write.expected is not None
        return beside or self.note is Note.REPLACED or self.outcome is Outcome.MERGED

    def note_as_done(self) -> None:
        """Account for the item."""
        winner = self.open.winner
        self.open.unit.note(
            winner.copy, winner.source, self.outcome, self.note, origins=self.origins
        )


class Decided(Struct, frozen=True, kw_only=True):
    """What became of a chunk's items, apart from those that have an outcome now."""

    planned: list[Planned]
    waiting: list[Open]
    """Their turn comes when what is planned is done: it changes the place that they want."""
    changed: list[Open]
    """What they met was no longer as it had been looked at."""


class _Asked(Struct, frozen=True, kw_only=True):
    """An item that is to be combined with what is live."""

    open: Open
    merge: Merge
    modified: datetime | None
    """When the live one of its own ident was; None: nobody knows, or it has another ident."""


def left_out(one: Open) -> bool:
    """Whether the item is its declined user's; then it is accounted for."""
    if one.unit.declined:
        one.unit.note(one.winner.copy, one.winner.source, Outcome.DECLINED)
    return one.unit.declined


class Deciding:
    """Looks at the target and decides about the items of one batch, chunk by chunk."""

    def __init__(self, task: Assignment, beat: Callable[[], None]) -> None:
        self._task = task
        self._beat = beat
        self._seen: tuple[UserId, Scene] | None = None
        """What the last chunk saw, where it was all one user's."""
        self._survey: Survey | None = None
        """What a survey told of that user, of a bulky category."""
        self._can_replace = task.site.capabilities.get(
            task.phase.to, Capabilities(create_only=True, compare_and_set=False, tombstones=False)
        ).compare_and_set
        self._combining = Combining(
            task.target, task.category, task.phase.restore, preview=task.preview
        )
        self._stood: dict[tuple[UserId, Ident], str] = {}
        """Where what was to be replaced is: if it is gone at the next look, its user deleted it."""

    def begin_chunk(self) -> None:
        """The items that come now were not decided about before."""
        self._stood.clear()

    def decide(self, chunk: Sequence[Open], *, anew: bool) -> Decided:
        """What is to be written; what is left as it is gets its outcome here.

        A user of many chunks is looked at once, so that the cost does not grow with the square of
        what they have: a write on what is no longer so is refused, and then we look `anew`.
        """
        scene = self._scene(chunk, anew=anew)
        decided = Decided(planned=[], waiting=[], changed=[])
        merges: list[_Asked] = []
        for one in chunk:
            decision = self._decision(one, scene)
            if isinstance(decision, Merge):
                live = scene.at(one.unit.owner, one.winner.copy.item.ident)
                modified = live.modified if isinstance(live, Standing) else None
                merges.append(_Asked(open=one, merge=decision, modified=modified))
            else:
                self._note_or_plan(one, decision, decided)
        self._combine(merges, scene, decided)
        if self._task.preview:
            for plan in decided.planned:
                plan.note_as_done()
            decided.planned.clear()
        return decided

    def _scene(self, chunk: Sequence[Open], *, anew: bool) -> Scene:
        task = self._task
        wanted: dict[UserId, set[str]] = {}
        units: dict[UserId, UnitWork] = {}
        for one in chunk:
            units[one.unit.owner] = one.unit
            refs = wanted.setdefault(one.unit.owner, set())
            refs.add(self._ref(one.winner.copy.item))
            if task.category.bulky and _may_go_beside(one):
                refs.add(self._ref(self._beside(one.winner.copy.item)))
        scene = None if anew else self._scene_of(wanted)
        if scene is None:
            scene = look(
                task.target,
                task.category,
                task.phase.restore,
                wanted,
                recovered=lambda owner, ident: units[owner].recovered(ident),
                survey=self._surveyed(wanted, anew=anew),
                beat=self._beat,
            )
            alone = len(wanted) == 1 and not task.category.bulky
            self._seen = (next(iter(wanted)), scene) if alone else None
        return scene

    def _note_or_plan(
        self,
        one: Open,
        decision: Create | Revive | Replace | Leave,
        decided: Decided,
    ) -> None:
        if isinstance(decision, Leave):
            origins = ""
            if decision.outcome is Outcome.MERGED:
                hand = one.unit.hands.get(one.winner.copy.item.ident)
                origins = "" if hand is None else hand.origins
            one.unit.note(
                one.winner.copy, one.winner.source, decision.outcome, decision.note, origins=origins
            )
        else:
            decided.planned.append(self._plan(one, decision))

    # Merging ------------------------------------------------------------------------------------

    def _combine(self, asked: Sequence[_Asked], scene: Scene, decided: Decided) -> None:
        """Conclude what is to be merged. One write a place at a time: the next one looks anew."""
        taken: set[tuple[UserId, str]] = set()
        now: list[_Asked] = []
        for each in asked:
            place = (each.open.unit.owner, each.merge.ref)
            if place in taken and not self._task.preview:
                decided.waiting.append(each.open)
            else:
                taken.add(place)
                now.append(each)
        bases = _bases(now)
        pairs = [
            Pair(
                owner=each.open.unit.owner,
                item=each.open.winner.copy.item,
                merge=each.merge,
                base=bases.get(number),
            )
            for number, each in enumerate(now)
        ]
        for each, union in zip(now, self._combining.unions(pairs), strict=True):
            if union is None:
                decided.changed.append(each.open)
            else:
                self._conclude(each, union, scene, decided)

    def _conclude(self, asked: _Asked, union: Union, scene: Scene, decided: Decided) -> None:
        one, combined = asked.open, union.combined
        hand = one.unit.hands.get(one.winner.copy.item.ident)
        decision = concluded(
            asked.merge,
            hand,
            changed=None if combined is None else union.changed,
            can_replace=self._can_replace,
        )
        if isinstance(decision, Replace) and combined is not None:
            live = union.live
            plan = Planned(
                open=one,
                write=Write(
                    owner=one.unit.owner,
                    item=combined.item,
                    ref=decision.ref,
                    expected=decision.version,
                ),
                hand=hand,
                outcome=Outcome.MERGED,
                origins=str(combined.origins),
                before=Before.of(live),
            )
            decided.planned.append(plan)
        elif isinstance(decision, Create):
            self._note_or_plan(one, self._free_beside(one, scene), decided)
        else:
            self._note_or_plan(one, decision, decided)

    # Deciding -----------------------------------------------------------------------------------

    def _surveyed(self, wanted: Mapping[UserId, object], *, anew: bool) -> Survey | None:
        """What is known of the only user of a chunk: large items come in many chunks a user."""
        task = self._task
        if not task.category.bulky or len(wanted) > 1 or anew:
            self._survey = None
            return None
        owner = next(iter(wanted))
        if self._survey is None or self._survey.owner != owner:
            self._survey = Survey.of(task.target, task.phase.restore, owner)
        return self._survey

    def _scene_of(self, wanted: Mapping[UserId, object]) -> Scene | None:
        if self._seen is None or len(wanted) > 1 or self._seen[0] not in wanted:
            return None
        return self._seen[1]

    def _there(self, scene: Scene, owner: UserId, item: Item) -> Standing | Tombstone | None:
        """What is under an item's ident; or what is, or was deleted, where it would go."""
        return scene.at(owner, item.ident) or scene.at_place(owner, self._ref(item))

    def _decision(self, one: Open, scene: Scene) -> Decision:
        item = one.winner.copy.item
        owner = one.unit.owner
        hand = one.unit.hands.get(item.ident)
        live = self._there(scene, owner, item)
        while hand is not None:
            if hand.note is Note.BESIDE:
                marked = self._beside(item)
                found = of_beside(self._there(scene, owner, marked), hand, marked.digest)
            elif hand.outcome is Outcome.MERGED and not _is_at(live, hand.ref):
                found = of_merged(scene.by_ref(owner, hand.ref), hand)
            else:
                break
            if isinstance(found, Replace) and not self._can_replace:
                return Leave(outcome=Outcome.SUPERSEDED)
            if found is not None:
                return found
            hand = hand.at_another_place
        if live is None and self._was_deleted(scene, owner, item.ident):
            return Leave(outcome=Outcome.DECLINED)
        elsewhere = None
        if live is None:
            elsewhere = scene.elsewhere(
                owner, item, self._task.category, besides=one.unit.recovered
            )
        decision = decide(
            item,
            merit=one.winner.copy.merit,
            live=live,
            hand=hand,
            elsewhere=elsewhere,
            policy=one.unit.policy,
            as_of=self._task.site.plan.incident.as_of,
            can_replace=self._can_replace,
        )
        if isinstance(decision, Replace | Merge):
            self._stood[owner, item.ident] = decision.ref
        if isinstance(decision, Create) and decision.beside:
            return self._free_beside(one, scene)
        return decision

    def _was_deleted(self, scene: Scene, owner: UserId, ident: Ident) -> bool:
        ref = self._stood.get((owner, ident))
        return ref is not None and scene.by_ref(owner, ref) is None

    def _free_beside(self, one: Open, scene: Scene) -> Create | Leave:
        """Put it beside, unless something is there already."""
        marked = self._beside(one.winner.copy.item)
        match self._there(scene, one.unit.owner, marked):
            case Tombstone():
                return Leave(outcome=Outcome.DECLINED)
            case Standing(digest=digest) if digest == marked.digest:
                return Leave(outcome=Outcome.PRESENT)
            case Standing():
                return Leave(outcome=Outcome.SUPERSEDED)
            case None:
                return Create(beside=True)

    def _plan(self, one: Open, decision: Create | Revive | Replace) -> Planned:
        item = one.winner.copy.item
        match decision:
            case Create(beside=True):
                item, note = self._beside(item), Note.BESIDE
                write = Write(owner=one.unit.owner, item=item, ref=self._ref(item))
            case Create():
                note = None
                write = Write(owner=one.unit.owner, item=item, ref=self._ref(item))
            case Revive(ref=ref, version=version):
                note = None
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
            case Replace(ref=ref, version=version, beside=True):
                item, note = self._beside(item), Note.BESIDE
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
            case Replace(ref=ref, version=version):
                note = Note.REPLACED
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
        hand = one.unit.hands.get(one.winner.copy.item.ident)
        return Planned(open=one, write=write, note=note, hand=hand)

    def _ref(self, item: Item) -> str:
        return self._task.target.ref(self._task.phase.restore, item.ident, item.media)

    def _beside(self, item: Item) -> Item:
        return self._task.category.beside(item, BESIDE_MARK)


def _may_go_beside(one: Open) -> bool:
    """Whether it is of interest what lies where it would be put beside."""
    if one.unit.policy in {OnConflict.KEEP_BOTH, OnConflict.MERGE}:
        return True
    hand = one.unit.hands.get(one.winner.copy.item.ident)
    return hand is not None and hand.note is Note.BESIDE


def _is_at(live: Standing | Tombstone | None, ref: str) -> bool:
    return live is not None and live.ref == ref


def _bases(asked: Sequence[_Asked]) -> dict[int, Item]:
    """By place in `asked`, an older state of both sides, where a source holds one.

    Only where it is known to be older than the live one: what that one has no more was let go of,
    not lost.
    """
    wanted: dict[int, tuple[Reading, set[Ident]]] = {}
    for each in asked:
        reading = each.open.unit.reading
        if reading is not None and each.modified is not None:
            _, idents = wanted.setdefault(each.open.unit.user, (reading, set()))
            idents.add(each.open.winner.copy.item.ident)
    found = {user: reading.bases(idents) for user, (reading, idents) in wanted.items()}
    bases: dict[int, Item] = {}
    for number, each in enumerate(asked):
        base = found.get(each.open.unit.user, {}).get(each.open.winner.copy.item.ident)
        if base is None or base.revised is None or each.modified is None:
            continue
        if base.revised < each.modified:
            bases[number] = base
    return bases
