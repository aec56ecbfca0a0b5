import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery.exceptions import QueueNotFound

from orchestrator.broker import JOB_SECONDS, VISIBILITY_SECONDS, route
from orchestrator.doorbell import JOB, QUEUE
from orchestrator.errors import Refused
from orchestrator.settings import Settings
from tests.brokers import redis_server
from workers.app import make_app

__all__ = ["redis_server"]
ROOT = Path(__file__).parents[2]


def settings(url: str = "redis://localhost/0", **more: str) -> Settings:
    return Settings.read({"REINSTATE_BROKER_URL": url, "REINSTATE_HOME": "/nowhere", **more})


EXPECTED = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_create_missing_queues": False,
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "task_reject_on_worker_lost": False,
    "task_retry_on_worker_lost": False,
    "task_time_limit": 600,
    "task_soft_time_limit": None,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_soft_shutdown_timeout": 30,
    "broker_connection_max_retries": None,
    "task_publish_retry": False,
    "worker_enable_remote_control": True,
    "worker_max_tasks_per_child": 500,
    "worker_max_memory_per_child": 512 * 1024,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_application_has_the_setting_that_was_measured_to_be_safe(name):
    assert make_app(settings()).conf[name] == EXPECTED[name]


def test_the_application_has_no_result_backend():
    assert make_app(settings()).backend.as_uri() == "disabled://"


def test_redis_waits_are_bounded_and_redelivery_is_later_than_any_job():
    options = make_app(settings()).conf.broker_transport_options
    assert options["socket_timeout"] == 30
    assert options["socket_connect_timeout"] == 5
    assert options["unacked_restore_interval"] == 10
    assert options["unacked_restore_throttle"] == 3
    assert options["global_keyprefix"] == "reinstate:"
    assert "retry_on_timeout" not in options
    assert options["visibility_timeout"] == VISIBILITY_SECONDS > JOB_SECONDS


def test_jobs_are_never_retried_by_celery():
    assert make_app(settings()).Task.max_retries == 0


def test_a_message_for_an_unknown_queue_fails():
    with pytest.raises(QueueNotFound):
        make_app(settings("memory://")).send_task(JOB, args=(1, 1), queue="reinstaet")


def test_files_are_no_broker_for_prefork_workers(tmp_path):
    way = route(settings(f"filesystem://{tmp_path}"))
    assert not way.forks
    assert way.options["data_folder_in"] == str(tmp_path / "messages")


def test_without_a_broker_nothing_is_assumed():
    with pytest.raises(Refused, match="no broker"):
        route(settings("auto"))


@pytest.fixture
def worker(redis_server, tmp_path):
    """A real prefork worker with two children; a function that waits for a file of theirs."""
    variables = {
        **settings(redis_server.url, REINSTATE_LOG="info json").environment(),
        "RINGING_FOLDER": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.integration.ringing"]
    command += ["worker", "--concurrency=2", "--without-gossip", "--without-mingle"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--without-heartbeat"],
            env=variables,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def left(name: str, seconds: float = 30.0) -> str:
        deadline = time.monotonic() + seconds
        while not (tmp_path / name).exists() or not (tmp_path / name).read_text().strip():
            if (tmp_path / name).exists() and name.endswith(".done"):
                return ""
            log = (tmp_path / "log").read_text()
            assert process.poll() is None, log
            assert time.monotonic() < deadline, f"no {name}: {log}"
            time.sleep(0.02)
        return (tmp_path / name).read_text()

    left.process = process
    yield left
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ring(app, batch: int, epoch: int = 1) -> None:
    app.send_task(JOB, args=(batch, epoch), queue=QUEUE, argsrepr="-", kwargsrepr="-", expires=60)


def test_a_real_worker_takes_batches_loses_a_child_and_a_wiped_redis_and_goes_on(
    worker, redis_server
):
    app = make_app(settings(redis_server.url))
    ring(app, 1)
    worker("1.done")

    ring(app, 13)
    pid, epoch = worker("13.begun").split()
    assert epoch == "1"
    os.kill(int(pid), signal.SIGKILL)
    ring(app, 2)
    worker("2.done")

    with redis_server.client() as client:
        client.flushall()
    ring(app, 3)
    worker("3.done")

    redis_server.signal(signal.SIGKILL)
    redis_server.start()
    app.close()
    ring(make_app(settings(redis_server.url)), 4)
    worker("4.done", seconds=60)


def test_a_worker_outlives_a_redis_that_dies_while_it_has_messages_of_it(
    worker, redis_server, tmp_path
):
    """They are of no use any more, to be given back or to be acknowledged."""
    ring(make_app(settings(redis_server.url)), 14)
    worker("14.begun")
    redis_server.signal(signal.SIGKILL)
    time.sleep(1)
    redis_server.start()
    ring(make_app(settings(redis_server.url)), 4)
    worker("4.done", seconds=60)
    (tmp_path / "14.go").touch()
    worker("14.done")
    ring(make_app(settings(redis_server.url)), 5)
    worker("5.done", seconds=60)
    assert worker.process.poll() is None


def test_pool_children_end_with_their_killed_worker(worker, redis_server):
    app = make_app(settings(redis_server.url))
    ring(app, 13)
    pid = int(worker("13.begun").split()[0])
    worker.process.kill()
    worker.process.wait()
    deadline = time.monotonic() + 10
    while _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.guarantee(9)
def test_the_broker_sees_two_numbers_and_nothing_else_of_ours(redis_server):
    app = make_app(settings(redis_server.url))
    ring(app, 7041, epoch=3)
    with redis_server.client() as client:
        assert all(key.startswith(b"reinstate:") for key in client.scan_iter())
        (message,) = client.lrange(f"reinstate:{QUEUE}", 0, -1)
    sent = json.loads(message)
    assert json.loads(base64.b64decode(sent["body"]))[:2] == [[7041, 3], {}]
    assert sent["headers"]["argsrepr"] == sent["headers"]["kwargsrepr"] == "-"


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
