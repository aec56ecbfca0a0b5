"""The plan for a CardDAV and CalDAV server with an object store, carried out on real ones."""

import uuid
from collections import Counter
from pathlib import Path

import obstore
import pytest

from orchestrator.audit import audit
from orchestrator.lifecycle import RunState
from orchestrator.ports import Surroundings
from orchestrator.user_lists import read_census, read_declined, read_users
from plans.sample.population import make_population
from tests.in_process import Service
from tests.object_stores import KEY, SECRET
from workers.targets.dav import Dav

PLAN = Path(__file__).parents[2] / "plans" / "caldav-and-s3.yaml"
USERS = 8
IN_DAV = ("contacts", "calendar", "tasks", "notes")


def carry_out(service, text, material):
    run = service.submit(
        text,
        users=read_users(material / "affected.csv"),
        declined=read_declined(material / "erased.csv"),
        census=[(c.user, c.category, c.items) for c in read_census(material / "census.csv")],
    )
    service.go_on()
    service.runs.approve(run, who="jo", reason="looked at it")
    service.go_on()
    while service.progress.state(run) is not RunState.FINISHED:
        assert service.runs.promote(run, who="jo", reason="looked at the wave")
        service.go_on()
    return run


@pytest.mark.timeout(180)
@pytest.mark.parametrize("server", ["radicale", "xandikos"])
def test_the_plan_for_live_services_restores_into_real_ones(
    server, tmp_path, request, monkeypatch, moto_store
):
    url = request.getfixturevalue(f"{server}_server").url
    truth = make_population(tmp_path, users=USERS, seed=1)
    prefix, bucket = f"p{uuid.uuid4().hex[:8]}-", moto_store.bucket()
    for name, value in {
        "DAV_URL": url,
        "DAV_PASSWORD": "any",
        "PHOTOS_URL": f"s3://{bucket}/restored",
        "S3_KEY": KEY,
        "S3_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    text = PLAN.read_text()
    text = text.replace('username: "{user}"', f'username: "{prefix}{{user}}"')
    text = text.replace(
        "    url: env:PHOTOS_URL\n",
        f"    url: env:PHOTOS_URL\n    endpoint: {moto_store.endpoint}\n    region: us-east-1\n",
    )
    service = Service(tmp_path)
    run = carry_out(service, text, tmp_path / "material")

    status = service.status(run)
    assert audit(service.ledger, run) == []
    assert [phase.settled for phase in status.phases] == [USERS] * 5
    restored = {phase.category: phase.books.restored for phase in status.phases}
    assert min(restored.values()) > 0
    there = Counter()
    surroundings = Surroundings(folder=tmp_path, secret=str, clock=service.clock)
    target = Dav(url=url, username=prefix + "{user}").open(surroundings)
    request.addfinalizer(target.close)
    for category in IN_DAV:
        there[category] = len(list(target.survey(category, truth.users)))
        assert list(target.survey(category, sorted(truth.erased))) == []
    held = [meta["path"] for meta in obstore.list(moto_store.client(bucket)).collect()]
    photos = [path for path in held if "/photos/" in path and ".parts/" not in path]
    assert {**there, "photos": len(photos)} == restored
