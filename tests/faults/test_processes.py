"""Processes are killed, frozen and doubled; nothing is lost, nothing is twice, the run ends."""

import contextlib
import fcntl
import os
import signal
import time

import pytest

from orchestrator.lifecycle import RunState
from tests.faults.cargo import CONTACTS, Cargo
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


@pytest.mark.long
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
