"""Real cards, events, tasks and notes, restored by whole runs into real Radicale and Xandikos.

What each run reports is compared with what the server gives to whoever asks, item by item. What a
server does not keep, whatever its form, is named here with the reason: it has to end quarantined.
"""

import importlib
import uuid
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest
from msgspec import structs

from orchestrator.audit import audit
from orchestrator.items import Copy, File, Folder, UserId
from orchestrator.ports import Place, Rules, Surroundings
from tests.corpus import corpus_bytes, corpus_files
from tests.in_process import Service
from workers.formats.shaping import shaped
from workers.targets.dav import Dav

CATEGORIES = ("contacts", "calendar", "tasks", "notes")
FEWEST_USERS = 6
"""As many write at the same time."""
LOSS = datetime(2026, 11, 22, tzinfo=UTC)
PLAN = """
version: 1
name: corpus
incident: {{as_of: 2026-11-22T00:00:00Z}}
sources:
  core: {{kind: vdir, path: material}}
targets:
  pim: {{kind: dav, url: "{url}", username: "{prefix}{{user}}", probe_user: probe}}
waves: [{{name: everyone}}]
defaults: {{gate: {{failed: 100%}}, on_conflict: newest}}
phases:
  - {{restore: contacts, to: pim}}
  - {{restore: calendar, to: pim}}
  - {{restore: tasks, to: pim}}
  - {{restore: notes, to: pim}}
approvals: 0
"""

NOT_KEPT = {
    "radicale": {
        "forced_types.ics": "an alarm without TRIGGER is given one, and would ring",
        "rfc_7529.ics": "rules in the Chinese, Ethiopic, Hebrew calendar, and with SKIP",
        "event_with_recurrence.ics": "EXDATE in UTC becomes floating, as DTSTART is",
        "event_dt_rrule_until_before_start.ics": "UNTIL before DTSTART is refused",
        "5.txt": "a task that recurs and has no date is refused",
    },
    "xandikos": {"43.ics": "a parameter with a bare colon is read in two ways"},
}
"""What a server refuses or changes in any form that means the same."""


def kind_of(category):
    return importlib.import_module(f"workers.categories.{category}").KIND()


def rules_of(kind):
    return Rules(repairs=frozenset(kind.repairs) - kind.lossy, loss=LOSS)


def copies(category, owner, files):
    kind = kind_of(category)
    given = [File(name=name, size=len(data), read=lambda d=data: d) for name, data in files]
    for found in kind.read(Folder(owner=owner, files=given), rules_of(kind)):
        if isinstance(found, Copy):
            yield found


@cache
def shared_out(category):
    """Every valid file that holds an item, to users such that each has equal items once."""
    users = []
    for number, (path, label) in enumerate(corpus_files(category)):
        if not label.endswith("valid"):
            continue
        name = f"{number:03}-{PurePosixPath(path).name}"
        data = corpus_bytes(path, label)
        found = [each.item for each in copies(category, UserId("someone"), [(name, data)])]
        marks = {item.ident for item in found} | {item.digest for item in found}
        if not marks:
            continue
        free = [user for user in users if user.marks.isdisjoint(marks)]
        if len(users) < FEWEST_USERS or not free:
            free = [SimpleNamespace(files=[], marks=set())]
            users += free
        user = min(free, key=lambda user: len(user.files))
        user.files.append((name, data))
        user.marks |= marks
    return [user.files for user in users]


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_shaped_item_has_its_ident_and_digest_and_needs_no_more_shaping(category):
    kind = kind_of(category)
    for number, files in enumerate(shared_out(category)):
        owner = UserId(f"user{number}")
        for copy in copies(category, owner, files):
            resource = shaped(category, copy.item)
            seen = kind.recognise(owner, resource)
            assert (seen.ident, seen.digest) == (copy.item.ident, copy.item.digest)
            again = structs.replace(copy.item, content=resource, attachments=())
            assert shaped(category, again) == resource


@pytest.mark.timeout(240)
@pytest.mark.parametrize("server", ["radicale", "xandikos"])
def test_valid_items_are_kept_by_real_servers_and_none_is_reported_that_is_not(
    server, tmp_path, request
):
    url = request.getfixturevalue(f"{server}_server").url
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    expected = {}
    for category in CATEGORIES:
        for number, files in enumerate(shared_out(category)):
            owner = UserId(f"user{number}")
            folder = tmp_path / "material" / owner / category
            folder.mkdir(parents=True)
            for name, data in files:
                (folder / name).write_bytes(data)
            expected[category, owner] = list(copies(category, owner, sorted(files)))

    service = Service(tmp_path)
    service.clock.now = datetime(2026, 11, 23, tzinfo=UTC)
    run = service.run(PLAN.format(url=url, prefix=prefix))
    assert audit(service.ledger, run) == []

    surroundings = Surroundings(folder=tmp_path, secret=str, clock=lambda: LOSS)
    target = Dav(url=url, username=prefix + "{user}", probe_user="probe").open(surroundings)
    request.addfinalizer(target.close)
    kept, valid, lost = Counter(), Counter(), set()
    for (category, owner), found in expected.items():
        entries = list(target.survey(category, [owner]))
        places = [Place(owner=owner, ref=entry.ref) for entry in entries]
        live = {
            (seen.ident, seen.digest)
            for each in target.fetch(category, places)
            if (seen := kind_of(category).recognise(owner, each.content)) is not None
        }
        for ident in {copy.item.ident for copy in found}:  # a file may hold several versions
            versions = [copy for copy in found if copy.item.ident == ident]
            valid[category] += 1
            if any((ident, copy.item.digest) in live for copy in versions):
                kept[category] += 1
            else:
                lost.add(versions[0].spans[0].file.partition("-")[2])

    assert lost == NOT_KEPT[server].keys()
    phases = {phase.category: phase.books for phase in service.status(run).phases}
    assert {category: books.restored for category, books in phases.items()} == kept
    assert {category: books.pending for category, books in phases.items()} == dict.fromkeys(
        CATEGORIES, 0
    )
    assert all(kept[category] >= 0.96 * valid[category] for category in CATEGORIES)
