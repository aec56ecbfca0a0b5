"""What becomes of events: read, validated, repaired, grouped, recognised."""

import json
from datetime import UTC, datetime

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import Framing
from orchestrator.reasons import Reason
from tests.unit.workers.categories.calendar_reading import (
    DEFAULT,
    OWNER,
    copies,
    damage,
    one_copy,
    one_damage,
    read,
    rules,
)
from workers.categories.calendar import Calendar
from workers.formats.calendar_material import icalendar_material
from workers.formats.calendar_objects import found_in

KIND = Calendar()
HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n"
TAIL = b"END:VCALENDAR\r\n"
START = "DTSTART:20230105T100000Z"
ZONE = (
    b"BEGIN:VTIMEZONE\r\nTZID:%s\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
    b"TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def component(*lines, uid="a", stamp=True):
    own = [f"UID:{uid}"] if uid else []
    own += ["DTSTAMP:20230101T000000Z"] if stamp else []
    return "".join(f"{line}\r\n" for line in ("BEGIN:VEVENT", *own, *lines, "END:VEVENT")).encode()


def event(*lines, uid="a", stamp=True):
    return HEAD + component(*lines, uid=uid, stamp=stamp) + TAIL


# Whole -----------------------------------------------------------------------------------------


def test_a_sound_event_is_written_word_by_word():
    data = event(START, "DTEND:20230105T110000Z", "SUMMARY:folded \r\n text", "X-ANY;P=1:any,thing")
    copy = one_copy(KIND, data)
    assert copy.item.content == data
    assert copy.item.ident == "a"
    assert (copy.repairs, copy.degraded, copy.lossy) == ((), (), False)


def test_an_object_carries_exactly_the_zones_it_needs():
    zones = ZONE % b"Here" + ZONE % b"There"
    data = HEAD + zones + component("DTSTART;TZID=Here:20230105T100000") + TAIL
    content = one_copy(KIND, data).item.content
    assert b"TZID:Here" in content
    assert b"TZID:There" not in content
    icalendar.Calendar.from_ical(content)


def test_what_a_calendar_says_of_itself_is_framing():
    data = HEAD + b"X-WR-CALNAME:Home\r\n" + component(START) + TAIL
    found = read(KIND, data)
    assert {type(each) for each in damage(found)} == set()
    assert b"X-WR-CALNAME" not in copies(found)[0].item.content


def test_revision_and_sequence_are_those_of_the_newest_component():
    data = (
        HEAD
        + component(START, "RRULE:FREQ=DAILY", "SEQUENCE:1", "LAST-MODIFIED:20230102T000000Z")
        + component(
            "DTSTART:20230106T120000Z",
            "RECURRENCE-ID:20230106T100000Z",
            "SEQUENCE:3",
            "LAST-MODIFIED:20230103T000000Z",
        )
        + TAIL
    )
    copy = one_copy(KIND, data)
    assert copy.item.revised == datetime(2023, 1, 3, tzinfo=UTC)
    assert copy.sequence == 3
    assert copy.item.content.count(b"BEGIN:VEVENT") == 2
    assert len(copy.spans) == 2


def test_an_override_may_come_before_its_master_and_far_from_it():
    override = component("DTSTART:20230106T120000Z", "RECURRENCE-ID:20230106T100000Z")
    master = component(START, "RRULE:FREQ=DAILY")
    other = component(START, uid="b")
    found = copies(read(KIND, HEAD + override + other + master + TAIL))
    assert [copy.item.ident for copy in found] == ["a", "b"]
    ordered = copies(read(KIND, HEAD + master + override + TAIL))
    assert found[0].item == ordered[0].item


def test_a_rule_every_second_for_ever_is_restored():
    assert one_copy(KIND, event(START, "RRULE:FREQ=SECONDLY")).repairs == ()


# Quarantine ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), Reason.STRUCTURE),
        (("DTSTART:INVALID",), Reason.VALUE),
        (("DTSTART:20230230",), Reason.VALUE),
        ((START, "DTSTART:20230106T100000Z"), Reason.STRUCTURE),
        ((START, "DTEND:20230105T090000Z"), Reason.VALUE),
        ((START, "DTEND;VALUE=DATE:20230106"), Reason.VALUE),
        ((START, "DTEND:20230105T110000"), Reason.VALUE),
        ((START, "DURATION:P999999999999999999W"), Reason.VALUE),
        ((START, "DURATION:-PT1H"), Reason.VALUE),
        ((START, "DTEND:20230105T110000Z", "DURATION:PT2H"), Reason.STRUCTURE),
        ((START, "RRULE:FREQ=DAILY;INTERVAL=0"), Reason.RECURRENCE),
        ((START, "RRULE:FREQ=HOURLY;BYMONTH=13"), Reason.RECURRENCE),
        ((START, "RRULE:FREQ=DAILY;COUNT=1;UNTIL=20230201T000000Z"), Reason.RECURRENCE),
        ((START, "RRULE:"), Reason.RECURRENCE),
        ((START, "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"), Reason.RECURRENCE),
        ((START, "EXDATE:yesterday"), Reason.VALUE),
        ((START, "RDATE;VALUE=PERIOD:199709T180000Z/PT5H30M"), Reason.VALUE),
        (("DTSTART;TZID=Bogus:20230105T100000",), Reason.TIME_ZONE),
        ((START, "RECURRENCE-ID:20230105T100000Z"), Reason.ORPHAN),
        ((START, "PRIORITY:10"), Reason.VALUE),
        ((START, "no property at all"), Reason.SYNTAX),
        ((START, "SUMMARY:\x01"), Reason.CONTROL_CHARACTER),
        ((START, "SUMMARY:" + "\0" * 20), Reason.ZEROED),
        ((START, "ATTACH;ENCODING=BASE64;VALUE=BINARY:@@@"), Reason.VALUE),
        ((START, "BEGIN:VALARM", "TRIGGER:soon", "END:VALARM"), Reason.VALUE),
    ],
)
def test_an_event_that_cannot_be_is_quarantined_whole(lines, reason):
    damaged = one_damage(KIND, event(*lines), repairs=DEFAULT)
    assert damaged.reason is reason
    nameless = reason in (Reason.ZEROED, Reason.CONTROL_CHARACTER)
    assert damaged.ident == (None if nameless else "a")
    assert damaged.data.startswith(b"BEGIN:VEVENT")


