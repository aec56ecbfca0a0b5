"""Events in every format."""

import json

from tests.conformance.category_example import Example, Series

HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\n"
TAIL = b"END:VCALENDAR\r\n"
ZONE = (
    b"BEGIN:VTIMEZONE\r\nTZID:Here\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
    b"TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def event(uid, *lines):
    start = (
        b""
        if any(line.startswith(b"DTSTART") for line in lines)
        else (b"DTSTART:20230101T120000Z\r\n")
    )
    return (
        b"BEGIN:VEVENT\r\nUID:"
        + uid
        + b"\r\nDTSTAMP:20230101T000000Z\r\n"
        + start
        + b"".join(line + b"\r\n" for line in lines)
        + b"END:VEVENT\r\n"
    )


EXAMPLE = Example(
    whole={
        "one a file": {
            "a.ics": HEAD + event(b"a", b"SUMMARY:Lunch\\, late", b"DURATION:PT1H") + TAIL,
            "b.ics": HEAD
            + event(b"b", b"SUMMARY:Dinner", b"LAST-MODIFIED:20230201T000000Z")
            + TAIL,
        },
        "repeating, with an override": {
            "r.ics": HEAD
            + ZONE
            + event(b"r", b"DTSTART;TZID=Here:20230101T120000", b"RRULE:FREQ=DAILY;COUNT=5")
            + event(
                b"r",
                b"DTSTART;TZID=Here:20230102T130000",
                b"RECURRENCE-ID;TZID=Here:20230102T120000",
                b"SUMMARY:later",
            )
            + TAIL
        },
        "whole calendar": {
            "calendar.ics": HEAD
            + b"X-WR-CALNAME:Home\r\n"
            + ZONE
            + event(b"a", b"SUMMARY:folded te\r\n xt")
            + event(b"b", b"DTSTART;VALUE=DATE:20230505")
            + TAIL
        },
        "LF and lower case": {
            "l.ics": (HEAD + event(b"l", b"SUMMARY:x") + TAIL)
            .replace(b"\r\n", b"\n")
            .replace(b"SUMMARY", b"summary")
        },
        "jCal": {
            "j.json": json.dumps(
                [
                    "vcalendar",
                    [
                        ["version", {}, "text", "2.0"],
                        ["prodid", {}, "text", "-//Example//EN"],
                    ],
                    [
                        [
                            "vevent",
                            [
                                ["uid", {}, "text", "j"],
                                ["dtstamp", {}, "date-time", "2023-01-01T00:00:00Z"],
                                ["dtstart", {}, "date-time", "2023-01-01T12:00:00Z"],
                                ["summary", {}, "text", "x"],
                            ],
                            [],
                        ]
                    ],
                ]
            ).encode()
        },
        "rows": {
            "1": b'{"uid":"e1","summary":"Lunch","start":"2023-01-01T12:00:00Z",'
            b'"end":"2023-01-01T13:00:00Z","revised":"2023-01-01T00:00:00Z"}'
        },
    },
    converted=frozenset({"rows"}),
    series=(
        Series(
            name="calendar.ics",
            head=HEAD,
            records=tuple(event(b"e%d" % number, b"SUMMARY:x") for number in range(4)),
            tail=TAIL,
            damaged=b"BEGIN:VEVENT\r\nUID:cut\r\nDTSTAMP:20230101T0000\r\n",
        ),
        Series(
            name="calendar.ics",
            head=HEAD,
            records=tuple(event(b"e%d" % number, b"SUMMARY:x") for number in range(4)),
            tail=TAIL,
            damaged=event(b"ex", b"RRULE:FREQ=DAILY;INTERVAL=0"),
        ),
    ),
    repairable={
        "derive-uid": {
            "u.ics": HEAD
            + b"BEGIN:VEVENT\r\nDTSTAMP:20230101T000000Z\r\nDTSTART:20230101T120000Z\r\n"
            b"END:VEVENT\r\n" + TAIL
        },
        "fix-dtstamp": {
            "d.ics": HEAD + event(b"d").replace(b"DTSTAMP:20230101T000000Z\r\n", b"") + TAIL
        },
        "drop-method": {"m.ics": HEAD + b"METHOD:PUBLISH\r\n" + event(b"m") + TAIL},
        "escape-text": {"t.ics": HEAD + event(b"t", b"SUMMARY:a, b; c") + TAIL},
        "map-time-zones": {
            "z.ics": HEAD
            + event(b"z", b"DTSTART;TZID=W. Europe Standard Time:20230101T120000")
            + TAIL
        },
    },
    foreign=("holiday.gpx", b"<gpx><wpt/></gpx>"),
)
