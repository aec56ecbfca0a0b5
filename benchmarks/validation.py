"""P9: how fast copies are read, validated and digested on one core, against the usual libraries.

    python benchmarks/validation.py [--records 4000] [--rounds 7]

Prints one line a comparison: records a second of ours and of theirs, and the ratio of the medians
of rounds that alternate between both in one process. Ours does more: besides parsing it checks
every rule of docs/data.md, accounts for every byte, hashes by meaning, and makes the items.

A comparison is a `Comparison`; whoever adds a category adds one to `COMPARISONS`.
"""

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import icalendar
import vobject

from orchestrator.items import Copy, File, Folder, Framing, UserId
from orchestrator.ports import Category, Rules
from workers.categories import calendar, contacts

LOSS = datetime(2009, 10, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two ways to read the same records, each given as one file of many and as many files."""

    name: str
    records: Callable[[random.Random, int], Sequence[bytes]]
    """Makes realistic records."""
    join: Callable[[Sequence[bytes]], bytes]
    """One file of them all."""
    ours: Callable[[], Category]
    theirs: Callable[[bytes], int]
    """Reads and validates a file; gives how many records it saw."""
    share: int = 10
    """Theirs reads one record in so many, to be done in time; counted a record."""


# Contacts --------------------------------------------------------------------------------------

FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Jürgen", "Łukasz", "花子", "Noël")
LAST = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Müller", "Żak", "山田")


def cards(chance: random.Random, count: int) -> list[bytes]:
    """Cards as phones of the time wrote them: 3.0, about 600 bytes, some fields left out."""
    return [_card(chance, number) for number in range(count)]


def _card(chance: random.Random, number: int) -> bytes:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "PRODID:-//Example//Phone 1.0//EN",
        f"UID:{chance.getrandbits(128):032x}",
        f"FN:{first} {last}",
        f"N:{last};{first};;;",
        f"ORG:Example\\, Inc.;Team {number % 7}",
        *(["TITLE:Engineer"] if number % 3 else []),
        f"EMAIL;TYPE=INTERNET;TYPE=WORK:person.{number}@example.org",
        f"TEL;TYPE=CELL;TYPE=pref:+1 555 {number:07d}",
        f"TEL;TYPE=HOME:+1 556 {number:07d}",
        f"item1.ADR;TYPE=HOME:;;{number} Main St\\, Apt {number % 40};Springfield;IL;62701;USA",
        "item1.X-ABLabel:_$!<Home>!$_",
        f"BDAY:19{chance.randrange(40, 99)}-{chance.randrange(1, 13):02}-11",
        f"NOTE:Met at the conference in {1990 + number % 19}\\; likes chess\\, and tea.\\nCall bac",
        " k next week about the proposal we discussed.",
        f"REV:2009{chance.randrange(1, 10):02}11T120000Z",
        "END:VCARD",
        "",
    ]
    return "\r\n".join(lines).encode()


def vobject_cards(data: bytes) -> int:
    seen = 0
    for card in vobject.readComponents(data.decode()):
        card.validate()
        seen += 1
    return seen


# Calendar --------------------------------------------------------------------------------------

HEAD = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Phone 1.0//EN\r\n"
TAIL = b"END:VCALENDAR\r\n"
ZONE = (
    b"BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19961027T030000\r\n"
    b"RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n"
    b"END:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:19810329T020000\r\n"
    b"RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\n"
    b"END:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
)


def events(chance: random.Random, count: int) -> list[bytes]:
    """Events with an alarm as calendars write them, each with its time zone, about 1,200 bytes."""
    return [HEAD + ZONE + _event(chance, number) + TAIL for number in range(count)]


def _event(chance: random.Random, number: int) -> bytes:
    day = f"2009{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
    lines = [
        "BEGIN:VEVENT",
        f"UID:{chance.getrandbits(128):032x}",
        "DTSTAMP:20090101T000000Z",
        "CREATED:20090101T000000Z",
        f"LAST-MODIFIED:20090{chance.randrange(1, 10)}02T{number % 24:02}0000Z",
        f"SEQUENCE:{number % 5}",
        f"DTSTART;TZID=Europe/Berlin:{day}T100000",
        f"DTEND;TZID=Europe/Berlin:{day}T110000",
        f"SUMMARY:{chance.choice(FIRST)}\\, weekly {number}",
        f"LOCATION:Room {number % 7}",
        "DESCRIPTION:Met at the conference\\; likes chess\\, and tea.\\nCall back next week",
        "  about the proposal.",
        "STATUS:CONFIRMED",
        "TRANSP:OPAQUE",
        *([f"RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT={number % 50 + 1}"] if number % 2 else []),
        f"ATTENDEE;CN=Somebody;PARTSTAT=ACCEPTED:mailto:person.{number}@example.org",
        *("BEGIN:VALARM", "ACTION:DISPLAY", "DESCRIPTION:Reminder", "TRIGGER:-PT15M"),
        *("END:VALARM", "END:VEVENT", ""),
    ]
    return "\r\n".join(lines).encode()


def one_calendar(objects: Sequence[bytes]) -> bytes:
    start, end = len(HEAD + ZONE), -len(TAIL)
    return HEAD + ZONE + b"".join(each[start:end] for each in objects) + TAIL


def icalendar_events(data: bytes) -> int:
    """Read and write again: an item has to be written too."""
    found = icalendar.Calendar.from_ical(data).walk("VEVENT")
    return sum(bool(event.to_ical()) for event in found)


def vobject_events(data: bytes) -> int:
    calendar = vobject.readOne(data.decode())
    calendar.validate()
    return len(calendar.vevent_list)


COMPARISONS: list[Comparison] = [
    Comparison(
        name="contacts, vobject",
        records=cards,
        join=b"".join,
        ours=contacts.KIND,
        theirs=vobject_cards,
    ),
    Comparison(
        name="calendar, icalendar",
        records=events,
        join=one_calendar,
        ours=calendar.KIND,
        theirs=icalendar_events,
    ),
    Comparison(
        name="calendar, vobject",
        records=events,
        join=one_calendar,
        ours=calendar.KIND,
        theirs=vobject_events,
    ),
]


# Measuring -------------------------------------------------------------------------------------


def compare(comparison: Comparison, *, records: int, rounds: int) -> None:
    """Print what both do in a second, and the ratio."""
    made = comparison.records(random.Random(1), records)
    some = comparison.join(made[: max(1, records // comparison.share)])
    theirs_count = comparison.theirs(some)
    together = [_file("all", comparison.join(made))]
    apart = [_file(str(number), each) for number, each in enumerate(made)]
    category = comparison.ours()
    times: dict[str, list[float]] = {"together": [], "apart": [], "theirs": []}
    for _ in range(rounds):
        times["theirs"].append(_timed(lambda: comparison.theirs(some)) / theirs_count)
        for way, files in (("together", together), ("apart", apart)):
            spent = _timed(lambda files=files: _read(category, files, records))
            times[way].append(spent / records)
    median = {way: statistics.median(spent) for way, spent in times.items()}
    for way, told in (("together", "one file of many"), ("apart", "a file each")):
        print(
            f"{comparison.name} ({told}): {1 / median[way]:,.0f}/s against "
            f"{1 / median['theirs']:,.0f}/s, ratio {median['theirs'] / median[way]:.1f} "
            f"(median of {rounds}, {records} records)"
        )


def _file(name: str, data: bytes) -> File:
    return File(name=name, size=len(data), read=lambda: data)


def _read(category: Category, files: Sequence[File], records: int) -> None:
    rules = Rules(repairs=frozenset(category.repairs) - category.lossy, loss=LOSS)
    folder = Folder(owner=UserId("user"), files=files)
    found = [each for each in category.read(folder, rules) if not isinstance(each, Framing)]
    if len(found) != records or not all(isinstance(each, Copy) for each in found):
        raise SystemExit("the generated records must all be sound")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of the libraries that we compare with
    for comparison in COMPARISONS:
        compare(comparison, records=given.records, rounds=given.rounds)


if __name__ == "__main__":
    main()
