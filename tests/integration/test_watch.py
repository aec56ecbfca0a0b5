import os
import socket
import sys
import time

import pytest
from sqlalchemy import insert

from orchestrator import busy
from orchestrator.broker import make_folders
from orchestrator.embedded.brokers import Broker
from orchestrator.embedded.supervisor import Program, Supervisor
from orchestrator.embedded.watch import Watch
from orchestrator.hunger import Hunger
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import BatchState

LEASE = 10.0


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.prepare()
    yield ledger
    ledger.close()


@pytest.fixture
def workers(tmp_path):
    """Two sleeping programs, one of them called a worker."""
    supervisor = Supervisor(
        [
            Program(
                name=name,
                command=(sys.executable, "-c", "import time; time.sleep(600)"),
                environ={},
                folder=tmp_path,
            )
            for name in ("worker1", "conductor")
        ],
        log_folder=tmp_path / "log",
    )
    supervisor.start()
    yield supervisor
    supervisor.stop()


@pytest.fixture
def files(tmp_path):
    make_folders(tmp_path / "spool")
    return Broker(kind="filesystem", url="filesystem://x", folder=tmp_path / "spool")


def add(ledger, state, *, worker=None, lease=60_000):
    with ledger.begin() as connection:
        connection.execute(
            insert(batch).values(
                run="7f3a",
                kind="restore",
                phase=0,
                wave=0,
                first=1,
                last=2,
                state=state,
                worker=worker,
                lease_until=ledger.clock(connection) + lease,
            )
        )


def had_a_job_for(broker, pid, seconds):
    mark = broker.folder / "busy" / str(pid)
    mark.touch()
    os.utime(mark, (time.time() - seconds,) * 2)


def restarted(supervisor) -> list[str]:
    deadline = time.monotonic() + 5
    while not supervisor.tend() and time.monotonic() < deadline:
        if all(running.pid for running in supervisor.running()):
            time.sleep(0.2)
            supervisor.tend()
            break
    return [r.name for r in supervisor.running() if r.pid is None or r.restarts]


def test_a_solo_worker_that_lost_its_lease_in_a_job_is_killed(ledger, workers, files):
    pid = workers.running()[0].pid
    had_a_job_for(files, pid, LEASE + 1)
    add(ledger, BatchState.RUNNING, worker=f"{socket.gethostname()}:{pid}:ab12", lease=-1)
    Watch(ledger, lease_seconds=LEASE)(workers, files)
    assert restarted(workers) == ["worker1"]
    assert busy.overdue(files.folder, older_than=0) == []


def test_a_solo_worker_that_keeps_its_lease_is_left_alone(ledger, workers, files):
    pid = workers.running()[0].pid
    had_a_job_for(files, pid, LEASE * 100)
    add(ledger, BatchState.RUNNING, worker=f"{socket.gethostname()}:{pid}:ab12")
    Watch(ledger, lease_seconds=LEASE)(workers, files)
    assert restarted(workers) == []


def test_a_ledger_that_is_away_kills_nobody(workers, files, tmp_path):
    had_a_job_for(files, workers.running()[0].pid, LEASE + 1)
    away = Ledger(f"sqlite:///{tmp_path / 'no' / 'ledger.db'}")
    Watch(away, lease_seconds=LEASE)(workers, files)
    assert restarted(workers) == []


def test_workers_that_take_nothing_for_three_leases_are_started_anew(ledger, workers):
    broker = Broker(kind="configured", url="redis://x")
    watch = Watch(ledger, lease_seconds=0.1, every=0.0)
    add(ledger, BatchState.DISPATCHED)
    watch(workers, broker)
    assert restarted(workers) == []
    time.sleep(0.35)
    watch(workers, broker)
    assert restarted(workers) == ["worker1"]


def test_taken_messages_are_forgotten_after_a_minute(ledger, workers, files):
    old, new = files.folder / "taken" / "old.msg", files.folder / "taken" / "new.msg"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 61,) * 2)
    Watch(ledger, lease_seconds=LEASE)(workers, files)
    assert not old.exists()
    assert new.exists()


def test_hunger_ends_when_something_is_taken():
    hunger = Hunger(patience=30)
    seen = [
        hunger.stuck(dispatched=4, running=int(now % 20 == 0), now=float(now))
        for now in range(1, 200)
    ]
    assert not any(seen)


def test_leases_that_lapse_and_go_out_again_do_not_end_hunger():
    hunger = Hunger(patience=30)
    seen = [hunger.stuck(dispatched=now % 10, running=0, now=float(now)) for now in range(1, 35)]
    assert seen.count(True) == 1


def test_a_paused_run_makes_nobody_hungry():
    hunger = Hunger(patience=30)
    assert not hunger.stuck(dispatched=3, running=0, now=0.0)
    assert not any(hunger.stuck(dispatched=0, running=0, now=float(now)) for now in range(1, 99))
