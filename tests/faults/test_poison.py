"""Copies that end whoever parses them: the copy is quarantined, and its unit goes on without it."""

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from orchestrator.catalogue import installed
from orchestrator.ledger.deaths import DEATHS_TO_POISON
from orchestrator.ledger.schema import death, quarantine
from orchestrator.lifecycle import UnitState
from tests.faults.cargo import CONTACTS, Cargo
from tests.faults.installation import ROOT, Installation
from workers.in_hand import InHand

BRITTLE = '''
"""A category of tests alone: contacts, but some content ends whoever reads it."""

import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.errors import ItemRejected
from workers.categories.contacts import Contacts


def segfault():
    ctypes.string_at(0)


def leave():
    os._exit(3)


def killed():
    """As the kernel does to who takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory():
    bytearray(1 << 62)


def endless():
    while True:
        pass


ENDS = {one.__name__.encode(): one for one in (segfault, leave, killed, memory, endless)}


@dataclass(frozen=True, kw_only=True)
class Brittle(Contacts):
    """Contacts that break."""

    def read(self, folder, rules):
        if any(file.name == "unreadable.vcf" for file in folder.files):
            leave()
        for file in folder.files:
            with suppress(ItemRejected):
                self.parse(file.read())
        yield from super().read(folder, rules)

    def parse(self, data):
        if data in ENDS:
            ENDS[data]()


KIND = Brittle
'''
ENDS = ("segfault", "leave", "killed", "memory", "endless")


@pytest.fixture
def brittle(tmp_path, monkeypatch):
    """Where a plug-in is installed that brings the category `brittle`."""
    site = tmp_path / "site"
    package, info = site / "brittle_kinds", site / "brittle_kinds-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("")
    (package / "brittle.py").write_text(BRITTLE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle-kinds\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[reinstate.categories]\ntests = brittle_kinds\n")
    monkeypatch.syspath_prepend(str(site))
    installed.cache_clear()
    yield site
    installed.cache_clear()


def brittle_cargo(folder, file, text):
    """Two users with three cards each, and among those of the first one bad file."""
    cargo = Cargo(folder, users=2, phases=CONTACTS, waves="{name: everyone}")
    for user in cargo.users:
        shelf = cargo.folder / "devices" / user
        (shelf / "contacts").rename(shelf / "brittle")
    (cargo.folder / "devices" / "user0" / "brittle" / file).write_text(text)
    cargo.plan = cargo.plan.replace("contacts", "brittle")
    return cargo


def restored(cargo, user):
    return len(list((cargo.folder / "restored" / user).glob("*/*")))


@pytest.mark.guarantee(11)
@pytest.mark.guarantee(16)
def test_a_copy_that_ends_its_worker_twice_is_quarantined_and_its_siblings_are_restored(
    brittle, tmp_path
):
    cargos = {word: brittle_cargo(tmp_path / word, "1.vcf", word) for word in ENDS}
    blameless = brittle_cargo(tmp_path / "blameless", "unreadable.vcf", "")
    path = os.pathsep.join((str(brittle), str(ROOT)))
    with Installation(
        tmp_path / "home", environ={"PYTHONPATH": path}, children=6, lease_seconds=6
    ) as here:
        here.start()
        lone = here.submit(blameless.plan, blameless.folder)
        runs = {word: here.submit(cargo.plan, cargo.folder) for word, cargo in cargos.items()}
        for word, run in runs.items():
            here.finish(run)
            books = here.progress.status(run).books
            assert (books.restored, books.nameless, books.pending) == (5, 1, 0), word
            with here.ledger.read() as connection:
                kept = connection.execute(
                    select(quarantine.c.user, quarantine.c.reason, quarantine.c.length).where(
                        quarantine.c.run == run
                    )
                ).all()
                deaths = connection.execute(select(death.c.copy).where(death.c.run == run)).all()
            assert kept == [(0, "poison", len(word))]
            assert len(deaths) == DEATHS_TO_POISON
            assert len(set(deaths)) == 1
        here.finish(lone)
        (cause,) = here.progress.status(lone).causes
        assert (cause.code, cause.units, cause.state) == ("poison", 1, UnitState.FAILED)
    for cargo in cargos.values():
        assert (restored(cargo, "user0"), restored(cargo, "user1")) == (2, 3)
    assert (restored(blameless, "user0"), restored(blameless, "user1")) == (0, 3)


HOLDER = """
import os, signal, sys
from pathlib import Path
from workers.in_hand import InHand

note = InHand(Path(sys.argv[1]))
note.begin(batch=7, epoch=3, phase=1, run="run")
note.hold(5, b"c" * 16)
for step in sys.argv[2].split():
    match step:
        case "down": note.let_go()
        case "other":
            with note.put_down():
                os.kill(os.getpid(), signal.SIGKILL)
        case "close": note.close()
        case "wait": print("held", flush=True); sys.stdin.read()
        case "die": os.kill(os.getpid(), signal.SIGKILL)
"""


def holder(folder, steps):
    """A process that has a copy in its hands, and what it does then."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), steps],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("steps", "told"),
    [("die", 1), ("down die", 0), ("other", 0), ("close", 0)],
    ids=["while parsing", "after parsing", "in between", "in peace"],
)
def test_the_dead_tell_what_they_had_in_their_hands_once(tmp_path, steps, told):
    holder(tmp_path / "notes", steps).communicate()
    note = InHand(tmp_path / "notes")
    deaths = list(note.left_behind())
    assert [(one.batch, one.epoch, one.run, one.user) for one in deaths] == [
        (7, 3, "run", 5)
    ] * told
    assert list(note.left_behind()) == []
    note.close()
    assert list((tmp_path / "notes").iterdir()) == []


def test_the_living_keep_what_they_have_in_their_hands(tmp_path):
    process = holder(tmp_path, "wait die")
    assert process.stdout.readline() == "held\n"
    note = InHand(tmp_path)
    assert list(note.left_behind()) == []
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [one.copy for one in note.left_behind()] == [b"c" * 16]
    note.close()


def test_a_death_that_could_not_be_told_is_told_later(tmp_path):
    holder(tmp_path, "die").communicate()
    note = InHand(tmp_path)
    telling = note.left_behind()
    next(telling)
    telling.close()  # as when the ledger is away
    assert len(list(note.left_behind())) == 1
    note.close()


def test_without_a_folder_nothing_is_told_and_all_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file"):
        note = InHand(folder)
        note.begin(batch=1, epoch=1, phase=0, run="run")
        note.hold(1, bytes(16))
        assert note.held().user == 1
        assert list(note.left_behind()) == []
        note.close()
