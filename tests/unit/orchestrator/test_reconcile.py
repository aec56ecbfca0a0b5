from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.books import Note, Outcome
from orchestrator.items import Copy, Digest, Ident, Item, Media
from orchestrator.plan import OnConflict
from orchestrator.reconcile import (
    Create,
    Hand,
    Leave,
    Replace,
    Revive,
    Standing,
    Tombstone,
    decide,
    precedence,
)

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
BEFORE, EARLIER, AFTER = (
    AS_OF - timedelta(days=1),
    AS_OF - timedelta(days=9),
    AS_OF + timedelta(days=1),
)
OURS, THEIRS, OLD = Digest(b"ours"), Digest(b"theirs"), Digest(b"old")
POLICIES = [policy for policy in OnConflict if policy is not OnConflict.MERGE]

ITEM = Item(
    ident=Ident("i"), digest=OURS, media=Media("vcf", "text/vcard"), content=b"", revised=BEFORE
)


def live(digest=THEIRS, modified=EARLIER):
    return Standing(digest=digest, version="v1", ref="r", modified=modified)


def decided(item=ITEM, *, at=None, hand=None, elsewhere=False, policy=OnConflict.NEWEST, **more):
    return decide(
        item,
        live=at,
        hand=hand,
        equal_elsewhere=elsewhere,
        policy=policy,
        as_of=AS_OF,
        **more,
    )


def hand(digest=OURS, *, verified=True, this_run=True, outcome=Outcome.RESTORED, note=None):
    return Hand(digest=digest, verified=verified, this_run=this_run, outcome=outcome, note=note)


LEFT, REPLACED = Leave(outcome=Outcome.SUPERSEDED), Replace(ref="r", version="v1")
GRAVE = Tombstone(at=EARLIER, ref="r", version="v")
TABLE = [
    # what the target holds, and the decision under newest, keep-live, keep-both, replace
    ("nothing", None, (Create(), Create(), Create(), Create())),
    ("equal content", live(OURS), (Leave(outcome=Outcome.PRESENT),) * 4),
    ("changed after as_of", live(modified=AFTER), (LEFT, LEFT, Create(beside=True), REPLACED)),
    ("undated", live(modified=None), (LEFT, LEFT, Create(beside=True), REPLACED)),
    ("older", live(modified=EARLIER), (REPLACED, LEFT, Create(beside=True), REPLACED)),
    ("newer", live(modified=AS_OF), (LEFT, LEFT, Create(beside=True), REPLACED)),
    ("deleted after as_of", Tombstone(at=AFTER), (Leave(outcome=Outcome.DECLINED),) * 4),
    ("deleted, undated", Tombstone(at=None), (Leave(outcome=Outcome.DECLINED),) * 4),
    ("deleted before, copy newer", GRAVE, (Revive(ref="r", version="v"),) * 4),
    (
        "deleted before, copy older",
        Tombstone(at=AS_OF - timedelta(hours=1)),
        (Leave(outcome=Outcome.DECLINED),) * 4,
    ),
]


@pytest.mark.parametrize(
    ("at", "expected"), [pytest.param(at, expected, id=holds) for holds, at, expected in TABLE]
)
def test_the_table_of_decisions(at, expected):
    assert tuple(decided(at=at, policy=policy) for policy in POLICIES) == expected


@pytest.mark.guarantee(5)
@given(
    st.sampled_from(POLICIES),
    st.sampled_from([None, AFTER, AFTER + timedelta(days=400)]),
    st.sampled_from([None, BEFORE, AS_OF, AFTER]),
)
def test_what_changed_after_the_loss_is_never_overwritten_unless_replace_asks(
    policy, modified, revised
):
    decision = decided(replace(ITEM, revised=revised), at=live(modified=modified), policy=policy)
    assert isinstance(decision, Replace) == (policy is OnConflict.REPLACE)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_we_wrote_and_nobody_changed_is_finished_as_it_was(policy):
    written = hand(verified=False, note=Note.REPLACED)
    decision = decided(at=live(OURS), hand=written, policy=policy)
    assert decision == Leave(outcome=Outcome.RESTORED, note=Note.REPLACED)


