"""What becomes of tasks: VTODO, Google Tasks, Microsoft To Do, rows."""

import json

import icalendar
import pytest

from orchestrator.reasons import Reason
from tests.unit.workers.categories.calendar_reading import (
    DEFAULT,
    OWNER,
    copies,
    damage,
    one_copy,
    one_damage,
    read,
)
from workers.categories.tasks import Tasks

KIND = Tasks()
HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n"
TAIL = b"END:VCALENDAR\r\n"


def component(*lines, uid="a"):
    own = (f"UID:{uid}", "DTSTAMP:20230101T000000Z")
    return "".join(f"{line}\r\n" for line in ("BEGIN:VTODO", *own, *lines, "END:VTODO")).encode()


def task(*lines, uid="a"):
    return HEAD + component(*lines, uid=uid) + TAIL


def means(*lines):
    return one_copy(KIND, task(*lines), repairs=DEFAULT).item.digest


def test_a_sound_task_is_written_word_by_word():
    data = task("SUMMARY:x", "DUE;VALUE=DATE:20230314", "STATUS:NEEDS-ACTION", "PRIORITY:0")
    copy = one_copy(KIND, data)
    assert copy.item.content == data
    icalendar.Calendar.from_ical(copy.item.content)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("STATUS:DONE",), Reason.VALUE),
        (("STATUS:CONFIRMED",), Reason.VALUE),
        (("PERCENT-COMPLETE:101",), Reason.VALUE),
        (("PERCENT-COMPLETE:-1",), Reason.VALUE),
        (("PRIORITY:10",), Reason.VALUE),
        (("DURATION:PT1H",), Reason.STRUCTURE),
        (("DTSTART:20230101T000000Z", "DUE:20230103T000000Z", "DURATION:PT1H"), Reason.STRUCTURE),
        (("RRULE:FREQ=DAILY;INTERVAL=0",), Reason.RECURRENCE),
        (("DUE;TZID=Bogus:20230101T000000",), Reason.TIME_ZONE),
        (("RECURRENCE-ID:20230101T000000Z",), Reason.ORPHAN),
    ],
)
def test_a_task_that_cannot_be_is_quarantined(lines, reason):
    damaged = one_damage(KIND, task(*lines), repairs=DEFAULT)
    assert (damaged.reason, damaged.ident) == (reason, "a")


def test_a_duration_that_says_what_due_says_is_left_out():
    copy = one_copy(
        KIND,
        task("DTSTART:20230101T000000Z", "DUE:20230101T010000Z", "DURATION:PT1H"),
        repairs=DEFAULT,
    )
    assert copy.repairs == ("drop-redundant-length",)


def test_completed_is_in_utc_or_missing_and_the_task_stays_done():
    zoned = one_copy(KIND, task("COMPLETED;TZID=Europe/Berlin:20230707T120000"), repairs=DEFAULT)
    assert b"COMPLETED:20230707T100000Z" in zoned.item.content
    assert zoned.repairs == ("write-in-utc",)
    floating = one_copy(KIND, task("COMPLETED:20230707T120000"), repairs=DEFAULT)
    assert b"STATUS:COMPLETED" in floating.item.content
    assert floating.degraded == ("COMPLETED",)


def test_a_parent_in_the_folder_is_a_parent_wherever_it_lies():
    child = task("RELATED-TO:p", uid="c")
    parent = task("SUMMARY:parent", uid="p")
    for files in ((child, parent), (parent, child)):
        found = copies(read(KIND, *files))
        assert {copy.item.ident for copy in found} == {"c", "p"}
        assert all(copy.degraded == () for copy in found)


def test_a_task_that_lost_its_parent_is_restored_and_says_so():
    copy = one_copy(KIND, task("RELATED-TO;RELTYPE=PARENT:gone", uid="c"))
    assert copy.degraded == ("RELATED-TO",)
    assert b"RELATED-TO" in copy.item.content
    sibling = one_copy(KIND, task("RELATED-TO;RELTYPE=SIBLING:gone", uid="c"))
    assert sibling.degraded == ()


def test_events_between_tasks_are_said():
    data = task().replace(b"VTODO", b"VEVENT")
    assert one_damage(KIND, data).reason is Reason.UNSUPPORTED


# Google ----------------------------------------------------------------------------------------


