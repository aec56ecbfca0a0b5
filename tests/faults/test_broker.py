"""The broker is a doorbell: wiped, killed, full, frozen or lying, it costs time and no more."""

import base64
import json
import time

import pytest

from orchestrator.doorbell import QUEUE
from orchestrator.lifecycle import RunState
from tests.faults.cargo import BOTH, CONTACTS, Cargo
from tests.faults.installation import QUEUE_KEY, Installation
from workers.app import make_app

SLOWLY = BOTH.replace("pim}", "pim, limits: {rate: 500/s}}")


@pytest.mark.guarantee(3)
def test_messages_that_are_lost_repeated_reordered_forged_or_replayed_change_nothing(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=600, phases=CONTACTS, waves="{name: everyone}")
    with Installation(tmp_path / "home", lease_seconds=4) as here, here.redis.client() as client:
        here.start(workers=1)
        run = here.submit(cargo.plan.replace("approvals: 0", "approvals: 1"), cargo.folder)
        here.until(lambda: here.state(run) is RunState.AWAITING_APPROVAL)
        here.processes.pop("worker1").stop()
        here.runs.approve(run, who="jo", reason="looked at it")
        here.until(lambda: client.llen(QUEUE_KEY) == 6)
        sent = client.lrange(QUEUE_KEY, 0, -1)
        client.delete(QUEUE_KEY)
        kept = sent[1:]
        forged = [_ring(sent[0], *body) for body in FORGED]
        client.rpush(QUEUE_KEY, *kept[::-1], *forged, *kept, *kept)
        here.worker("worker2")
        here.finish(run)
        before = cargo.state()
        assert cargo.wrongs() == []
        client.rpush(QUEUE_KEY, *sent, *kept[::-1], *forged)
        here.until(lambda: client.llen(QUEUE_KEY) == 0)
        time.sleep(0.5)
        assert cargo.state() == before
        again = here.submit(cargo.plan, cargo.folder)
        here.finish(again)
        assert cargo.state() == before
        assert here.processes["worker2"].starts == 1


@pytest.mark.long
def test_a_worker_that_is_offered_work_and_gets_none_is_started_again(tmp_path):
    cargo = Cargo(tmp_path / "cargo", users=20, phases=CONTACTS)
    with Installation(tmp_path / "home") as here:
        worker = here.start().processes["worker1"]
        run = here.submit(cargo.plan.replace("approvals: 0", "approvals: 1"), cargo.folder)
        here.until(lambda: here.state(run) is RunState.AWAITING_APPROVAL)
        stuck = make_app(here.settings)
        stuck.control.cancel_consumer(QUEUE, reply=True)
        stuck.close()
        here.runs.approve(run, who="jo", reason="looked at it")
        here.finish(run)
        assert worker.starts == 2
        assert "worker_starves" in here.log("worker1")
    assert cargo.wrongs() == []


FORGED = [(1, 1), (2, 0), (2, 99), (999_999, 1), (-1, -1), (2**63, 1), ("x", {}), (None, None), ()]
"""A stranger's batches and epochs."""


def _ring(message: bytes, *arguments: object) -> bytes:
    """The same message with other arguments, under an id of its own."""
    sent = json.loads(message)
    body = json.loads(base64.b64decode(sent["body"]))
    body[0] = list(arguments)
    sent["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    sent["headers"]["id"] = sent["properties"]["correlation_id"] = f"forged-{arguments}"
    sent["properties"]["delivery_tag"] = f"forged-{arguments}"
    return json.dumps(sent).encode()
