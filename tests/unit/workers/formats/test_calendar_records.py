"""Where components lie, in files that are whole, cut, mixed up, or hostile."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reasons import Reason
from workers.formats.calendar_records import node, reading, uid_of

EVENT = b"BEGIN:VEVENT\r\nUID:%s\r\nEND:VEVENT\r\n"
HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"
TAIL = b"END:VCALENDAR\r\n"


def kinds(data):
    return [(record.kind, record.reason) for record in reading(data).records]


def check_tiling(data):
    found = reading(data)
    assert found == reading(data, thorough=True)
    pieces = [(each.offset, each.length) for each in (*found.records, *found.strays)]
    end = 0
    for offset, length in sorted([*pieces, *found.framing]):
        assert offset == end
        assert length > 0
        end = offset + length
    assert end == len(data)


def test_components_lie_between_their_begin_and_end():
    data = HEAD + EVENT % b"a" + EVENT % b"b" + TAIL
    found = reading(data)
    assert [data[each.offset : each.end] for each in found.records] == [
        EVENT % b"a",
        EVENT % b"b",
    ]
    assert [uid_of(data, each) for each in found.records] == [b"a", b"b"]
    assert found.envelopes[found.records[0].envelope].properties == {"VERSION": b"2.0"}
    check_tiling(data)


def test_the_uid_of_an_alarm_is_not_the_events():
    alarm = b"BEGIN:VALARM\r\nUID:alarm\r\nEND:VALARM\r\n"
    data = EVENT.replace(b"UID:%s\r\n", alarm + b"UID:ev\r\n ent\r\n")
    (record,) = reading(data).records
    assert uid_of(data, record) == b"event"


def test_a_component_without_end_ends_where_the_next_begins():
    data = HEAD + b"BEGIN:VEVENT\r\nUID:a\r\nBEGIN:VALARM\r\n" + EVENT % b"b" + TAIL
    assert kinds(data) == [("VEVENT", Reason.CUT), ("VEVENT", None)]
    check_tiling(data)


def test_the_end_of_the_calendar_ends_what_is_open():
    data = HEAD + b"BEGIN:VEVENT\r\nUID:a\r\n" + TAIL + HEAD + EVENT % b"b"
    assert kinds(data) == [("VEVENT", Reason.CUT), ("VEVENT", None)]
    check_tiling(data)


def test_an_inner_component_without_end_damages_the_outer_one_only():
    data = b"BEGIN:VEVENT\r\nBEGIN:VALARM\r\nEND:VEVENT\r\n" + EVENT % b"b"
    assert kinds(data) == [("VEVENT", Reason.STRUCTURE), ("VEVENT", None)]


def test_what_is_between_components_is_damage_unless_it_is_the_calendars():
    data = HEAD + EVENT % b"a" + b"garbage\r\nmore of it\r\n" + EVENT % b"b" + TAIL + b"X:y\r\n"
    found = reading(data)
    assert [(each.reason, each.length) for each in found.strays] == [
        (Reason.SYNTAX, 21),
        (Reason.STRUCTURE, 5),
    ]
    check_tiling(data)


def test_breaks_of_all_kinds_and_marks_and_cases_are_read():
    for data in (
        (HEAD + EVENT % b"a" + TAIL).replace(b"\r\n", b"\n"),
        (HEAD + EVENT % b"a" + TAIL).replace(b"\r\n", b"\r"),
        (HEAD + EVENT % b"a" + TAIL).replace(b"\r\n", b"\r\r\n"),
        b"\xef\xbb\xbf" + HEAD + EVENT % b"a" + TAIL,
        HEAD + EVENT % b"a" + TAIL + b"\xef\xbb\xbf" + HEAD + TAIL,
        (HEAD + EVENT % b"a" + TAIL).lower(),
        HEAD + (EVENT % b"a").replace(b"BEGIN:VEV", b"BEGIN:VE\r\n V") + TAIL,
        b"\r\n\r\n" + HEAD + b"\r\n" + EVENT % b"a" + TAIL,
    ):
        assert kinds(data) == [("VEVENT", None)], data
        assert reading(data).strays == []
        check_tiling(data)


def test_a_text_that_mentions_begin_begins_nothing():
    data = EVENT.replace(b"%s", b"a\r\nDESCRIPTION:see\\n\r\n BEGIN:VEVENT")
    assert kinds(data) == [("VEVENT", None)]


def test_five_thousand_levels_cost_one_component_and_no_time():
    inner = b"BEGIN:X-DEEP\r\n" * 5_000 + b"END:X-DEEP\r\n" * 5_000
    data = HEAD + EVENT.replace(b"UID:%s\r\n", inner) + EVENT % b"b" + TAIL
    assert kinds(data) == [("VEVENT", Reason.TOO_LARGE), ("VEVENT", None)]
    check_tiling(data)


def test_two_hundred_thousand_properties_are_read_in_linear_time():
    data = HEAD + EVENT % (b"a\r\n" + b"X-MANY:1\r\n" * 200_000 + b"X-LAST:1") + TAIL
    began = time.perf_counter()
    (record,) = reading(data).records
    found = node(data[record.offset : record.end])
    assert found is not None
    assert len(found.lines) == 200_002
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    "data",
    [
        b"BEGIN:VEVENT\r\n" * 100_000,
        b"BEGIN:VEVENT\r\n" * 100_000 + b"END:VEVENT\r\n",
        b"BEGIN:VEVENT\r\n" + b"BEGIN:VALARM\r\n" * 100_000,
        b"END:VEVENT\r\n" * 100_000,
        b"BEGIN:VEVENT\r\nBEGIN:VALARM\r\nEND:VEVENT\r\n" * 50_000,
        b"BEGIN:VEVENT\r\n" + b"x" * 3_000 + b"\r\n" + b"BEGIN:VTODO\r\n" * 100_000,
    ],
)
def test_hostile_nesting_takes_linear_time(data):
    began = time.perf_counter()
    check_tiling(data)
    assert time.perf_counter() - began < 30


LINES = st.sampled_from(
    [
        *(b"BEGIN:VCALENDAR", b"END:VCALENDAR", b"BEGIN:VEVENT", b"END:VEVENT", b"BEGIN:VALARM"),
        *(b"END:VALARM", b"UID:a", b" folded", b"", b"junk", b"BEGIN:X-A", b"END:X-A", b"\x00\x00"),
        *(b"BEGIN:VTIMEZONE", b"END:VTIMEZONE", b"begin:vevent", b"BEGIN:", b"END:"),
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(LINES, max_size=20), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_any_order_of_lines_is_accounted_for_to_the_byte(lines, line_break):
    check_tiling(line_break.join(lines))
    check_tiling(b"".join(line + line_break for line in lines))


WHOLE = st.sampled_from(
    [
        EVENT % b"a",
        EVENT % b"a\r\nDESCRIPTION:x\r\n BEGIN:VEVENT",
        EVENT % b"a\r\nBEGIN:VALARM\r\nUID:b\r\nEND:VALARM",
        EVENT % b"a\r\nBEGIN:VALARM\r\nEND:VALARM\r\nBEGIN:VALARM\r\nEND:VALARM\r\nX:y",
        EVENT % b"a\r\nEND:VALARM\r\nBEGIN:VALARM",
        EVENT % b"a\rBEGIN:VEVENT\rEND:VEVENT",
        EVENT % b"a\r\nBEGIN:X-B\r\nEND:X-B",
        (EVENT % b"a").replace(b"END:VEV", b"END:VE\r\n V"),
        (EVENT % b"a").replace(b"END:VEVENT", b"END:VEVENTS"),
        (EVENT % b"a").replace(b"BEGIN", b"Begin"),
        (EVENT % b"a").replace(b"\r\n", b"\n"),
        (EVENT % b"a")[:-2],
        *(HEAD, TAIL, b"BEGIN:VEVENT\r\n", b"END:VEVENT\r\n", b"junk\r\n", b" \r\n", b"X\n"),
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(WHOLE, max_size=8))
def test_passing_over_whole_components_finds_what_every_line_says(pieces):
    check_tiling(b"".join(pieces))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120))
def test_any_bytes_are_accounted_for(data):
    check_tiling(data)
