"""Kills a real worker at its Nth write of a batch, for every N, and counts what came of it.

    make sweep        every point, with each pair of ledger and target

A point is one call of one system call that changes something: a file, a folder, or what another
process is told. `strace` kills the worker as it enters that call; then another worker finishes the
batch, and sources and targets are counted again. The ledger is not asked.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

import psycopg

from orchestrator.audit import audit
from orchestrator.ledger.leases import Ring
from orchestrator.lifecycle import RunState
from orchestrator.settings import Settings
from tests.faults.cargo import CARD
from tests.faults.installation import KEY, ROOT
from tests.faults.simulation.report import silence
from tests.in_process import Service
from tests.servers import Postgres
from workers.storage.statements import definitions

CALLS = (
    *("write", "writev", "pwrite64", "pwritev", "ftruncate", "fsync", "fdatasync"),
    *("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "utimensat", "fchmod", "flock"),
    *("sendto", "sendmsg", "recvfrom"),  # what PostgreSQL is told, and its answers
)
"""`recvfrom`: after something was sent, a COMMIT for one, and before its answer is known."""
PLAN = """\
version: 1
name: sweep
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{devices: {{kind: vdir, path: devices}}}}
targets: {{pim: {target}}}
phases: [{{restore: contacts, to: pim, on_conflict: newest}}]
approvals: 0
"""
USERS = ("ann", "bob", "eve")
ERASED = "dan"
OLDER = datetime(2009, 8, 1, tzinfo=UTC)
RECOVERED = datetime(2009, 9, 1, tzinfo=UTC)
OWN = datetime(2009, 10, 5, tzinfo=UTC)
_MARK = re.compile(rb"(?:mark|older|own)-[a-z]+-[0-9]")


class NoTracer(Exception):
    """No process can be traced here; the message says why."""


class Place(Protocol):
    """Where a batch's ledger and target are, and how to have them as they were."""

    ledger_url: str
    target: str
    """As the plan says it."""

    def put(self, user: str, number: int, card: bytes, at: datetime) -> None:
        """What the live service holds before."""

    def keep(self) -> None:
        """Keep everything as it is now."""

    def reset(self) -> None:
        """Bring back what was kept."""

    def held(self) -> Counter[tuple[str, bytes]]:
        """User and mark of everything that the target holds."""
        ...

    def close(self) -> None:
        """Remove all of it."""


class Files:
    """A ledger in SQLite, and a target of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "state"
        self._kept = folder / "kept"
        (self._folder / "home").mkdir(parents=True)
        self.ledger_url = f"sqlite:///{self._folder}/home/ledger.db"
        self.target = f"{{kind: vdir, path: {self._folder}/restored, exclusive: true}}"

    def put(self, user: str, number: int, card: bytes, at: datetime) -> None:
        path = self._folder / "restored" / user / "contacts" / f"uid-{user}-{number}.vcf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(card)
        os.utime(path, (at.timestamp(), at.timestamp()))

    def keep(self) -> None:
        shutil.copytree(self._folder, self._kept)

    def reset(self) -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._kept, self._folder)

    def held(self) -> Counter[tuple[str, bytes]]:
        found: Counter[tuple[str, bytes]] = Counter()
        for path in (self._folder / "restored").glob("*/*/*"):
            if path.parts[-3] != ".reinstate":
                found.update(_marks(path.parts[-3], path.read_bytes()))
        return found

    def close(self) -> None:
        """The folder is its owner's to remove."""


