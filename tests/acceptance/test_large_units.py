"""Users with more items than a chunk: the same outcomes, at a cost that grows with their items."""

import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from PIL import Image

from orchestrator.audit import audit
from orchestrator.items import File, Folder, Ident, Media, UserId
from orchestrator.ports import Rules
from tests.in_process import Service
from workers import reading, restore
from workers.categories import notes, photos
from workers.reading import Reading, Recovered
from workers.sources import memory as source
from workers.targets import memory as target

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
PLAN = """
version: 1
name: large
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{core: {{kind: memory, name: core}}}}
targets: {{live: {{kind: memory, name: live}}}}
waves: [{{name: everyone}}]
defaults: {{on_conflict: {policy}, gate: {{failed: 100%}}}}
phases: [{{restore: notes, to: live}}]
approvals: 0
"""


def note(name, body):
    fields = {"id": name, "title": name, "body": body, "revised": "2009-02-01T00:00:00Z"}
    return json.dumps(fields).encode()


def in_chunks_of(monkeypatch, number):
    monkeypatch.setattr(restore, "CHUNK_ITEMS", number)


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    target.forget("live")
    yield service
    service.work.close()


def counted(monkeypatch):
    """How many owners were surveyed, and how many contents were asked for, from now on."""
    counts = {"surveyed": 0, "fetched": 0}
    survey, fetch = target.MemoryTarget.survey, target.MemoryTarget.fetch

    def surveying(self, category, owners):
        counts["surveyed"] += len(owners)
        return survey(self, category, owners)

    def fetching(self, category, places):
        counts["fetched"] += len(places)
        return fetch(self, category, places)

    monkeypatch.setattr(target.MemoryTarget, "survey", surveying)
    monkeypatch.setattr(target.MemoryTarget, "fetch", fetching)
    return counts


def test_cost_grows_with_the_items_of_a_user_not_with_their_square(service, monkeypatch):
    in_chunks_of(monkeypatch, 20)
    source.put("core", {"ann": {"notes": {f"{n}": note(f"n{n}", f"text {n}") for n in range(400)}}})
    service.run(PLAN.format(policy="newest"))
    counts = counted(monkeypatch)
    again = service.run(PLAN.format(policy="newest"))
    assert service.status(again).books.present == 400
    probes = 10
    assert counts["surveyed"] <= 1 + probes
    assert counts["fetched"] <= 2 * 400 + probes


def picture(number):
    found = io.BytesIO()
    Image.new("RGB", (2, 2), (number, 0, 0)).save(found, "PNG")
    return found.getvalue()


def test_photos_of_one_user_are_surveyed_once_however_many_chunks_they_take(service, monkeypatch):
    plan = PLAN.format(policy="newest").replace("notes", "photos")
    in_chunks_of(monkeypatch, 5)
    source.put("core", {"ann": {"photos": {f"{n}.png": picture(n) for n in range(60)}}})
    probes = 10
    counts = counted(monkeypatch)
    for outcome in ("restored", "present"):
        counts.update(surveyed=0)
        run = service.run(plan)
        assert getattr(service.status(run).books, outcome) == 60
        assert audit(service.ledger, run) == []
        assert counts["surveyed"] <= 1 + probes


def test_what_its_user_deletes_after_the_survey_stays_deleted(service, monkeypatch):
    """The survey of a user with many photos is older than the last of its chunks."""
    in_chunks_of(monkeypatch, 5)
    source.put("core", {"ann": {"photos": {f"{n}.png": picture(n) for n in range(20)}}})
    store, fetch, ann = target.store("live"), target.MemoryTarget.fetch, UserId("ann")
    refs = target.MemoryTarget(name="live", store=store, clock=lambda: AS_OF)
    for number in range(20):
        ident = photos.KIND().recognise(ann, picture(number)).ident
        ref = refs.ref("photos", ident, Media("png", "image/png"))
        store.put("photos", ann, ref, picture(number), at=AS_OF - timedelta(days=9))

    def deleting(self, category, places):
        for key in [key for key in store.held if key[0] == "photos"]:
            del store.held[key]  # without a trace, as most targets do
        return fetch(self, category, places)

    monkeypatch.setattr(target.MemoryTarget, "fetch", deleting)
    run = service.run(PLAN.format(policy="newest").replace("notes", "photos"))
    assert service.status(run).books.declined == 20
    assert store.contents("photos", "ann") == {}


def live_before(store):
    """What the target holds when the run begins, of each sort that decisions tell apart."""
    kind = notes.KIND()
    media = Media("json", "application/json")
    refs = target.MemoryTarget(name="live", store=store, clock=lambda: AS_OF)
    owner = UserId("ann")
    for number in range(0, 60, 6):
        same, older, newer, gone = (Ident(f"n{number + k}") for k in range(4))
        for ident, body, days in ((same, f"text {number}", 0), (older, "o", -9), (newer, "n", 9)):
            at = AS_OF + timedelta(days=days)
            store.put("notes", owner, refs.ref("notes", ident, media), note(ident, body), at=at)
        grave = ("notes", owner, refs.ref("notes", gone, media))
        store.put(*grave, note(gone, "x"), at=AS_OF)
        store.delete(*grave, at=AS_OF + timedelta(days=2))
        store.held[grave] = replace(store.held[grave], ident=gone)
        typed = note(f"typed {number}", f"text {number + 4}").replace(
            f'"typed {number}"'.encode(), f'"n{number + 4}"'.encode(), 2
        )
        assert kind.recognise(owner, typed) is not None
        store.put("notes", owner, f"elsewhere-{number}", typed, at=AS_OF)


@pytest.mark.parametrize("policy", ["newest", "keep-both", "keep-live"])
def test_where_a_chunk_ends_changes_no_outcome(service, monkeypatch, policy):
    material = {f"{n:02}": note(f"n{n}", f"text {n}") for n in range(60)}
    source.put("core", {"ann": {"notes": material}})
    told = []
    for size in (2_000, 7):
        target.forget("live")
        live_before(target.store("live"))
        in_chunks_of(monkeypatch, size)
        run = service.run(PLAN.format(policy=policy))
        assert audit(service.ledger, run) == []
        told.append((service.status(run).books, target.store("live").contents("notes", "ann")))
    assert told[0] == told[1]
    assert told[0][0].items == 60
    assert told[0][0].declined == 10


def peak(items):
    """Bytes of memory at most while so many notes of 4 KiB are read and given chunk by chunk."""

    def bytes_of(number):
        return note(f"n{number}", f"{number} " * (4096 // (len(str(number)) + 1)))

    files = [
        File(name=f"{n:06}", size=len(bytes_of(n)), read=lambda n=n: bytes_of(n))
        for n in range(items)
    ]
    folder = Folder(owner=UserId("ann"), files=files)
    tracemalloc.start()
    try:
        unit = Reading(
            [Recovered(trust=0, source="core", folder=folder)],
            notes.KIND(),
            Rules(repairs=frozenset(), loss=AS_OF),
            lambda: None,
        )
        unit.read()
        given = sum(len(portion) for portion in unit.portions(items=50, size=10**6))
        assert given == items
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_contents_of_a_user(monkeypatch):
    monkeypatch.setattr(reading, "CONTENT_BUDGET", 200_000)
    few, many = peak(500), peak(3_000)
    assert (many - few) / 2_500 < 700  # bytes an item: hashed ident, digest, rank; and its file
