"""What comes after a run: it is verified, undone, the undo undone; closed; a user is forgotten."""

import random

import pytest
from sqlalchemy import insert, select, update

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.errors import NotFound, Refused
from orchestrator.findings import Why, drifts, undone, would_be_undone
from orchestrator.ledger.schema import exception, unit
from orchestrator.ledger.scopes import Sample
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.query import Query, parse
from tests.afterwards import AS_OF, LATER, Afterwards, as_if_undone, seen
from tests.faults.simulation.population import content
from tests.in_process import Service
from workers.sources import memory as source
from workers.targets import memory as target

POLICIES = ("newest", "replace", "keep-both")
VDIR = """
version: 1
name: folders
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{core: {{kind: memory, name: core}}}}
targets: {{live: {{kind: vdir, path: live{more}}}}}
phases: [{{restore: notes, to: live}}]
approvals: 0
"""


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
@pytest.mark.parametrize("seed", range(3))
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


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("seed", range(2))
def test_undoing_an_undo_brings_back_what_the_run_restored(small, seed):
    world = Afterwards(small, random.Random(seed), policy="newest")
    run = world.restored()
    after = seen()
    undo = world.undo(run)
    assert seen() == world.before
    redo = world.undo(undo)
    settled(small, redo)
    assert seen() == after
    assert world.undone(redo)["left"] == 0
    again = world.undo(run)
    settled(small, again)
    assert seen() == world.before


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("seed", range(2))
def test_an_undo_of_an_undo_leaves_what_was_changed_in_between(small, seed):
    world = Afterwards(small, random.Random(seed))
    run = world.restored()
    restored = seen()
    undo = world.undo(run)
    undone = seen()
    now = world.edited()
    redo = world.undo(undo)
    settled(small, redo)
    assert seen() == as_if_undone(restored, undone, now)


def test_what_was_undone_is_restored_by_a_later_run_as_if_for_the_first_time(service):
    world = Afterwards(service, random.Random(5))
    run = world.restored()
    after, books = seen(), service.status(run).books
    world.undo(run)
    assert seen() == world.before
    again = world.restored()
    assert seen() == after
    assert service.status(again).books == books


def test_what_a_user_deleted_after_an_undo_stays_deleted(small):
    world = Afterwards(small, random.Random(1))
    run = world.restored()
    world.undo(world.undo(run))
    gone = [key for key in seen() if key not in world.before]
    for category, owner, ref in gone:
        target.store("live").delete(category, owner, ref, at=LATER)
    world.restored()
    assert not set(gone) & seen().keys()


def test_an_undo_takes_only_what_the_query_asks_for(small):
    world = Afterwards(small, random.Random(2))
    run = world.restored()
    after = seen()
    undo = world.undo(run, "category:notes", "user:u1", "user:u2")
    settled(small, undo)
    for key, restored in after.items():
        category, owner, _ = key
        taken = category == "notes" and owner in {"u1", "u2"}
        assert seen().get(key) == (world.before.get(key) if taken else restored)
    assert {row["user"] for row in units(small, undo)} <= {"u1", "u2"}
    assert {row["category"] for row in units(small, undo)} == {"notes"}


def units(service, run_id):
    return service.progress.units(run_id, Query(), limit=1000)


def test_users_keep_their_numbers_and_waves_in_an_undo(small):
    world = Afterwards(small, random.Random(2))
    run = world.restored()
    undo = world.undo(run)
    of_run = {(row["user"], row["number"], row["wave"]) for row in units(small, run)}
    of_undo = {(row["user"], row["number"], row["wave"]) for row in units(small, undo)}
    assert of_undo <= of_run
    assert {wave for _, _, wave in of_undo} == {"canary", "everyone"}


def test_an_undo_asks_for_approvals_by_others(small):
    world = Afterwards(small, random.Random(2), approvals=2)
    run = world.restored()
    after = seen()
    undo = world.undo(run, rest=False)
    small.go_on()
    assert small.progress.state(undo) is RunState.AWAITING_APPROVAL
    with pytest.raises(Refused):
        small.runs.approve(undo, who="mia", reason="my own")
    assert seen() == after
    world.approve(undo)
    settled(small, undo)
    assert seen() == world.before


