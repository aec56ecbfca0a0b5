"""Copies, live item, journal and policy in; one decision out. Pure, total, and the same in preview.

The table of `docs/architecture.md`, row by row. It never chooses to overwrite what changed after
the loss unless the policy is `replace`.
"""

from datetime import datetime

from msgspec import Struct

from orchestrator.books import Note, Outcome
from orchestrator.items import Copy, Digest, Item
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


class Hand(Struct, frozen=True, kw_only=True, gc=False):
    """What our journal says we did about this ident."""

    digest: Digest
    """Of what we meant to write."""
    verified: bool
    """We read it back and it was equal."""
    outcome: Outcome
    note: Note | None = None
    this_run: bool = True


class Create(Struct, frozen=True, kw_only=True, gc=False):
    """Write it where nothing is; `beside`: under a marked ident of its own."""

    beside: bool = False


class Revive(Struct, frozen=True, kw_only=True, gc=False):
    """Write it over exactly this version of a tombstone, and over no later one."""

    ref: str
    version: str


class Replace(Struct, frozen=True, kw_only=True, gc=False):
    """Overwrite exactly this version."""

    ref: str
    version: str


class Leave(Struct, frozen=True, kw_only=True, gc=False):
    """Write nothing; the item ends with this outcome."""

    outcome: Outcome
    note: Note | None = None


Decision = Create | Revive | Replace | Leave


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
    equal_elsewhere: bool,
    policy: OnConflict,
    as_of: datetime,
    can_replace: bool = True,
) -> Decision:
    """What to do about one item.

    `merit`: the recovered copy's. `equal_elsewhere`: the target holds equal content under another
    ident. `can_replace`: it replaces exactly the version that was looked at; where it does not,
    the live item stays.
    """
    decision = _by_table(
        item,
        merit=merit,
        live=live,
        hand=hand,
        equal_elsewhere=equal_elsewhere,
        policy=policy,
        as_of=as_of,
    )
    if isinstance(decision, Replace) and not can_replace:
        return Leave(outcome=Outcome.SUPERSEDED)
    return decision


def _by_table(
    item: Item,
    *,
    merit: int,
    live: Standing | Tombstone | None,
    hand: Hand | None,
    equal_elsewhere: bool,
    policy: OnConflict,
    as_of: datetime,
) -> Decision:
    match live:
        case Tombstone():
            return _after_deletion(item, live, hand=hand, as_of=as_of)
        case Standing():
            return _beside_live(item, live, merit=merit, hand=hand, policy=policy, as_of=as_of)
        case None:
            if hand is not None and hand.verified:
                return Leave(outcome=Outcome.DECLINED)
            if equal_elsewhere:
                return Leave(outcome=Outcome.PRESENT)
            return Create()


def _after_deletion(
    item: Item, grave: Tombstone, *, hand: Hand | None, as_of: datetime
) -> Decision:
    """A deletion after the loss is the user's word; one before it counts against older copies."""
    at = grave.at
    if at is None or at > as_of or (hand is not None and hand.verified):
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
    if live.digest == item.digest:
        if hand is not None and hand.this_run and live.digest == hand.digest:
            return Leave(outcome=hand.outcome, note=hand.note)
        return Leave(outcome=Outcome.PRESENT)
    if hand is not None and live.digest == hand.digest:
        return _over_our_own(item, live, merit=merit, hand=hand, policy=policy)
    if hand is not None and hand.verified and policy is not OnConflict.REPLACE:
        return Leave(outcome=Outcome.SUPERSEDED)  # changed since we wrote it: the user's own now
    newer = _is_better(item, live, merit=merit, as_of=as_of)
    match policy:
        case OnConflict.REPLACE:
            return Replace(ref=live.ref, version=live.version)
        case OnConflict.KEEP_BOTH:
            return Create(beside=True)
        case OnConflict.NEWEST if newer:
            return Replace(ref=live.ref, version=live.version)
        case OnConflict.NEWEST | OnConflict.KEEP_LIVE:
            return Leave(outcome=Outcome.SUPERSEDED)
        case OnConflict.MERGE:
            raise ValueError("merge is not available yet; the planner refuses it")


def _over_our_own(
    item: Item, live: Standing, *, merit: int, hand: Hand, policy: OnConflict
) -> Replace | Leave:
    """A better copy came to light (handed back, or in a new run) of what we wrote ourselves.

    Nobody changed it since, so nothing of the user's is overwritten. Within a run the copies have
    been compared already; what another run wrote is compared with by what its content says.
    """
    if hand.this_run or policy is OnConflict.REPLACE:
        return Replace(ref=live.ref, version=live.version)
    if live.merit is not None:
        better = merit > live.merit
    elif item.revised is not None and live.revised is not None:
        better = item.revised > live.revised
    else:
        better = False
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
