import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reasons import Reason
from workers.formats.components import DEEPEST, MOST_LINES, Component, components
from workers.formats.content_lines import Blank, Flaw

scraps = st.sampled_from(
    [
        b"BEGIN:VCARD\n", b"END:VCARD\n", b"BEGIN:VCALENDAR\r\n", b"END:VCALENDAR\r\n",
        b"BEGIN:VEVENT\n", b"END:VEVENT\n", b"BEGIN:VALARM\n", b"END:VALARM\n", b"BEGIN:VTODO\n",
        b"AGENT:\n", b"FN:Ada\n", b"\n", b"junk\n", b" fold\n", b"\x00\x00", b"END:VCARD",
    ]
)  # fmt: skip


def spans(component):
    """Every span of a component's own bytes and its children's."""
    yield component.offset, component.begin
    for part in (*component.lines, *component.blanks, *component.flaws):
        if part.length:
            yield part.offset, part.length
    for child in component.children:
        yield from spans(child)
    if component.end:
        yield component.offset + component.length - component.end, component.end


def event(number):
    return f"BEGIN:VEVENT\r\nUID:{number}\r\nEND:VEVENT\r\n".encode()


def card(number):
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{number}\r\nEND:VCARD\r\n".encode()


@settings(deadline=None, max_examples=400)
@given(st.lists(scraps, max_size=40).map(b"".join))
def test_every_byte_is_in_exactly_one_place(data):
    position = 0
    for top in components(data):
        assert top.offset == position
        position += top.length
        if isinstance(top, Component):
            inside = top.offset
            for offset, length in sorted(spans(top)):
                assert offset == inside
                inside += length
            assert inside == position
    assert position == len(data)


def test_records_are_found_with_their_own_lines():
    first, blank, second = components(card(1) + b"\r\n" + card(2))
    assert first.whole
    assert second.whole
    assert [line.name for line in first.lines] == ["VERSION", "FN"]
    assert isinstance(blank, Blank)
    assert second.offset == len(card(1)) + 2


def test_components_nest():
    (calendar,) = components(b"BEGIN:VCALENDAR\nVERSION:2.0\n" + event(1) + b"END:VCALENDAR\n")
    assert [child.name for child in calendar.children] == ["VEVENT"]
    assert calendar.whole


@pytest.mark.parametrize("kept", [11, 15, 30, 40])
def test_a_cut_file_loses_only_its_cut_record(kept):
    whole, cut = components(card(1) + card(2)[:kept])
    assert whole.whole
    assert not cut.whole
    assert any(flaw.reason is Reason.CUT for flaw in cut.flaws)


def test_a_record_cut_in_the_middle_of_a_file_ends_at_the_next_begin():
    first, cut, last = components(card(1) + card(2)[:30] + b"\r\n" + card(3))
    assert (first.whole, cut.whole, last.whole) == (True, False, True)
    assert cut.length == 32


def test_an_event_cut_inside_of_its_calendar_harms_no_other():
    data = b"BEGIN:VCALENDAR\r\n" + event(1) + event(2)[:21] + event(3) + b"END:VCALENDAR\r\n"
    (calendar,) = components(data)
    assert [child.whole for child in calendar.children] == [True, False, True]
    assert calendar.flaws == []


def test_a_calendar_cut_short_keeps_its_whole_events():
    (calendar,) = components(b"BEGIN:VCALENDAR\r\n" + event(1) + event(2)[:21])
    assert [child.whole for child in calendar.children] == [True, False]
    assert not calendar.whole


def test_a_task_cannot_stand_inside_of_an_event():
    (calendar,) = components(
        b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nBEGIN:VTODO\nUID:2\nEND:VTODO\nEND:VCALENDAR\n"
    )
    assert [(child.name, child.whole) for child in calendar.children] == [
        ("VEVENT", False),
        ("VTODO", True),
    ]


def test_a_new_calendar_closes_everything_that_was_cut():
    cut, whole = components(b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VCALENDAR\nEND:VCALENDAR\n")
    assert not cut.whole
    assert whole.whole


def test_an_agent_is_a_card_inside_of_a_card():
    (outer,) = components(b"BEGIN:VCARD\nAGENT:\n" + card(1) + b"FN:2\nEND:VCARD\n")
    assert outer.whole
    assert [child.name for child in outer.children] == ["VCARD"]
    assert [line.name for line in outer.lines] == ["AGENT", "FN"]


def test_garbage_between_records_is_one_flaw():
    first, garbage, second = components(card(1) + b"TEL:1\r\n\r\n???\r\nEND:VCARD\r\n" + card(2))
    assert isinstance(garbage, Flaw)
    assert garbage.reason is Reason.CUT
    assert (first.whole, second.whole) == (True, True)


def test_a_record_with_too_many_lines_is_too_large():
    (found,) = components(b"BEGIN:VCARD\n" + b"TEL:1\n" * (MOST_LINES + 1) + b"END:VCARD\n")
    assert [flaw.reason for flaw in found.flaws] == [Reason.TOO_LARGE]


def test_nesting_without_end_is_refused_and_the_next_record_is_read():
    deep = b"".join(b"BEGIN:A%d\n" % level for level in range(5000))
    found = components(b"BEGIN:VCARD\n" + deep + b"END:VCARD\n" + card(1))
    assert not found[0].whole
    assert found[-1].whole
    level, depth = found[0], 1
    while level.children:
        level, depth = level.children[0], depth + 1
    assert depth == DEEPEST


@pytest.mark.parametrize(
    "hostile",
    [
        b"TEL:1\n" * 200_000,
        b"BEGIN:VCARD\n" + b"TEL:1\n" * 200_000,
        b"BEGIN:VCARD\n" * 50_000,
        b"BEGIN:VCARD\n" * 5_000 + b"END:VCARD\n" * 5_000,
        b"END:VCARD\n\n" * 50_000,
        b"BEGIN:VCARD\nAGENT:\n" * 50_000,
        b"".join(b"BEGIN:A%d\n" % level for level in range(50_000)) + b"END:A1\n" * 50_000,
    ],
)
def test_hostile_bytes_take_linear_time(hostile):
    started = time.process_time()
    components(hostile)
    assert time.process_time() - started < 5