def test_what_an_earlier_run_wrote_is_present_in_this_one():
    decision = decided(at=live(OURS), hand=hand(this_run=False))
    assert decision == Leave(outcome=Outcome.PRESENT)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_came_to_light_later_in_a_run_takes_the_place_of_what_it_wrote_before(policy):
    ours = replace(live(OLD, AFTER), revised=EARLIER)
    assert decided(at=ours, hand=hand(OLD), policy=policy) == REPLACED
    undated = replace(ITEM, revised=None)
    assert decided(undated, at=live(OLD, AFTER), hand=hand(OLD), policy=policy) == REPLACED


@pytest.mark.parametrize(
    ("revised", "expected"),
    [
        (EARLIER, (REPLACED, LEFT, REPLACED, REPLACED)),
        (BEFORE, (LEFT, LEFT, LEFT, REPLACED)),
        (None, (LEFT, LEFT, LEFT, REPLACED)),
    ],
)
def test_a_newer_copy_takes_the_place_of_what_an_earlier_run_wrote(revised, expected):
    ours = replace(live(OLD, AFTER), revised=revised)
    theirs = hand(OLD, this_run=False)
    assert tuple(decided(at=ours, hand=theirs, policy=p) for p in POLICIES) == expected


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.guarantee(8)
def test_what_we_verified_and_is_gone_was_deleted_by_its_user(policy):
    assert decided(hand=hand(), policy=policy) == Leave(outcome=Outcome.DECLINED)


def test_what_we_only_meant_to_write_is_created():
    assert decided(hand=hand(verified=False)) == Create()


def test_what_a_user_changed_after_we_wrote_it_is_theirs():
    assert decided(at=live(THEIRS, EARLIER), hand=hand()) == LEFT


def test_equal_content_under_another_ident_is_present():
    assert decided(elsewhere=True) == Leave(outcome=Outcome.PRESENT)


@pytest.mark.parametrize(("live_merit", "expected"), [(5, REPLACED), (10, LEFT), (11, LEFT)])
def test_where_the_best_wins_it_wins_at_any_time(live_merit, expected):
    at = replace(live(modified=AFTER), merit=live_merit)
    assert decided(at=at, merit=10) == expected
    assert decided(at=at, merit=10, policy=OnConflict.KEEP_LIVE) == LEFT


def test_a_target_that_cannot_compare_and_set_keeps_what_it_has():
    assert decided(at=live(), can_replace=False) == LEFT


instants = st.sampled_from([None, EARLIER, BEFORE, AS_OF, AFTER])
standings = st.builds(live, st.sampled_from([OURS, THEIRS, OLD, None]), instants)
hands = st.builds(
    hand,
    st.sampled_from([OURS, OLD]),
    verified=st.booleans(),
    this_run=st.booleans(),
)


@given(
    st.none() | standings | st.builds(Tombstone, at=instants),
    st.none() | hands,
    st.booleans(),
    st.sampled_from(POLICIES),
    instants,
)
def test_there_is_one_decision_for_everything_and_it_is_always_the_same(
    at, by_us, elsewhere, policy, revised
):
    item = replace(ITEM, revised=revised)
    first = decided(item, at=at, hand=by_us, elsewhere=elsewhere, policy=policy)
    again = decided(item, at=at, hand=by_us, elsewhere=elsewhere, policy=policy)
    assert first == again
    if isinstance(first, Replace):
        assert isinstance(at, Standing)
        assert at.digest != item.digest


def copy(*, revised=None, lossy=False, merit=0, sequence=0):
    return Copy(
        item=replace(ITEM, revised=revised), spans=(), lossy=lossy, merit=merit, sequence=sequence
    )


ORDER = [  # worst first
    (copy(lossy=True, revised=AFTER), 0),
    (copy(), 1),
    (copy(), 0),
    (copy(revised=EARLIER), 2),
    (copy(revised=BEFORE), 2),
    (copy(revised=BEFORE), 0),
    (copy(revised=BEFORE, sequence=1), 2),
    (copy(revised=AFTER), 2),
    (copy(merit=1), 2),
    (copy(merit=2), 2),
]


def test_copies_rank_intact_then_by_merit_then_newest_then_most_trusted():
    ranks = [precedence(one, trust) for one, trust in ORDER]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
