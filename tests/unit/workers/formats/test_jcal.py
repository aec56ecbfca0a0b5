"""jCal becomes the content lines that say the same, or damage with its place."""

import json

import pytest

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.jcal import is_jcal, jcal_material


def lines_of(*properties):
    data = json.dumps(["vcalendar", [], [["vevent", list(properties), []]]]).encode()
    (part,) = jcal_material("j", data).parts
    return [line.head + b":" + line.value for line in part.load().lines]


@pytest.mark.parametrize(
    ("prop", "line"),
    [
        (["dtstart", {}, "date", "2023-01-05"], b"DTSTART;VALUE=DATE:20230105"),
        (["dtstart", {}, "date-time", "2023-01-05T10:00:00Z"], b"DTSTART:20230105T100000Z"),
        (
            ["dtend", {"tzid": "Europe/Berlin"}, "date-time", "2023-01-05T10:00:00"],
            b"DTEND;TZID=Europe/Berlin:20230105T100000",
        ),
        (
            ["rdate", {}, "period", ["2023-01-05T10:00:00Z", "PT1H"], "2023-01-06T10:00:00Z/PT1H"],
            b"RDATE;VALUE=PERIOD:20230105T100000Z/PT1H,20230106T100000Z/PT1H",
        ),
        (
            ["summary", {"language": "en"}, "text", "a, b; c\\"],
            b"SUMMARY;LANGUAGE=en:a\\, b\\; c\\\\",
        ),
        (["x-any", {}, "unknown", "raw\\,;"], b"X-ANY:raw\\,;"),
        (["x-flag", {}, "boolean", True], b"X-FLAG;VALUE=BOOLEAN:TRUE"),
        (["x-off", {}, "utc-offset", "-05:00"], b"X-OFF;VALUE=UTC-OFFSET:-0500"),
        (["geo", {}, "float", [1.5, 2]], b"GEO:1.5;2"),
        (["request-status", {}, "text", ["2.0", "a;b"]], b"REQUEST-STATUS:2.0;a\\;b"),
        (["priority", {}, "integer", 5], b"PRIORITY:5"),
        (
            ["rrule", {}, "recur", {"freq": "DAILY", "until": "2023-01-09", "byhour": [1, 2]}],
            b"RRULE:FREQ=DAILY;UNTIL=20230109;BYHOUR=1,2",
        ),
        (["attendee", {"cn": "A, B"}, "cal-address", "mailto:a"], b'ATTENDEE;CN="A, B":mailto:a'),
        (
            ["attach", {}, "binary", "AAAA"],
            b"ATTACH;VALUE=BINARY;ENCODING=BASE64:AAAA",
        ),
        (["g1.x-a", {}, "text", "x"], b"G1.X-A;VALUE=TEXT:x"),
        (["trigger", {}, "duration", "-PT15M"], b"TRIGGER:-PT15M"),
    ],
)
def test_a_property_is_the_line_that_says_the_same(prop, line):
    if line.startswith(b"G1"):
        line = line.replace(b";VALUE=TEXT", b"")
    assert lines_of(prop) == [line]


@pytest.mark.parametrize(
    "prop",
    [
        ["summary", {}, "text"],
        ["summary", [], "text", "x"],
        ["sum mary", {}, "text", "x"],
        [1, {}, "text", "x"],
        ["summary", {"a": 1}, "text", "x"],
        ["summary", {}, "text", None],
        ["summary", {}, "text", {"a": 1}],
        ["url", {}, "uri", "a\nb"],
        ["dtstart", {}, "date", "2023-01-05\n"],
        ["rrule", {}, "recur", 7],
        ["rrule", {}, "recur", {"freq": "DAILY\nX:y"}],
        ["rdate", {}, "period", [None, 2]],
        "summary",
    ],
)
def test_what_is_no_property_is_rejected_and_never_another_line(prop):
    with pytest.raises(ItemRejected):
        lines_of(prop)


def strays(text):
    return [each.reason for each in jcal_material("j", text).strays]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (b'["vcalendar", [], []]', []),
        (b'["vcalendar", [], [7]]', [Reason.STRUCTURE]),
        (b'["vcalendar", [7], []]', [Reason.STRUCTURE]),
        (b'["vcalendar", [], [], 7]', [Reason.STRUCTURE]),
        (b'["vcalendar", [], [["vevent", [', [Reason.CUT]),
        (b'["vcalendar", [], []] more', [Reason.SYNTAX]),
        (b'[["vcalendar", [], []], ["vcalendar", [], [""]]]', [Reason.STRUCTURE]),
    ],
)
def test_damage_is_named_with_its_place(text, reasons):
    assert strays(text) == reasons


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        ('["vevent", [], [["vevent", [], []]]]', Reason.STRUCTURE),
        ('["vevent", [], ' + '[["x-a", [], ' * 20 + "[]" + "]]" * 20 + "]", Reason.TOO_LARGE),
        ('["vevent", [], ' + "[" * 100 + "]" * 100 + "]", Reason.TOO_LARGE),
        ('["vevent", {}, []]', Reason.STRUCTURE),
        ('["vevent", [], [7]]', Reason.STRUCTURE),
    ],
)
def test_a_component_that_nests_wrongly_is_rejected(component, reason):
    (part,) = jcal_material("j", f'["vcalendar", [], [{component}]]'.encode()).parts
    with pytest.raises(ItemRejected) as caught:
        part.load()
    assert caught.value.reason is reason


def test_jcal_is_told_from_other_json():
    assert is_jcal(b'\xef\xbb\xbf [ "vcalendar", [], []]')
    assert is_jcal(b'[["vcalendar", [], []]]')
    assert not is_jcal(b'[{"uid": "a"}]')
    assert not is_jcal(b'["alarm", [], []]')
