"""`reinstate migrate`, `conductor` and `worker`: they work, stop, and refuse what cannot work."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import select, update

from orchestrator.broker import route
from orchestrator.doorbell import CeleryDoorbell, queue
from orchestrator.embedded.brokers import installed_servers
from orchestrator.errors import Refused
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Ring
from orchestrator.ledger.schema import run, schema_version
from orchestrator.ledger.versions import revisions
from orchestrator.lifeline import die_with_parent
from orchestrator.planner import read_plan
from orchestrator.readiness import prove_ready, redis_facts
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from tests.brokers import RedisServer, redis_server

__all__ = ["redis_server"]
KEY = base64.b64encode(bytes(range(32))).decode()
PLAN = """
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {cache: {kind: vdir, path: cache}}
targets: {pim: {kind: vdir, path: pim}}
approvals: 0
phases: [{restore: contacts, to: pim}]
"""
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:B;A;;;\r\nFN:A B\r\nEND:VCARD\r\n"


@pytest.fixture
def environ(tmp_path):
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("REINSTATE_")},
        "REINSTATE_HOME": str(tmp_path / "home"),
        "REINSTATE_LEDGER_URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "REINSTATE_KEY": KEY,
        "REINSTATE_LOG": "info,json",
    }


def start(environ, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  the test has one thread
    )


def said(environ, *words):
    process = start(environ, *words)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def events(output):
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {line["event"]: line for line in lines}


def metrics_of(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture
def restricted():
    """A Redis whose user may do what that of deploy/ may, and nothing else."""
    port = free_port()
    server = RedisServer("--port", str(port), "--bind", "127.0.0.1")
    script = (Path(__file__).parents[2] / "deploy" / "redis" / "start.sh").read_text()
    rules = re.search(r"^user (reinstate .*)$", script, re.MULTILINE)[1]
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", *rules.replace("${REDIS_PASSWORD}", "secret").split()
        )
    yield f"redis://reinstate:secret@127.0.0.1:{port}/0"
    server.stop()


def test_the_processes_of_several_machines_carry_a_run_out_and_stop_when_told(
    environ, tmp_path, restricted, fresh_database
):
    environ |= {
        "REINSTATE_LEDGER_URL": fresh_database,
        "REINSTATE_BROKER_URL": restricted,
        "REINSTATE_WORKERS": "2",
    }
    newest = revisions()[-1]
    assert said(environ, "migrate") == (0, f"the ledger was made, at revision {newest}\n")
    assert said(environ, "migrate")[1] == f"the ledger is at revision {newest} already\n"
    (tmp_path / "cache" / "ann" / "contacts").mkdir(parents=True)
    (tmp_path / "cache" / "ann" / "contacts" / "1.vcf").write_bytes(CARD)
    exported = [{**environ, "REINSTATE_METRICS": f"127.0.0.1:{free_port()}"} for _ in range(4)]
    processes = [
        start(exported[0], "conductor"),
        start(exported[1], "conductor"),
        start(exported[2], "worker", "--processes", "1", "--name", "left"),
        start(exported[3], "worker", "--processes", "1", "--name", "right"),
    ]
    settings = Settings.read(environ)
    ledger = Ledger(settings.ledger_url)
    try:
        plan = read_plan(PLAN.encode(), path="plan.yaml", base=tmp_path)
        run_id = Runs(ledger, load_sealer(settings)).submit(
            Submission(plan=plan, text=PLAN, folder=str(tmp_path), author="mia", users=["ann"])
        )
        deadline = time.monotonic() + 60
        state = ""
        while state != "finished":
            assert time.monotonic() < deadline, state
            assert [process.poll() for process in processes] == [None] * 4
            time.sleep(0.1)
            with ledger.read() as connection:
                state = connection.execute(
                    select(run.c.state).where(run.c.id == run_id)
                ).scalar_one()
        told = [metrics_of(one["REINSTATE_METRICS"]) for one in exported]
        assert sum("reinstate_conductor_leading 1.0" in text for text in told) == 1
        for text in told[:2]:
            assert f'outcome="restored",run="{run_id}"}} 1.0' in text
        written = sum("reinstate_written_items_total" in text for text in told[2:])
        assert written == 1, "one of the workers wrote the only item"
    finally:
        ledger.close()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
    for output in outputs[:2]:
        assert events(output)["conductor_started"]["kind"] == "postgresql"
        assert "conductor_stopped" in events(output)
    for output in outputs[2:]:
        assert events(output)["worker_ready"]["version"]
    assert (tmp_path / "pim").exists()


@pytest.mark.guarantee(18)
@pytest.mark.parametrize("command", ["conductor", "worker"])
def test_without_a_broker_nothing_starts(environ, command):
    status, output = said(environ, command)
    assert (status, "no broker is named" in output) == (7, True)


@pytest.mark.guarantee(18)
@pytest.mark.parametrize("command", ["conductor", "worker"])
def test_without_a_key_nothing_starts_on_a_shared_ledger(environ, command):
    environ |= {
        "REINSTATE_BROKER_URL": "redis://127.0.0.1:1",
        "REINSTATE_LEDGER_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    del environ["REINSTATE_KEY"]
    status, output = said(environ, command)
    assert (status, "there is no key" in output) == (7, True)


def test_a_ledger_or_broker_that_is_away_has_its_own_exit_status(environ):
    environ["REINSTATE_BROKER_URL"] = "redis://127.0.0.1:1"
    assert said(environ, "conductor")[0] == 6
    environ["REINSTATE_LEDGER_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    status, output = said(environ, "worker")
    assert (status, "the ledger did not answer" in output) == (6, True)


@pytest.mark.guarantee(18)
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "evicts keys"),
        (("--cluster-enabled", "yes"), "cluster"),
    ],
)
def test_a_redis_that_would_lose_messages_is_refused(environ, option, reason):
    server = RedisServer(*option)
    try:
        environ["REINSTATE_BROKER_URL"] = server.url
        with pytest.raises(Refused, match=reason):
            prove_ready(Settings.read(environ))
        plain = subprocess.run(
            [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", "worker"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        server.stop()
    assert plain.returncode == 7
    assert reason in plain.stderr


@pytest.mark.guarantee(18)
def test_a_ledger_of_another_schema_or_key_is_refused(environ, redis_server):
    environ["REINSTATE_BROKER_URL"] = redis_server.url
    settings = Settings.read(environ)
    prove_ready(settings)
    other = Settings.read(environ | {"REINSTATE_KEY": base64.b64encode(bytes(32)).decode()})
    with pytest.raises(Refused, match="key"):
        prove_ready(other)
    ledger = Ledger(settings.ledger_url)
    with ledger.begin() as connection:
        connection.execute(update(schema_version).values(version=99))
    ledger.close()
    with pytest.raises(Refused, match="schema 99"):
        prove_ready(settings)


# Brokers that are a matter of the address --------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def sentinel(tmp_path):
    """The port of a Sentinel that watches a Redis under the name `main`."""
    port, watching = free_port(), free_port()
    master = RedisServer("--port", str(port), "--bind", "127.0.0.1")
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {watching}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n"
    )
    server = next(iter(installed_servers()))[1]
    process = subprocess.Popen(
        [str(server), str(config), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509  the test has one thread
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", watching), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield watching, master
    process.kill()
    process.wait()
    master.stop()


def test_a_redis_is_found_by_asking_its_sentinel(environ, sentinel):
    port, master = sentinel
    environ["REINSTATE_BROKER_URL"] = f"sentinel://127.0.0.1:{port}/2?master_name=main"
    settings = Settings.read(environ)
    assert redis_facts(route(settings)).eviction == "noeviction"
    prove_ready(settings)
    bell = CeleryDoorbell(settings)
    bell.ring([Ring(batch=1, epoch=1)], expires=60)
    bell.close()
    with master.client() as client:
        client.select(2)
        assert client.dbsize()
        assert all(key.startswith(b"reinstate:") for key in client.scan_iter())


def test_a_sentinel_without_the_name_of_its_master_is_refused(environ):
    environ["REINSTATE_BROKER_URL"] = "sentinel://a:1;sentinel://b:2"
    with pytest.raises(Refused, match="which master"):
        route(Settings.read(environ))


def test_several_sentinels_and_their_password_are_one_address(environ):
    environ["REINSTATE_BROKER_URL"] = (
        "sentinel://a:1/3;sentinel://b:2?master_name=main&sentinel_password=s"
    )
    way = route(Settings.read(environ))
    assert way.url == "sentinel://a:1/3;sentinel://b:2"
    assert way.options["master_name"] == "main"
    assert way.options["sentinel_kwargs"] == {"password": "s"}


def test_rabbitmq_and_valkey_are_a_matter_of_the_address(environ):
    rabbit = route(Settings.read(environ | {"REINSTATE_BROKER_URL": "amqp://u:p@host/v"}))
    assert (rabbit.forks, rabbit.redis, rabbit.options) == (True, False, {})
    assert queue(rabbit).queue_arguments == {"x-queue-type": "quorum"}
    valkey = route(Settings.read(environ | {"REINSTATE_BROKER_URL": "valkey://host/1"}))
    assert (valkey.url, valkey.redis) == ("redis://host/1", True)
    assert queue(valkey).queue_arguments is None
