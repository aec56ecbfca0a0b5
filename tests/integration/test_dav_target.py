"""Whole runs into real Radicale and Xandikos, and the programs that people read them with."""

import contextlib
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import caldav
import httpx
import msgspec
import pytest

from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.errors import Unavailable
from orchestrator.items import Ident, UserId
from orchestrator.lifecycle import RunState
from orchestrator.ports import Fate, Place, Surroundings
from tests.calls import CALLS
from tests.conformance.target_example import create
from tests.in_process import Service
from workers.categories import contacts
from workers.formats.path_parts import escape
from workers.storage.dav_accounts import addressable
from workers.targets.dav import Dav

USERS = ("anna", "bert@example.org", "zoë")
CATEGORIES = ("contacts", "calendar", "tasks", "notes")
PLAN = """
version: 1
name: dav
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: vdir, path: material}}
targets:
  pim: {{kind: dav, url: "{url}", username: "{prefix}{{user}}", probe_user: probe{more}}}
waves: [{{name: everyone}}]
defaults: {{attempts: 3, backoff: 30s..10m, gate: {{failed: 100%}}, on_conflict: {policy}}}
phases:
  - {{restore: contacts, to: pim}}
  - {{restore: calendar, to: pim}}
  - {{restore: tasks, to: pim}}
  - {{restore: notes, to: pim}}
approvals: 0
"""


def card(uid, name, *, note="", revised="20090901T120000Z"):
    return (
        f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\n"
        f"TEL;TYPE=CELL:+1 206 555 0100\r\nNOTE:{note}\r\nREV:{revised}\r\nEND:VCARD\r\n"
    )


def component(kind, uid, summary, *lines):
    inside = "".join(f"{line}\r\n" for line in lines)
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\nBEGIN:{kind}\r\nUID:{uid}\r\n"
        f"DTSTAMP:20090901T120000Z\r\n{inside}SUMMARY:{summary}\r\nEND:{kind}\r\nEND:VCALENDAR\r\n"
    )


def material(folder, *, users=USERS, contacts=5):
    """Everybody's recovered files; each says whose it is."""
    for user in users:
        files = {f"contacts/{n}.vcf": card(f"c{n}", f"{user} {n}") for n in range(contacts)}
        files["calendar/e.ics"] = component(
            "VEVENT",
            "event@1",
            f"Meeting of {user}",
            "DTSTART:20091005T090000Z",
            "DTEND:20091005T100000Z",
            "ORGANIZER:mailto:boss@example.org",
            "ATTENDEE;PARTSTAT=ACCEPTED:mailto:guest@example.org",
        )
        files["tasks/t.ics"] = component("VTODO", "task 1", f"Plants of {user}", "PRIORITY:1")
        files["notes/n.ics"] = component(
            "VJOURNAL", "note", f"Diary of {user}", "DESCRIPTION:Milk\\, eggs\\; bread"
        )
        for name, text in files.items():
            path = folder / "material" / escape(user) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())


class Installation:
    """A server, a service that restores into it, and users' own programs."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = folder
        self.prefix = f"i{uuid.uuid4().hex[:8]}-"
        self.service = Service(folder)

    def plan(self, *, policy="newest", more=""):
        return PLAN.format(url=self.server.url, prefix=self.prefix, policy=policy, more=more)

    def run(self, **how):
        run = self.service.run(self.plan(**how))
        assert self.service.ended(run) is RunState.FINISHED
        assert audit(self.service.ledger, run) == []
        books = self.service.status(run).books
        assert imbalances(books, settled=True) == []
        return books

    def target(self, **options):
        surroundings = Surroundings(
            folder=self.folder, secret=lambda text: text, clock=lambda: datetime.now(UTC)
        )
        given = {"url": self.server.url, "username": self.prefix + "{user}", "probe_user": "probe"}
        return Dav(**given | options).open(surroundings)

    def collection(self, user, category):
        """The address that the user's own program uses."""
        homes = {
            "radicale": "",
            "xandikos": "contacts/" if category == "contacts" else "calendars/",
        }
        path = f"/{self.prefix}{user}/{homes[self.server.kind]}{category}/"
        return httpx.URL(self.server.url).copy_with(path=path)

    def call(self, method, user, category, ref="", **given):
        return CALLS.request(
            method,
            self.collection(user, category).join(ref),
            auth=((self.prefix + user).encode(), b""),
            **given,
        )

    def contents(self, user, category):
        """Ref → content, as the target's own reading tells."""
        with contextlib.closing(self.target()) as target:
            entries = list(target.survey(category, [UserId(user)]))
            places = [Place(owner=entry.owner, ref=entry.ref) for entry in entries]
            found = target.fetch(category, places)
            return {live.entry.ref: live.content for live in found}


@pytest.fixture(params=["radicale", "xandikos"])
def installation(request, tmp_path):
    server = request.getfixturevalue(f"{request.param}_server")
    server.start()
    found = Installation(server, tmp_path)
    yield found
    found.service.work.close()


