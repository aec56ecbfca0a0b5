"""A sample population, restored into real services: by the shipped plan, and by the importer."""

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
from tests.importer_server import TOKEN, ImporterServer
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
def test_the_plan_for_live_services_restores_into_real_ones(
    tmp_path, request, monkeypatch, radicale_server, moto_store
):
    url = radicale_server.url
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


IMPORTED = """
version: 1
name: imported
incident: {{as_of: 2009-10-01T00:00:00-07:00, service_start: 2002-10-01T00:00:00-07:00}}
users: {{from: material/affected.csv, decline: material/erased.csv}}
sources:
  devices: {{kind: vdir, path: material/devices}}
targets:
  app: {{kind: http, url: "{url}", token: env:APP_TOKEN}}
waves: [{{name: everyone}}]
defaults: {{gate: {{failed: 100%}}}}
phases:
  - {{restore: contacts, to: app}}
  - {{restore: calendar, to: app}}
  - {{restore: notes, to: app}}
  - {{restore: tasks, to: app}}
  - {{restore: photos, to: app}}
  - {{restore: high_scores, to: app}}
approvals: 1
"""


@pytest.fixture
def importer():
    server = ImporterServer()
    yield server
    server.stop()


@pytest.mark.guarantee(1)
@pytest.mark.guarantee(8)
def test_a_service_that_speaks_the_importer_protocol_gets_everybody_s_items(
    tmp_path, monkeypatch, importer
):
    truth = make_population(tmp_path, users=USERS, seed=1)
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    service = Service(tmp_path)
    run = carry_out(service, IMPORTED.format(url=importer.url), tmp_path / "material")

    status = service.status(run)
    assert audit(service.ledger, run) == []
    assert [phase.settled for phase in status.phases] == [USERS] * 6
    restored = {phase.category: phase.books.restored for phase in status.phases}
    there = Counter(category for category, _, _ in importer.module.ITEMS)
    assert there == restored
    assert {owner for _, owner, _ in importer.module.ITEMS}.isdisjoint(truth.erased)
    again = carry_out(service, IMPORTED.format(url=importer.url), tmp_path / "material")
    assert service.status(again).books.present == sum(restored.values())


def test_what_a_user_of_the_service_deleted_or_changed_since_stays_so(
    tmp_path, monkeypatch, importer
):
    make_population(tmp_path, users=USERS, seed=1)
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    service = Service(tmp_path)
    text, items = IMPORTED.format(url=importer.url), importer.module.ITEMS
    first = books_of(service, carry_out(service, text, tmp_path / "material"), "contacts")
    deleted, changed, *_ = sorted(where for where in items if where[0] == "contacts")
    importer.module.store(deleted, deleted=True)
    edited = items[changed][2].replace(b"FN:", b"FN:Dr. ")
    importer.module.store(changed, body=edited)
    again = books_of(service, carry_out(service, text, tmp_path / "material"), "contacts")
    assert (again.declined - first.declined, again.superseded, again.restored) == (1, 1, 0)
    assert items[deleted][0]["deleted"]
    assert items[changed][2] == edited


def books_of(service, run, category):
    return {phase.category: phase.books for phase in service.status(run).phases}[category]
