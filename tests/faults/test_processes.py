"""Processes are killed, frozen and doubled; nothing is lost, nothing is twice, the run ends."""

import contextlib
import fcntl
import os
import signal
import time
from random import Random

import pytest

from orchestrator.ledger.leadership import leader
from orchestrator.lifecycle import RunState
from tests.faults.cargo import BOTH, CONTACTS, Cargo
from tests.faults.installation import Installation

SLOWLY = "  - {restore: contacts, to: pim, limits: {rate: 400/s}}\n"


@contextlib.contextmanager
def locked_by_another(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def tick(seconds: float = 0.02) -> None:
    time.sleep(seconds)


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_kill_9_of_children_workers_and_conductors_loses_nothing_and_doubles_nothing(
    ledger, request, tmp_path
):
    url = request.getfixturevalue("fresh_database") if ledger == "postgresql" else None
    slowly = BOTH.replace("pim}", "pim, limits: {rate: 1000/s}}")
    cargo = Cargo(tmp_path / "cargo", users=400, phases=slowly)
    rng = Random(7)
    with Installation(tmp_path / "home", ledger_url=url) as here:
        here.start(workers=2, conductors=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        for kill in range(6):
            victims = sorted(here.holders())
            if kill % 3 == 0 and victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(victims), signal.SIGKILL)
            elif kill % 3 == 1:
                here.processes[rng.choice(["worker1", "worker2"])].kill()
            else:
                here.processes[rng.choice(["conductor1", "conductor2"])].kill()
            tick(0.25)
            here.tend()
        here.finish(run)
    assert cargo.wrongs() == []


@pytest.mark.guarantee(8)
def test_a_worker_frozen_while_it_writes_past_its_lease_writes_nothing_when_it_wakes(tmp_path):
    """Not even for users who were erased meanwhile: what it had decided is out of date."""
    cargo = Cargo(tmp_path / "cargo", users=400, phases=CONTACTS, waves="{name: everyone}")
    with Installation(tmp_path / "home", children=1) as here:
        here.start(workers=1)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(lambda: any(map(cargo.arrived, cargo.users)), pause=0.001)
        frozen = here.processes.pop("worker1")
        frozen.signal(signal.SIGSTOP)
        try:
            before = cargo.state()
            here.runs.decline(run, cargo.users, who="law")
            here.until(lambda: not here.holders())
            here.worker("worker2")
            here.finish(run)
            assert len(before) < 400 * 3
            assert cargo.state() == before
        finally:
            frozen.signal(signal.SIGCONT)
        tick(1.0)
        frozen.stop()
        assert cargo.state() == before


def test_an_inspection_may_last_longer_than_a_lease(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=10, phases=CONTACTS)
    target = cargo.folder / "restored"
    target.mkdir()
    with Installation(tmp_path / "home") as here:
        with locked_by_another(target):
            here.start()
            run = here.submit(cargo.plan, cargo.folder)
            here.until(here.holders)
            tick(here.lease * 2.5)
            assert here.state(run) is RunState.INSPECTING
        here.finish(run)
    assert cargo.wrongs() == []


def test_waiting_for_a_targets_rate_does_not_cost_the_lease(tmp_path):
    slow = "  - {restore: contacts, to: pim, limits: {rate: 60/s}}\n"
    cargo = Cargo(tmp_path / "cargo", users=200, phases=slow, waves="{name: everyone}", items=1)
    with Installation(tmp_path / "home") as here:
        here.start()
        run = here.submit(cargo.plan, cargo.folder)
        here.finish(run)
        assert "lease_lost" not in here.log("worker1")
    assert cargo.wrongs() == []


@pytest.mark.guarantee(6)
def test_of_two_conductors_one_leads_and_the_other_takes_over_when_it_freezes(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=300, phases=SLOWLY)
    with Installation(tmp_path / "home") as here:
        here.start(workers=1, conductors=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)

        def leads() -> str:
            with here.ledger.read() as connection:
                return leader(connection)[0]

        pid = int(leads().split(":")[1])
        (frozen,) = [process for process in here.processes.values() if process.pid == pid]
        frozen.signal(signal.SIGSTOP)
        here.until(lambda: int(leads().split(":")[1]) != pid)
        frozen.signal(signal.SIGCONT)
        here.finish(run)
        assert frozen.ended is None
    assert cargo.wrongs() == []