class Tables:
    """A ledger and a target in databases of one PostgreSQL."""

    NAMES = ("sweep_ledger", "sweep_live")

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        for name in self.NAMES:
            self._run(f"CREATE DATABASE {name}")
        self.ledger_url = postgres.url("sweep_ledger")
        url = postgres.url("sweep_live").replace("+psycopg", "")
        self.target = f"{{kind: sql, url: '{url}'}}"
        with self._live() as connection:
            for command in definitions("contacts", "contacts_attachments", "", "postgresql"):
                connection.execute(command)

    def put(self, user: str, number: int, card: bytes, at: datetime) -> None:
        with self._live() as connection:
            connection.execute(
                "INSERT INTO contacts (user_id, ident, media, content, modified)"
                " VALUES (%s, %s, 'text/vcard', %s, %s)",
                [user, f"uid-{user}-{number}", card, at],
            )

    def keep(self) -> None:
        for name in self.NAMES:
            self._run(f"CREATE DATABASE kept_{name} TEMPLATE {name}")

    def reset(self) -> None:
        for name in self.NAMES:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")
            self._run(f"CREATE DATABASE {name} TEMPLATE kept_{name}")

    def held(self) -> Counter[tuple[str, bytes]]:
        found: Counter[tuple[str, bytes]] = Counter()
        with self._live() as connection:
            rows = connection.execute(
                "SELECT user_id, content FROM contacts WHERE deleted_at IS NULL"
            )
            for user, content in rows:
                found.update(_marks(user, content))
        return found

    def close(self) -> None:
        for name in self.NAMES:
            self._run(f"DROP DATABASE IF EXISTS kept_{name}")
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _live(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._postgres.folder), user="postgres", dbname="sweep_live", autocommit=True
        )

    def _run(self, command: str) -> None:
        with self._postgres.connect() as connection:
            connection.execute(command)


def _marks(user: str, content: bytes) -> Counter[tuple[str, bytes]]:
    whole = content.rstrip().endswith(b"END:VCARD")
    marks = set(_MARK.findall(content)) if whole else {b"cut short"}
    return Counter((user, mark) for mark in marks)


