"""What is at a place by our own hand, when a user or a crash comes between two of our steps.

A crash takes conductor, worker and all messages; ledger and target stay. The target shows no
tombstones, so that only our journal can tell a deletion from what never was.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.lifecycle import RunState
from orchestrator.ports import Fate
from orchestrator.query import Query
from tests.faults.simulation.schedule import Killed
from tests.in_process import Service
from workers.sources import memory as source
from workers.targets import memory as target
from workers.targets.memory import Disturbance

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
BEFORE, AFTER = AS_OF - timedelta(days=300), AS_OF + timedelta(days=3)
PLAN = """
version: 1
name: hand
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{core: {{kind: memory, name: core}}, old: {{kind: memory, name: old}}}}
targets: {{live: {{kind: memory, name: hand}}}}
defaults: {{attempts: 4, on_conflict: {policy}, gate: {{failed: 100%}}}}
phases: [{{restore: notes, to: live}}]
approvals: 0
"""
FIRST, AFTERWARDS = "disturb", "followed"
either = pytest.mark.parametrize("moment", [FIRST, AFTERWARDS])
PLACE = ("notes", "ann", "x")
OLD, NEW, BEST = "2009-01-01", "2009-06-01", "2009-08-01"


def note(body, day=OLD):
    return json.dumps({"id": "x", "body": body, "revised": f"{day}T00:00:00Z"}).encode()


def store():
    return target.store("hand")


def body():
    held = store().held.get(PLACE)
    return None if held is None or held.deleted else json.loads(held.content)["body"]


def deleted():
    """Its user deletes it, and nothing tells so."""
    store().held.pop(PLACE, None)


def changed():
    store().put(*PLACE, note("hers", OLD), at=AFTER)


def die():
    raise Killed


def upon(moment, *deeds):
    """Once, before a write of Ann's takes effect or right after: these things happen."""

    def happens(_category, change):
        if change.owner != target.PROBE:
            store().disturb = store().followed = None
            for deed in deeds:
                deed()

    setattr(store(), moment, happens)


class Life:
    """One installation, and how it goes on after a crash."""

    def __init__(self, folder):
        self.service = Service(folder)
        self.lives = 0
        target.forget("hand")
        source.put("old", {})

    def recovered(self, content):
        source.put("core", {"ann": {"notes": {"x": content}}})

    def run(self, policy="newest"):
        return self.goes_on(self.service.submit(PLAN.format(policy=policy)))

    def goes_on(self, run):
        try:
            self.service.go_on()
        except Killed:
            self.lives += 1
            self.service.rings.waiting.clear()
            self.service.conductor = self.service.another_conductor(f"life{self.lives}")
            self.service.work = self.service.another_worker(f"worker{self.lives}")
            self.service.clock.advance(minutes=2)
            self.service.go_on()
        assert self.service.ended(run) is RunState.FINISHED
        assert audit(self.service.ledger, run) == []
        return run

    def books(self, run):
        books = self.service.status(run).books
        assert imbalances(books, settled=True) == []
        told = {name: getattr(books, name) for name in ("restored", "replaced", "present")}
        told |= {name: getattr(books, name) for name in ("superseded", "declined")}
        return {name: number for name, number in told.items() if number}

    def undo(self, run):
        care = Aftercare(self.service.ledger, self.service.sealer)
        return self.goes_on(care.undo(run, Query(), who="mia", reason="a mistake"))


@pytest.fixture
def life(tmp_path):
    life = Life(tmp_path)
    yield life
    life.service.work.close()
    target.forget("hand")


@pytest.fixture(params=["by an earlier run", "by its user"])
def over_older(request, life):
    """An older one is there: put there by us, or its user's own."""
    if request.param == "by its user":
        store().put(*PLACE, note("old"), at=BEFORE)
    else:
        life.recovered(note("old"))
        life.run()
    life.recovered(note("new", NEW))
    return life


REPLACED = {"restored": 1, "replaced": 1}


# Users who come in between --------------------------------------------------------------------


@pytest.mark.guarantee(8)
def test_what_its_user_deletes_after_our_replacing_it_and_before_our_reading_it_back_stays_so(
    over_older,
):
    upon(AFTERWARDS, deleted)
    run = over_older.run()
    assert (body(), over_older.books(run)) == (None, {"declined": 1})


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("applied", [True, False])
def test_what_its_user_deletes_while_the_answer_is_lost_stays_deleted(over_older, applied):
    def loses(_category, change):
        if change.owner == target.PROBE:
            return None
        store().disturb = None
        if not applied:
            deleted()
        return Disturbance(fate=Fate.UNKNOWN, stored=applied)

    if applied:
        upon(AFTERWARDS, deleted)
    store().disturb = loses
    run = over_older.run()
    assert (body(), over_older.books(run)) == (None, {"declined": 1})


