import pytest

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident
from orchestrator.reasons import Reason
from tests.conformance.category_examples.notes import JOURNALS, journal
from workers.formats.journals import (
    as_calendar,
    journal_stretches,
    looks_like_calendar,
    marked_journal,
    read_journal,
    sequence,
)


def entry(*lines):
    return b"\r\n".join((b"BEGIN:VJOURNAL", *lines, b"END:VJOURNAL", b""))


def test_an_entry_tells_what_it_says():
    note = read_journal(journal(b"j1", b"One"))
    assert (note.ident, note.title, note.labels) == ("j1", "One", ("work", "home"))
    assert note.body == "First\nsecond, with a comma"
    assert note.more == ["DTSTART\x1f20230101T120000@lost Here"]


@pytest.mark.parametrize(
    "lines",
    [
        (b"UID:1", b"UID:2", b"DTSTAMP:20230101T000000Z"),
        (b"UID:1", b"DTSTAMP:yesterday"),
        (b"UID:1", b"DTSTAMP:20230101T000000Z", b"SUMMARY:a", b"SUMMARY:b"),
    ],
)
def test_a_property_that_is_doubled_or_wrong_is_refused(lines):
    with pytest.raises(ItemRejected):
        read_journal(entry(*lines))


def test_a_wrong_time_of_change_is_noted():
    lines = (b"UID:1", b"DTSTAMP:20230101T000000Z", b"LAST-MODIFIED:soon")
    assert read_journal(entry(*lines)).degraded == ("revised",)


def test_a_marked_entry_carries_uid_and_mark_and_the_rest_of_itself():
    content = as_calendar(journal(b"j1", b"One"), ())
    marked = marked_journal(content, Ident("new"), "restored")
    (stretch,) = journal_stretches(marked)
    note = read_journal(marked[stretch.start : stretch.end])
    assert (note.ident, note.title) == ("new", "One (restored)")
    assert note.body == "First\nsecond, with a comma"
    with pytest.raises(ValueError, match="one entry"):
        marked_journal(JOURNALS, Ident("new"), "restored")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (JOURNALS + b"BEGIN:VJOURNAL\r\nUID:1\r\n", Reason.CUT),
        (entry(b"UID:1", b"no colon"), Reason.SYNTAX),
        (entry(b"UID:1", b"BEGIN:X", b"END:X"), Reason.STRUCTURE),
        (JOURNALS.replace(b"END:VTIMEZONE\r\n", b"") + journal(b"1", b"x"), Reason.TIME_ZONE),
        (b"BEGIN:VCALENDAR\r\njunk\r\nEND:VCALENDAR\r\n", Reason.SYNTAX),
        (b"UID:1\r\n", Reason.STRUCTURE),
    ],
)
def test_what_is_no_entry_says_why(data, reason):
    found = [stretch.reason for stretch in journal_stretches(data) if stretch.reason is not None]
    assert found == [reason]


def test_the_sequence_is_a_number():
    assert sequence(entry(b"SEQUENCE:4")) == 4
    assert sequence(entry(b"SEQUENCE:x")) == 0
    assert sequence(entry(b"SEQUENCE:" + b"9" * 30)) == 0


def test_a_calendar_is_known_by_its_start():
    assert looks_like_calendar(b"\xef\xbb\xbfbegin:vcalendar\n")
    assert not looks_like_calendar(b"Begin at once")
