from datetime import UTC, datetime

import pytest

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment
from orchestrator.ports import Capabilities, Fate, Place, Surroundings
from tests.conformance.target_example import create, replace
from workers.targets.memory import Disturbance, Memory, forget, store

NOW = datetime(2009, 10, 12, tzinfo=UTC)
OWNER = "anna"


@pytest.fixture
def target(tmp_path):
    name = str(tmp_path)
    yield Memory(name=name).open(
        Surroundings(folder=tmp_path, secret=lambda text: text, clock=lambda: NOW)
    )
    forget(name)


def one(target, write):
    [answer] = target.write("contacts", [write])
    return answer


def test_targets_of_other_names_hold_nothing_of_this_one(target, tmp_path):
    one(target, create(target, OWNER, "a", b"x"))
    other = Memory(name=f"{tmp_path} other").open(
        Surroundings(folder=tmp_path, secret=lambda text: text, clock=lambda: NOW)
    )
    assert list(other.survey("contacts", [OWNER])) == []
    assert other.identity("notes") != target.identity("notes")
    forget(f"{tmp_path} other")


def test_what_is_written_bears_the_time_of_the_clock(target):
    one(target, create(target, OWNER, "a", b"x"))
    [entry] = target.survey("contacts", [OWNER])
    assert entry.modified == NOW


def test_a_users_edit_bears_the_users_time_and_keeps_the_ident(target):
    one(target, create(target, OWNER, "a", b"x"))
    later = datetime(2009, 11, 1, tzinfo=UTC)
    parts = [Attachment(name="p", data=b"part")]
    target.store.put("contacts", OWNER, "a", b"edited", at=later, attachments=parts)
    [entry] = target.survey("contacts", [OWNER])
    assert (entry.modified, entry.ident, entry.size) == (later, "a", 10)
    assert target.store.contents("contacts", OWNER) == {"a": b"edited"}


@pytest.mark.parametrize("stored", [True, False])
def test_an_unknown_result_may_have_been_stored_or_not(target, stored):
    target.store.disturb = lambda *_: Disturbance(fate=Fate.UNKNOWN, stored=stored)
    assert one(target, create(target, OWNER, "a", b"x")).fate is Fate.UNKNOWN
    assert bool(list(target.survey("contacts", [OWNER]))) == stored


def test_a_store_may_alter_what_it_is_given_and_answer_done(target):
    target.store.disturb = lambda *_: Disturbance(altered=lambda data: data[:2])
    assert one(target, create(target, OWNER, "a", b"milk, eggs")).fate is Fate.DONE
    [live] = target.fetch("contacts", [Place(owner=OWNER, ref="a")])
    assert live.content == b"mi"


def test_a_user_can_be_faster_than_the_write(target):
    one(target, create(target, OWNER, "a", b"old"))
    [entry] = target.survey("contacts", [OWNER])

    def edit(category, write):
        target.store.put(category, write.owner, write.ref, b"hers", at=NOW)

    target.store.disturb = edit
    assert one(target, replace(entry, b"ours")).fate is Fate.CONFLICT
    assert target.store.contents("contacts", OWNER) == {"a": b"hers"}


def test_a_disturbance_may_take_the_target_away_in_the_middle(target):
    def leave(_, write):
        if write.ref == "b":
            raise Unavailable("gone", hint="wait")

    target.store.disturb = leave
    with pytest.raises(Unavailable):
        target.write("contacts", [create(target, OWNER, ident, b"x") for ident in "abc"])
    assert target.store.contents("contacts", OWNER) == {"a": b"x"}


def test_a_store_without_preconditions_is_found_out_at_inspection(target):
    def forget_first(category, write):
        target.store.held.pop((category, write.owner, write.ref), None)

    target.store.disturb = forget_first
    assert target.inspect(["contacts"]) == Capabilities(
        create_only=False, compare_and_set=True, tombstones=True
    )


def test_a_store_that_takes_nothing_is_found_out_at_inspection(target):
    target.store.disturb = lambda *_: Disturbance(fate=Fate.REFUSED)
    with pytest.raises(Unavailable) as error:
        target.inspect(["contacts"])
    assert error.value.hint


def test_deleting_what_is_not_there_is_an_error_of_the_test(target):
    with pytest.raises(KeyError):
        store(target.name).delete("contacts", OWNER, "a", at=NOW)