def test_text_that_is_no_utf_8_is_quarantined_without_a_name():
    damaged = one_damage(KIND, event(START, "SUMMARY:?").replace(b"?", b"\xe9"), repairs=DEFAULT)
    assert (damaged.reason, damaged.ident) == (Reason.ENCODING, None)


def test_damage_never_quotes_what_it_found():
    secret = "Geheimnis"
    zoned = f"DTSTART;TZID={secret}:20230101T000000"
    for line in (f"DTSTART:{secret}", f"{START}\r\n{secret}", zoned):
        assert secret not in one_damage(KIND, event(line), repairs=DEFAULT).detail


def test_a_cut_costs_only_the_event_that_was_cut():
    data = HEAD + component(START) + component(START, uid="b")[:-14]
    found = read(KIND, data)
    assert [copy.item.ident for copy in copies(found)] == ["a"]
    (damaged,) = damage(found)
    assert (damaged.reason, damaged.ident) == (Reason.CUT, None)


def test_a_damaged_override_takes_its_series_along():
    data = (
        HEAD
        + component(START, "RRULE:FREQ=DAILY")
        + component("DTSTART:nonsense", "RECURRENCE-ID:20230106T100000Z")
        + component(START, uid="b")
        + TAIL
    )
    found = read(KIND, data)
    assert [copy.item.ident for copy in copies(found)] == ["b"]
    (damaged,) = damage(found)
    assert (damaged.reason, damaged.ident, len(damaged.spans)) == (Reason.VALUE, "a", 2)


def test_overrides_of_an_event_that_does_not_recur_are_quarantined_with_it():
    data = HEAD + component(START) + component(START, "RECURRENCE-ID:20230109T100000Z") + TAIL
    assert one_damage(KIND, data, repairs=DEFAULT).reason is Reason.STRUCTURE


def test_two_versions_of_an_event_are_two_copies():
    data = (
        HEAD
        + component(START, "SUMMARY:old", "LAST-MODIFIED:20230101T000000Z")
        + component(START, "SUMMARY:new", "LAST-MODIFIED:20230102T000000Z")
        + TAIL
    )
    found = copies(read(KIND, data))
    assert [copy.item.ident for copy in found] == ["a", "a"]
    assert found[0].item.revised < found[1].item.revised


