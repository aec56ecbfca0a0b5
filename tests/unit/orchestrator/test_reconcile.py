from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.books import Note, Outcome
from orchestrator.items import Copy, Digest, Ident, Item, Media, Side
from orchestrator.plan import OnConflict
from orchestrator.reconcile import (
    Create,
    Hand,
    Leave,
    Merge,
    Replace,
    Revive,
    Standing,
    Tombstone,
    concluded,
    decide,
    followed,
    of_beside,
    of_merged,
    precedence,
)

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
BEFORE, EARLIER, AFTER = (
    AS_OF - timedelta(days=1),
    AS_OF - timedelta(days=9),
    AS_OF + timedelta(days=1),
)
OURS, THEIRS, OLD = Digest(b"ours"), Digest(b"theirs"), Digest(b"old")
POLICIES = list(OnConflict)  # newest, keep-live, merge, keep-both, replace

ITEM = Item(
    ident=Ident("i"), digest=OURS, media=Media("vcf", "text/vcard"), content=b"", revised=BEFORE
)


def live(digest=THEIRS, modified=EARLIER):
    return Standing(digest=digest, version="v1", ref="r", modified=modified)


def decided(item=ITEM, *, at=None, hand=None, elsewhere=None, policy=OnConflict.NEWEST, **more):
    return decide(
        item,
        live=at,
        hand=hand,
        elsewhere=elsewhere,
        policy=policy,
        as_of=AS_OF,
        **more,
    )


def hand(digest=OURS, *, verified=True, this_run=True, outcome=Outcome.RESTORED, **more):
    return Hand(digest=digest, verified=verified, this_run=this_run, outcome=outcome, **more)


def meant(digest=OURS, *, upon=None, **more):
    """What nobody has read back, upon what was done before."""
    return followed(upon, hand(digest, verified=False, **more))


LEFT, REPLACED = Leave(outcome=Outcome.SUPERSEDED), Replace(ref="r", version="v1")
PRESENT = Leave(outcome=Outcome.PRESENT)
MERGED = Leave(outcome=Outcome.MERGED)
DECLINED = Leave(outcome=Outcome.DECLINED)
LIVE_WINS = Merge(ref="r", version="v1", wins=Side.LIVE)
RECOVERED_WINS = Merge(ref="r", version="v1", wins=Side.RECOVERED)
BESIDE = Create(beside=True)
GRAVE = Tombstone(at=EARLIER, ref="r", version="v")
TABLE = [
    # what the target holds, and the decision under newest, keep-live, merge, keep-both, replace
    ("nothing", None, (Create(),) * 5),
    ("equal content", live(OURS), (PRESENT,) * 5),
    ("changed after as_of", live(modified=AFTER), (LEFT, LEFT, LIVE_WINS, BESIDE, REPLACED)),
    ("undated", live(modified=None), (LEFT, LEFT, LIVE_WINS, BESIDE, REPLACED)),
    ("older", live(modified=EARLIER), (REPLACED, LEFT, RECOVERED_WINS, BESIDE, REPLACED)),
    ("newer", live(modified=AS_OF), (LEFT, LEFT, LIVE_WINS, BESIDE, REPLACED)),
    ("unreadable", live(None), (REPLACED, LEFT, BESIDE, BESIDE, REPLACED)),
    ("deleted after as_of", Tombstone(at=AFTER), (DECLINED,) * 5),
    ("deleted, undated", Tombstone(at=None), (DECLINED,) * 5),
    ("deleted before, copy newer", GRAVE, (Revive(ref="r", version="v"),) * 5),
    ("deleted before, copy older", Tombstone(at=AS_OF - timedelta(hours=1)), (DECLINED,) * 5),
]


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        (AFTER, (LEFT, LEFT, LIVE_WINS, BESIDE, LEFT)),
        (None, (LEFT, LEFT, LIVE_WINS, BESIDE, LEFT)),
        (AS_OF, (Create(),) * 5),  # it was there beside the lost one: another thing
    ],
)
def test_what_its_user_typed_in_again_is_never_replaced(modified, expected):
    typed_in = live(modified=modified)
    assert tuple(decided(elsewhere=typed_in, policy=policy) for policy in POLICIES) == expected


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
    if isinstance(decision, Merge):
        assert decision.wins is Side.LIVE


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
        (EARLIER, (REPLACED, LEFT, RECOVERED_WINS, REPLACED, REPLACED)),
        (BEFORE, (LEFT, LEFT, LIVE_WINS, LEFT, REPLACED)),
        (None, (LEFT, LEFT, LIVE_WINS, LEFT, REPLACED)),
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
    assert decided(elsewhere=live(OURS, BEFORE)) == PRESENT


