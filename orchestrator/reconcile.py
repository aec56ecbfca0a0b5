"""Copies, live item, journal and policy in; one decision out. Pure, total, and the same in preview.

The table of `docs/architecture.md`, row by row. It never chooses to overwrite what changed after
the loss unless the policy is `replace`.
"""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.books import Note, Outcome
from orchestrator.items import Copy, Digest, Item, Side
from orchestrator.plan import OnConflict


class Standing(Struct, frozen=True, kw_only=True, gc=False):
    """What the target holds under an item's ident."""

    digest: Digest | None
    """None: it holds something that cannot be read as an item."""
    version: str
    ref: str
    modified: datetime | None = None
    revised: datetime | None = None
    """When its user last changed it, as its own content says."""
    merit: int | None = None
    """Of categories whose best wins, whenever it was."""


class Tombstone(Struct, frozen=True, kw_only=True, gc=False):
    """The target says that its user deleted the item; `at` where it says when."""

    at: datetime | None = None
    ref: str = ""
    version: str = ""


class Hand(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What our journal says we did about this ident: one step of ours, and those before it."""

    digest: Digest
    """Of what we meant to write; empty where an undo of ours meant to take it away."""
    verified: bool
    """We read it back and it was equal."""
    outcome: Outcome
    note: Note | None = None
    this_run: bool = True
    ref: str = ""
    """Where that was."""
    origins: str = ""
    """Of what was merged: what came from where."""
    over: bool = False
    """Something with a content was there, in whose place it was to go."""
    buried: str = ""
    """The version of the tombstone that an undo of ours left; nothing else is by our hand."""
    returned: bool = False
    """An undo of ours put back what its user had; only when that was is by our hand."""
    dated: datetime | None = None
    """With `returned`: when its user had changed it."""
    earlier: "Hand | None" = None
    """The step before, where nobody read this one back: any of them may be what is there."""

    def left(self, digest: Digest | None) -> "Hand | None":
        """The newest step at this place that left just that; None: it is none of our work."""
        return next((step for step in self._steps() if digest and step.digest == digest), None)

    @property
    def read_back(self) -> bool:
        """One of the steps was seen at this place: what is there besides is somebody else's."""
        return any(step.verified for step in self._since_undone())

    @property
    def stood(self) -> bool:
        """Something was at this place, ours or not: where nothing is now, somebody deleted it.

        A target puts one content in another's place at once, or not at all.
        """
        return any(step.verified or step.over or step.returned for step in self._since_undone())

    def buried_by(self, version: str) -> bool:
        """Whether a tombstone of that version is an undo's of ours."""
        return any(step.buried and step.buried == version for step in self._steps())

    @property
    def at_another_place(self) -> "Hand | None":
        """The newest step before this one that was not at this place."""
        step = self.earlier
        while step is not None and step.ref == self.ref:
            step = step.earlier
        return step

    def _steps(self) -> Iterator["Hand"]:
        step: Hand | None = self
        while step is not None:
            if step.ref == self.ref:
                yield step
            step = step.earlier

    def _since_undone(self) -> Iterator["Hand"]:
        for step in self._steps():
            if not step.digest:
                return
            yield step
            if step.returned:
                return


def followed(earlier: Hand | None, step: Hand) -> Hand:
    """A step of ours that nobody has read back, upon those before it."""
    if earlier is not None and not earlier.verified and _same(earlier, step):
        return replace(step, over=step.over or earlier.over, earlier=earlier.earlier)
    return replace(step, earlier=earlier)


def _same(one: Hand, other: Hand) -> bool:
    return one.digest == other.digest and one.ref == other.ref and one.returned == other.returned


class Create(Struct, frozen=True, kw_only=True, gc=False):
    """Write it where nothing is; `beside`: under a marked ident of its own."""

    beside: bool = False


class Revive(Struct, frozen=True, kw_only=True, gc=False):
    """Write it over exactly this version of a tombstone, and over no later one."""

    ref: str
    version: str


class Replace(Struct, frozen=True, kw_only=True, gc=False):
    """Overwrite exactly this version; `beside`: of what we put beside, with what it is now."""

    ref: str
    version: str
    beside: bool = False


class Merge(Struct, frozen=True, kw_only=True, gc=False):
    """Combine with exactly this version, field by field; what comes of it is for `concluded`."""

    ref: str
    version: str
    wins: Side
    """Whose field stands where both differ."""


class Leave(Struct, frozen=True, kw_only=True, gc=False):
    """Write nothing; the item ends with this outcome."""

    outcome: Outcome
    note: Note | None = None


Decision = Create | Revive | Replace | Merge | Leave


def precedence(copy: Copy, trust: int) -> tuple[bool, int, bool, float, int, int]:
    """Sorts copies of one item, best last.

    Intact before lossy, then the category's merit, then dated before undated and newer before
    older, then the higher sequence, then the more trusted source (`trust` counts from 0, most
    trusted first).
    """
    revised = copy.item.revised
    return (
        not copy.lossy,
        copy.merit,
        revised is not None,
        revised.timestamp() if revised is not None else 0.0,
        copy.sequence,
        -trust,
    )


def decide(
    item: Item,
    *,
    merit: int = 0,
    live: Standing | Tombstone | None,
    hand: Hand | None,
    elsewhere: Standing | None,
    policy: OnConflict,
    as_of: datetime,
    can_replace: bool = True,
) -> Decision:
    """What to do about one item.

    `merit`: the recovered copy's. `elsewhere`: what the target holds under another ident and is
    equal, or the same thing typed in again. `can_replace`: it replaces exactly the version that
    was looked at; where it does not, the live item stays.
    """
    match live:
        case Tombstone():
            return _after_deletion(item, live, hand=hand, as_of=as_of)
        case Standing():
            decision = _beside_live(item, live, merit=merit, hand=hand, policy=policy, as_of=as_of)
        case None:
            if hand is not None and hand.stood:
                return Leave(outcome=Outcome.DECLINED)
            decision = _with_other_ident(item, elsewhere, policy=policy, as_of=as_of)
    if isinstance(decision, Replace) and not can_replace:
        return Leave(outcome=Outcome.SUPERSEDED)
    return decision


def concluded(
    decision: Merge, hand: Hand | None, *, changed: bool | None, can_replace: bool
) -> Leave | Replace | Create:
    """What to do once it is known what both sides are together.

    `changed`: whether the live content would be another than it is; None where no one item can
    hold both: then nothing is lost where they stand beside each other.
    """
    if changed is None:
        return Create(beside=True)
    if not changed:
        ours = hand is not None and hand.this_run and hand.outcome is Outcome.MERGED
        return Leave(outcome=Outcome.MERGED if ours else Outcome.PRESENT)
    if not can_replace:
        return Leave(outcome=Outcome.SUPERSEDED)
    return Replace(ref=decision.ref, version=decision.version)


def of_beside(live: Standing | Tombstone | None, hand: Hand, digest: Digest) -> Decision | None:
    """What we put beside: as we left it, a poorer copy than the one of now, changed, or gone.

    `digest`: of what would be put there now. None: it never got there.
    """
    match live:
        case Standing(digest=found):
            left = hand.left(found)
            ours = left is not None and left.this_run
            if found == digest:
                return _RESTORED_BESIDE if ours else Leave(outcome=Outcome.PRESENT)
            if ours:
                return Replace(ref=live.ref, version=live.version, beside=True)
            return Leave(outcome=Outcome.SUPERSEDED)
        case Tombstone():
            return Leave(outcome=Outcome.DECLINED)
        case None:
            return Leave(outcome=Outcome.DECLINED) if hand.stood else None


_RESTORED_BESIDE = Leave(outcome=Outcome.RESTORED, note=Note.BESIDE)


def of_merged(live: Standing | None, hand: Hand) -> Leave | None:
    """What we merged into the user's own item, of another ident, at `hand.ref`.

    None: it never got there.
    """
    if live is None:
        return Leave(outcome=Outcome.DECLINED) if hand.stood else None
    left = hand.left(live.digest)
    if left is not None:
        return Leave(outcome=Outcome.MERGED if left.this_run else Outcome.PRESENT)
    return Leave(outcome=Outcome.SUPERSEDED) if hand.read_back else None


def _after_deletion(
    item: Item, grave: Tombstone, *, hand: Hand | None, as_of: datetime
) -> Decision:
    """A deletion after the loss is the user's word; one before it counts against older copies."""
    at = grave.at
    if hand is not None and hand.buried_by(grave.version):
        return Revive(ref=grave.ref, version=grave.version)
    if at is None or at > as_of or (hand is not None and hand.read_back):
        return Leave(outcome=Outcome.DECLINED)
    if item.revised is None or item.revised <= at:
        return Leave(outcome=Outcome.DECLINED)
    return Revive(ref=grave.ref, version=grave.version)


def _beside_live(
    item: Item,
    live: Standing,
    *,
    merit: int,
    hand: Hand | None,
    policy: OnConflict,
    as_of: datetime,
) -> Decision:
    """Rows of the table in which the target holds something under the item's own ident."""
    left = None if hand is None else hand.left(live.digest)
    if left is not None and left.returned:
        live = replace(live, modified=_later(left.dated, live.revised))
        left = hand = None
    if live.digest == item.digest:
        if left is not None and left.this_run:
            return Leave(outcome=left.outcome, note=left.note)
        return Leave(outcome=Outcome.PRESENT)
    if left is not None:
        return _over_our_own(item, live, merit=merit, hand=left, policy=policy, as_of=as_of)
    if hand is not None and hand.read_back and policy is not OnConflict.REPLACE:
        return Leave(outcome=Outcome.SUPERSEDED)  # changed since we wrote it: the user's own now
    return _by_policy(live, policy=policy, newer=_is_better(item, live, merit=merit, as_of=as_of))


def _by_policy(live: Standing, *, policy: OnConflict, newer: bool) -> Decision:
    """The target holds something else that is none of our work; `newer`: the recovered copy is."""
    match policy:
        case OnConflict.REPLACE:
            return Replace(ref=live.ref, version=live.version)
        case OnConflict.KEEP_BOTH:
            return Create(beside=True)
        case OnConflict.MERGE:
            return _merge(live, newer=newer)
        case OnConflict.NEWEST if newer:
            return Replace(ref=live.ref, version=live.version)
        case OnConflict.NEWEST | OnConflict.KEEP_LIVE:
            return Leave(outcome=Outcome.SUPERSEDED)


def _merge(live: Standing, *, newer: bool) -> Merge | Create:
    if live.digest is None:  # nobody can say what its fields are
        return Create(beside=True)
    wins = Side.RECOVERED if newer else Side.LIVE
    return Merge(ref=live.ref, version=live.version, wins=wins)


def _with_other_ident(
    item: Item, elsewhere: Standing | None, *, policy: OnConflict, as_of: datetime
) -> Decision:
    """Nothing is under the item's own ident; what the user typed in again is never replaced.

    What was there before the loss, side by side with the item that was lost, is another thing.
    """
    if elsewhere is None:
        return Create()
    if elsewhere.digest == item.digest:
        return Leave(outcome=Outcome.PRESENT)
    if elsewhere.modified is not None and elsewhere.modified <= as_of:
        return Create()
    match policy:
        case OnConflict.MERGE:
            return _merge(elsewhere, newer=False)
        case OnConflict.KEEP_BOTH:
            return Create(beside=True)
        case OnConflict.NEWEST | OnConflict.KEEP_LIVE | OnConflict.REPLACE:
            return Leave(outcome=Outcome.SUPERSEDED)


def _over_our_own(
    item: Item,
    live: Standing,
    *,
    merit: int,
    hand: Hand,
    policy: OnConflict,
    as_of: datetime,
) -> Decision:
    """A better copy came to light (handed back, or in a new run) of what we wrote ourselves.

    Nobody changed it since, so nothing of the user's is overwritten. Within a run the copies have
    been compared already; what another run wrote is compared with by what its content says. What
    we merged holds the user's own fields, too: it is never replaced, only merged with once more.
    """
    if hand.outcome is Outcome.MERGED:
        if policy is OnConflict.MERGE:
            newer = _is_better(item, live, merit=merit, as_of=as_of)
            return _merge(live, newer=newer)
        if hand.this_run or policy is not OnConflict.REPLACE:
            return Leave(outcome=Outcome.MERGED if hand.this_run else Outcome.SUPERSEDED)
    if hand.this_run or policy is OnConflict.REPLACE:
        return Replace(ref=live.ref, version=live.version)
    if live.merit is not None:
        better = merit > live.merit
    elif item.revised is not None and live.revised is not None:
        better = item.revised > live.revised
    else:
        better = False
    if policy is OnConflict.MERGE:
        return _merge(live, newer=better)
    if better and policy is not OnConflict.KEEP_LIVE:
        return Replace(ref=live.ref, version=live.version)
    return Leave(outcome=Outcome.SUPERSEDED)


def _is_better(item: Item, live: Standing, *, merit: int, as_of: datetime) -> bool:
    """Newer than a live item from before the loss; or, where the best wins, better at any time."""
    if live.merit is not None:
        return merit > live.merit
    if live.modified is None or live.modified > as_of or item.revised is None:
        return False
    return item.revised > live.modified


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