def test_while_a_run_is_undone_nothing_of_it_is_tried_again(small):
    world = Afterwards(small, random.Random(2))
    run = world.restored()
    undo = world.undo(run, rest=False)
    with pytest.raises(Refused):
        world.undo(run)
    break_one(small, run)
    with pytest.raises(Refused):
        small.retry(run)
    small.runs.cancel(undo, who="mia", reason="no")
    assert small.retry(run) == 1


def break_one(service, run_id):
    """Let one unit have failed."""
    with service.ledger.begin() as connection:
        one = connection.execute(select(unit).where(unit.c.run == run_id).limit(1)).one()
        these = (unit.c.run == run_id, unit.c.user == one.user, unit.c.phase == one.phase)
        connection.execute(update(unit).where(*these).values(state=UnitState.FAILED))
        connection.execute(
            insert(exception).values(
                run=run_id, user=one.user, phase=one.phase, state="failed", cause="abcdef", since=0
            )
        )


def test_only_what_wrote_can_be_undone(small):
    world = Afterwards(small, random.Random(2))
    run = world.restored()
    verify = world.verify(run)
    with pytest.raises(Refused):
        world.undo(verify)
    with pytest.raises(NotFound):
        world.undo(run, "user:nobody")
    second = world.restored()  # everything is there already
    with pytest.raises(NotFound):
        world.undo(second)


@pytest.mark.guarantee(8)
def test_nothing_is_put_back_for_whom_asked_to_be_erased(small):
    world = Afterwards(small, random.Random(0), policy="replace", approvals=2)
    run = world.restored()
    after = seen()
    undo = world.undo(run)
    assert seen() == world.before
    small.runs.decline(run, ["u1", "u3"], who="mia")
    redo = world.undo(undo)
    settled(small, redo)
    assert {key: v for key, v in seen().items() if key[1] not in {"u1", "u3"}} == {
        key: v for key, v in after.items() if key[1] not in {"u1", "u3"}
    }
    for key, there in seen().items():
        if key[1] in {"u1", "u3"}:
            assert world.before.get(key) == there


def test_a_target_that_cannot_compare_keeps_everything_and_says_so(tmp_path):
    service = Service(tmp_path)
    source.put("core", {"ann": {"notes": {"a": content("notes", "x", "annx", AS_OF)}}})
    text = VDIR.format(more="")
    run = service.run(text)
    [file] = (tmp_path / "live").rglob("*.json")
    undo = Aftercare(service.ledger, service.sealer).undo(run, Query(), who="mia", reason="x")
    service.go_on()
    settled(service, undo)
    assert file.exists()
    assert undone(service.status(undo).books)["left"] == 1
    [item] = service.progress.user(undo, "ann").categories[0].items
    assert item["reason"] == Why.UNSAFE
    assert any("undo leaves" in warning for warning in service.status(undo).warnings)


def test_an_undo_on_folders_leaves_them_as_they_were(tmp_path):
    service = Service(tmp_path)
    source.put("core", {"ann": {"notes": {"a": content("notes", "x", "annx", AS_OF)}}})
    run = service.run(VDIR.format(more=", exclusive: true"))
    assert list((tmp_path / "live").rglob("*.json"))
    undo = Aftercare(service.ledger, service.sealer).undo(run, Query(), who="mia", reason="x")
    service.go_on()
    settled(service, undo)
    assert not list((tmp_path / "live").rglob("*.json"))
    run = service.run(VDIR.format(more=", exclusive: true"))
    assert service.status(run).books.restored == 1


# Verify ---------------------------------------------------------------------------------------


def test_a_verify_finds_everything_as_it_was_left(service):
    world = Afterwards(service, random.Random(4))
    run = world.restored()
    before, writes = seen(), target.store("live").writes
    verify = world.verify(run)
    settled(service, verify)
    found = drifts(service.status(verify).books)
    assert found["places"] == found["as_left"] == service.status(run).books.restored
    assert seen() == before
    probes = target.store("live").writes - writes
    assert probes <= 6  # the inspection's own, none for a user


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("seed", range(3))
def test_a_verify_finds_each_planted_drift_and_no_other(small, seed):
    world = Afterwards(small, random.Random(seed))
    run = world.restored()
    after = seen()
    wrote = {key for key in after if after[key] != world.before.get(key)}
    now = world.edited()
    verify = world.verify(run)
    settled(small, verify)
    gone = {key for key in wrote if key not in now}
    changed = {key for key in wrote - gone if now[key] != after[key]}
    found = drifts(small.status(verify).books)
    assert found == {
        "places": len(wrote),
        "as_left": len(wrote) - len(gone) - len(changed),
        "changed": len(changed),
        "gone": len(gone),
        "never_there": 0,
    }
    told = {
        (answer.category, owner, item["ident"])
        for owner in {row["user"] for row in small.progress.losses(verify)}
        for answer in small.progress.user(verify, owner).categories
        for item in answer.items
    }
    assert told == gone | changed


