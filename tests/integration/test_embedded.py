import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from kombu import Connection
from redis import Redis

from orchestrator.broker import route
from orchestrator.doorbell import CeleryDoorbell
from orchestrator.embedded.brokers import SOCKET, choose, runtime_folder
from orchestrator.embedded.one_machine import Engine, engine_running, engine_status, joined
from orchestrator.errors import Refused, Unavailable
from orchestrator.ledger.leases import Ring
from orchestrator.settings import Settings


def settings(home, **more: str) -> Settings:
    variables = {"REINSTATE_HOME": str(home), "REINSTATE_WORKERS": "2", **more}
    return Settings.read({**variables, "REINSTATE_LEASE_SECONDS": "3"})


def until(condition, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def pid_of(engine: Engine, name: str) -> int | None:
    status = engine.status()
    return next((p.pid for p in status.programs if p.name == name), None) if status else None


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it that has not ended."""
    engine = psutil.Process(pid)
    return [engine, *engine.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(_alive(process) for process in processes)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def client(home) -> Redis:
    return Redis(unix_socket_path=str(runtime_folder(home) / SOCKET), socket_timeout=5)


def answers(home) -> bool:
    with contextlib.suppress(Exception), client(home) as redis:
        return redis.ping()
    return False


def test_a_private_redis_comes_up_and_nothing_listens_on_a_port(tmp_path):
    with Engine(settings(tmp_path)) as engine:
        until(lambda: answers(tmp_path))
        with client(tmp_path) as redis:
            assert redis.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        for process in family(engine.pid):
            assert not [c for c in process.net_connections("inet") if c.status == "LISTEN"]
        assert (runtime_folder(tmp_path) / SOCKET).stat().st_mode & 0o777 == 0o700
        assert runtime_folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_after_the_block(tmp_path):
    with Engine(settings(tmp_path)) as engine:
        until(lambda: len(family(engine.pid)) > 5)  # with the worker's own children
        processes = family(engine.pid)
    assert gone(processes)
    assert not engine_running(tmp_path)
    assert not runtime_folder(tmp_path).exists()
    assert engine_status(tmp_path) is None


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("name", ["broker", "worker1", "conductor"])
def test_whatever_is_killed_is_started_again(tmp_path, name):
    with Engine(settings(tmp_path)) as engine:
        before = until(lambda: pid_of(engine, name))
        until(lambda: answers(tmp_path))
        os.kill(before, signal.SIGKILL)
        until(lambda: pid_of(engine, name) not in {None, before})
        until(lambda: answers(tmp_path))


@pytest.mark.guarantee(6)
def test_killing_the_engine_leaves_no_orphans_and_it_can_be_revived(tmp_path):
    with Engine(settings(tmp_path)) as engine:
        until(lambda: len(family(engine.pid)) > 5)
        processes = family(engine.pid)
        os.kill(engine.pid, signal.SIGKILL)
        until(lambda: gone(processes[1:]))
        until(lambda: not engine_running(tmp_path))
        until(lambda: engine.revive() or engine.status() is not None)
        until(lambda: answers(tmp_path))


@pytest.mark.guarantee(6)
def test_the_engine_ends_with_a_killed_command_line(tmp_path):
    code = (
        "import os, time; from orchestrator.embedded.one_machine import Engine\n"
        "from orchestrator.settings import Settings\n"
        "with Engine(Settings.read(os.environ)) as engine:\n"
        "    print(engine.pid, flush=True); time.sleep(600)"
    )
    environ = {**os.environ, **settings(tmp_path).environment()}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as terminal:
        processes = family(int(terminal.stdout.readline()))
        terminal.kill()
    until(lambda: gone(processes))


def test_a_second_engine_stands_by_and_takes_over(tmp_path):
    with Engine(settings(tmp_path)) as first, Engine(settings(tmp_path)) as second:
        assert second.status().pid == first.pid
        assert len(family(second.pid)) == 1
        os.kill(first.pid, signal.SIGTERM)
        until(lambda: (status := second.status()) is not None and status.pid == second.pid)
        until(lambda: answers(tmp_path))


def test_a_deep_home_gets_its_socket_elsewhere(tmp_path):
    home = tmp_path.joinpath(*["deep-folder"] * 10)
    with Engine(settings(home)):
        until(lambda: answers(home))
        assert home not in runtime_folder(home).parents
    assert not runtime_folder(home).exists()


def test_a_runtime_folder_that_others_can_enter_is_refused(tmp_path):
    runtime_folder(tmp_path).mkdir()
    runtime_folder(tmp_path).chmod(0o777)
    with pytest.raises(Refused, match="ours alone"):
        choose(settings(tmp_path))


def test_where_no_server_starts_files_carry_the_messages(tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    broker = choose(
        settings(tmp_path), servers=iter([("redis-server", broken), ("gone", tmp_path / "none")])
    )
    assert broker.kind == "filesystem"
    way = route(settings(tmp_path, REINSTATE_BROKER_URL=broker.url))
    with Connection(way.url, transport_options=way.options) as connection:
        queue = connection.SimpleQueue("reinstate")
        queue.put([17, 3])
        message = queue.get(timeout=5)
        assert message.payload == [17, 3]
        message.ack()
        queue.close()


def test_on_files_every_worker_is_a_process_of_its_own(tmp_path):
    spool = tmp_path / "spool"
    with Engine(settings(tmp_path, REINSTATE_BROKER_URL=f"filesystem://{spool}")) as engine:
        names = [program.name for program in engine.status().programs]
        assert names == ["worker1", "worker2", "conductor"]


def test_settings_that_leave_the_broker_open_join_the_running_engine(tmp_path):
    assert joined(settings(tmp_path)).broker_url == "auto"
    with Engine(settings(tmp_path)):
        assert joined(settings(tmp_path)).broker_url.startswith("redis+socket://")


def test_an_engine_that_cannot_start_says_where_its_log_is(tmp_path):
    runtime_folder(tmp_path).mkdir()
    runtime_folder(tmp_path).chmod(0o777)
    with pytest.raises(Unavailable) as unavailable, Engine(settings(tmp_path)):
        pass
    assert "engine.log" in unavailable.value.hint


@pytest.mark.parametrize("broker", ["auto", pytest.param("filesystem", marks=pytest.mark.long)])
def test_what_is_rung_reaches_a_worker_of_the_engine(tmp_path, broker):
    url = broker if broker == "auto" else f"filesystem://{tmp_path / 'spool'}"
    chosen = settings(tmp_path, REINSTATE_BROKER_URL=url, REINSTATE_LOG="debug")
    with Engine(chosen):
        until(lambda: "worker_ready" in logged(tmp_path))
        doorbell = CeleryDoorbell(joined(chosen))
        doorbell.ring([Ring(batch=4711, epoch=1)], expires=60)
        doorbell.close()
        until(lambda: '"batch": 4711' in logged(tmp_path))  # stale: there is no such batch
    assert not list(tmp_path.glob("spool/busy/*"))


def logged(home) -> str:
    return "".join(path.read_text() for path in (home / "log").glob("worker*.log"))
