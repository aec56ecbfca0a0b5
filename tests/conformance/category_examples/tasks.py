"""Tasks in every format."""

from tests.conformance.category_example import Example, Series

HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\n"
TAIL = b"END:VCALENDAR\r\n"


def task(uid, *lines):
    return (
        b"BEGIN:VTODO\r\nUID:"
        + uid
        + b"\r\nDTSTAMP:20230101T000000Z\r\n"
        + b"".join(line + b"\r\n" for line in lines)
        + b"END:VTODO\r\n"
    )


def google(number):
    return (
        b'{"kind":"tasks#task","id":"t%d","title":"Task %d","status":"needsAction",'
        b'"due":"2023-05-01T00:00:00.000Z","updated":"2023-04-01T10:00:00.000Z",'
        b'"notes":"line\\nline"}' % (number, number)
    )


EXAMPLE = Example(
    whole={
        "one a file": {
            "a.ics": HEAD + task(b"a", b"SUMMARY:Buy milk", b"STATUS:NEEDS-ACTION") + TAIL,
            "b.ics": HEAD
            + task(b"b", b"SUMMARY:Done", b"STATUS:COMPLETED", b"COMPLETED:20230102T000000Z")
            + TAIL,
        },
        "parent and step": {
            "list.ics": HEAD
            + task(b"step", b"SUMMARY:step", b"RELATED-TO:whole")
            + task(b"whole", b"SUMMARY:whole", b"PRIORITY:1", b"PERCENT-COMPLETE:50")
            + TAIL
        },
        "Google Tasks": {
            "Tasks/Tasks.json": b'{"kind":"tasks#taskLists","items":[{"kind":"tasks#tasks",'
            b'"id":"l1","title":"Home","items":[' + google(1) + b"," + google(2) + b"]}]}"
        },
        "rows": {"1": b'{"id":"t1","title":"Call","status":"needsAction"}'},
    },
    converted=frozenset({"rows", "Google Tasks"}),
    series=(
        Series(
            name="list.ics",
            head=HEAD,
            records=tuple(task(b"t%d" % number, b"SUMMARY:x") for number in range(4)),
            tail=TAIL,
            damaged=b"BEGIN:VTODO\r\nUID:cut\r\nDTSTAMP:20230101T0000\r\n",
        ),
        Series(
            name="Tasks.json",
            head=b'{"kind":"tasks#taskLists","items":[{"id":"l1","title":"Home","items":[',
            records=tuple(google(number) for number in range(4)),
            between=b",",
            tail=b"]}]}",
            damaged=b'{"kind":"tasks#task","id":"tx","title":"x","status":',
            converted=True,
        ),
    ),
    repairable={
        "derive-uid": {
            "u.ics": HEAD
            + b"BEGIN:VTODO\r\nDTSTAMP:20230101T000000Z\r\nSUMMARY:x\r\nEND:VTODO\r\n"
            + TAIL
        },
        "fix-dtstamp": {
            "d.ics": HEAD + task(b"d").replace(b"DTSTAMP:20230101T000000Z\r\n", b"") + TAIL
        },
        "escape-text": {"t.ics": HEAD + task(b"t", b"SUMMARY:a, b; c") + TAIL},
    },
    foreign=("list.gpx", b"<gpx><wpt/></gpx>"),
)