def google(*tasks, **around):
    listed = {"kind": "tasks#tasks", "id": "l", "title": "Home", "items": list(tasks), **around}
    return json.dumps({"kind": "tasks#taskLists", "items": [listed]}).encode()


def test_googles_tasks_are_read_list_by_list():
    data = google(
        {
            "kind": "tasks#task",
            "id": "g1",
            "title": "Milk, eggs",
            "notes": "two\nof each",
            "status": "completed",
            "due": "2023-03-14T00:00:00.000Z",
            "completed": "2023-03-13T10:00:00.000Z",
            "updated": "2023-03-13T10:00:01.000Z",
            "selfLink": "https://example.org",
        },
        {"kind": "tasks#task", "id": "g2", "title": "", "status": "needsAction", "parent": "g1"},
    )
    first, second = copies(read(KIND, data, repairs=DEFAULT))
    assert first.item.digest == means(
        "SUMMARY:Milk\\, eggs",
        "DESCRIPTION:two\\nof each",
        "STATUS:COMPLETED",
        "DUE;VALUE=DATE:20230314",
        "COMPLETED:20230313T100000Z",
        "CATEGORIES:Home",
    )
    assert first.item.revised.second == 1
    assert (first.item.ident, second.item.ident) == ("g1", "g2")
    assert second.degraded == ()
    assert b"RELATED-TO:g1" in second.item.content


def test_an_empty_list_is_framing():
    for data in (google(), json.dumps({"items": [{"kind": "tasks#tasks", "title": "x"}]}).encode()):
        assert copies(read(KIND, data)) == []
        assert damage(read(KIND, data)) == []


def test_a_damaged_google_task_leaves_the_others():
    data = google(
        {"kind": "tasks#task", "id": "g1", "title": "a", "status": "needsAction"},
        {"kind": "tasks#task", "id": "g2", "title": "b", "status": "exploded"},
        {"kind": "tasks#task", "id": "g3", "title": "c", "status": "needsAction"},
    )
    found = read(KIND, data, repairs=DEFAULT)
    assert [copy.item.ident for copy in copies(found)] == ["g1", "g3"]
    assert [each.reason for each in damage(found)] == [Reason.VALUE]
    cut = read(KIND, data[: data.index(b"g3") + 5], repairs=DEFAULT)
    assert [copy.item.ident for copy in copies(cut)] == ["g1"]


# Microsoft -------------------------------------------------------------------------------------


def test_microsofts_tasks_keep_steps_reminders_and_repetition():
    data = json.dumps(
        {
            "value": [
                {
                    "id": "m1",
                    "title": "Report",
                    "status": "notStarted",
                    "importance": "high",
                    "body": {"content": "<p>see &amp; sign</p>", "contentType": "html"},
                    "categories": ["Work"],
                    "dueDateTime": {"dateTime": "2023-05-01T00:00:00.0000000", "timeZone": "UTC"},
                    "isReminderOn": True,
                    "reminderDateTime": {
                        "dateTime": "2023-05-01T09:00:00.0000000",
                        "timeZone": "W. Europe Standard Time",
                    },
                    "checklistItems": [
                        {"displayName": "draft", "isChecked": True},
                        {"displayName": "send", "isChecked": False},
                    ],
                    "recurrence": {
                        "pattern": {
                            "type": "relativeMonthly",
                            "interval": 2,
                            "daysOfWeek": ["friday"],
                            "index": "last",
                        },
                        "range": {"type": "numbered", "numberOfOccurrences": 4},
                    },
                    "lastModifiedDateTime": "2023-04-01T10:00:00.0000000Z",
                    "createdDateTime": "2023-03-01T10:00:00.0000000Z",
                }
            ]
        }
    ).encode()
    copy = one_copy(KIND, data, repairs=DEFAULT)
    assert copy.item.digest == means(
        "SUMMARY:Report",
        "STATUS:NEEDS-ACTION",
        "PRIORITY:1",
        "X-ALT-DESC;FMTTYPE=text/html:<p>see &amp\\; sign</p>",
        "DESCRIPTION:see & sign\\n[x] draft\\n[ ] send",
        "CATEGORIES:Work",
        "DUE;VALUE=DATE:20230501",
        "RRULE:FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR;COUNT=4",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "DESCRIPTION:Reminder",
        "TRIGGER;VALUE=DATE-TIME:20230501T070000Z",
        "END:VALARM",
    )
    icalendar.Calendar.from_ical(copy.item.content)


