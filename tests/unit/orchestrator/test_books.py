from hypothesis import given
from hypothesis import strategies as st

from orchestrator.books import FIELDS, Books, Outcome, imbalances, lost

numbers = st.integers(min_value=0, max_value=10**6)


@st.composite
def balanced(draw):
    """Books that obey every law: sums are derived, never drawn."""
    outcomes = {outcome.value: draw(numbers) for outcome in Outcome}
    others, nameless = draw(numbers), draw(numbers)
    spans = {f"bytes_{name}": draw(numbers) for name in ("copies", "quarantined", "framing")}
    items = sum(outcomes.values())
    return Books(
        copies=items + others + nameless,
        items=items,
        others=others,
        nameless=nameless,
        bytes_read=sum(spans.values()),
        **outcomes,
        **spans,
    )


@given(balanced())
def test_books_that_add_up_break_no_law(books):
    assert imbalances(books, settled=False) == []
    assert bool(imbalances(books, settled=True)) == bool(books.pending)


@given(balanced(), st.sampled_from([*Outcome]), st.integers(1, 100))
def test_an_item_with_two_outcomes_or_none_is_noticed(books, outcome, too_many):
    values = {name: getattr(books, name) for name in FIELDS}
    values[outcome.value] += too_many
    assert imbalances(Books(**values), settled=False)


@given(balanced(), st.sampled_from(["copies", "others", "nameless"]), st.integers(1, 100))
def test_a_copy_that_is_not_accounted_for_is_noticed(books, name, too_many):
    values = {field: getattr(books, field) for field in FIELDS}
    values[name] += too_many
    assert imbalances(Books(**values), settled=False)


@given(balanced(), st.sampled_from(["read", "copies", "quarantined", "framing"]))
def test_a_byte_that_is_not_accounted_for_is_noticed(books, name):
    values = {field: getattr(books, field) for field in FIELDS}
    values[f"bytes_{name}"] += 1
    assert imbalances(Books(**values), settled=False)


@given(balanced(), balanced())
def test_sums_of_balanced_books_balance(one, other):
    assert imbalances(one + other, settled=False) == []
    assert (one + other) - other == one


@given(st.none() | numbers, numbers)
def test_loss_is_what_the_census_has_more_and_never_negative(expected, items):
    missing = lost(expected=expected, items=items)
    assert missing >= 0
    if expected is not None and expected > items:
        assert items + missing == expected


def test_losses_of_one_user_are_not_netted_with_anothers_surplus():
    assert lost(expected=5, items=3) + lost(expected=3, items=5) == 2
