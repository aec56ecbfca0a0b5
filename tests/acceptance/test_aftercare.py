"""What comes after a run: it is verified, undone, the undo undone; closed; a user is forgotten."""

import random

import pytest

from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.lifecycle import RunState
from tests.afterwards import Afterwards, as_if_undone, seen
from tests.in_process import Service

POLICIES = ("newest", "replace", "keep-both")


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path, ledger_url=url)
    yield service
    service.work.close()


@pytest.fixture
def small(tmp_path):
    service = Service(tmp_path)
    yield service
    service.work.close()


def settled(service, run_id):
    assert service.ended(run_id) is RunState.FINISHED
    assert audit(service.ledger, run_id) == []
    assert imbalances(service.status(run_id).books, settled=True) == []


@pytest.mark.guarantee(10)
def test_an_undo_makes_everything_as_it_was(service):
    world = Afterwards(service, random.Random(3))
    run = world.restored()
    assert seen() != world.before
    undo = world.undo(run)
    settled(service, undo)
    assert seen() == world.before
    found = world.undone(undo)
    assert found["left"] == 0
    assert found["removed"] > 5
    assert found["put_back"] > 0
    assert found["places"] == found["removed"] + found["put_back"] + found["already"]


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(6))
def test_what_nobody_changed_since_is_as_before_and_the_rest_stays(small, policy, seed):
    world = Afterwards(small, random.Random(seed), policy=policy, approvals=2)
    run = world.restored()
    after = seen()
    now = world.edited()
    undo = world.undo(run)
    settled(small, undo)
    assert seen() == as_if_undone(world.before, after, now)
    changed = {key for key in after if after[key] != world.before.get(key)}
    assert world.undone(undo)["places"] == len(changed)
    assert world.undone(undo)["left"] == len(
        {
            key
            for key in changed
            if now.get(key) != after[key] and not gone_as_before(world, now, key)
        }
    )


def gone_as_before(world, now, key):
    return now.get(key) == world.before.get(key)