@pytest.mark.parametrize("method", ["REPLY", "CANCEL", "COUNTER"])
def test_a_message_about_an_event_is_no_event(method):
    data = event(START).replace(b"VERSION", f"METHOD:{method}\r\nVERSION".encode())
    assert one_damage(KIND, data, repairs=DEFAULT).reason is Reason.UNSUPPORTED


def test_a_calendar_of_another_version_or_scale_is_unsupported():
    for old, new in ((b"VERSION:2.0", b"VERSION:1.0"), (b"PRODID", b"CALSCALE:HEBREW\r\nPRODID")):
        data = event(START).replace(old, new)
        assert one_damage(KIND, data, repairs=DEFAULT).reason is Reason.UNSUPPORTED


def test_tasks_in_a_calendar_are_said_or_left_as_the_plan_wants():
    task = component(START).replace(b"VEVENT", b"VTODO")
    damaged = one_damage(KIND, HEAD + task + TAIL)
    assert (damaged.reason, damaged.ident) == (Reason.UNSUPPORTED, None)
    found = read(Calendar(others="leave"), HEAD + task + TAIL)
    assert all(isinstance(each, Framing) for each in found)


def test_an_item_over_the_limit_is_not_even_looked_at():
    data = event(START, "DESCRIPTION:" + "x" * 5_000)
    assert one_damage(KIND, data, item_bytes=1_000).reason is Reason.TOO_LARGE


# Repairs ---------------------------------------------------------------------------------------

REPAIRED = {
    "wrap-in-calendar": (
        event(START).replace(b"VERSION:2.0\r\n", b""),
        b"VERSION:2.0\r\n",
    ),
    "fix-product-id": (event(START).replace(b"PRODID:-//x//y//EN\r\n", b""), b"PRODID:-//Reinst"),
    "drop-method": (event(START).replace(b"VERSION", b"METHOD:PUBLISH\r\nVERSION"), b"VERSION:2.0"),
    "derive-uid": (event(START, uid=None), b"\r\nUID:"),
    "fix-dtstamp": (event(START, stamp=False), b"DTSTAMP:19700101T000000Z"),
    "escape-text": (
        event(START, 'SUMMARY:milk, eggs; \\"bread\\" C:\\dir\\,'),
        b'SUMMARY:milk\\, eggs\\; "bread" C:\\\\dir\\,\r\n',
    ),
    "fix-mojibake": (
        event(START, "SUMMARY:M\u00c3\u00bcller und S\u00c3\u00b6hne"),
        "SUMMARY:Müller und Söhne".encode(),
    ),
    "decode-quoted-printable": (
        event(START, "SUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:caf=C3=A9, no"),
        b"SUMMARY:caf\xc3\xa9\\, no",
    ),
    "tidy-values": (event(START, "RRULE:FREQ=DAILY\\;COUNT=3;"), b"RRULE:FREQ=DAILY;COUNT=3\r\n"),
    "tidy-parameters": (event("DTSTART;;VALUE=DATE:20230105"), b"DTSTART;VALUE=DATE:20230105"),
    "declare-dates": (event("DTSTART:20230105"), b"DTSTART;VALUE=DATE:20230105"),
    "drop-empty-properties": (event(START, "EXDATE:"), b"DTSTART"),
    "drop-repeated-properties": (event(START, START), b"DTSTART"),
    "set-aside-doubled-properties": (
        event(START, "SUMMARY:a", "SUMMARY:b"),
        b"SUMMARY:a\r\nX-REINSTATE-SUMMARY:b",
    ),
    "drop-idle-zones": (event("DTSTART;TZID=Bogus:20230105T100000Z"), START.encode()),
    "map-time-zones": (
        event("DTSTART;TZID=/mozilla.org/20050126_1/Europe/Berlin:20230105T100000"),
        b"DTSTART;TZID=Europe/Berlin;X-REINSTATE-TZID=/mozilla.org/20050126_1/Europe/\r\n Berlin:",
    ),
    "drop-broken-time-zones": (
        HEAD
        + (ZONE % b"Europe/Berlin").replace(b"+0100", b"+5328")
        + component("DTSTART;TZID=Europe/Berlin:20230105T100000")
        + TAIL,
        b"DTSTART;TZID=Europe/Berlin:20230105T100000",
    ),
    "drop-empty-end": (event(START, "DTEND:20230105T100000Z"), b"DTSTART"),
    "drop-redundant-length": (
        event(START, "DTEND:20230105T110000Z", "DURATION:PT60M"),
        b"DTEND:20230105T110000Z",
    ),
    "align-until": (
        event("DTSTART;TZID=Europe/Berlin:20230105T100000", "RRULE:FREQ=DAILY;UNTIL=20230109"),
        b"RRULE:FREQ=DAILY;UNTIL=20230109T225959Z",
    ),
    "write-in-utc": (
        event(START, "CREATED;TZID=Europe/Berlin:20230101T010000"),
        b"CREATED:20230101T000000Z",
    ),
    "drop-impossible-times": (event(START, "CREATED:16010101T000000Z"), b"DTSTART"),
    "one-override-an-instance": (
        HEAD
        + component(START, "RRULE:FREQ=DAILY")
        + component(START, "RECURRENCE-ID:20230105T100000Z", "SEQUENCE:1", "SUMMARY:1")
        + component(START, "RECURRENCE-ID:20230105T100000Z", "SEQUENCE:2", "SUMMARY:2")
        + TAIL,
        b"SUMMARY:2",
    ),
    "drop-unreadable-lines": (event(START, "junk"), b"DTSTART"),
    "drop-broken-alarms": (
        event(START, "BEGIN:VALARM", "TRIGGER:soon", "END:VALARM"),
        b"DTSTART",
    ),
}


