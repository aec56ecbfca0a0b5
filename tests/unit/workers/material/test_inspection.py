from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.material.inspection import Inspection

FACTS = st.tuples(st.binary(max_size=5), st.integers(0, 9))


def manifest(pieces):
    inspection = Inspection()
    for piece in pieces:
        inspection.piece(*piece)
    return inspection.inventory().manifest


@given(st.lists(FACTS, max_size=8), st.lists(FACTS, max_size=8))
@settings(deadline=None, max_examples=300)
def test_manifests_are_equal_exactly_where_the_pieces_are(some, others):
    assert (manifest(some) == manifest(others)) == (sorted(some) == sorted(others))


@given(st.lists(FACTS, max_size=8), st.integers(0, 8))
@settings(deadline=None, max_examples=100)
def test_an_inspection_in_parts_gives_the_same(pieces, cut):
    whole = Inspection()
    for part in (pieces[:cut], pieces[cut:]):
        inspection = Inspection()
        for piece in part:
            inspection.piece(*piece)
        whole.include(inspection)
    assert whole.inventory().manifest == manifest(pieces)


def test_parts_keep_the_newest_the_strays_and_the_notes():
    first, second = Inspection(), Inspection()
    first.dated(datetime(2009, 1, 1, tzinfo=UTC))
    second.dated(datetime(2008, 1, 1, tzinfo=UTC))
    first.stray("why", 3)
    second.stray("why", 4, files=2)
    second.note("said")
    first.include(second)
    inventory = first.inventory()
    assert inventory.newest == datetime(2009, 1, 1, tzinfo=UTC)
    assert [(one.why, one.files, one.size) for one in inventory.unowned] == [("why", 3, 7)]
    assert inventory.notes == ("said",)
    assert first.strays() == (3, 7)
