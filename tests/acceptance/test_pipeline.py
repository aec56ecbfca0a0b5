"""The whole pipeline, in one process, against the memory kinds: what operators were promised."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.errors import Refused, Unavailable
from orchestrator.items import Ident, Media
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.ports import Surroundings
from tests.in_process import Service
from workers.looking import look
from workers.sources import memory as source
from workers.targets import memory as target

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
PLAN = """
version: 1
name: pipeline
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: memory, name: core}}
  devices: {{kind: memory, name: devices}}
targets:
  live: {{kind: memory, name: live}}
waves: [{{name: canary, users: 2}}, {{name: everyone}}]
defaults: {{attempts: 3, backoff: 30s..10m, gate: {{failed: 100%}}, {defaults}}}
phases:
  - {{restore: notes, to: live{first}}}
  - {{restore: high_scores, to: live{second}}}
approvals: {approvals}
"""


def plan(*, defaults="on_conflict: newest", first="", second="", approvals=0):
    return PLAN.format(defaults=defaults, first=first, second=second, approvals=approvals)


def note(name, body, revised="2009-01-01T00:00:00Z"):
    fields = {"id": name, "title": name, "body": body, "revised": revised}
    return json.dumps(fields).encode()


def score(value, board="tetris"):
    return json.dumps({"board": board, "value": value}).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path, ledger_url=url)
    target.forget("live")
    source.put("core", people(5))
    source.put("devices", {})
    yield service
    service.work.close()


def people(number):
    return {
        f"user{n}": {
            "notes": {f"{k}.json": note(f"n{n}-{k}", f"text {n} {k}") for k in range(3)},
            "high_scores": {"scores.json": score(n)},
        }
        for n in range(number)
    }


def store():
    return target.store("live")


def live(category="notes"):
    """What the target holds: owner, ref and content."""
    return {
        (owner, ref): held.content
        for (name, owner, ref), held in store().held.items()
        if name == category and not held.deleted
    }


def books(service, run):
    return service.status(run).books


def settle(service, run):
    assert service.ended(run) is RunState.FINISHED
    assert audit(service.ledger, run) == []
    assert imbalances(books(service, run), settled=True) == []


def test_everything_that_was_found_is_restored(service):
    run = service.run(plan())
    settle(service, run)
    assert books(service, run).restored == 20
    assert len(live()) == 15
    assert len(live("high_scores")) == 5


@pytest.mark.guarantee(3)
def test_restoring_twice_restores_once(service):
    service.run(plan())
    before, writes = live(), store().writes
    again = service.run(plan())
    settle(service, again)
    assert live() == before
    assert books(service, again).present == 20
    probes = store().writes - writes
    assert probes <= 8  # the inspection's own, none for a user


@pytest.mark.guarantee(2)
def test_copies_in_several_sources_are_one_item(service):
    source.put("devices", people(5))
    run = service.run(plan())
    settle(service, run)
    found = books(service, run)
    assert (found.copies, found.items, found.others, found.restored) == (40, 20, 20, 20)


def test_the_newest_copy_speaks_for_an_item_and_trust_decides_ties(service):
    old, new = "2008-01-01T00:00:00Z", "2009-06-01T00:00:00Z"
    source.put("core", {"ann": {"notes": {"a": note("x", "old", old), "b": note("y", "trusted")}}})
    source.put("devices", {"ann": {"notes": {"a": note("x", "new", new), "b": note("y", "less")}}})
    service.run(plan())
    held = b"".join(live().values())
    assert b"new" in held
    assert b"trusted" in held
    assert b"old" not in held
    assert b"less" not in held


def test_a_version_that_nothing_but_trust_ranks_lower_is_kept(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "one"), "b": note("x", "two")}}})
    source.put("devices", {"ann": {"notes": {"a": note("x", "two"), "b": note("x", "one")}}})
    run = service.run(plan())
    settle(service, run)
    (kept,) = service.progress.quarantine(run)
    assert (kept["reason"], kept["data"]) == ("version", note("x", "two"))
    found = books(service, run)
    assert (found.items, found.others, found.quarantined, found.nameless) == (1, 3, 0, 0)
    source.put("devices", {"ann": {"notes": {"a": note("x", "old", "2008-01-01T00:00:00Z")}}})
    source.put("core", {"ann": {"notes": {"a": note("x", "one")}}})
    assert list(service.progress.quarantine(service.run(plan()))) == []


def test_equal_content_under_other_idents_in_other_sources_is_one_item(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "same")}}})
    source.put("devices", {"ann": {"notes": {"a": note("x", "same")}}})
    run = service.run(plan())
    assert books(service, run).items == 1


@pytest.mark.guarantee(16)
def test_a_damaged_copy_is_quarantined_and_its_siblings_are_restored(service):
    material = people(2)
    material["user1"]["notes"]["1.json"] = b'{"id": "n1-1", "title": "cut'
    source.put("core", material)
    run = service.run(plan())
    settle(service, run)
    found = books(service, run)
    assert found.restored == 7
    assert found.nameless + found.quarantined == 1
    (kept,) = service.progress.quarantine(run)
    assert kept["data"] == b'{"id": "n1-1", "title": "cut'
    assert kept["user"] == "user1"


def test_a_mended_copy_that_is_handed_back_is_restored(service):
    material = people(1)
    material["user0"]["notes"]["1.json"] = b'{"id": "n0-1", "title": "cut'
    source.put("core", material)
    run = service.run(plan())
    (kept,) = service.progress.quarantine(run)
    mended = {kept["number"]: note("n0-1", "text")}
    assert service.runs.release(run, mended, who="jo", reason="") == 1
    service.go_on()
    settle(service, run)
    assert len(live()) == 3
    found = books(service, run)
    assert (found.nameless, found.quarantined) == (0, 0)
    assert [row["released"] for row in service.progress.quarantine(run)] == [True]
    answer = service.progress.user(run, "user0")
    assert [one.quarantined for one in answer.categories] == [(), ()]


@pytest.mark.guarantee(13)
def test_a_mended_copy_that_is_newer_takes_the_place_of_the_older_one_we_wrote(service):
    newer = note("x", "newer", "2009-06-01T00:00:00Z")
    source.put("core", {"ann": {"notes": {"a": note("x", "older")}}})
    source.put("devices", {"ann": {"notes": {"a": newer[:-1]}}})
    run = service.run(plan())
    assert b"older" in b"".join(live().values())
    (kept,) = service.progress.quarantine(run)
    service.runs.release(run, {kept["number"]: newer}, who="jo", reason="")
    service.go_on()
    settle(service, run)
    assert books(service, run).restored == 1
    assert b"newer" in b"".join(live().values())


def test_a_later_run_over_better_material_takes_the_place_of_what_an_earlier_one_wrote(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "older")}}})
    service.run(plan())
    source.put("core", {"ann": {"notes": {"a": note("x", "newer", "2009-06-01T00:00:00Z")}}})
    run = service.run(plan())
    settle(service, run)
    assert books(service, run).replaced == 1
    assert b"newer" in b"".join(live().values())


@pytest.mark.guarantee(5)
def test_what_a_user_changed_beside_is_theirs(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "ours")}}})
    store().put("notes", "ann", place("x"), note("x", "theirs"), at=AS_OF)
    both = plan(defaults="on_conflict: keep-both")
    service.run(both)
    (beside,) = {ref for _, ref in live()} - {place("x")}
    changed = store().contents("notes", "ann")[beside].replace(b"ours", b"mine")
    store().put("notes", "ann", beside, changed, at=AS_OF + timedelta(days=30))
    run = service.run(both)
    settle(service, run)
    assert live()["ann", beside] == changed
    assert books(service, run).superseded == 1


def test_copies_that_are_damaged_alike_are_mended_one_by_one(service):
    empty = {f"{number}.json": b"" for number in range(3)}
    source.put("core", {"ann": {"notes": {"a": bytes(512), "b": bytes(512), **empty}}})
    run = service.run(plan())
    kept = {False: [], True: []}
    for one in service.progress.quarantine(run):
        kept[bool(one["length"])].append(one["number"])
    whole = [*kept[True], *kept[False][:2]]
    mended = {number: note(f"n{number}", f"text {number}") for number in whole}
    service.runs.release(run, mended, who="jo", reason="")
    service.go_on()
    settle(service, run)
    assert len(live()) == 4
    found = books(service, run)
    assert (found.restored, found.nameless) == (4, 1)
    waiting = [one for one in service.progress.quarantine(run) if not one["released"]]
    assert len(waiting) == 1


def test_what_the_census_had_more_is_lost_and_stated(service):
    run = service.run(plan(), census=[("user0", "notes", 10), ("user1", "notes", 1)])
    settle(service, run)
    assert books(service, run).lost == 7
    (row,) = service.progress.losses(run)
    assert (row["user"], row["category"]) == ("user0", "notes")


@pytest.mark.guarantee(8)
def test_a_declined_user_gets_nothing_and_nothing_of_them_is_kept(service):
    material = people(3)
    material["user1"]["notes"]["bad"] = b"\xff\xfe\x00"
    source.put("core", material)
    run = service.run(plan(), declined=["user1"], census=[("user1", "notes", 50)])
    settle(service, run)
    assert not [owner for owner, _ in live() if owner == "user1"]
    found = books(service, run)
    assert found.declined == 4
    assert found.lost == 0
    assert list(service.progress.quarantine(run)) == []
    assert service.progress.user(run, "user1").declined


@pytest.mark.guarantee(8)
def test_the_decline_list_may_grow_while_the_run_is_under_way(service):
    run = service.submit(plan())
    asked = []

    def grow(_category, write):
        if not asked and write.owner != target.PROBE:
            asked.append(True)
            service.runs.decline(run, ["user4"], who="law")

    service.conductor.tick()
    store().disturb = grow
    service.go_on()
    settle(service, run)
    assert asked
    assert not [owner for owner, _ in live() if owner == "user4"]
    assert books(service, run).declined == 4


@pytest.mark.guarantee(8)
def test_what_a_user_deleted_after_we_restored_it_stays_deleted(service):
    run = service.run(plan())
    assert books(service, run).restored == 20
    key = next(key for key in store().held if key[:2] == ("notes", "user0"))
    del store().held[key]  # without a tombstone
    again = service.run(plan())
    settle(service, again)
    assert key not in store().held
    assert books(service, again).declined == 1


def test_a_target_that_was_made_anew_gets_everything_again(service):
    service.run(plan())
    service.work.close()
    target.forget("live")
    again = service.run(plan())
    settle(service, again)
    assert books(service, again).restored == 20


@pytest.mark.parametrize(("deleted", "back"), [(-400, True), (-1, False), (1, False)])
def test_a_deletion_counts_against_older_copies_only_and_after_the_loss_against_all(
    service, deleted, back
):
    source.put("core", {"ann": {"notes": {"a": note("x", "text", "2009-06-01T00:00:00Z")}}})
    service.run(plan())
    store().delete("notes", "ann", place("x"), at=AS_OF + timedelta(days=deleted))
    elsewhere = Service(service.folder / "other", ledger_url=None)  # knows of no earlier run
    run = elsewhere.run(plan())
    settle(elsewhere, run)
    assert bool(live()) == back
    assert books(elsewhere, run).restored == back


@pytest.mark.guarantee(5)
@pytest.mark.parametrize("policy", ["newest", "keep-live", "keep-both"])
def test_what_a_user_changed_after_the_loss_is_never_overwritten(service, policy):
    source.put("core", {"ann": {"notes": {"a": note("x", "ours", "2009-09-01T00:00:00Z")}}})
    theirs = note("x", "the user's own", "2009-10-02T00:00:00Z")
    ref = place("x")
    store().put("notes", "ann", ref, theirs, at=AS_OF + timedelta(days=1))
    run = service.run(plan(defaults=f"on_conflict: {policy}"))
    settle(service, run)
    assert live()["ann", ref] == theirs
    found = books(service, run)
    if policy == "keep-both":
        assert found.beside == found.restored == 1
        assert len(live()) == 2
    else:
        assert found.superseded == 1


def test_keep_both_twice_puts_one_beside(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "ours")}}})
    store().put("notes", "ann", place("x"), note("x", "theirs"), at=AS_OF)
    both = plan(defaults="on_conflict: keep-both")
    service.run(both)
    service.run(both)
    assert len(live()) == 2


def test_an_older_live_item_is_replaced_and_its_pre_image_kept(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "new", "2009-09-01T00:00:00Z")}}})
    store().put(
        "notes", "ann", place("x"), note("x", "old", "2008-01-01T00:00:00Z"),
        at=datetime(2008, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    run = service.run(plan())
    settle(service, run)
    assert books(service, run).replaced == 1
    assert b"new" in b"".join(live().values())


@pytest.mark.guarantee(5)
def test_a_user_who_is_faster_than_our_write_wins(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "ours", "2009-09-01T00:00:00Z")}}})
    theirs = note("x", "typed just now", "2009-10-20T00:00:00Z")

    def race(category, write):
        if category == "notes" and write.owner == "ann":
            store().disturb = None
            store().put("notes", "ann", write.ref, theirs, at=AS_OF + timedelta(days=19))

    store().disturb = race
    run = service.run(plan())
    settle(service, run)
    assert list(live().values()) == [theirs]
    assert books(service, run).superseded == 1


@pytest.mark.guarantee(8)
@pytest.mark.parametrize("by_our_hand", [True, False])
def test_what_a_user_deletes_while_we_look_away_stays_deleted(service, by_our_hand):
    if by_our_hand:
        source.put("core", {"ann": {"notes": {"a": note("x", "old", "2008-01-01T00:00:00Z")}}})
        service.run(plan())
    else:
        old = note("x", "old", "2008-01-01T00:00:00Z")
        store().put("notes", "ann", place("x"), old, at=datetime(2008, 1, 1, tzinfo=UTC))
    source.put("core", {"ann": {"notes": {"a": note("x", "new", "2009-09-01T00:00:00Z")}}})

    def delete_without_a_trace(category, write):
        if category == "notes" and write.owner == "ann":
            store().held.pop(("notes", "ann", write.ref), None)

    store().disturb = delete_without_a_trace
    run = service.run(plan())
    settle(service, run)
    assert live() == {}
    assert books(service, run).declined == 1


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("stored", [True, False])
def test_a_write_of_unknown_outcome_happens_once(service, stored):
    doubtful = []

    def lose_the_answer(_category, write):
        if write.owner == target.PROBE or len(doubtful) >= 4:
            return None
        doubtful.append(write)
        return target.Disturbance(fate=target.Fate.UNKNOWN, stored=stored)

    store().disturb = lose_the_answer
    run = service.run(plan())
    settle(service, run)
    assert len(doubtful) == 4
    assert len(live()) == 15
    assert books(service, run).restored == 20


@pytest.mark.guarantee(13)
def test_what_the_target_altered_is_not_called_restored(service):
    def alter(category, write):
        if category == "notes" and write.owner == "user2":
            return target.Disturbance(altered=lambda content: content.replace(b"text", b"te"))
        return None

    store().disturb = alter
    run = service.run(plan())
    settle(service, run)
    found = books(service, run)
    assert (found.restored, found.quarantined) == (17, 3)
    assert {row["reason"] for row in service.progress.quarantine(run)} == {"altered"}


@pytest.mark.guarantee(13)
def test_what_a_store_shows_in_part_before_it_has_written_it_all_is_restored(service, monkeypatch):
    """As rclone's S3 does on a busy disk, for some milliseconds after its answer."""
    written = {}

    def write_behind(category, write):
        if category != "notes" or write.owner != "user2":
            return None
        written[category, write.owner, write.ref] = write.item.content
        return target.Disturbance(altered=lambda content: content[: len(content) // 2])

    def sleep(seconds):
        service.clock.advance(seconds=seconds)
        for key, content in written.items():
            held = store().held[key]
            store().held[key] = msgspec.structs.replace(held, content=content)

    monkeypatch.setattr(service.work, "sleep", sleep)
    store().disturb = write_behind
    run = service.run(plan())
    settle(service, run)
    assert len(written) == 3
    found = books(service, run)
    assert (found.restored, found.quarantined) == (20, 0)


def test_what_the_target_refuses_is_quarantined_and_harms_no_other(service):
    def refuse(category, write):
        if category == "notes" and write.owner == "user2":
            return target.Disturbance(fate=target.Fate.REFUSED)
        return None

    store().disturb = refuse
    run = service.run(plan())
    settle(service, run)
    assert books(service, run).quarantined == 3
    assert books(service, run).restored == 17


def test_a_target_that_is_away_fails_its_units_after_their_attempts_and_retry_mends_it(service):
    def away(category, write):
        if category == "notes" and write.owner != target.PROBE:
            raise Unavailable("the store is full", retry_in=1.0)

    store().disturb = away
    run = service.run(plan())
    assert service.ended(run) is RunState.FINISHED
    status = service.status(run)
    assert [phase.failed for phase in status.phases] == [5, 0]
    (cause,) = status.causes
    assert (cause.units, cause.state, cause.category) == (5, UnitState.FAILED, "notes")
    assert "full" in cause.sentence
    store().disturb = None
    assert service.retry(run, dry_run=True) == 5
    assert service.retry(run, "category:high_scores") == 0
    assert service.retry(run, f"cause:{cause.fingerprint}") == 5
    service.go_on()
    settle(service, run)
    assert books(service, run).restored == 20
    assert service.status(run).causes == ()


def test_a_source_that_is_away_for_a_while_costs_attempts_not_data(service):
    run = service.submit(plan())
    for _ in range(3):
        service.conductor.tick()
        service.answer()
    source.MATERIALS["core"].away = True
    service.conductor.tick()
    service.answer()
    source.MATERIALS["core"].away = False
    service.go_on()
    settle(service, run)
    assert books(service, run).restored == 20


def test_retry_never_writes_again_what_was_verified(service):
    def once(category, write):
        if category == "notes" and write.owner == "user3" and write.ref == place("n3-1"):
            raise Unavailable("away")

    store().disturb = once
    run = service.run(plan())
    assert service.status(run).phases[0].failed
    seen = []
    store().disturb = lambda _category, write: seen.append((write.owner, write.ref))
    service.retry(run)
    service.go_on()
    settle(service, run)
    verified = {(owner, ref) for owner, ref in seen if owner != target.PROBE}
    assert len(verified) == len(seen)
    assert all(owner in {f"user{n}" for n in range(5)} for owner, _ in verified)
    assert len(live()) == 15


def test_a_run_waits_for_as_many_other_people_as_the_plan_asks(service):
    run = service.submit(plan(approvals=2))
    service.go_on()
    assert service.progress.state(run) is RunState.AWAITING_APPROVAL
    with pytest.raises(Refused):
        service.runs.approve(run, who="Mia ", reason="my own")
    service.runs.approve(run, who="jo", reason="looked at it")
    service.runs.approve(run, who="jo", reason="twice")
    service.runs.approve(run, who=" JO", reason="the same person, spelled otherwise")
    service.go_on()
    assert live() == {}
    service.runs.approve(run, who="kim", reason="looked at it")
    service.go_on()
    settle(service, run)


def test_a_preview_counts_what_a_run_does_and_writes_nothing(service):
    preview = service.run(plan(), preview=True)
    assert live() == {}
    run = service.run(plan(), expected_digest=service.status(preview).digest)
    settle(service, run)
    assert books(service, preview) == books(service, run)


def test_what_a_preview_counted_is_part_of_what_is_approved(service):
    plain = service.submit(plan(approvals=1))
    service.go_on()
    preview = service.run(plan(approvals=1), preview=True)
    looked_at = service.status(preview).digest
    run = service.submit(plan(approvals=1), expected_digest=looked_at)
    service.go_on()
    assert service.status(run).digest == looked_at
    assert service.status(run).previewed == preview
    assert service.status(plain).digest != looked_at
    assert service.status(plain).previewed is None


def test_what_is_live_does_not_change_the_digest_of_a_preview(service):
    first = service.run(plan(), preview=True)
    settle(service, service.run(plan()))
    second = service.run(plan(), preview=True)
    assert books(service, first) != books(service, second)
    assert service.status(first).digest == service.status(second).digest
    sample = service.run(plan(), preview=True, sample=1)
    assert service.status(sample).digest != service.status(first).digest


@pytest.mark.guarantee(7)
def test_a_digest_that_no_preview_of_this_plan_has_is_refused_before_anything_is_submitted(service):
    preview = service.run(plan(), preview=True)
    digest = service.status(preview).digest
    before = service.progress.runs()
    with pytest.raises(Refused, match="no preview that has ended"):
        service.submit(plan(), expected_digest="0" * 64)
    with pytest.raises(Refused, match="the plan changed since"):
        service.submit(plan(approvals=2), expected_digest=digest)
    assert service.progress.runs() == before


def test_a_run_is_refused_when_the_data_changed_since_its_preview(service):
    preview = service.run(plan(), preview=True)
    source.put("core", people(6))
    run = service.run(plan(), expected_digest=service.status(preview).digest)
    assert service.ended(run) is RunState.REFUSED
    assert live() == {}


def test_a_paused_run_hands_back_and_goes_on_where_it_was(service):
    run = service.submit(plan())
    for _ in range(4):
        service.conductor.tick()
        service.answer(at_most=1)
    service.runs.pause(run, who="jo", reason="stop")
    service.go_on()
    assert service.progress.state(run) is RunState.PAUSED
    service.runs.resume(run, who="jo", reason="go")
    service.go_on()
    settle(service, run)
    assert books(service, run).restored == 20


def test_a_cancelled_run_keeps_what_was_restored_and_its_books_balance(service):
    run = service.submit(plan())
    for _ in range(4):
        service.conductor.tick()
        service.answer(at_most=1)
    service.runs.cancel(run, who="jo", reason="wrong plan")
    service.go_on()
    assert service.ended(run) is RunState.CANCELLED
    assert audit(service.ledger, run) == []
    status = service.status(run)
    assert all(phase.waiting == 0 for phase in status.phases)


@pytest.mark.guarantee(4)
def test_a_held_gate_keeps_the_next_wave_and_phase_from_writing_until_promoted(service):
    def away(category, write):
        if category == "notes" and write.owner == "user0":
            raise Unavailable("away")

    store().disturb = away
    run = service.submit(plan(first=", gate: {failed: 10%}"))
    service.go_on()
    assert service.progress.state(run) is RunState.RUNNING
    assert {owner for owner, _ in live()} <= {"user0", "user1"}
    assert live("high_scores") == {}
    assert "gate" in service.status(run).stalled
    assert service.runs.promote(run, who="jo", reason="known") == 1
    service.go_on()
    assert service.ended(run) is RunState.FINISHED
    assert {owner for owner, _ in live()} >= {"user2", "user3", "user4"}


def test_with_scope_user_a_failed_category_lets_the_next_one_go_on(service):
    def away(category, write):
        if category == "notes" and write.owner == "user1":
            raise Unavailable("away")

    store().disturb = away
    run = service.run(plan(second=", scope: user"))
    assert service.ended(run) is RunState.FINISHED
    assert len(live("high_scores")) == 5
    store().disturb = None


def test_after_settled_a_failed_category_fails_the_next_one_with_that_cause(service):
    def away(category, write):
        if category == "notes" and write.owner != target.PROBE:
            raise Unavailable("away")

    store().disturb = away
    run = service.run(plan(second=", scope: user, after: settled"))
    assert live("high_scores") == {}
    codes = {cause.code for cause in service.status(run).causes}
    assert "predecessor-failed" in codes


@pytest.mark.guarantee(1)
def test_ids_that_look_alike_are_quarantined_never_guessed(service):
    twins = {"Ann": people(1)["user0"], "ann": people(2)["user1"], "bob": people(3)["user2"]}
    source.put("core", twins)
    run = service.run(plan())
    settle(service, run)
    assert {owner for owner, _ in live()} == {"bob"}
    reasons = {row["reason"] for row in service.progress.quarantine(run)}
    assert reasons == {"ambiguous-owner"}
    assert service.progress.user(run, "Ann").ambiguous


@pytest.mark.guarantee(15)
def test_the_same_material_gives_the_same_books_whatever_the_batches(service, tmp_path):
    source.put("devices", people(3))
    first = books(service, service.run(plan()))
    one_by_one = tmp_path / "other"
    one_by_one.mkdir()
    other = Service(one_by_one, batch_users=1)
    target.forget("live")
    assert books(other, other.run(plan())) == first


def test_a_user_with_more_items_than_a_chunk_is_restored_whole(service):
    many = [{"id": f"n{number}", "title": "t", "body": f"body {number}"} for number in range(4_500)]
    source.put("core", {"ann": {"notes": {"all.json": json.dumps(many).encode()}}})
    run = service.run(plan())
    settle(service, run)
    assert len(live()) == 4_500


@pytest.mark.guarantee(11)
def test_a_user_of_many_chunks_is_restored_although_each_slice_ends_early(service, monkeypatch):
    monkeypatch.setattr("workers.restore.CHUNK_ITEMS", 100)
    monkeypatch.setattr("workers.restore.SLICE_SECONDS", -1.0)
    many = [{"id": f"n{number}", "title": "t", "body": f"body {number}"} for number in range(450)]
    source.put("core", {"ann": {"notes": {"all.json": json.dumps(many).encode()}}})
    run = service.run(plan())
    settle(service, run)
    assert len(live()) == 450
    assert books(service, run).restored == 450


@pytest.mark.guarantee(11)
def test_a_large_batch_that_turns_out_slow_is_handed_back_in_halves(service, monkeypatch):
    """It was made large because those before it cost nothing; nobody waits for all of it."""
    monkeypatch.setattr("workers.restore.CHUNK_ITEMS", 1)
    monkeypatch.setattr("workers.restore.LARGE", 2)
    monkeypatch.setattr("workers.restore.LARGE_SLICE_SECONDS", -1.0)
    source.put("devices", people(8))
    run = service.run(plan())
    settle(service, run)
    with service.ledger.read() as connection:
        states = Counter(
            connection.execute(
                select(batch.c.state).where(batch.c.run == run, batch.c.kind == "restore")
            ).scalars()
        )
    assert states["split"] >= 1
    assert set(states) <= {"split", "done"}
    assert books(service, run).items == books(service, run).restored > 0


def test_a_user_of_many_chunks_is_looked_at_once(service, monkeypatch):
    monkeypatch.setattr("workers.restore.CHUNK_ITEMS", 100)
    looks = []
    monkeypatch.setattr(
        "workers.deciding.look", lambda *seen, **more: looks.append(seen) or look(*seen, **more)
    )
    many = [{"id": f"n{number}", "title": "t", "body": f"body {number}"} for number in range(450)]
    source.put("core", {"ann": {"notes": {"all.json": json.dumps(many).encode()}}})
    settle(service, service.run(plan()))
    assert len(looks) == 1


def test_a_user_with_more_content_than_the_budget_is_read_twice_and_restored_once(
    service, monkeypatch
):
    monkeypatch.setattr("workers.reading.CONTENT_BUDGET", 100)
    source.put("devices", people(5))
    run = service.run(plan())
    settle(service, run)
    assert len(live()) == 15
    assert books(service, run).others == 20


@pytest.mark.guarantee(8)
def test_a_deletion_counts_also_where_the_target_forgot_which_item_it_was(service):
    source.put("core", {"ann": {"notes": {"a": note("x", "ours")}}})
    theirs = note("x", "typed by its user")
    store().put("notes", "ann", place("x"), theirs, at=AS_OF)  # so the store knows no ident
    store().delete("notes", "ann", place("x"), at=AS_OF + timedelta(days=1))
    run = service.run(plan())
    settle(service, run)
    assert books(service, run).declined == 1
    assert live() == {}


def place(ident):
    opened = target.KIND(name="live").open(
        Surroundings(folder=Path(), secret=str, clock=lambda: AS_OF)
    )
    return opened.ref("notes", Ident(ident), Media("json", "application/json"))