def test_every_repair_has_its_case():
    assert set(REPAIRED) == set(KIND.repairs)


@pytest.mark.parametrize("repair", REPAIRED)
def test_a_repair_is_applied_only_where_the_plan_has_it_on(repair):
    data, expected = REPAIRED[repair]
    copy = one_copy(KIND, data, repairs={repair})
    assert copy.repairs == (repair,)
    assert expected in copy.item.content
    assert copy.lossy == (repair in KIND.lossy)
    again = one_copy(KIND, copy.item.content)
    assert again.item == copy.item
    if repair == "fix-mojibake":
        assert one_copy(KIND, data).repairs == ()
    else:
        everything_else = set(KIND.repairs) - {repair}
        if repair != "drop-unreadable-lines":
            everything_else -= KIND.lossy
        assert repair in damage(read(KIND, data, repairs=everything_else))[0].detail


def test_a_field_that_was_left_out_is_noted_as_missing():
    for line, field in (
        ("CREATED:19700101T000000Z", "CREATED"),
        ("LAST-MODIFIED:20290101T000000Z", "LAST-MODIFIED"),
        ("LAST-MODIFIED:rubbish", "LAST-MODIFIED"),
        ("SEQUENCE:many", "SEQUENCE"),
    ):
        copy = one_copy(KIND, event(START, line), repairs=DEFAULT)
        assert copy.degraded == (field,)
        assert field.encode() not in copy.item.content


def test_events_of_the_future_are_as_good_as_those_of_the_past():
    assert one_copy(KIND, event("DTSTART:20990101T000000Z")).degraded == ()


def test_a_derived_uid_is_the_same_on_every_run_and_for_every_reading():
    data = event(START, "SUMMARY:x", uid=None)
    other = event("SUMMARY:x", "DTSTART:20230105T100000Z", uid=None).replace(b"\r\n", b"\n")
    first = one_copy(KIND, data, repairs=DEFAULT)
    assert first.item.ident == one_copy(KIND, other, repairs=DEFAULT).item.ident
    assert first.item.ident != one_copy(KIND, event(START, uid=None), repairs=DEFAULT).item.ident


