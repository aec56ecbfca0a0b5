"""From items, what the target holds and what we did before, to writes or outcomes.

The only place where a category, a scene and `reconcile.decide` meet. Nothing is changed here.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from orchestrator.books import Note, Outcome
from orchestrator.items import Digest, Ident, Item, UserId
from orchestrator.ports import Capabilities, Write
from orchestrator.reconcile import (
    Create,
    Decision,
    Hand,
    Leave,
    Replace,
    Revive,
    Standing,
    Tombstone,
    decide,
)
from workers.assignment import Assignment
from workers.looking import Scene, look
from workers.reading import Winner
from workers.unit_work import UnitWork

BESIDE_MARK = "recovered"


class Open(Struct, frozen=True, kw_only=True):
    """One item of the chunk in hand that has no outcome yet."""

    unit: UnitWork
    winner: Winner


class Planned(Struct, frozen=True, kw_only=True):
    """A write that was decided, and what it will count as."""

    open: Open
    write: Write
    note: Note | None = None
    hand: Hand | None = None
    """What our journal said before."""


def left_out(one: Open) -> bool:
    """Whether the item is its declined user's; then it is accounted for."""
    if one.unit.declined:
        one.unit.note(one.winner.copy, one.winner.source, Outcome.DECLINED)
    return one.unit.declined


class Deciding:
    """Looks at the target and decides about the items of one batch, chunk by chunk."""

    def __init__(self, task: Assignment) -> None:
        self._task = task
        self._seen: tuple[UserId, Scene] | None = None
        """What the last chunk saw, where it was all one user's."""
        self._can_replace = task.site.capabilities.get(
            task.phase.to, Capabilities(create_only=True, compare_and_set=False, tombstones=False)
        ).compare_and_set
        self._stood: set[tuple[UserId, Ident]] = set()
        """What was to be replaced: where it is gone at the next look, its user deleted it."""

    def begin_chunk(self) -> None:
        """The items that come now were not decided about before."""
        self._stood.clear()

    def decide(self, chunk: Sequence[Open], *, anew: bool) -> list[Planned]:
        """What is to be written; what is left as it is gets its outcome here.

        A user of many chunks is looked at once, so that the cost does not grow with the square of
        what they have: a write on what is no longer so is refused, and then we look `anew`.
        """
        task = self._task
        wanted: dict[UserId, set[str]] = {}
        for one in chunk:
            refs = wanted.setdefault(one.unit.owner, set())
            refs.add(self._ref(one.winner.copy.item))
            if task.category.bulky:
                refs.add(self._ref(self._beside(one.winner.copy.item)))
        scene = None if anew else self._scene_of(wanted)
        if scene is None:
            scene = look(task.target, task.category, task.phase.restore, wanted)
            alone = len(wanted) == 1 and not task.category.bulky
            self._seen = (next(iter(wanted)), scene) if alone else None
        planned: list[Planned] = []
        for one in chunk:
            decision = self._decision(one, scene)
            match decision:
                case Leave(outcome=outcome, note=note):
                    one.unit.note(one.winner.copy, one.winner.source, outcome, note)
                case Create() | Revive() | Replace():
                    planned.append(self._plan(one, decision))
        if task.preview:
            for plan in planned:
                plan.open.unit.note(
                    plan.open.winner.copy, plan.open.winner.source, Outcome.RESTORED, plan.note
                )
            return []
        return planned

    def _scene_of(self, wanted: Mapping[UserId, object]) -> Scene | None:
        if self._seen is None or len(wanted) > 1 or self._seen[0] not in wanted:
            return None
        return self._seen[1]

    def _there(self, scene: Scene, owner: UserId, item: Item) -> Standing | Tombstone | None:
        """What is under an item's ident, or was deleted where it would go."""
        return scene.at(owner, item.ident) or scene.graves.get((owner, self._ref(item)))

    def _decision(self, one: Open, scene: Scene) -> Decision:
        item = one.winner.copy.item
        owner = one.unit.owner
        hand = one.unit.hands.get(item.ident)
        if hand is not None and hand.note is Note.BESIDE:
            marked = self._beside(item)
            found = _of_beside(self._there(scene, owner, marked), hand, marked.digest)
            if found is not None:
                return found
            hand = None
        live = self._there(scene, owner, item)
        in_doubt = hand is not None and hand.this_run and not hand.verified
        if live is None and not in_doubt and (owner, item.ident) in self._stood:
            return Leave(outcome=Outcome.DECLINED)
        decision = decide(
            item,
            merit=one.winner.copy.merit,
            live=live,
            hand=hand,
            equal_elsewhere=scene.holds(owner, item.digest, besides=one.unit.recovered),
            policy=self._task.phase.on_conflict,
            as_of=self._task.site.plan.incident.as_of,
            can_replace=self._can_replace,
        )
        if isinstance(decision, Replace):
            self._stood.add((owner, item.ident))
        if isinstance(decision, Create) and decision.beside:
            marked = self._beside(item)
            match self._there(scene, owner, marked):
                case Tombstone():
                    return Leave(outcome=Outcome.DECLINED)
                case Standing(digest=digest) if digest == marked.digest:
                    return Leave(outcome=Outcome.PRESENT)
                case Standing():
                    return Leave(outcome=Outcome.SUPERSEDED)
                case None:
                    pass
        return decision

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
            case Replace(ref=ref, version=version):
                note = Note.REPLACED
                write = Write(owner=one.unit.owner, item=item, ref=ref, expected=version)
        hand = one.unit.hands.get(one.winner.copy.item.ident)
        return Planned(open=one, write=write, note=note, hand=hand)

    def _ref(self, item: Item) -> str:
        return self._task.target.ref(self._task.phase.restore, item.ident, item.media)

    def _beside(self, item: Item) -> Item:
        return self._task.category.beside(item, BESIDE_MARK)


def _of_beside(live: Standing | Tombstone | None, hand: Hand, digest: Digest) -> Leave | None:
    """What we put beside: still as we left it, changed by its user, or gone.

    `digest`: of what would be put there now.
    """
    match live:
        case Standing(digest=found) if found == digest == hand.digest and hand.this_run:
            return Leave(outcome=Outcome.RESTORED, note=Note.BESIDE)
        case Standing(digest=found) if found == digest:
            return Leave(outcome=Outcome.PRESENT)
        case Standing():
            return Leave(outcome=Outcome.SUPERSEDED)
        case Tombstone():
            return Leave(outcome=Outcome.DECLINED)
        case None:
            return Leave(outcome=Outcome.DECLINED) if hand.verified else None
