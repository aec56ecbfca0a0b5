from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected
from orchestrator.items import Damaged, File, Framing, Span
from orchestrator.reasons import Reason
from workers.formats.tiling import blank, gaps, readable


@given(st.integers(0, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(1, 5)), max_size=6))
def test_gaps_are_exactly_what_was_not_taken(size, stretches):
    taken: list[tuple[int, int]] = []
    for start, length in sorted(stretches):
        if start + length <= size and (not taken or start >= taken[-1][1]):
            taken.append((start, start + length))
    covered = [offset for start, end in taken for offset in range(start, end)]
    for framing in gaps("f", size, reversed(taken)):
        covered.extend(range(framing.span.offset, framing.span.offset + framing.span.length))
    assert sorted(covered) == list(range(size))


def test_an_unreadable_file_stands_for_its_size():
    def refuse():
        raise ItemRejected(Reason.UNREADABLE, "gone", data=b"left")

    found = readable(File(name="f", size=9, read=refuse))
    assert found == Damaged(
        reason=Reason.UNREADABLE, spans=(Span("f", 0, 9),), data=b"left", detail="gone"
    )


def test_white_space_is_framing():
    assert blank("f", b" \n") == Framing(Span("f", 0, 2))
    assert blank("f", b"x") is None