@pytest.mark.parametrize(
    ("start", "until", "written"),
    [
        ("DTSTART;VALUE=DATE:20230105", "20230109T120000Z", b"UNTIL=20230109\r\n"),
        ("DTSTART:20230105T100000", "20230109", b"UNTIL=20230109T235959\r\n"),
        ("DTSTART:20230105T100000", "20230109T100000Z", b"UNTIL=20230109T100000\r\n"),
        ("DTSTART:20230105T100000Z", "20230109T100000", b"UNTIL=20230109T100000Z\r\n"),
        (
            "DTSTART;TZID=America/New_York:20230705T100000",
            "20230709T100000",
            b"UNTIL=20230709T140000Z\r\n",
        ),
    ],
)
def test_until_takes_the_form_of_the_start(start, until, written):
    copy = one_copy(KIND, event(start, f"RRULE:FREQ=DAILY;UNTIL={until}"), repairs=DEFAULT)
    assert copy.repairs == ("align-until",)
    assert written in copy.item.content


# Meaning ---------------------------------------------------------------------------------------

SAME = [
    event(START, "SUMMARY:a\\, b", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE", "EXDATE:20230109T100000Z"),
    event(START, "SUMMARY:a\\, b", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE", "EXDATE:20230109T100000Z")
    .replace(b"-//x//y//EN", b"-//Other//EN")
    .replace(b"DTSTAMP:20230101T000000Z", b"DTSTAMP:20230909T000000Z")
    .replace(b"\r\n", b"\n"),
    event(
        "EXDATE:20230109T100000Z",
        "rrule:BYDAY=WE,MO;FREQ=WEEKLY;INTERVAL=1",
        "SUMMARY:a\\\r\n , b",
        "DTSTART;VALUE=DATE-TIME:20230105T100000Z",
        "SEQUENCE:7",
        "LAST-MODIFIED:20230202T000000Z",
        uid="other",
    ),
]


def test_what_servers_change_without_changing_the_meaning_leaves_the_digest():
    assert len({KIND.recognise(OWNER, data).digest for data in SAME}) == 1


@pytest.mark.parametrize(
    "other",
    [
        event(START, "SUMMARY:a"),
        event(START, "SUMMARY:a\\, b", "RRULE:FREQ=WEEKLY;BYDAY=MO"),
        event("DTSTART:20230105T100000", "SUMMARY:a\\, b"),
        event("DTSTART;TZID=Europe/Berlin:20230105T100000", "SUMMARY:a\\, b"),
    ],
)
def test_what_changes_the_meaning_changes_the_digest(other):
    digests = {KIND.recognise(OWNER, data).digest for data in (SAME[0], other)}
    assert len(digests) == 2


def test_a_zone_is_the_same_under_all_its_names_and_definitions():
    berlin = component("DTSTART;TZID=Europe/Berlin:20230105T100000")
    windows = berlin.replace(b"Europe/Berlin", b"W. Europe Standard Time")
    variants = [
        HEAD + berlin + TAIL,
        HEAD + ZONE % b"Europe/Berlin" + berlin + TAIL,
        HEAD + ZONE % b"W. Europe Standard Time" + windows + TAIL,
        HEAD + berlin.replace(b"TZID=Europe/Berlin", b'TZID="Europe/Berlin"') + TAIL,
    ]
    assert len({KIND.recognise(OWNER, data).digest for data in variants}) == 1


def test_a_zone_that_only_the_file_knows_is_missed_when_a_server_drops_it():
    own = component("DTSTART;TZID=Mine:20230105T100000")
    whole = KIND.recognise(OWNER, HEAD + ZONE % b"Mine" + own + TAIL)
    dropped = KIND.recognise(OWNER, HEAD + own + TAIL)
    assert whole.digest != dropped.digest


def test_what_is_no_single_event_is_not_recognised():
    two = HEAD + component(START) + component(START, uid="b") + TAIL
    mixed = HEAD + component(START) + component(START).replace(b"VEVENT", b"VTODO") + TAIL
    for data in (b"", b"hello", HEAD + TAIL, two, mixed, event(START)[:-40]):
        assert KIND.recognise(OWNER, data) is None


def test_an_event_put_beside_is_marked_for_its_user():
    copy = one_copy(KIND, event(START, "SUMMARY:Lunch"))
    beside = KIND.beside(copy.item, "restored")
    assert b"SUMMARY:Lunch (restored)" in beside.content
    assert beside.ident != "a"
    assert KIND.recognise(OWNER, beside.content).ident == beside.ident


# Other formats ---------------------------------------------------------------------------------


def test_jcal_and_icalendar_that_say_the_same_have_one_digest():
    jcal = [
        "vcalendar",
        [["version", {}, "text", "2.0"], ["prodid", {}, "text", "x"]],
        [
            [
                "vevent",
                [
                    ["uid", {}, "text", "a"],
                    ["dtstamp", {}, "date-time", "2023-01-01T00:00:00Z"],
                    ["dtstart", {"tzid": "Europe/Berlin"}, "date-time", "2023-01-05T10:00:00"],
                    ["summary", {}, "text", "a, b; c\nd"],
                    ["categories", {}, "text", "one", "two, three"],
                    ["rrule", {}, "recur", {"freq": "WEEKLY", "byday": ["MO", "WE"]}],
                    ["exdate", {}, "date", "2023-01-09"],
                    ["geo", {}, "float", [1.5, 2]],
                ],
                [["valarm", [["action", {}, "text", "DISPLAY"]], []]],
            ]
        ],
    ]
    written = event(
        "DTSTART;TZID=Europe/Berlin:20230105T100000",
        "SUMMARY:a\\, b\\; c\\nd",
        "CATEGORIES:two\\, three,one",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,WE",
        "EXDATE;VALUE=DATE:20230109",
        "GEO:1.50;2.0",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "END:VALARM",
    )
    copy = one_copy(KIND, json.dumps(jcal).encode())
    assert copy.item.digest == one_copy(KIND, written).item.digest
    assert copy.repairs == ()


def test_whole_events_of_a_cut_jcal_are_kept():
    one = ["vevent", [["uid", {}, "text", "a"], ["dtstart", {}, "date", "2023-01-05"]], []]
    text = json.dumps(["vcalendar", [["version", {}, "text", "2.0"]], [one, one]]).encode()
    found = read(KIND, text[:-20], repairs=DEFAULT)
    assert len(copies(found)) == 1
    assert [each.reason for each in damage(found)] == [Reason.CUT]


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (
            {"uid": "a", "summary": "x, y", "start": "2023-01-05T10:00:00Z"},
            (START, "SUMMARY:x\\, y"),
        ),
        (
            {"uid": "a", "start": "2023-01-05 10:00:00", "time_zone": "Europe/Berlin"},
            ("DTSTART;TZID=Europe/Berlin:20230105T100000",),
        ),
        (
            {"uid": "a", "start": "2023-01-05T09:00:00+00:00", "time_zone": "Europe/Berlin"},
            ("DTSTART;TZID=Europe/Berlin:20230105T100000",),
        ),
        (
            {"uid": "a", "start": "2023-01-05T00:00:00", "end": "2023-01-06", "all_day": 1},
            ("DTSTART;VALUE=DATE:20230105", "DTEND;VALUE=DATE:20230106"),
        ),
        (
            {"uid": "a", "start": 1672912800, "rrule": "RRULE:FREQ=DAILY", "mood": "good"},
            (START, "RRULE:FREQ=DAILY", "X-REINSTATE-MOOD:good"),
        ),
        (
            {"uid": "a", "start": "2023-01-05T10:00:00Z", "description": "l1\nl2", "location": ""},
            (START, "DESCRIPTION:l1\\nl2"),
        ),
    ],
)
def test_a_row_says_what_its_event_would(row, lines):
    copy = one_copy(KIND, json.dumps(row).encode(), repairs=DEFAULT)
    assert copy.item.digest == one_copy(KIND, event(*lines)).item.digest
    assert copy.item.ident == "a"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"uid": "a", "start": "yesterday"}, Reason.VALUE),
        ({"uid": "a", "start": "2023-02-30", "all_day": True}, Reason.VALUE),
        ({"uid": "a", "start": "2023-01-05T10:00:00Z", "time_zone": "Bogus"}, Reason.TIME_ZONE),
        ({"uid": "a", "start": "2023-01-05T10:00:00", "time_zone": "Bogus"}, Reason.TIME_ZONE),
        ({"uid": "a", "start": "2023-01-05", "rrule": "FREQ=DAILY;INTERVAL=0"}, Reason.RECURRENCE),
        ({"uid": "a", "summary": "no start"}, Reason.STRUCTURE),
        ({"uid": "a", "start": "2023-01-05", "summary": {"a": 1}}, Reason.VALUE),
        ({"uid": "a", "start": "2023-01-05", "owner": "bert"}, Reason.WRONG_OWNER),
        ({"uid": "a", "start": "2023-01-05", "all_day": "perhaps"}, Reason.VALUE),
    ],
)
def test_a_row_that_cannot_be_is_quarantined(row, reason):
    assert one_damage(KIND, json.dumps(row).encode(), repairs=DEFAULT).reason is reason


