"""Events and tasks in the form that calendar servers take, and what two libraries make of it."""

from datetime import UTC, datetime

import icalendar
import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from orchestrator.errors import ItemRejected
from orchestrator.items import Copy, File, Folder, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.categories.calendar import KIND as CALENDAR
from workers.categories.tasks import KIND as TASKS
from workers.formats.shaping import shaped

OWNER = UserId("ada")
LOSS = datetime(2026, 11, 22, tzinfo=UTC)
EVENT = ("UID:u1", "DTSTAMP:20200101T000000Z", "DTSTART:20200101T100000Z", "DTEND:20200101T110000Z")


def calendar(*lines):
    whole = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *lines, "END:VCALENDAR", ""]
    return "\r\n".join(whole).encode()


def event(*lines):
    return item(calendar("BEGIN:VEVENT", *EVENT, *lines, "END:VEVENT"))


def item(data, kind=CALENDAR):
    file = File(name="a.ics", size=len(data), read=lambda: data)
    rules = Rules(repairs=frozenset(kind.repairs) - kind.lossy, loss=LOSS)
    (found,) = [
        each.item
        for each in kind().read(Folder(owner=OWNER, files=[file]), rules)
        if isinstance(each, Copy)
    ]
    return found


def written(found, category="calendar"):
    """The lines of the shaped object, unfolded."""
    return shaped(category, found).decode().replace("\r\n ", "").split("\r\n")


def by_vobject(resource):
    (whole,) = vobject.readComponents(resource.decode())
    return whole.serialize().encode()


def by_icalendar(resource):
    return icalendar.Calendar.from_ical(resource).to_ical()


SERVERS = [by_vobject, by_icalendar]


def kept(found, through):
    """Whether what a server stores of the shaped object means the same."""
    stored = CALENDAR().recognise(OWNER, through(shaped("calendar", found)))
    return stored is not None and stored.digest == found.digest


def test_what_vobject_does_not_know_keeps_what_stands_after_a_comma():
    found = event("X-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:1.5,2.5", "URL:http://a/b,c")
    assert "X-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:1.5\\,2.5" in written(found)
    assert "URL:http://a/b,c" in written(found)
    assert all(kept(found, through) for through in SERVERS)


def test_a_file_of_an_alarm_keeps_what_stands_after_a_comma():
    found = event(
        "BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER:-PT5M", "ATTACH:http://a/b,c", "END:VALARM"
    )
    assert all(kept(found, through) for through in SERVERS)


PERIOD = "RDATE;VALUE=PERIOD:20200201T180000Z/PT3H,20200301T180000Z/20200301T193000Z"


def test_a_period_becomes_an_extra_date_and_an_override_of_its_end():
    found = event("SUMMARY:Meeting", PERIOD)
    lines = written(found)
    assert "RDATE:20200201T180000Z,20200301T180000Z" in lines
    assert lines.count("BEGIN:VEVENT") == 3
    assert lines.count("SUMMARY:Meeting") == 3
    first = lines[lines.index("RECURRENCE-ID:20200201T180000Z") :]
    assert first[1:3] == ["DTSTART:20200201T180000Z", "DURATION:PT3H"]
    assert "DTEND:20200301T193000Z" in lines
    assert all(kept(found, through) for through in SERVERS)


def test_a_period_that_a_user_changed_since_is_another_event():
    found = event("SUMMARY:Meeting", PERIOD)
    changed = shaped("calendar", found).replace(b"DURATION:PT3H", b"DURATION:PT4H")
    assert CALENDAR().recognise(OWNER, changed).digest != found.digest


def test_a_period_that_is_overridden_already_is_refused():
    override = ["BEGIN:VEVENT", *EVENT[:2], "DTSTART:20200201T190000Z"]
    found = item(
        calendar(
            *["BEGIN:VEVENT", *EVENT, PERIOD, "END:VEVENT"],
            *[*override, "RECURRENCE-ID:20200201T180000Z", "END:VEVENT"],
        )
    )
    with pytest.raises(ItemRejected) as refused:
        shaped("calendar", found)
    assert refused.value.reason is Reason.REFUSED