@pytest.mark.parametrize(
    ("pattern", "span", "expected"),
    [
        ({"type": "daily", "interval": 3}, {}, "FREQ=DAILY;INTERVAL=3"),
        (
            {"type": "weekly", "daysOfWeek": ["monday", "friday"], "firstDayOfWeek": "monday"},
            {"type": "endDate", "endDate": "2023-12-31"},
            "FREQ=WEEKLY;BYDAY=MO,FR;WKST=MO;UNTIL=20231231",
        ),
        ({"type": "absoluteMonthly", "dayOfMonth": 31}, {}, "FREQ=MONTHLY;BYMONTHDAY=31"),
        (
            {"type": "absoluteYearly", "dayOfMonth": 1, "month": 5},
            {"type": "noEnd"},
            "FREQ=YEARLY;BYMONTHDAY=1;BYMONTH=5",
        ),
        (
            {
                "type": "relativeYearly",
                "daysOfWeek": ["saturday", "sunday"],
                "index": "first",
                "month": 6,
            },
            {},
            "FREQ=YEARLY;BYDAY=SA,SU;BYSETPOS=1;BYMONTH=6",
        ),
    ],
)
def test_microsofts_patterns_are_rules(pattern, span, expected):
    row = {
        "id": "m",
        "title": "x",
        "importance": "normal",
        "recurrence": {"pattern": pattern, "range": span},
    }
    copy = one_copy(KIND, json.dumps(row).encode(), repairs=DEFAULT)
    assert f"RRULE:{expected}\r\n".encode() in copy.item.content


@pytest.mark.parametrize(
    "recurrence",
    [
        {"pattern": {"type": "hourly"}},
        {"pattern": {"type": "relativeMonthly"}},
        {"pattern": {"type": "daily", "interval": 0}},
        {"pattern": {"type": "daily"}, "range": {"type": "sometimes"}},
        {"range": {}},
        "daily",
    ],
)
def test_a_pattern_that_no_rule_can_say_is_never_dropped(recurrence):
    row = {"id": "m", "title": "x", "importance": "normal", "recurrence": recurrence}
    damaged = one_damage(KIND, json.dumps(row).encode(), repairs=DEFAULT)
    assert damaged.reason is Reason.RECURRENCE


# Rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        ({"uid": "a", "title": "x", "due": "2023-03-14"}, ("SUMMARY:x", "DUE;VALUE=DATE:20230314")),
        (
            {"id": 7, "summary": "x", "completed": True, "priority": 5},
            ("SUMMARY:x", "STATUS:COMPLETED", "PRIORITY:5"),
        ),
        (
            {"uid": "a", "title": "x", "completed": "2023-01-05T10:00:00Z", "status": "done"},
            ("SUMMARY:x", "STATUS:COMPLETED", "COMPLETED:20230105T100000Z"),
        ),
        (
            {"uid": "a", "title": "x", "percent": 50, "parent": "p", "shade": "blue"},
            ("SUMMARY:x", "PERCENT-COMPLETE:50", "RELATED-TO:p", "X-REINSTATE-SHADE:blue"),
        ),
    ],
)
def test_a_row_says_what_its_task_would(row, lines):
    copy = one_copy(KIND, json.dumps(row).encode(), repairs=DEFAULT)
    assert copy.item.digest == means(*lines)
    assert copy.item.ident == str(row.get("uid", row.get("id")))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"uid": "a", "title": "x", "priority": 11}, Reason.VALUE),
        ({"uid": "a", "title": "x", "due": "soon"}, Reason.VALUE),
        ({"uid": "a", "title": "x", "user_id": "bert"}, Reason.WRONG_OWNER),
        ({"uid": "a", "title": ["x"]}, Reason.VALUE),
    ],
)
def test_a_row_that_cannot_be_is_quarantined(row, reason):
    assert one_damage(KIND, json.dumps(row).encode(), repairs=DEFAULT).reason is reason


def test_what_is_no_single_task_is_not_recognised():
    for data in (b"", b"{}", HEAD + TAIL, HEAD + component() + component(uid="b") + TAIL):
        assert KIND.recognise(OWNER, data) is None
