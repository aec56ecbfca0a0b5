"""People, their data and secrets leave no trace where they do not belong.

Marks are put into user ids, contents, names of files, and secrets. A real installation
restores them, fails, quarantines, retries, and is asked about them; then everything that it wrote
anywhere is searched for every mark, in every form in which it could have been written.
"""

import base64
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import RedisError

from orchestrator.cli.exits import Exit
from tests.brokers import RedisServer, redis_server
from tests.command_line import CARD, CUT_CARD, Shell, read_until, shell

__all__ = ["redis_server", "shell"]

USER = "zoe-kanarienvogel@example.org"
OTHER = "kanari-ümlaut"
CONTENT = "Kanarienvogel-content-5f1c"
UID = "kanari-uid-77a0"
FILE = "kanari-file-b2d4.vcf"
TABLE = "cards"
SECRET = "kanari-secret-d4f6"
MARKS = (USER, OTHER, CONTENT, UID, FILE, SECRET, "kanari", "Kanarienvogel")

PLAN = f"""\
version: 1
name: marks
incident: {{as_of: 2009-10-01T00:00:00Z}}
users: {{from: users.csv, decline: erased.csv}}
census: census.csv
sources:
  core:
    kind: sql
    url: env:CORE_URL
    categories:
      contacts: {{table: {TABLE}, user: owner, id: id, data: card}}
  phones: {{kind: vdir, path: material}}
targets: {{live: {{kind: vdir, path: restored}}}}
defaults: {{attempts: 1, gate: {{failed: 100%}}}}
phases:
  - {{restore: contacts, to: live}}
  - {{restore: notes, to: live}}
approvals: 1
"""


def card(uid: str) -> str:
    return CARD.format(uid).replace(f"FN:{uid}", f"FN:{CONTENT}")


def lose_everything(folder: Path) -> None:
    """Three users: one of whom something stands in the way, one erased, one with damage."""
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "users.csv").write_text(f"user\n{USER}\n{OTHER}\nann\n", "utf-8")
    (folder / "erased.csv").write_text(f"user\n{OTHER}\n", "utf-8")
    (folder / "census.csv").write_text(f"user,category,expected\n{USER},contacts,9\n", "utf-8")
    for user in (quote(USER, safe="@-"), "k" + quote("anari-ü") + "mlaut", "ann"):
        contacts = folder / "material" / user.replace(".", "%2E") / "contacts"
        notes = contacts.with_name("notes")
        contacts.mkdir(parents=True)
        notes.mkdir()
        (contacts / FILE).write_text(card(UID) + CUT_CARD.replace("cut", CONTENT), newline="")
        (notes / f"{CONTENT}.md").write_text(f"# {CONTENT}\n\x00")
        (notes / "garbled.json").write_bytes(f'{{"title": "{CONTENT}'.encode() + b"\xff\xfe")
    with closing(sqlite3.connect(folder / f"{SECRET}.db")) as core, core:
        core.execute(f"CREATE TABLE {TABLE} (owner TEXT, id TEXT, card TEXT)")
        core.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?)", (USER, UID, card(UID)))
        core.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?)", ("ann", CONTENT, CUT_CARD))
    obstacle = folder / "restored" / "ann"
    obstacle.parent.mkdir()
    obstacle.write_text("in the way")


