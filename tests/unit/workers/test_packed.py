"""What few bytes must not change: a packed mapping behaves like a dict of encoded values."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.books import Note, Outcome
from orchestrator.items import Digest, Ident, UserId
from orchestrator.reconcile import Hand, Standing, Tombstone
from workers.account import RECENT, Account, Line
from workers.candidates import Base, Candidate, Candidates
from workers.journal import no_hands
from workers.looking import Scene
from workers.packed import Packed
from workers.reading import Ordinals

DATED = datetime(2009, 9, 1, tzinfo=UTC)
HANDS = [
    Hand(digest=Digest(bytes(32)), verified=False, outcome=Outcome.RESTORED),
    Hand(
        digest=Digest(b"d" * 32),
        verified=True,
        outcome=Outcome.MERGED,
        note=Note.BESIDE,
        this_run=False,
        ref="a/ref",
        origins="added: tel",
        buried="7",
        returned=True,
        dated=DATED,
    ),
]
STANDINGS = [
    Standing(digest=None, version="1", ref="x"),
    Standing(
        digest=Digest(b"d" * 32), version="2", ref="y", modified=DATED, revised=DATED, merit=3
    ),
]
KEYS = st.sampled_from([f"k{n}" for n in range(12)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("pop"), KEYS, st.just(b"")),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_packed_mapping_behaves_like_a_dict(steps):
    packed, plain = Packed[bytes](bytes, bytes), dict[str, bytes]()
    for step, key, value in steps:
        if step == "put":
            packed.put(key, value)
            plain[key] = value
        else:
            assert packed.pop(key) == plain.pop(key, None)
        assert len(packed) == len(plain)
    for key in {key for _, key, _ in steps}:
        assert packed.get(key) == plain.get(key)
        assert (key in packed) == (key in plain)
    assert sorted(map(packed.at, packed.places())) == sorted(plain.values())


def test_a_packed_mapping_grows_and_keeps_the_order_of_its_keys():
    packed = Packed[bytes](bytes, bytes)
    for number in range(20_000):
        packed.put(f"key {number}", b"%d" % number)
    assert packed.get("key 19999") == b"19999"
    assert packed.get("key 20000") is None
    assert [packed.at(place) for place in packed.places()] == [b"%d" % n for n in range(20_000)]


def test_what_is_by_our_hand_is_the_same_when_it_is_packed(monkeypatch):
    monkeypatch.setattr("workers.packed.FEW", 1)
    hands = no_hands()
    for number, hand in enumerate(HANDS):
        hands.put(f"i{number}", hand)
    assert [hands.get(f"i{number}") for number in range(3)] == [*HANDS, None]
    assert hands.pop("i1") == HANDS[1]
    assert hands.get("i1") is None


def test_a_scene_is_the_same_when_it_is_packed(monkeypatch):
    grave = Tombstone(at=DATED, ref="z", version="9")

    def seen():
        scene = Scene()
        for number, standing in enumerate([*STANDINGS, *STANDINGS]):
            scene.note(UserId("ann"), Ident(f"i{number}"), standing)
        scene.note(UserId("ann"), Ident("i0"), STANDINGS[1])  # the first one stays
        scene.bury(UserId("ann"), Ident("i9"), grave)
        scene.bury(UserId("ann"), None, Tombstone(ref="w"))
        scene.wonder(UserId("ann"), "odd", STANDINGS[0])
        scene.wonder(UserId("ann"), "odder", STANDINGS[0])
        return (
            [scene.at(UserId("ann"), Ident(f"i{number}")) for number in range(10)],
            [scene.at_place(UserId("ann"), ref) for ref in ("z", "w", "odd", "odder", "none")],
            [scene.by_ref(UserId(who), "y") for who in ("ann", "bob")],
        )

    plain = seen()
    assert plain[0][:2] == STANDINGS
    assert plain[0][9] == grave
    monkeypatch.setattr("workers.packed.FEW", 1)
    assert seen() == plain


CANDIDATES = st.lists(
    st.tuples(
        st.integers(0, 30),  # ident
        st.integers(0, 5),  # digest
        st.integers(1, 7),  # seen by
        st.integers(0, 2),  # trust
    ),
    max_size=30,
    unique_by=lambda one: one[0],
)


def candidates(listed):
    made = Candidates()
    for ident, digest, seen_by, trust in listed:
        rank = (True, 0, True, 1.5, ident, -trust)
        base = Base((True, 0, False, 0.0, 0, 0), trust, ident + 1, None) if ident % 2 else None
        of = Digest(bytes([digest]) * 32)
        made.put(Ident(f"i{ident}"), Candidate(rank, trust, ident, of, None, 1, seen_by, base))
    return made


@given(CANDIDATES)
def test_equal_contents_become_one_item_alike_whether_packed_or_not(listed):
    few, many = candidates(listed), candidates(listed)
    many.pack()
    assert list(many.all()) == list(few.all())
    few.collapse()
    many.collapse()
    assert list(many.all()) == list(few.all())
    assert len(many) == len(few) == len(list(few.all()))
    for ident, *_ in listed:
        assert (f"i{ident}" in many) == (f"i{ident}" in few)


@given(st.integers(0, 20) | st.integers(RECENT - 2, RECENT + 20))
def test_an_account_is_encoded_like_the_list_of_its_lines(count):
    lines = [Line(ident=f"i{n}", outcome="restored") for n in range(count)]
    account = Account()
    for line in lines:
        account.append(line)
    assert len(account) == count
    assert account.encoded() == msgspec.msgpack.encode(lines)


@given(st.sets(st.integers(0, 5_000)))
def test_ordinals_hold_what_was_added_and_nothing_else(numbers):
    ordinals = Ordinals()
    for number in sorted(numbers):
        ordinals.add(number)
    assert {number for number in range(5_100) if number in ordinals} == numbers