class Sweep:
    """One batch of contacts that is begun again and again, and ends in the same contents.

    Of each user one contact is missing from the target, one is there in an older version, and one
    was changed by its user after the loss. One user was erased.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        self._place = place
        self.expected = Counter[tuple[str, bytes]]()
        for user in (*USERS, ERASED):
            cards = folder / "devices" / user / "contacts"
            cards.mkdir(parents=True)
            for number in range(3):
                (cards / f"{number}.vcf").write_bytes(_card("mark", user, number))
                if user != ERASED:
                    mark = f"{'own' if number == 2 else 'mark'}-{user}-{number}"
                    self.expected[user, mark.encode()] += 1
        for user in USERS:
            place.put(user, 1, _card("older", user, 1), OLDER)
            place.put(user, 2, _card("own", user, 2), OWN)
        service = self._service()
        self._run = service.submit(PLAN.format(target=place.target), declined=[ERASED])
        self.ring = _until_dispatched(service)
        _close(service)
        place.keep()
        environ = Settings.read(
            {
                "REINSTATE_HOME": str(folder / "home"),
                "REINSTATE_LEDGER_URL": place.ledger_url,
                "REINSTATE_BROKER_URL": "redis://nobody.invalid/0",  # is never rung here
                "REINSTATE_KEY": KEY,
                "REINSTATE_LOG": "error json",
                "REINSTATE_SANDBOX": "off",  # only the worker is killed, not who reads for it
            }
        ).environment()
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forking_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={
                **environ,
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",  # the only writes are those of the batch
            },
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stdin.close()
        self._worker.wait(timeout=30)
        self._worker.stdout.close()
        self._place.close()

    def calls(self) -> dict[str, int]:
        """How often a worker that is not killed makes each call, in one thread at most."""
        with tempfile.NamedTemporaryFile("r") as log:
            traced = ("--output", log.name, f"--trace={','.join(CALLS)}")
            self._work(*traced)  # makes the folders that are made but once
            self._place.reset()
            ended = self._work(*traced)
            lines = log.read().splitlines()
        if ended:
            raise NoTracer(f"the worker ended with {ended} although nobody killed it")
        made: Counter[tuple[str, str]] = Counter()
        for line in lines:
            if called := re.match(r"(\d+) +(\w+)\(", line):
                made[called[2], called[1]] += 1
        return {
            call: max(number for (name, _), number in made.items() if name == call)
            for call in CALLS
            if any(name == call for name, _ in made)
        }

    def points(self) -> Iterator[tuple[str, int]]:
        """Every call, and which time that it is made."""
        for call, times in self.calls().items():
            yield from ((call, number) for number in range(1, times + 1))

    def kill_at(self, call: str, number: int) -> list[str]:
        """What is wrong after a worker was killed there and another one finished its work."""
        self._place.reset()
        inject = f"--inject={call}:signal=KILL:when={number}"
        ended = self._work("--output", os.devnull, f"--trace={call}", inject)
        wrong = [] if ended == -signal.SIGKILL else [f"was not killed, but ended with {ended}"]
        service = self._service()
        service.clock.advance(hours=1)  # the lease of the dead lapses
        service.go_on()
        if service.progress.state(self._run) is not RunState.FINISHED:
            wrong.append(f"the run is {service.progress.state(self._run)}")
        wrong += [f"audit: {finding}" for finding in audit(service.ledger, self._run)]
        _close(service)
        held = self._place.held()
        wrong += [f"lost: {user} {mark!r}" for user, mark in (self.expected - held).elements()]
        wrong += [
            f"twice or unexpected: {user} {mark!r}"
            for user, mark in (held - self.expected).elements()
        ]
        return [f"{call} {number}: {what}" for what in wrong]

    def _work(self, *traced: str) -> int:
        """Let a child of the worker do the batch under `strace`; how it ended."""
        tracer = shutil.which("strace")
        if tracer is None:
            raise NoTracer("strace is not installed")
        worker = self._worker
        worker.stdin.write(f"{self.ring.batch} {self.ring.epoch}\n")
        worker.stdin.flush()
        child = int(worker.stdout.readline())
        command = [tracer, "--follow-forks", *traced, "--attach", str(child)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            said = strace.stderr.readline()
            attached = "attached" in said
            os.kill(child, signal.SIGUSR1 if attached else signal.SIGKILL)
            strace.stderr.read()
        ended = int(worker.stdout.readline())
        if not attached:
            raise NoTracer(f"strace may not attach here: {said.strip()}")
        return ended

    def _service(self) -> Service:
        service = Service(self._folder, ledger_url=self._place.ledger_url)
        service.clock.now = datetime.now(UTC)
        return service


def _card(word: str, user: str, number: int) -> bytes:
    text = CARD.format(mark=f"{word}-{user}-{number}", number=number)
    revised = {"mark": RECOVERED, "older": OLDER, "own": OWN}[word]
    text = text.replace(f"UID:{word}", "UID:uid").replace("2009-09-01", f"{revised:%Y-%m-%d}")
    return text.encode()


def _until_dispatched(service: Service) -> Ring:
    """Inspect and start the run; the ring of its only batch, which nobody has answered."""
    for _ in range(20):
        service.conductor.tick()
        if service.rings.waiting and service.progress.runs()[0].state is RunState.RUNNING:
            (ring,) = service.rings.waiting
            return ring
        service.answer()
    raise AssertionError("no batch is dispatched")


def _close(service: Service) -> None:
    service.work.close()
    service.ledger.close()


@dataclass
class Toll:
    """What a sweep did and found."""

    points: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)


def sweep(
    place: Place, folder: Path, *, every: int = 1, say: Callable[[str], object] = len
) -> Toll:
    """Kill at each point, or at each `every`th; say what is wrong, and how far it is, meanwhile."""
    toll = Toll()
    with silence(), Sweep(folder, place) as swept:
        points = list(swept.points())[::every]
        for position, (call, number) in enumerate(points, start=1):
            toll.points[call] += 1
            wrongs = swept.kill_at(call, number)
            toll.wrongs += wrongs
            for wrong in wrongs:
                say(wrong)
            if position % 50 == 0:
                say(f"{position} of {len(points)} points")
    return toll


def main() -> int:
    """Sweep both pairs; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args().every
    wrongs = 0
    postgres = Postgres()
    try:
        for name in ("SQLite and files", "PostgreSQL"):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                place = Files(root) if name == "SQLite and files" else Tables(postgres)
                toll = sweep(place, root, every=every, say=_say)
            calls = ", ".join(f"{call} {number}" for call, number in toll.points.items())
            _say(
                f"{name}: killed at {toll.points.total()} points ({calls}), "
                f"{len(toll.wrongs)} wrong"
            )
            wrongs += len(toll.wrongs)
    finally:
        postgres.stop()
    return int(bool(wrongs))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