# The quick way ---------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        *("DTSTART;VALUE=:20230105", "ATTENDEE:mailto:a@b.c\t", "DURATION:P1DTT"),
        *(START, "DTSTART;VALUE=DATE:20230105", "DTSTART;TZID=Europe/Berlin:20230105T100000"),
        *("DTSTART;TZID=Here:20230105T100000", "DTSTART:20230105", "DTEND:20230105T110000Z"),
        *("DTEND;TZID=Europe/Berlin:20230105T110000", "DTEND;VALUE=DATE:20230106", "DURATION:PT1H"),
        *("DTEND;TZID=Here:20230105T100000", "DURATION:PT0S", "DURATION:P1DT", "SUMMARY:a"),
        *("SUMMARY:a, b", "SUMMARY:a\\, b", "DESCRIPTION:", "DESCRIPTION:C:\\dir"),
        "STATUS:confirmed",
        *("RRULE:FREQ=DAILY", "RRULE:FREQ=DAILY;UNTIL=20230109", "RRULE:FREQ=DAILY;INTERVAL=0"),
        *("EXDATE:20230109T100000Z,20230110T100000Z", "EXDATE;VALUE=DATE:20230109", "EXDATE:"),
        *("CATEGORIES:a,b", "CATEGORIES:a;b", "GEO:1.0;2.0", "GEO:", "PRIORITY:5", "PRIORITY:50"),
        *("CREATED:20230101T000000Z", "CREATED:19700101T000000Z", "LAST-MODIFIED:20230102T000000Z"),
        *("SEQUENCE:1", "SEQUENCE:x", "ATTENDEE;CN=A B:mailto:a@b.c", "ATTENDEE:MAILTO:a@b.c"),
        *('ATTENDEE;CN="A:B":mailto:a@b.c', "X-A;TZID=Here:1", "X-A:1", "UID:b", "junk", "URL:"),
        *("RECURRENCE-ID:20230105T100000Z", "SUMMARY:\u00c3\u00bc\u00c3\u00b6", "SUMMARY:\u00fc"),
        *("BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15M\r\nEND:VALARM", " folded", "\tfolded"),
        *("BEGIN:VALARM\r\nTRIGGER:x\r\nEND:VALARM", "BEGIN:X-B\r\nA:b\r\nEND:X-B", "CLASS:public"),
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(LINES, max_size=7), st.booleans(), st.booleans())
def test_the_quick_way_decides_as_the_thorough_one(lines, all_on, stamp):
    repairs = DEFAULT if all_on else ()
    data = HEAD + ZONE % b"Here" + component(*lines, stamp=stamp) + TAIL
    material = icalendar_material("0", data)
    for part in material.parts:
        part.clean = False
    thorough = list(found_in(OWNER, material, KIND.shape, rules(repairs)))
    assert read(KIND, data, repairs=repairs) == thorough


@settings(deadline=None, max_examples=200)
@given(st.lists(LINES, max_size=7))
def test_what_is_restored_needs_nothing_more(lines):
    data = HEAD + ZONE % b"Here" + component(*lines) + TAIL
    for copy in copies(read(KIND, data, repairs=KIND.repairs)):
        again = one_copy(KIND, copy.item.content)
        assert again.item == copy.item
        assert again.repairs == ()


@pytest.mark.parametrize("kept", [0, 1, 20, 47])
def test_zeros_cost_what_they_cover_and_not_the_event_after_them(kept):
    zeroed = component(START)[:kept] + bytes(4096)
    found = read(KIND, HEAD + zeroed + component(START, uid="b") + component(START) + TAIL)
    assert sorted(copy.item.ident for copy in copies(found)) == ["a", "b"]
    assert [each.reason for each in damage(found)] == [Reason.ZEROED]