def forms(mark: str) -> Iterator[bytes]:
    """How a text could have been written down."""
    for text in {mark, mark.upper(), mark.lower(), mark[::-1]}:
        data = text.encode()
        yield data
        yield text.encode("utf-16-le")
        yield data.hex().encode()
        yield quote(text, safe="").encode()
        yield json.dumps(text)[1:-1].encode()
        yield repr(data)[2:-1].encode()
        for shift in range(3):  # base64 depends on where in its input the text stands
            coded = base64.b64encode(b"\0" * shift + data)
            yield coded[-(-8 * shift // 6) : 8 * (shift + len(data)) // 6]


def found_in(places: dict[str, bytes]) -> list[str]:
    return [
        f"{mark!r} in {place}"
        for place, data in places.items()
        for mark in MARKS
        for form in forms(mark)
        if len(form) > 4 and form in data
    ]


@contextmanager
def overheard(server: RedisServer) -> Iterator[list[bytes]]:
    """Every command that passes through Redis."""
    heard: list[bytes] = []
    client = Redis(unix_socket_path=str(server.socket), socket_timeout=None)  # silence is no error
    listening = threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:
            listening.set()
            try:
                while True:
                    heard.append(repr(monitor.next_command()).encode())
            except (RedisError, OSError, ValueError):
                return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(10)
    yield heard
    with server.client() as other:
        other.client_kill_filter(_type="normal", skipme=True)
        other.execute_command("CLIENT", "KILL", "TYPE", "normal")
    client.close()
    thread.join(timeout=10)


def everything_in(server: RedisServer) -> dict[str, bytes]:
    with server.client() as client:
        return {f"redis {key!r}": key + (client.dump(key) or b"") for key in client.scan_iter("*")}


@pytest.mark.long
@pytest.mark.guarantee(9)
@pytest.mark.timeout(300)
def test_no_mark_is_found_where_none_belongs(shell: Shell, redis_server: RedisServer):
    folder, home = shell.folder, shell.folder / "home"
    lose_everything(folder)
    environ = {
        "REINSTATE_HOME": str(home),
        "REINSTATE_BROKER_URL": redis_server.url,
        "REINSTATE_LOG": "debug,json",
        "CORE_URL": f"sqlite:///{folder / SECRET}.db",
    }
    said: dict[str, bytes] = {}

    def ask(*words: str, status: Exit = Exit.DONE, quiet: bool = False) -> bytes:
        """Run a command; what it says on stderr, and on stdout where no user is asked for."""
        done = shell.process(*words, **environ)
        assert done.returncode == status, done.stderr.decode()
        said[f"stderr of {' '.join(words)}"] = done.stderr
        if quiet:
            said[f"stdout of {' '.join(words)}"] = done.stdout
        return done.stdout

    with overheard(redis_server) as heard, shell.started("up", **environ) as up:
        read_until(up, "running with")
        failed = Exit.SOME_FAILED
        ask("preview", "plan.yaml", status=failed, quiet=True)
        wait = ("submit", "plan.yaml", "--author", "mia", "--approve", "jo", "--wait")
        ask(*wait, status=failed, quiet=True)
        ask("failures", "-o", "json", quiet=True)
        ask("status", "-o", "json", quiet=True)
        ask("report", quiet=True)
        ask("report", "-o", "json", quiet=True)
        ask("audit", quiet=True)
        ask("users", quiet=True)
        assert USER.encode() in ask("users", "--reveal", "--reason", "looking")
        said["stdout of user"] = ask("user", "last", USER)
        ask("user", "last", f"nobody-{CONTENT}", status=Exit.USAGE)
        ask("losses", quiet=True)
        ask("quarantine", "last", "list", quiet=True)
        ask("quarantine", "last", "export", "kept", "--reason", "looking")
        ask("quarantine", "last", "release", "kept", "--unchanged")
        (folder / "restored" / "ann").unlink()
        ask("retry", "--yes", "--wait", status=Exit.LOSSES, quiet=True)
        ask("watch", status=Exit.LOSSES, quiet=True)
        kept_in_redis = everything_in(redis_server)
    assert heard

    written = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any(path.endswith("ledger.db") for path in written)
    assert any("/log/worker" in path for path in written)
    overheard_bytes = {"redis commands": b"\n".join(heard)}
    assert found_in(written | said | kept_in_redis | overheard_bytes) == []

    restored = {str(path): path.read_bytes() for path in folder.glob("restored/**/*.*")}
    exported = {str(path): path.read_bytes() for path in (folder / "kept").iterdir()}
    assert found_in(restored), "the search finds nothing at all"
    assert any(USER in finding for finding in found_in(exported))


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("mark", MARKS)
def test_the_search_finds_a_mark_in_any_of_its_forms(mark):
    data = mark.encode()
    for shown in (
        data,
        mark.encode("utf-16-le"),
        data.hex().encode(),
        json.dumps({"x": mark}).encode(),
        quote(mark).encode(),
        base64.b64encode(b"{'user': '" + data + b"'}"),
        base64.b64encode(b"u:" + data + b";;"),
        base64.b64encode(data),
    ):
        assert found_in({"somewhere": b"before" + shown + b"after"}), shown