@pytest.mark.guarantee(1)
@pytest.mark.guarantee(3)
@pytest.mark.guarantee(13)
def test_everybody_gets_their_own_once_and_a_second_run_writes_nothing(installation):
    material(installation.folder)
    books = installation.run()
    assert books.restored == books.items == len(USERS) * 8
    before = {
        (user, category): installation.contents(user, category)
        for user in USERS
        for category in CATEGORIES
    }
    for (user, category), contents in before.items():
        assert len(contents) == (5 if category == "contacts" else 1)
        for content in contents.values():
            unfolded = content.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
            assert user.encode() in unfolded
    again = installation.run()
    assert (again.restored, again.present) == (0, len(USERS) * 8)
    assert before == {
        (user, category): installation.contents(user, category) for user, category in before
    }


def test_nothing_that_is_written_invites_anybody(installation):
    material(installation.folder, users=["anna"])
    installation.run()
    [event] = installation.contents("anna", "calendar").values()
    unfolded = event.replace(b"\r\n ", b"")
    people = [line for line in unfolded.splitlines() if line.startswith((b"ORG", b"ATT"))]
    assert len(people) == 2
    assert all(b"SCHEDULE-AGENT=CLIENT" in line for line in people)


@pytest.mark.guarantee(5)
def test_what_the_user_has_under_another_name_is_not_written_again(installation):
    material(installation.folder, users=["anna"])
    installation.run()
    installation.call("DELETE", "anna", "contacts", "c0.vcf")
    answer = installation.call(
        "PUT",
        "anna",
        "contacts",
        "typed-in-again.vcf",
        content=card("c0", "Anna, by herself", revised="20091015T120000Z"),
        headers={"Content-Type": "text/vcard"},
    )
    assert answer.status_code == 201
    books = installation.run()
    assert (books.restored, books.superseded, books.present) == (0, 1, 7)
    contents = installation.contents("anna", "contacts")
    assert len(contents) == 5
    assert b"by herself" in contents["typed-in-again.vcf"].replace(b"\\,", b",")


def test_what_an_earlier_run_wrote_is_replaced_by_a_newer_copy(installation):
    material(installation.folder, users=["anna"], contacts=1)
    installation.run()
    [path] = (installation.folder / "material").glob("*/contacts/0.vcf")
    path.write_text(card("c0", "anna, newer", revised="20090905T120000Z"))
    books = installation.run()
    assert books.replaced == 1
    [content] = installation.contents("anna", "contacts").values()
    assert b"newer" in content


def test_calendar_and_tasks_can_share_a_collection(installation):
    material(installation.folder, users=["anna"])
    books = installation.run(more=", collections: {calendar: personal, tasks: personal}")
    assert books.restored == 8
    held = installation.call("PROPFIND", "anna", "personal", headers={"Depth": "1"})
    if installation.server.kind == "xandikos":
        url = installation.collection("anna", "calendar").join("../personal/")
        auth = (installation.prefix + "anna", "")
        held = CALLS.request("PROPFIND", url, auth=auth, headers={"Depth": "1"})
    assert held.text.count(".ics") == 2
    again = installation.run(more=", collections: {calendar: personal, tasks: personal}")
    assert again.present == 8


@pytest.mark.guarantee(1)
@pytest.mark.parametrize(
    "user", ["", ".", "..", "a/b", "../anna", "a\\b", "a:b", "nul\0", "zero\u200bwidth", "x" * 300]
)
def test_a_user_whose_id_is_no_address_is_refused_and_nothing_is_sent(user):
    assert not addressable(UserId(user))


def test_what_was_put_into_a_place_by_another_program_is_seen_and_kept(installation):
    material(installation.folder, users=["anna"], contacts=2)
    installation.run()
    new = card("hers", "Her own, typed in today", revised="20091020T120000Z")
    answer = installation.call(
        "PUT", "anna", "contacts", "hers.vcf", content=new, headers={"Content-Type": "text/vcard"}
    )
    assert answer.is_success
    installation.run()
    assert len(installation.contents("anna", "contacts")) == 3


# A user who works meanwhile ---------------------------------------------------------------------


# Programs that people use -----------------------------------------------------------------------