def test_a_verify_says_what_an_undo_would_do(small):
    world = Afterwards(small, random.Random(4))
    run = world.restored()
    world.edited()
    before = seen()
    would = would_be_undone(small.status(world.verify(run)).books)
    assert seen() == before
    assert would == world.undone(world.undo(run))


def test_a_verify_of_a_sample_looks_at_so_many_units(small):
    world = Afterwards(small, random.Random(4))
    run = world.restored()
    whole = len(units(small, world.verify(run)))
    assert len(units(small, world.verify(run, sample=Sample(3)))) == 3
    assert len(units(small, world.verify(run, sample=Sample(1, 4)))) == -(-whole // 4)


def test_a_verify_asks_for_no_approval_and_any_time_will_do(small):
    world = Afterwards(small, random.Random(4), approvals=2)
    run = world.restored()
    for _ in range(2):
        settled(small, world.verify(run))
        small.clock.advance(days=400)
    undo = world.undo(run)
    found = drifts(small.status(world.verify(undo)).books)
    assert found["as_left"] == found["places"] > 0


def test_a_write_that_never_got_there_is_not_called_drift_of_the_users(small):
    world = Afterwards(small, random.Random(4))

    def lose(_category, change):
        if change.owner == "u0":
            return target.Disturbance(fate=target.Fate.UNKNOWN, stored=False)
        return None

    target.store("live").disturb = lose
    run = world.restored()
    target.store("live").disturb = None
    found = drifts(small.status(world.verify(run, "user:u0")).books)
    assert found["never_there"] == found["places"] > 0


# While others go on ---------------------------------------------------------------------------


@pytest.mark.guarantee(10)
@pytest.mark.guarantee(5)
@pytest.mark.parametrize("seed", range(2))
def test_a_user_who_is_faster_than_the_undo_keeps_what_they_made(small, seed):
    world = Afterwards(small, random.Random(seed))
    run = world.restored()
    after = seen()
    raced = {}

    def race(category, change):
        key = (category, change.owner, change.ref)
        if change.owner != target.PROBE and key not in raced and world.rng.random() < 0.4:
            raced[key] = None
            if key in seen():
                world.edit(*key)
                raced[key] = seen().get(key)

    target.store("live").disturb = race
    undo = world.undo(run)
    target.store("live").disturb = None
    settled(small, undo)
    wished = as_if_undone(world.before, after, after | {k: v for k, v in raced.items() if v})
    for key in wished.keys() | seen().keys():
        if key in raced:
            assert seen().get(key) in {raced[key], world.before.get(key)}
            assert raced[key] is None or seen().get(key) == raced[key]
        else:
            assert seen().get(key) == wished.get(key)


@pytest.mark.guarantee(10)
def test_an_undo_whose_answers_are_lost_still_ends_as_it_should(small):
    world = Afterwards(small, random.Random(6))
    run = world.restored()
    fates = {}

    def lose(_category, change):
        if change.owner == target.PROBE or fates.setdefault(change.ref, 0) >= 2:
            return None
        fates[change.ref] += 1
        return target.Disturbance(fate=target.Fate.UNKNOWN, stored=world.rng.random() < 0.5)

    target.store("live").disturb = lose
    undo = world.undo(run)
    settled(small, undo)
    assert seen() == world.before
    assert world.undone(undo)["left"] == 0
    assert fates


def test_an_undo_goes_on_where_a_target_was_away(small):
    world = Afterwards(small, random.Random(6))
    run = world.restored()
    query = parse((), small.progress.plan(run))
    undo = world.care.undo(run, query, who="mia", reason="x")
    small.conductor.tick()
    small.answer()
    small.conductor.tick()
    target.store("live").away = True
    for _ in range(4):
        small.conductor.tick()
        small.answer()
    target.store("live").away = False
    small.go_on()
    settled(small, undo)
    assert seen() == world.before
