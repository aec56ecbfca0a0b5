"""Any number of ids, in order and in bounded memory, and which of them could be mistaken."""

import tracemalloc
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import UserId
from orchestrator.sealing import Sealer
from workers.roll import Roll, Sorted, likeness

SEALER = Sealer(bytes(range(32)))
IDS = st.lists(
    st.one_of(
        st.text(st.sampled_from("aAbB ıİßſé\u0301\u200bé"), max_size=3),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
    ).map(UserId),
    max_size=30,
)


def roll(known, listed=None, *, chunk=4):
    made = Roll(SEALER, chunk=chunk)
    made.hold(known)
    made.choose(listed or ())
    made.take_stock(listed)
    return made


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=3), max_size=60), st.integers(1, 70))
def test_what_was_put_down_in_chunks_comes_back_sorted_and_once(records, chunk):
    with closing(Sorted(SEALER, chunk=chunk)) as sorted_records:
        for record in records:
            sorted_records.add(record)
        assert list(sorted_records) == sorted(set(records))
        assert list(sorted_records) == sorted(set(records))


@settings(deadline=None, max_examples=100)
@given(IDS, st.none() | IDS)
def test_the_roll_is_what_memory_without_bounds_would_say(known, listed):
    spellings = Counter(likeness(user) for user in {*known, *(listed or ())})
    with closing(roll(known, listed)) as made:
        scope = sorted(set(known)) if listed is None else listed
        assert list(made.held()) == sorted(set(known))
        assert made.total == len(scope)
        for user in scope:
            assert made.ambiguous(SEALER.user_hash(user)) == (spellings[likeness(user)] > 1)


@settings(deadline=None, max_examples=60)
@given(IDS)
def test_the_fingerprint_depends_on_who_they_are_not_on_how_they_came(known):
    with closing(roll(known)) as one, closing(roll(known[::-1] * 2, chunk=7)) as other:
        assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "ann"),
        ("an n", "ann"),
        ("e\u0301", "é"),
        ("a\u200bnn", "ann"),
        ("straße", "STRASSE"),
    ],
)
def test_ids_that_a_person_would_take_for_one_are_alike(one, other):
    assert likeness(UserId(one)) == likeness(UserId(other))


def test_memory_does_not_grow_with_the_number_of_users():
    def peak(users: int) -> int:
        tracemalloc.start()
        with closing(
            roll((UserId(f"user-{number:07}") for number in range(users)), chunk=500)
        ) as made:
            assert made.total == users
            found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(8_000) < 3 * peak(1_000)