def run_program(folder, *command):
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
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
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def test_vdirsyncer_khard_khal_and_todoman_read_what_was_restored(installation, tmp_path):
    material(installation.folder, users=["anna"])
    installation.run()
    parts = [f'[general]\nstatus_path = "{tmp_path}/status/"\n']
    for category, kind, end in (
        ("contacts", "carddav", "vcf"),
        ("calendar", "caldav", "ics"),
        ("tasks", "caldav", "ics"),
    ):
        parts.append(
            f'[pair {category}]\na = "{category}_server"\nb = "{category}_files"\n'
            f'collections = ["{category}"]\n'
            f'[storage {category}_server]\ntype = "{kind}"\nurl = "{installation.server.url}"\n'
            f'username = "{installation.prefix}anna"\npassword = "x"\n'
            f'[storage {category}_files]\ntype = "filesystem"\npath = "{tmp_path}/local/"\n'
            f'fileext = ".{end}"\n'
        )
    config = tmp_path / "vdirsyncer.conf"
    config.write_text("\n".join(parts))
    subprocess.run(["mkdir", "-p", *(f"{tmp_path}/local/{c}" for c in CATEGORIES)], check=True)
    run_program(tmp_path, "vdirsyncer", "-c", str(config), "discover", "--list")
    run_program(tmp_path, "vdirsyncer", "-c", str(config), "sync")
    local = tmp_path / "local"
    assert len(list((local / "contacts").glob("*.vcf"))) == 5
    khard = tmp_path / "khard.conf"
    khard.write_text(f"[addressbooks]\n[[restored]]\npath = {local / 'contacts'}\n")
    listed = run_program(tmp_path, "khard", "-c", str(khard), "list", "--parsable")
    assert sorted(line.split("\t")[1] for line in listed.splitlines()) == [
        f"anna {n}" for n in range(5)
    ]
    khal = tmp_path / "khal.conf"
    khal.write_text(
        f"[calendars]\n[[restored]]\npath = {local / 'calendar'}\nreadonly = True\n"
        f"[sqlite]\npath = {tmp_path / 'khal.db'}\n"
        "[locale]\nlocal_timezone = UTC\ndefault_timezone = UTC\n"
        "timeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\n"
        "datetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n"
    )
    shown = run_program(
        tmp_path,
        *("khal", "-c", str(khal), "list", "2009-10-01", "30d"),
        *("--format", "{start-time} {title}", "--day-format", ""),
    )
    assert shown.strip() == "09:00 Meeting of anna"
    todoman = tmp_path / "todoman.py"
    todoman.write_text(
        f"path = {str(local / 'tasks')!r}\ncache_path = {str(tmp_path / 'todo.db')!r}\n"
        "date_format = '%Y-%m-%d'\n"
    )
    todos = run_program(tmp_path, "todo", "-c", str(todoman), "--porcelain", "list")
    assert "Plants of anna" in todos


def test_a_caldav_client_finds_events_tasks_and_notes(installation):
    material(installation.folder, users=["anna"])
    installation.run()
    with caldav.DAVClient(
        url=installation.server.url, username=f"{installation.prefix}anna", password="x"
    ) as client:
        calendars = {
            str(calendar.url).rstrip("/").rpartition("/")[2]: calendar
            for calendar in client.principal().calendars()
        }
        [event] = calendars["calendar"].events()
        assert "Meeting of anna" in event.data
        [task] = calendars["tasks"].todos()
        assert "Plants of anna" in task.data
        [note] = calendars["notes"].journals()
        assert "Milk\\, eggs\\; bread" in note.data


# Options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"username": "admin", "password": "env:P"},
        {"token": "env:T"},
        {"token": "env:T", "username": "{user}"},
        {"accounts": "users", "password": "env:P"},
        {"username": "{user}", "collections": {"contacts": "../other"}},
        {"username": "{user}", "collections": {"contacts": ".."}},
        {"username": "{user}", "at_once": 0},
    ],
)
def test_options_that_lead_everybody_to_one_place_are_refused(options):
    with pytest.raises(ValueError):
        Dav(url="https://dav.example.org/", **options)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "https:///x", "https://a:b@example.org/", "https://[/"]
)
def test_an_address_that_is_none_is_told(url, tmp_path):
    surroundings = Surroundings(
        folder=tmp_path, secret=lambda _: url, clock=lambda: datetime.now(UTC)
    )
    target = Dav(url="env:URL", username="{user}").open(surroundings)
    with pytest.raises(Unavailable) as error:
        target.inspect(["contacts"])
    assert error.value.hint


def test_a_category_that_such_servers_do_not_keep_is_told(installation):
    with (
        contextlib.closing(installation.target()) as target,
        pytest.raises(Unavailable, match="not photos"),
    ):
        target.inspect(["contacts", "photos"])


def test_what_has_no_form_on_such_servers_is_refused_alone(installation):
    good = card("good", "Good").encode()
    seen = contacts.KIND().recognise(UserId("anna"), good)
    with contextlib.closing(installation.target()) as target:
        writes = [create(target, "anna", ident, content) for ident, content in BAD]
        item = msgspec.structs.replace(
            writes[0].item, ident=Ident("good"), digest=seen.digest, content=good
        )
        writes.append(msgspec.structs.replace(writes[0], item=item, ref="good.vcf"))
        answers = target.write("contacts", writes)
    assert [answer.fate for answer in answers] == [Fate.REFUSED] * len(BAD) + [Fate.DONE]
    assert all("canary" not in answer.detail for answer in answers)


BAD = (("canary-1", b"canary"), ("canary-2", b""), ("canary-3", b"BEGIN:VCARD\r\ncanary"))
