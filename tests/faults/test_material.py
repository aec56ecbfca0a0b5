"""What workers read and write misbehaves: a full disk, sources that come and go."""

import contextlib
import os
import subprocess
import time
from collections import Counter

import pytest

from tests.faults.cargo import CONTACTS, Cargo
from tests.faults.installation import Installation


@pytest.fixture
def small_disk(tmp_path):
    """An empty disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_ledgers_full_disk_is_waited_for(small_disk, tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=300, phases=CONTACTS)
    with Installation(tmp_path / "home", ledger_url=f"sqlite:///{small_disk}/ledger.db") as here:
        here.start()
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(2_000_000))
        here.until(lambda: "conductor_waits" in here.log("conductor1"))
        time.sleep(1.0)
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        here.finish(run)
        assert here.processes["conductor1"].starts == 1
    assert cargo.wrongs() == []


def test_a_source_that_goes_away_comes_back_and_changes_costs_attempts_and_no_data(tmp_path):
    slow = CONTACTS.replace("pim}", "pim, limits: {rate: 300/s}}")
    cargo = Cargo(tmp_path / "cargo", users=200, phases=slow)
    devices, away = cargo.folder / "devices", cargo.folder / "away"
    with Installation(tmp_path / "home") as here:
        here.start()
        run = here.submit(cargo.plan, cargo.folder)
        here.until(lambda: any(map(cargo.arrived, cargo.users)))
        devices.rename(away)
        here.until(lambda: causes(here, run))
        for user in cargo.users[100:]:
            card = away / user / "contacts" / "0.vcf"
            card.write_text(card.read_text().replace("FN:Contact", "FN:Changed"))
        away.rename(devices)
        here.finish(run)
        assert {phase.failed for phase in here.progress.status(run).phases} == {0}
    assert cargo.wrongs() == []


def test_a_file_that_is_cut_vanishes_or_is_no_file_harms_no_other(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=40, phases=CONTACTS)
    files = [cargo.folder / "devices" / user / "contacts" / "1.vcf" for user in cargo.users]
    with Installation(tmp_path / "home") as here:
        here.start()
        run = here.submit(cargo.plan.replace("approvals: 0", "approvals: 1"), cargo.folder)
        here.until(lambda: here.state(run).value == "awaiting_approval")
        with files[0].open("r+b") as file:
            file.truncate(60)
        files[1].unlink()
        files[2].unlink()
        os.mkfifo(files[2])
        files[3].write_bytes(b"")
        here.runs.approve(run, who="jo", reason="looked at it")
        here.finish(run)
        assert {phase.failed for phase in here.progress.status(run).phases} == {0}
        books = here.progress.status(run).books
        assert books.restored == 40 * 3 - 4
        assert books.nameless + books.quarantined == 3
    files[2].unlink()
    assert cargo.held().total() == 40 * 3 - 4
    missing = Counter({("user0", "contacts", b"mark-user0-contacts-1"): 1})  # cut short
    missing["user3", "contacts", b"none"] = 1  # empty
    assert cargo.expected() - cargo.held() == missing


def causes(here: Installation, run: str) -> str:
    """What units wait for."""
    return " ".join(cause.sentence for cause in here.progress.causes(run))
