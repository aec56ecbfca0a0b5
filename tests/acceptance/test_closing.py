"""Keys of users and runs: sealed under them, and unreadable for ever once they are erased."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from orchestrator.aftercare import UNDO_WINDOW
from orchestrator.errors import Refused, Unavailable
from orchestrator.ledger.keys import NOBODY, Ids
from orchestrator.ledger.schema import (
    account,
    batch,
    data_key,
    journal,
    listed,
    quarantine,
    run,
    run_user,
)
from orchestrator.query import Query
from orchestrator.sealing import maker_of
from tests.afterwards import Afterwards, seen
from tests.in_process import Service
from workers.unit_work import account_context

SEALED = (journal.c.sealed, account.c.sealed, quarantine.c.sealed)


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    url = request.getfixturevalue("fresh_database") if request.param == "postgresql" else None
    service = Service(tmp_path, ledger_url=url)
    yield service
    service.work.close()


@pytest.fixture
def world(service):
    return Afterwards(service, random.Random(22))


def ask(service, question):
    with service.ledger.read() as connection:
        return connection.execute(question).all()


def keys(service):
    return {row.user_hash: row.wrapped for row in ask(service, select(data_key))}


def test_everything_kept_of_a_user_is_sealed_under_a_key_of_their_own(service, world):
    run_id = world.restored()
    for column in SEALED:
        found = [row[0] for row in ask(service, select(column))]
        assert found
        assert all(maker_of(sealed) is not None for sealed in found)
    ids = [row.sealed_id for row in ask(service, select(run_user))]
    assert all(maker_of(sealed) == 0 for sealed in ids)
    wrapped = keys(service)
    assert len(set(wrapped.values())) == len(wrapped)
    of_journal = {row.user_hash for row in ask(service, select(journal))}
    assert of_journal | {NOBODY} <= wrapped.keys()
    assert service.progress.user(run_id, "u0").categories


def test_no_key_is_made_for_whom_nothing_is_kept(service, world):
    for held in (world.population.core, world.population.devices):
        held["u0"] = {"contacts": {}, "notes": {}}
    world.restored()
    wrapped = keys(service)
    assert service.sealer.user_hash("u0") not in wrapped
    assert service.sealer.user_hash("u1") in wrapped


def test_a_user_has_one_key_a_run_whatever_happens_to_it(service, world):
    run_id = world.restored()
    before = keys(service)
    rows = len(ask(service, select(data_key)))
    assert rows == len(before)
    world.undo(world.undo(run_id))
    world.verify(run_id)
    assert keys(service) == before
    assert len(ask(service, select(data_key))) == rows
    world.restored()
    assert len(ask(service, select(data_key))) == 2 * rows


def test_a_run_closes_after_its_undo_window_or_when_told_to_before(service, world):
    run_id = world.restored()
    with pytest.raises(Refused):
        world.care.close(run_id, who="jo", reason="done")
    assert keys(service)[NOBODY]
    service.clock.advance(days=UNDO_WINDOW / timedelta(days=1) + 1)
    assert world.care.close(run_id, who="jo", reason="done").keys > 1
    other = world.restored()
    assert world.care.close(other, who="jo", reason="done", early=True).keys > 0


def test_nothing_closes_that_goes_on(service, world):
    run_id = service.submit(PLAN_OF(world))
    with pytest.raises(Refused):
        world.care.close(run_id, who="jo", reason="done", early=True)
    service.go_on()
    undo = world.undo(run_id, rest=False)
    with pytest.raises(Refused):
        world.care.close(run_id, who="jo", reason="done", early=True)
    service.go_on()
    with pytest.raises(Refused):
        world.care.close(undo, who="jo", reason="done", early=True)
    assert world.care.close(run_id, who="jo", reason="done", early=True).keys


def PLAN_OF(world):  # noqa: N802 - it is a constant but for its policy
    from tests.afterwards import PLAN  # noqa: PLC0415

    return PLAN.format(policy=world.policy, approvals=world.approvals)


def test_of_a_closed_run_nothing_can_be_read_any_more(service, world):
    run_id = world.restored()
    copies = list(service.progress.quarantine(run_id))
    assert all(copy["data"] for copy in copies)
    undo = world.undo(run_id)
    world.care.close(run_id, who="jo", reason="done", early=True)
    assert set(keys(service).values()) == {b""}
    for one in (run_id, undo):
        answer = service.progress.user(one, "u1")
        assert all(unit.items == () for unit in answer.categories)
        assert answer.categories[0].books is not None
        for row in service.progress.units(one, Query(), limit=100):
            assert row["user"].startswith("u_")
        with service.ledger.read() as connection:
            ids = Ids(connection, service.sealer, one)
            sealed = select(run_user.c.sealed_id).where(run_user.c.run == one)
            assert {ids.open(row[0]) for row in connection.execute(sealed)} == {None}
    assert [copy["data"] for copy in service.progress.quarantine(run_id)] == [None] * len(copies)
    with pytest.raises(Refused, match="closed"):
        world.undo(run_id)
    with pytest.raises(Refused, match="closed"):
        world.undo(undo)
    with pytest.raises(Refused, match="closed"):
        world.verify(run_id)
    with pytest.raises(Refused, match="closed"):
        service.runs.release(run_id, {}, who="jo", reason="mended")
    assert service.status(run_id).run.closed_by == "jo"


def test_the_bytes_of_the_keys_are_gone_from_the_ledgers_files(tmp_path):
    service = Service(tmp_path)
    world = Afterwards(service, random.Random(22))
    run_id = world.restored()
    wrapped = [row.wrapped for row in ask(service, select(data_key))]
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert all(key in raw for key in wrapped)
    erased = world.care.close(run_id, who="jo", reason="done", early=True)
    assert erased.scrubbed
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert not any(key in raw or key[13:45] in raw for key in wrapped)
    service.work.close()


def test_a_later_run_works_although_what_an_earlier_one_did_is_unknown(service, world):
    run_id = world.restored()
    after = seen()
    world.care.close(run_id, who="jo", reason="done", early=True)
    again = world.restored()
    assert seen() == after
    books = service.status(again).books
    assert books.restored == 0
    assert books.present > 0


def test_one_users_data_is_forgotten_and_nobody_elses(service, world):
    run_id = world.restored()
    undo = world.undo(run_id)
    number = number_of(service, run_id, "u1")
    others = service.progress.user(run_id, "u2")
    assert service.progress.user(run_id, "u1").categories[0].items
    assert world.care.forget(run_id, number, who="jo", reason="asked").keys == 1
    assert service.progress.user(run_id, "u2") == others
    for one in (run_id, undo):
        answer = service.progress.user(one, "u1")
        assert answer.declined
        assert all(unit.items == () for unit in answer.categories)
        names = {row["user"] for row in service.progress.units(one, Query(), limit=100)}
        assert "u1" not in names
        assert "u2" in names
    copies = [c for c in service.progress.quarantine(run_id) if c["user_number"] == number]
    assert all(copy["data"] is None for copy in copies)
    redo = world.undo(undo)
    assert service.progress.user(redo, "u2").categories


def number_of(service, run_id, user):
    hashed = service.sealer.user_hash(user)
    [(number,)] = ask(
        service,
        select(run_user.c.number).where(run_user.c.run == run_id, run_user.c.user_hash == hashed),
    )
    return number


def test_whoever_is_in_a_workers_hand_is_declined_at_once_and_forgotten_later(service, world):
    run_id = world.restored()
    with service.ledger.begin() as connection:
        connection.execute(
            update(batch)
            .where(batch.c.run == run_id, batch.c.kind == "restore")
            .values(state="running")
        )
    number = number_of(service, run_id, "u1")
    with pytest.raises(Unavailable):
        world.care.forget(run_id, number, who="jo", reason="asked")
    assert service.progress.user(run_id, "u1").declined
    assert keys(service)[service.sealer.user_hash("u1")]


def test_what_an_earlier_release_sealed_opens_and_is_emptied_at_the_close(service, world):
    run_id = world.restored()
    before = service.progress.user(run_id, "u1")
    as_before_keys(service, run_id)
    assert service.progress.user(run_id, "u1") == before
    undo = world.undo(run_id)
    assert seen() == world.before
    assert undo
    world.care.close(run_id, who="jo", reason="done", early=True)
    for column in (*SEALED, run_user.c.sealed_id, listed.c.sealed_id):
        under_master = func.length(column) > 0
        for row in ask(service, select(column).where(under_master)):
            assert maker_of(row[0]) is not None
    assert all(unit.items == () for unit in service.progress.user(run_id, "u1").categories)


def as_before_keys(service, run_id):
    """Seal everything as releases did that knew no keys of users."""
    from orchestrator.ledger.keys import Sealed, opened  # noqa: PLC0415

    seal = service.sealer.seal
    with service.ledger.begin() as connection:
        users = {
            row.number: row.user_hash
            for row in connection.execute(select(run_user).where(run_user.c.run == run_id))
        }
        for table in (journal, account, quarantine):
            rows = connection.execute(select(table).where(table.c.run == run_id)).all()
            contexts = [context_of(table, row, run_id, users) for row in rows]
            values = [
                Sealed(run_id, users[row.user], row.sealed, context)
                for row, context in zip(rows, contexts, strict=True)
            ]
            datas = list(opened(connection, service.sealer, values))
            for row, context, data in zip(rows, contexts, datas, strict=True):
                key = (
                    (table.c.id == row.id,)
                    if table is not account
                    else (
                        table.c.run == run_id,
                        table.c.user == row.user,
                        table.c.phase == row.phase,
                    )
                )
                connection.execute(update(table).where(*key).values(sealed=seal(data, context)))
        ids = Ids(connection, service.sealer, run_id)
        for row in connection.execute(select(run_user).where(run_user.c.run == run_id)).all():
            old = seal(ids.open(row.sealed_id).encode(), b"user:" + run_id.encode())
            connection.execute(
                update(run_user)
                .where(run_user.c.run == run_id, run_user.c.number == row.number)
                .values(sealed_id=old)
            )
        connection.execute(data_key.delete())
    assert ask(service, select(run.c.id))


def context_of(table, row, run_id, users):
    if table is journal:
        return b"journal:" + users[row.user]
    if table is account:
        return account_context(run_id, row.user, row.phase)
    return f"quarantine:{run_id}:{row.user}:{row.phase}".encode()
