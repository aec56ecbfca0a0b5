"""A journal may hold every pre-image of a user's photos: it is never in memory as a whole."""

from hypothesis import given
from hypothesis import strategies as st

from workers.journal import HELD_BYTES, HELD_ROWS, that_fit

LENGTHS = st.lists(st.integers(0, 2 * HELD_BYTES), max_size=40)


@given(LENGTHS)
def test_rows_are_read_in_their_order_each_once_and_no_more_than_can_be_held(lengths):
    pages = list(that_fit(list(enumerate(lengths))))
    assert [number for page in pages for number in page] == list(range(len(lengths)))
    for page in pages:
        assert page
        assert len(page) == 1 or sum(lengths[number] for number in page) <= HELD_BYTES


def test_small_rows_are_read_many_at_a_time():
    pages = list(that_fit([(number, 1) for number in range(2 * HELD_ROWS + 1)]))
    assert list(map(len, pages)) == [HELD_ROWS, HELD_ROWS, 1]