@pytest.mark.guarantee(8)
@either
def test_what_its_user_deletes_while_the_worker_is_dead_stays_deleted(over_older, moment):
    upon(moment, deleted, die)
    run = over_older.run()
    assert (body(), over_older.books(run)) == (None, {"declined": 1})


@pytest.mark.guarantee(5)
@either
def test_what_its_user_changes_while_the_worker_is_dead_stays(over_older, moment):
    upon(moment, changed, die)
    run = over_older.run()
    assert (body(), over_older.books(run)) == ("hers", {"superseded": 1})


@pytest.mark.guarantee(3)
def test_what_was_only_meant_to_be_created_is_created_although_the_worker_died(life):
    life.recovered(note("new", NEW))
    upon(FIRST, die)
    run = life.run()
    assert (body(), life.books(run)) == ("new", {"restored": 1})


# Crashes between two steps --------------------------------------------------------------------


@pytest.mark.guarantee(6)
@either
def test_killed_before_or_after_replacing_an_older_one_a_run_ends_with_the_newer(
    over_older, moment
):
    upon(moment, die)
    run = over_older.run()
    assert (body(), over_older.books(run)) == ("new", REPLACED)


@pytest.mark.guarantee(6)
@either
def test_killed_while_replacing_with_a_mended_copy_a_run_ends_with_that(life, moment):
    life.recovered(note("old"))
    source.put("old", {"ann": {"notes": {"x": note("new", NEW)[:-1]}}})
    run = life.run()
    (kept,) = life.service.progress.quarantine(run)
    mended = {kept["number"]: note("new", NEW)}
    life.service.runs.release(run, mended, who="jo", reason="mended")
    upon(moment, die)
    life.goes_on(run)
    assert (body(), life.books(run)) == ("new", {"restored": 1} | life.books(run))


@pytest.mark.guarantee(6)
def test_what_a_cancelled_run_meant_to_write_is_not_taken_for_its_users_own(over_older):
    upon(AFTERWARDS, die)
    service = over_older.service
    first = service.submit(PLAN.format(policy="newest"))
    with pytest.raises(Killed):
        service.go_on()
    service.runs.cancel(first, who="mia", reason="a mistake")
    over_older.recovered(note("best", BEST))
    service.rings.waiting.clear()
    service.conductor, service.work = service.another_conductor("2"), service.another_worker("2")
    service.clock.advance(minutes=2)
    run = over_older.run()
    assert (body(), over_older.books(run)) == ("best", REPLACED)


@pytest.mark.guarantee(10)
@either
def test_killed_while_bringing_back_what_an_undo_took_away_a_run_ends_with_it(life, moment):
    life.recovered(note("old"))
    life.undo(life.run())
    assert body() is None
    upon(moment, die)
    run = life.run()
    assert (body(), life.books(run)) == ("old", {"restored": 1})


@pytest.mark.guarantee(10)
@either
def test_killed_while_replacing_what_an_undo_put_back_a_run_ends_with_the_newer(life, moment):
    store().put(*PLACE, note("old"), at=BEFORE)
    life.recovered(note("new", NEW))
    life.undo(life.run())
    assert body() == "old"
    upon(moment, die)
    run = life.run()
    assert (body(), life.books(run)) == ("new", REPLACED)


@pytest.mark.guarantee(10)
def test_what_was_replaced_over_a_crash_is_put_back_by_an_undo(over_older):
    upon(FIRST, die)
    undo = over_older.undo(over_older.run())
    assert over_older.service.ended(undo) is RunState.FINISHED
    assert body() == "old"


@pytest.mark.guarantee(8)
def test_what_an_undo_put_back_and_its_user_deleted_then_stays_deleted(life):
    store().put(*PLACE, note("old"), at=BEFORE)
    life.recovered(note("new", NEW))
    life.undo(life.run())
    assert body() == "old"
    deleted()
    run = life.run()
    assert (body(), life.books(run)) == (None, {"declined": 1})


@pytest.mark.guarantee(10)
def test_what_an_undo_took_away_without_a_trace_can_be_restored_again(life):
    life.recovered(note("old"))
    life.undo(life.run())
    deleted()  # the tombstone too: not every target keeps them
    run = life.run()
    assert (body(), life.books(run)) == ("old", {"restored": 1})
