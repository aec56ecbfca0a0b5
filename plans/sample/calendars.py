"""Events and tasks as iCalendar, one or many in a file, sound or with flaws."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from plans.sample.belongings import Event, Task

EVENT_FLAWS: Final = ("unescaped-comma", "mojibake", "no-uid", "no-dtstamp", "windows-zone")
TASK_FLAWS: Final = ("unescaped-comma", "mojibake", "no-uid", "no-dtstamp")
"""What may be wrong with a component that can still be understood."""

_WINDOWS: Final = {
    "America/Los_Angeles": "Pacific Standard Time",
    "America/New_York": "Eastern Standard Time",
    "Europe/Berlin": "W. Europe Standard Time",
}
_OFFSETS: Final = {
    "America/Los_Angeles": ("-0800", "-0700", "3,2SU", "11,1SU", "02"),
    "America/New_York": ("-0500", "-0400", "3,2SU", "11,1SU", "02"),
    "Europe/Berlin": ("+0100", "+0200", "3,-1SU", "10,-1SU", "03"),
}


def calendar(components: Iterable[bytes], zones: Iterable[str] = ()) -> bytes:
    """Components in one VCALENDAR, after the time zones that they name."""
    head = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Danger//Hiptop 4.6//EN\r\n"
    return head + b"".join((*map(_zone, zones), *components)) + b"END:VCALENDAR\r\n"


def event(given: Event, flaw: str = "") -> bytes:
    """The event and the instance that was moved."""
    lines = _event_lines(given, flaw)
    end = "DTEND" if given.zone else "DTEND;VALUE=DATE"
    zone = _zone_param(given.zone, flaw)
    parts = [[*lines, _time("DTSTART", given.start, zone), _end(given, zone)]]
    if given.rule:
        parts[0].append(f"RRULE:{_rule(given.rule, flaw)}")
    if given.moved and not flaw:
        later = given.moved + timedelta(hours=1)
        parts.append(
            [
                *lines,
                _time("RECURRENCE-ID", given.moved, zone),
                _time("DTSTART", later, zone),
                _time(end, later + timedelta(hours=1), zone),
            ]
        )
    return b"".join(_component("VEVENT", part, flaw) for part in parts)


def task(given: Task, flaw: str = "") -> bytes:
    """The task."""
    lines = _stamped(given, flaw)
    lines += [f"SUMMARY:{given.title}", f"DESCRIPTION:{_escaped(given.note)}"]
    if given.due:
        lines.append(f"DUE;VALUE=DATE:{given.due:%Y%m%d}")
    lines.append(f"STATUS:{'COMPLETED' if given.done else 'NEEDS-ACTION'}")
    return _component("VTODO", lines, flaw)


def _event_lines(given: Event, flaw: str) -> list[str]:
    lines = _stamped(given, flaw)
    lines += [f"SUMMARY:{given.summary}", f"DESCRIPTION:{_escaped(given.note)}"]
    return [*lines, f"LOCATION:{given.location}"] if given.location else lines


def _stamped(given: Event | Task, flaw: str) -> list[str]:
    at = f"{given.revised:%Y%m%dT%H%M%SZ}"
    uid = [] if flaw == "no-uid" else [f"UID:{given.uid}"]
    stamp = [] if flaw == "no-dtstamp" else [f"DTSTAMP:{at}"]
    return [*uid, *stamp, f"LAST-MODIFIED:{at}"]


def _component(name: str, lines: Iterable[str], flaw: str) -> bytes:
    text = "\r\n".join((f"BEGIN:{name}", *map(_folded, lines), f"END:{name}", ""))
    if flaw == "unescaped-comma":
        text = text.replace("\\,", ",")
    if flaw == "mojibake":
        text = text.encode().decode("cp1252")
    return text.encode()


def _rule(rule: str, flaw: str) -> str:
    if flaw != "contradictory-rule":
        return rule
    return f"{rule};INTERVAL=0" if "UNTIL" in rule else f"{rule};COUNT=5;UNTIL=20100101T000000Z"


def _zone_param(zone: str, flaw: str) -> str:
    if not zone:
        return ""
    return _WINDOWS[zone] if flaw == "windows-zone" else zone


def _time(name: str, at: object, zone: str) -> str:
    if not zone:
        bare = name.removesuffix(";VALUE=DATE")
        return f"{bare};VALUE=DATE:{at:%Y%m%d}"
    return f"{name};TZID={zone}:{at:%Y%m%dT%H%M%S}"


def _end(given: Event, zone: str) -> str:
    length = timedelta(hours=1) if zone else timedelta(days=1)
    return _time("DTEND", given.start + length, zone)


def _escaped(text: str) -> str:
    return text.replace(",", "\\,")


def _folded(line: str) -> str:
    """At most 75 bytes a line (RFC 5545 section 3.1), characters left whole."""
    if line.isascii() and len(line) <= 74:
        return line
    parts: list[str] = []
    part = ""
    for character in line:
        if len((part + character).encode()) > 74:
            parts.append(part)
            part = ""
        part += character
    return "\r\n ".join((*parts, part))


def _zone(zone: str) -> bytes:
    winter, summer, begins, ends, hour = _OFFSETS[zone]
    lines = ["BEGIN:VTIMEZONE", f"TZID:{zone}"]
    for kind, before, after, when in (
        ("DAYLIGHT", winter, summer, begins),
        ("STANDARD", summer, winter, ends),
    ):
        month, _, day = when.partition(",")
        lines += [
            f"BEGIN:{kind}",
            f"DTSTART:2007{int(month):02}01T{hour}0000",
            f"RRULE:FREQ=YEARLY;BYMONTH={month};BYDAY={day}",
            f"TZOFFSETFROM:{before}",
            f"TZOFFSETTO:{after}",
            f"END:{kind}",
        ]
    return "\r\n".join((*lines, "END:VTIMEZONE", "")).encode()