def test_what_was_shaped_is_read_again_as_the_same_event():
    found = event("SUMMARY:Meeting", PERIOD)
    again = item(shaped("calendar", found))
    assert (again.ident, again.digest) == (found.ident, found.digest)


def test_a_day_that_is_left_out_of_a_series_of_times_is_left_out_at_their_time():
    found = event("RRULE:FREQ=DAILY;COUNT=4", "EXDATE;VALUE=DATE:20200102")
    assert "EXDATE;X-REINSTATE-DAYS=1:20200102T100000Z" in written(found)
    assert all(kept(found, through) for through in SERVERS)


@pytest.mark.parametrize("rule", ["FREQ=HOURLY;COUNT=40", "FREQ=DAILY;BYHOUR=8,10;COUNT=9"])
def test_a_day_stays_a_day_where_the_series_has_other_times(rule):
    found = event(f"RRULE:{rule}", "EXDATE;VALUE=DATE:20200102")
    assert "EXDATE;VALUE=DATE:20200102" in written(found)


def test_resources_are_written_one_a_line():
    found = event("RESOURCES:projector,easel", "CATEGORIES:a,b")
    assert [line for line in written(found) if ":" in line and line[0] in "RC"][-3:] == [
        "RESOURCES:projector",
        "RESOURCES:easel",
        "CATEGORIES:a,b",
    ]
    assert all(kept(found, through) for through in SERVERS)


def test_a_task_is_written_alone_under_its_ident():
    data = calendar("BEGIN:VTODO", "UID:t1", EVENT[1], "SUMMARY:Milk, eggs", "END:VTODO")
    found = item(data, TASKS)
    assert written(found, "tasks")[3:7] == [
        "BEGIN:VTODO",
        "UID:t1",
        "DTSTAMP:20200101T000000Z",
        "SUMMARY:Milk\\, eggs",
    ]


_LETTERS = st.characters(blacklist_categories=("Cs", "Cc"))
_CHARACTERS = _LETTERS | st.sampled_from("\\,;:\"'=^nN\u2028")
_VALUES = st.text(_CHARACTERS, max_size=90)
_NAMES = st.sampled_from(
    [
        "SUMMARY",
        "DESCRIPTION",
        "CATEGORIES",
        "LOCATION",
        "COMMENT",
        "X-FOO",
        "URL",
        "ATTACH",
        "CONTACT",
        "RESOURCES",
        "CONFERENCE",
        "X-FOO;VALUE=URI",
        "COLOR",
        "RELATED-TO",
        "CLASS",
        "ATTENDEE;CN=x",
        "ORGANIZER",
        "IMAGE;VALUE=URI",
        "DESCRIPTION;ALTREP=y",
        "STRUCTURED-DATA",
        "STYLED-DESCRIPTION;VALUE=TEXT",
    ]
)
_LINES = st.lists(st.builds("{}:{}".format, _NAMES, _VALUES), max_size=6)


@settings(deadline=None, max_examples=150)
@given(lines=_LINES, alarm=_VALUES)
def test_a_shaped_event_means_the_same_and_servers_keep_it(lines, alarm):
    inside = ["BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT5M", f"DESCRIPTION:{alarm}"]
    data = calendar("BEGIN:VEVENT", *EVENT, *lines, *inside, "END:VALARM", "END:VEVENT")
    found = item(data)
    resource = shaped("calendar", found)
    meant = CALENDAR().recognise(OWNER, resource)
    assert (meant.ident, meant.digest) == (found.ident, found.digest)
    assert shaped("calendar", structs.replace(found, content=resource)) == resource
    assert all(kept(found, through) for through in SERVERS)
