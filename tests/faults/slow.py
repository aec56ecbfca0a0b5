"""Faults that take half a minute each to be over: `make chaos` runs them after the weather."""

import contextlib
import os
import signal
import subprocess
import time
from random import Random

import pytest
from kombu import Connection

from orchestrator.doctor import examine
from orchestrator.doorbell import QUEUE
from orchestrator.errors import Unavailable
from orchestrator.ledger.leadership import leader
from tests.faults.cargo import BOTH, CONTACTS, Cargo
from tests.faults.installation import Installation
from tests.faults.rabbit import Rabbit, rabbit_program
from tests.faults.test_material import causes, small_disk

__all__ = ["small_disk"]

SLOWLY = CONTACTS.replace("pim}", "pim, limits: {rate: 400/s}}")
STEADILY = BOTH.replace("pim}", "pim, limits: {rate: 500/s}}")


def test_a_full_and_a_read_only_target_are_waited_for_and_nothing_is_cut_short(
    small_disk, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=120, phases=CONTACTS)
    plan = cargo.plan.replace("path: restored", f"path: {small_disk}/restored")
    with Installation(tmp_path / "home") as here:
        here.start()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(800_000))
        run = here.submit(plan, cargo.folder)
        here.until(lambda: "No space left" in causes(here, run))
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,ro,size=16m", str(small_disk)], check=True)
        here.until(lambda: "Read-only" in causes(here, run))
        subprocess.run(["mount", "-o", "remount,rw,size=16m", str(small_disk)], check=True)
        here.finish(run)
    (cargo.folder / "restored").symlink_to(small_disk / "restored")
    assert cargo.wrongs() == []


@pytest.mark.guarantee(6)
def test_kill_9_of_children_workers_and_conductors_loses_nothing_and_doubles_nothing(
    fresh_database, tmp_path
):
    slowly = BOTH.replace("pim}", "pim, limits: {rate: 1000/s}}")
    cargo = Cargo(tmp_path / "cargo", users=200, phases=slowly)
    rng = Random(7)
    with Installation(tmp_path / "home", ledger_url=fresh_database) as here:
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
            time.sleep(0.25)
            here.tend()
        here.finish(run)
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


@pytest.mark.guarantee(6)
def test_a_redis_that_is_wiped_killed_full_evicting_read_only_or_hung_loses_and_doubles_nothing(
    tmp_path,
):
    cargo = Cargo(tmp_path / "cargo", users=1000, phases=STEADILY)
    with Installation(tmp_path / "home") as here:
        here.start(workers=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        redis = here.redis

        def goes_on() -> None:
            before = here.settled(run)
            here.until(lambda: here.settled(run) > before)

        for _ in range(2):
            with redis.client() as client:
                client.flushall()
            time.sleep(0.5)
        goes_on()

        with redis.client() as client:
            client.config_set("maxmemory", "100kb")
            time.sleep(1.0)
            client.config_set("maxmemory", "0")
        goes_on()

        with redis.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "100kb")
            time.sleep(1.0)
            assert client.info("stats")["evicted_keys"] > 0
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
        goes_on()

        with redis.client() as client:
            client.config_set("min-replicas-to-write", "1")
            time.sleep(1.0)
            client.config_set("min-replicas-to-write", "0")
        goes_on()

        redis.signal(signal.SIGSTOP)
        time.sleep(here.lease * 1.5)
        redis.signal(signal.SIGCONT)
        goes_on()

        redis.signal(signal.SIGKILL)
        time.sleep(0.5)
        redis.start()
        here.finish(run)
        assert here.processes["conductor1"].starts == 1
    assert cargo.wrongs() == []


def test_whoever_freezes_or_vanishes_in_mid_transaction_does_not_hold_up_the_others(
    fresh_database, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=100, phases=CONTACTS)
    with Installation(tmp_path / "home", ledger_url=fresh_database) as here:
        here.start(workers=1, conductors=1)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        with pytest.raises(Unavailable), here.ledger.begin() as frozen:  # noqa: PT012  at its end
            frozen.exec_driver_sql("SELECT * FROM conductor FOR UPDATE")
            frozen.exec_driver_sql("SELECT * FROM batch FOR UPDATE")
            here.finish(run)
    assert cargo.wrongs() == []


@pytest.fixture
def rabbit():
    if rabbit_program() is None:
        pytest.skip("no RabbitMQ here: apt-get install rabbitmq-server")
    server = Rabbit()
    yield server
    server.stop()


@pytest.mark.guarantee(3)
def test_a_rabbitmq_with_quorum_queues_that_is_killed_and_emptied_loses_and_doubles_nothing(
    rabbit, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=1000, phases=STEADILY)
    with Installation(tmp_path / "home", broker_url=rabbit.url) as here:
        here.start(workers=2, conductors=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        with Connection(rabbit.url) as connection:
            channel = connection.default_channel
            quorum = {"x-queue-type": "quorum"}  # another kind would be refused
            channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments=quorum)
            channel.queue_purge(QUEUE)

        def goes_on() -> None:
            before = here.settled(run)
            here.until(lambda: here.settled(run) > before)

        goes_on()
        here.processes["worker1"].kill()
        goes_on()
        rabbit.kill()
        time.sleep(1.0)
        rabbit.start()
        goes_on()
        here.finish(run)
        found = {check.name: check for check in examine(here.settings, {})}
        assert (found["broker"].found, found["workers"].ok) == ("amqp answers", True)
    assert cargo.wrongs() == []
