import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reasons import Reason
from workers.formats.csv_records import rows, table

cells = st.text('ab,;"\t é\n\r', max_size=6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_the_standard_library_writes_is_read_back(records, line_end):
    records = [record for record in records if any(record)]
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *records])
    data = written.getvalue().encode()
    found = table(data)
    assert found is not None
    assert [row.cells for row in rows(data, found)] == records


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.text('a,"\n\r\0', max_size=60).map(str.encode))
def test_rows_never_overlap_and_leave_out_line_breaks_only(tail):
    data = b"a,b\n" + tail
    found = table(data)
    assert found is not None
    end = found.start
    for row in rows(data, found):
        assert row.offset >= end
        assert row.length > 0
        assert data[end : row.offset].strip(b" \t\r\n") == b""
        end = row.offset + row.length
    assert data[end:].strip(b" \t\r\n") == b""


def test_the_delimiter_is_the_one_of_the_header():
    for delimiter in (b",", b";", b"\t"):
        data = b"\xef\xbb\xbfx" + delimiter + b"y\n1" + delimiter + b"2"
        found = table(data)
        assert found is not None
        assert found.header == ("x", "y")
        assert next(iter(rows(data, found))).cells == ("1", "2")


def test_what_cannot_be_a_header_is_none():
    for data in (b"", b"one", b"a,a\n", b"a,,b\n", b"\xff,b\n", b'"a,b\n', b"a\x00,b\n"):
        assert table(data) is None


def test_the_last_row_is_cut_where_cells_are_missing():
    data = b"a,b\n1,2\n3"
    found = table(data)
    assert found is not None
    last = list(rows(data, found))[-1]
    assert (last.reason, last.ended) == (Reason.CUT, False)
