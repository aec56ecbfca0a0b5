"""Programs that people use read what the vdir target holds: khard, khal and todoman."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.items import Digest, Ident, Item, Media, UserId
from orchestrator.ports import Fate, Place, Surroundings, Write
from workers.formats.path_parts import escape
from workers.targets.vdir import Vdir

OWNER = UserId("zoë@example.org")
CARD = Media("vcf", "text/vcard")
CALENDAR = Media("ics", "text/calendar")

CONTACTS = {
    "anna@phones": """BEGIN:VCARD\r
VERSION:3.0\r
UID:anna@phones\r
FN:Anna Ångström\r
N:Ångström;Anna;;;\r
TEL;TYPE=CELL:+46 70 1234567\r
EMAIL:anna@example.org\r
END:VCARD\r
""",
    "../b/2": """BEGIN:VCARD\r
VERSION:3.0\r
UID:../b/2\r
FN:Bert Baker\r
N:Baker;Bert;;;\r
TEL;TYPE=HOME:+1 206 555 0100\r
END:VCARD\r
""",
}
EVENTS = {
    "event-1": """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//reinstate//tests//EN\r
BEGIN:VEVENT\r
UID:event-1\r
DTSTAMP:20090901T120000Z\r
DTSTART:20091005T090000Z\r
DTEND:20091005T100000Z\r
SUMMARY:Dentist, at last\r
END:VEVENT\r
END:VCALENDAR\r
""".replace("Dentist,", "Dentist\\,"),
    "event-2": """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//reinstate//tests//EN\r
BEGIN:VEVENT\r
UID:event-2\r
DTSTAMP:20090901T120000Z\r
DTSTART;VALUE=DATE:20091006\r
DTEND;VALUE=DATE:20091007\r
RRULE:FREQ=DAILY;COUNT=2\r
SUMMARY:Birthday of Zoë\r
END:VEVENT\r
END:VCALENDAR\r
""",
}
TASKS = {
    "task-1": """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//reinstate//tests//EN\r
BEGIN:VTODO\r
UID:task-1\r
DTSTAMP:20090901T120000Z\r
SUMMARY:Water the plants\r
PRIORITY:1\r
END:VTODO\r
END:VCALENDAR\r
""",
    "task-2": """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//reinstate//tests//EN\r
BEGIN:VTODO\r
UID:task-2\r
DTSTAMP:20090901T120000Z\r
SUMMARY:Post the letter\r
STATUS:COMPLETED\r
COMPLETED:20090902T100000Z\r
END:VTODO\r
END:VCALENDAR\r
""",
}


@pytest.fixture
def live(tmp_path):
    """The folder of the owner, with everything restored into it."""
    surroundings = Surroundings(
        folder=tmp_path, secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    target = Vdir(path="live").open(surroundings)
    material = {
        "contacts": (CONTACTS, CARD),
        "calendar": (EVENTS, CALENDAR),
        "tasks": (TASKS, CALENDAR),
    }
    target.inspect(list(material))
    for category, (items, media) in material.items():
        writes = [
            Write(
                owner=OWNER,
                item=Item(
                    ident=Ident(ident),
                    digest=Digest(bytes(32)),
                    media=media,
                    content=text.encode(),
                ),
                ref=target.ref(category, Ident(ident), media),
            )
            for ident, text in items.items()
        ]
        assert {answer.fate for answer in target.write(category, writes)} == {Fate.DONE}
    return tmp_path / "live" / escape(OWNER)


def run(folder: Path, *command: str) -> str:
    """What a program of this environment prints, at home in a folder of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PATH": os.environ["PATH"],
    }
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [program, *command[1:]],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def configured(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_khard_lists_every_restored_contact(live, tmp_path):
    config = configured(
        tmp_path,
        "khard.conf",
        f"[addressbooks]\n[[restored]]\npath = {live / 'contacts'}\n",
    )
    shown = run(tmp_path, "khard", "-c", config, "list", "--parsable", "--fields", "name,uid")
    listed = {tuple(line.split("\t")) for line in shown.splitlines()}
    assert {uid for _, uid in listed} == CONTACTS.keys()
    assert "Anna Ångström" in shown
    assert "+1 206 555 0100" in run(tmp_path, "khard", "-c", config, "show", "Bert")


def test_khal_lists_every_restored_event(live, tmp_path):
    config = configured(
        tmp_path,
        "khal.conf",
        f"[calendars]\n[[restored]]\npath = {live / 'calendar'}\nreadonly = True\n"
        f"[sqlite]\npath = {tmp_path / 'khal.db'}\n"
        "[locale]\nlocal_timezone = UTC\ndefault_timezone = UTC\n"
        "timeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\n"
        "datetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n",
    )
    shown = run(
        tmp_path,
        *("khal", "-c", config, "list", "2009-10-01", "30d"),
        *("--format", "{start-date}|{start-time}|{title}|{uid}", "--day-format", ""),
    )
    assert [line for line in shown.splitlines() if line] == [
        "2009-10-05|09:00|Dentist, at last|event-1",
        "2009-10-06||Birthday of Zoë|event-2",
        "2009-10-07||Birthday of Zoë|event-2",
    ]


def test_todoman_lists_every_restored_task(live, tmp_path):
    config = configured(
        tmp_path,
        "todoman.py",
        f"path = {str(live / 'tasks')!r}\ncache_path = {str(tmp_path / 'todo.db')!r}\n"
        "date_format = '%Y-%m-%d'\n",
    )
    shown = run(tmp_path, "todo", "-c", config, "--porcelain", "list", "--status", "ANY")
    assert '"summary": "Water the plants"' in shown
    assert '"summary": "Post the letter"' in shown
    assert shown.count('"summary"') == len(TASKS)


def test_a_contact_that_khard_makes_is_found_and_left_alone(live, tmp_path):
    config = configured(
        tmp_path,
        "khard.conf",
        f"[addressbooks]\n[[restored]]\npath = {live / 'contacts'}\n"
        "[vcard]\npreferred_version = 3.0\n",
    )
    new = configured(
        tmp_path, "new.yaml", "First name: Cleo\nLast name: Clark\nEmail:\n  home: c@example.org\n"
    )
    before = {path.name: path.read_bytes() for path in (live / "contacts").iterdir()}
    run(tmp_path, "khard", "-c", config, "new", "-a", "restored", "-i", new)
    surroundings = Surroundings(
        folder=tmp_path, secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    target = Vdir(path="live").open(surroundings)
    found = {entry.ref for entry in target.survey("contacts", [OWNER])}
    [made] = found - before.keys()
    [item] = target.fetch("contacts", [Place(owner=OWNER, ref=made)])
    assert b"Cleo" in item.content
    after = {path.name: path.read_bytes() for path in (live / "contacts").iterdir()}
    assert {name: data for name, data in after.items() if name != made} == before
