import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.tables import rows, separator_of


def cells(data, separator=","):
    return [row.cells for row in rows(data, separator)]


def test_rows_are_read_with_their_places():
    data = b'\xef\xbb\xbfa,b\r\n"x\r\ny","say ""hi"""\n\nlast,row'
    found = rows(data)
    assert [row.cells for row in found] == [
        ("a", "b"),
        ("x\r\ny", 'say "hi"'),
        (),
        ("last", "row"),
    ]
    assert [data[row.offset : row.offset + row.length] for row in found] == [
        b"\xef\xbb\xbfa,b\r\n",
        b'"x\r\ny","say ""hi"""\n',
        b"\n",
        b"last,row",
    ]


@pytest.mark.parametrize("bad", [b'"a"b,c\n', b"\xff,b\n", b'a,"b\n'])
def test_a_row_that_cannot_be_read_has_no_cells(bad):
    assert cells(bad) == [None]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_seen_in_the_first_row(separator):
    assert separator_of(f"a{separator}b{separator}c\nx,,,;;;\t\t\n".encode()) == separator


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b'"', b",", b"\r\n", b"\n", b"\r", b"a", b"\xff", b'""'])))
def test_every_byte_is_in_exactly_one_row(scraps):
    data = b"".join(scraps)
    position = 0
    for row in rows(data):
        assert row.offset == position
        position += row.length
    assert position == len(data)