# What a merge comes to ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "can_replace", "by_us", "expected"),
    [
        (True, True, None, REPLACED),
        (True, False, None, LEFT),
        (False, True, None, PRESENT),
        (False, True, hand(outcome=Outcome.MERGED), MERGED),
        (False, True, hand(outcome=Outcome.MERGED, this_run=False), PRESENT),
        (None, True, None, BESIDE),
        (None, False, None, BESIDE),
    ],
)
def test_a_merge_is_written_or_was_done_or_changes_nothing_or_cannot_be(
    changed, can_replace, by_us, expected
):
    found = concluded(LIVE_WINS, by_us, changed=changed, can_replace=can_replace)
    assert found == expected


def test_what_a_run_merged_and_nobody_changed_is_finished_as_it_was():
    ours = hand(OLD, outcome=Outcome.MERGED)
    at = live(OLD, AFTER)
    found = tuple(decided(at=at, hand=ours, policy=policy) for policy in POLICIES)
    assert found == (MERGED, MERGED, LIVE_WINS, MERGED, MERGED)


def test_what_an_earlier_run_merged_holds_the_users_own_fields_and_is_not_replaced_lightly():
    ours = hand(OLD, outcome=Outcome.MERGED, this_run=False)
    at = live(OLD, AFTER)
    found = tuple(decided(at=at, hand=ours, policy=policy) for policy in POLICIES)
    assert found == (LEFT, LEFT, LIVE_WINS, LEFT, REPLACED)


def test_what_its_user_changed_after_a_merge_is_theirs():
    ours = hand(OLD, outcome=Outcome.MERGED)
    assert decided(at=live(), hand=ours, policy=OnConflict.MERGE) == LEFT


@pytest.mark.parametrize(
    ("at", "by_us", "expected"),
    [
        (live(OLD), hand(OLD), MERGED),
        (live(OLD), hand(OLD, verified=False), MERGED),
        (live(OLD), hand(OLD, this_run=False), PRESENT),
        (live(THEIRS), hand(OLD), LEFT),
        (live(THEIRS), hand(OLD, verified=False), None),
        (None, hand(OLD), DECLINED),
        (None, hand(OLD, verified=False), None),
    ],
)
def test_what_was_merged_into_an_item_of_another_ident_is_found_there(at, by_us, expected):
    assert of_merged(at, by_us) == expected


PUT_BESIDE = Leave(outcome=Outcome.RESTORED, note=Note.BESIDE)


@pytest.mark.parametrize(
    ("at", "by_us", "expected"),
    [
        (live(OURS), hand(OURS), PUT_BESIDE),
        (live(OURS), hand(OURS, this_run=False), PRESENT),
        (live(OLD), hand(OLD), Replace(ref="r", version="v1", beside=True)),
        (live(OLD), hand(OLD, this_run=False), LEFT),
        (live(THEIRS), hand(OURS), LEFT),
        (Tombstone(), hand(OURS), DECLINED),
        (None, hand(OURS), DECLINED),
        (None, hand(OURS, verified=False), None),
    ],
)
def test_what_was_put_beside_gives_way_to_a_better_copy_until_its_user_changes_it(
    at, by_us, expected
):
    assert of_beside(at, by_us, OURS) == expected


EARLIER_RUN = hand(OLD, this_run=False)


@pytest.mark.parametrize(
    ("at", "by_us", "expected"),
    [
        (live(OURS), meant(upon=EARLIER_RUN), Leave(outcome=Outcome.RESTORED)),
        (live(OLD, AFTER), meant(upon=hand(OLD)), REPLACED),
        (live(OLD, AFTER), meant(THEIRS, upon=meant(upon=hand(OLD))), REPLACED),
        (live(THEIRS, EARLIER), meant(upon=EARLIER_RUN), LEFT),
        (live(THEIRS, EARLIER), meant(), REPLACED),
        (None, meant(upon=EARLIER_RUN), DECLINED),
        (None, meant(over=True), DECLINED),
        (None, meant(upon=meant(over=True)), DECLINED),
        (None, meant(), Create()),
        (None, hand(OLD, returned=True), DECLINED),
        (None, meant(upon=meant(Digest(b""), upon=EARLIER_RUN)), Create()),
        (GRAVE, meant(upon=hand(Digest(b""), buried="v")), Revive(ref="r", version="v")),
    ],
)
def test_of_what_was_meant_and_not_read_back_whatever_is_there_counts(at, by_us, expected):
    assert decided(at=at, hand=by_us) == expected


def test_a_step_that_is_repeated_is_one_step():
    once = meant(upon=meant(over=True, upon=EARLIER_RUN))
    assert once == meant(over=True, upon=EARLIER_RUN)
    assert once.earlier == EARLIER_RUN


def test_steps_at_another_place_say_nothing_of_this_one():
    beside = meant(OLD, ref="beside", upon=hand(OURS, ref="own"))
    assert of_beside(None, beside, OLD) is None
    assert beside.at_another_place == hand(OURS, ref="own")


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
    outcome=st.sampled_from([Outcome.RESTORED, Outcome.MERGED]),
    over=st.booleans(),
)
hands = hands | st.builds(followed, hands, hands)


@given(
    st.none() | standings | st.builds(Tombstone, at=instants),
    st.none() | hands,
    st.none() | standings,
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
