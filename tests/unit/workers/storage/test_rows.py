import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import UserId
from orchestrator.ports import Fate, Write
from tests.conformance.target_example import item
from workers.storage.rows import BYTES, ROWS, Row, chunks, entry, named, row_of
from workers.storage.tables import Column, Family, Layout

TEXT = Column(name="c", family=Family.TEXT, cast=None)
LAYOUT = Layout(
    table="t",
    user=TEXT,
    ident=TEXT,
    content=None,
    fields=(("board", TEXT), ("value", Column(name="v", family=Family.INTEGER, cast="BIGINT"))),
    dropped=frozenset({"note"}),
    media=None,
    revised=None,
    modified=None,
    deleted=None,
    version=None,
    system_version=True,
    attachments=None,
)


def row(owner, ident, size=0):
    write = Write(owner=UserId(owner), item=item(ident, b"x" * size), ref=ident)
    return Row(write=write, content=b"")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"))))
def test_no_chunk_holds_a_key_twice_and_equal_keys_keep_their_order(keys):
    rows = [row(*key) for key in keys]
    cut = list(chunks(rows))
    assert sorted(map(id, rows)) == sorted(id(each) for chunk in cut for each in chunk)
    for chunk in cut:
        assert len({(each.write.owner, each.write.ref) for each in chunk}) == len(chunk)
    for key in set(keys):
        ordered = [e for chunk in cut for e in chunk if (e.write.owner, e.write.ref) == key]
        assert ordered == [e for e in rows if (e.write.owner, e.write.ref) == key]


def test_chunks_are_bounded_by_rows_and_bytes():
    assert [len(chunk) for chunk in chunks([row("a", str(n)) for n in range(ROWS + 1)])] == [
        ROWS,
        1,
    ]
    large = [row("a", str(n), BYTES // 2 + 1) for n in range(5)]
    assert [len(chunk) for chunk in chunks(large)] == [2, 2, 1]


def test_rows_of_a_chunk_are_sorted_by_key():
    [chunk] = chunks([row("b", "1"), row("a", "2"), row("a", "1")])
    assert [(e.write.owner, e.write.ref) for e in chunk] == [("a", "1"), ("a", "2"), ("b", "1")]


@pytest.mark.parametrize(
    ("told", "when"),
    [
        (1255305600.5, datetime(2009, 10, 12, 0, 0, 0, 500000, tzinfo=UTC)),
        ("2009-10-12 00:00:00", datetime(2009, 10, 12, tzinfo=UTC)),
        ("2009-10-12T02:00:00+02:00", datetime(2009, 10, 12, tzinfo=UTC)),
        ("2009-10-12", datetime(2009, 10, 12, tzinfo=UTC)),
        (math.inf, None),
        (-math.inf, None),
        (1e300, None),
        ("yesterday", None),
        (1255305600, None),
        (None, None),
        (b"2009", None),
    ],
)
def test_a_time_is_read_in_utc_or_not_at_all(told, when):
    assert entry(UserId("a"), "x", "1", told, False, None, 0).modified == when


def test_a_tombstones_time_is_that_of_its_deletion_where_it_is_known():
    told = entry(UserId("a"), "x", "1", "2009-10-01", 1, "2009-10-12", 0)
    assert (told.deleted, told.modified) == (True, datetime(2009, 10, 12, tzinfo=UTC))
    untold = entry(UserId("a"), "x", "1", "2009-10-01", 1, None, 0)
    assert (untold.deleted, untold.modified) == (True, datetime(2009, 10, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "content",
    [b"[1]", b"{", b"\xff", b'{"board":"b","strange":1}', b'"text"', b'{"board":"\\u0000"'],
)
def test_what_cannot_be_spread_over_columns_without_a_loss_is_refused(content):
    write = Write(owner=UserId("a"), item=item("x", content), ref="x")
    answer = row_of(write, LAYOUT, replaces=True).answer
    assert answer.fate is Fate.REFUSED
    assert "strange" not in answer.detail


def test_fields_that_are_left_out_on_purpose_are_no_loss():
    content = b'{"board":"b","value":1,"note":"n"}'
    write = Write(owner=UserId("a"), item=item("x", content), ref="x")
    assert row_of(write, LAYOUT, replaces=True).answer is None


def test_replacing_where_versions_cannot_be_compared_is_a_conflict():
    write = Write(owner=UserId("a"), item=item("x", b"{}"), ref="x", expected="1")
    assert row_of(write, LAYOUT, replaces=False).answer.fate is Fate.CONFLICT


def test_times_of_other_zones_are_written_in_utc():
    east = timezone(timedelta(hours=2))
    write = Write(
        owner=UserId("a"),
        item=item("x", b"", revised=datetime(2009, 10, 12, 1, tzinfo=east)),
        ref="x",
    )
    given = named(Row(write=write, content=b""), datetime(2009, 10, 12, tzinfo=UTC))
    assert given["revised"] == "2009-10-11 23:00:00.000000"
    assert given["now"] == "2009-10-12 00:00:00.000000"
