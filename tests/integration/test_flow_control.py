"""What the conductor lets go to a target that copes, that does not, and that has limits."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select, update

from orchestrator.errors import Refused, Unavailable
from orchestrator.flow_control import STRIKES
from orchestrator.ledger import expansion, leases, pressure
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Batch, Lane, dispatch_lanes
from orchestrator.ledger.priority import FRONT, move_to_front
from orchestrator.ledger.schema import audit_log, batch, circuit, unit
from orchestrator.lifecycle import BatchState, RunState
from orchestrator.plan import Limits
from tests.in_process import Service
from workers.pace import Throttle
from workers.targets import vdir
from workers.workplace import Workplace

PLAN = """
version: 1
name: two-targets
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {cache: {kind: vdir, path: cache}}
targets: {well: {kind: vdir, path: well}, ill: {kind: vdir, path: ill}}
approvals: 0
defaults: {attempts: 20, backoff: 1s..2s}
phases:
  - {restore: contacts, to: ill}
  - {restore: calendar, to: well, scope: user}
"""
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{0}\r\nN:B;A;;;\r\nFN:A B\r\nEND:VCARD\r\n"
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:{0}\r\n"
    "DTSTAMP:20090101T000000Z\r\nDTSTART:20090101T000000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)
USERS = [f"user{number:02}" for number in range(12)]


@pytest.fixture
def service(tmp_path):
    folder = tmp_path / "service"
    for user in USERS:
        for category, name, text in (("contacts", "1.vcf", CARD), ("calendar", "1.ics", EVENT)):
            place = folder / "cache" / user / category
            place.mkdir(parents=True)
            (place / name).write_text(text.format(user), newline="")
    return Service(folder, batch_users=2)


@dataclass
class Illness:
    """Makes the target `ill` away, and counts who tried."""

    on: bool = False
    tried: list[str] = field(default_factory=list)


@pytest.fixture
def illness(monkeypatch):
    found = Illness()
    write = vdir.VdirTarget.write

    def maybe(self, category, writes):
        if category == "contacts" and found.on:
            found.tried.append(category)
            raise Unavailable("away", retry_in=1.0)
        return write(self, category, writes)

    monkeypatch.setattr(vdir.VdirTarget, "write", maybe)
    return found


def begin(service):
    run_id = service.submit(PLAN, users=USERS)
    for _ in range(3):
        service.answer()
        service.conductor.tick()
    assert service.progress.state(run_id) is RunState.RUNNING
    return run_id


def circuits(service):
    with service.ledger.read() as connection:
        return connection.execute(select(circuit.c.target, circuit.c.state)).all()


@pytest.mark.guarantee(12)
def test_a_target_that_answers_nothing_is_probed_by_one_batch_at_a_time_until_it_does(
    service, illness
):
    run_id = begin(service)
    illness.on = True
    while not circuits(service):
        service.answer(at_most=1)
        service.conductor.tick()
    assert circuits(service) == [("ill", "open")]
    service.answer()
    tried = len(illness.tried)
    assert tried >= STRIKES
    assert any("'ill' does not answer" in line for line in service.status(run_id).warnings)
    service.clock.advance(seconds=1)
    service.conductor.tick()
    service.answer()
    assert len(illness.tried) == tried, "left alone"
    for probe in (1, 2):
        service.clock.advance(minutes=6)
        service.conductor.tick()
        service.conductor.tick()
        service.answer()
        service.conductor.tick()
        assert len(illness.tried) == tried + probe
    heir = service.another_conductor("heir", batch_users=2)
    service.clock.advance(seconds=11)
    heir.tick()
    assert circuits(service) == [("ill", "open")], "the next leader knows"
    illness.on = False
    service.conductor = heir
    service.go_on()
    assert service.ended(run_id) is RunState.FINISHED
    assert circuits(service) == []
    status = service.status(run_id)
    assert [phase.settled for phase in status.phases] == [len(USERS), len(USERS)]
    assert not any("does not answer" in line for line in status.warnings)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_short_batches_that_lie_side_by_side_are_handed_out_as_one(request, tmp_path, database):
    """Never across waves or phases, never too many, and not what was tried or goes first."""
    url = (
        f"sqlite:///{tmp_path / 'ledger.db'}"
        if database == "sqlite"
        else request.getfixturevalue("fresh_database")
    )
    ledger = Ledger(url)
    ledger.prepare()
    with ledger.begin() as connection:
        for phase, wave, first in ((0, 0, 0), (0, 1, 100), (1, 0, 0)):
            expansion.add_batches(
                connection,
                [
                    ("r1", "restore", phase, wave, start, start + 9)
                    for start in range(first, first + 100, 10)
                ],
                state=BatchState.READY,
            )
        of_first_phase = (batch.c.phase == 0, batch.c.wave == 0)
        connection.execute(
            update(batch).where(*of_first_phase, batch.c.first == 40).values(attempts=1)
        )
        connection.execute(
            update(batch).where(*of_first_phase, batch.c.first == 60).values(priority=1)
        )
        lane = Lane(run="r1", phases=(0, 1), room=100)
        rings, places = dispatch_lanes(
            connection, [lane], now=1, lease_ms=1, room=9, joined={("r1", 0): 30}
        )
        rows = {
            row.id: (row.phase, row.wave, row.first, row.last)
            for row in connection.execute(select(batch))
        }
        assert [rows[ring.batch] for ring in rings] == [
            (0, 0, 60, 69),
            (0, 0, 0, 29),
            (0, 0, 30, 39),
            (0, 0, 40, 49),
            (0, 0, 50, 59),
            (0, 0, 70, 99),
            (1, 0, 0, 9),
            (1, 0, 10, 19),
            (1, 0, 20, 29),
        ]
        sent = {place: (one.batches, one.users) for place, one in places.items()}
        assert sent == {("r1", 0): (6, 100), ("r1", 1): (3, 30)}
        for phase, wave, users in ((0, 0, range(100)), (0, 1, range(100, 200)), (1, 0, range(100))):
            ranges = sorted(row[2:] for row in rows.values() if row[:2] == (phase, wave))
            covered = [user for first, last in ranges for user in range(first, last + 1)]
            assert covered == list(users)
        crashed = rings[1].batch
        connection.execute(update(batch).where(batch.c.id == crashed).values(attempts=2))
        assert leases.split(connection, crashed)
        rings, _ = dispatch_lanes(
            connection, [lane], now=1, lease_ms=1, room=5, joined={("r1", 0): 50, ("r1", 1): 50}
        )
        rows = {row.id: (row.first, row.last) for row in connection.execute(select(batch))}
        assert [rows[ring.batch] for ring in rings] == [
            *((0, 15), (16, 29)),  # what was halved stays halved
            *((30, 69), (70, 99)),  # no more are one than leave enough for all that have room
            (100, 139),
        ]
    ledger.close()


def test_targets_take_turns_and_one_that_is_away_takes_no_room_from_another(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.prepare()
    with ledger.begin() as connection:
        for phase in (0, 1):
            expansion.add_batches(
                connection,
                [("r1", "restore", phase, 0, user, user) for user in range(10)],
                state=BatchState.READY,
            )
        phase_of = dict(connection.execute(select(batch.c.id, batch.c.phase)).all())

        def sent(ill, well, room):
            lanes = [Lane(run="r1", phases=(0,), room=ill), Lane(run="r1", phases=(1,), room=well)]
            rings, places = dispatch_lanes(connection, lanes, now=1, lease_ms=1, room=room)
            found = [phase_of[ring.batch] for ring in rings]
            assert {place: one.batches for place, one in places.items()} == Counter(
                ("r1", phase) for phase in found
            )
            return found

        assert sent(100, 100, 6) == [0, 1, 0, 1, 0, 1]
        assert sent(1, 100, 4) == [0, 1, 1, 1]
        assert sent(0, 2, 4) == [1, 1]
        assert sent(100, 100, 0) == []
    ledger.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.guarantee(12)
def test_limits_hold_over_however_many_workers_there_are(request, tmp_path, database):
    url = (
        f"sqlite:///{tmp_path / 'ledger.db'}"
        if database == "sqlite"
        else request.getfixturevalue("fresh_database")
    )
    ledger = Ledger(url, clock=lambda _connection: 1_000_000)
    ledger.prepare()
    held = [
        Batch(
            id=number,
            run="r1",
            kind="restore",
            phase=0,
            wave=0,
            first=0,
            last=0,
            members=None,
            epoch=1,
            attempts=1,
            crashes=0,
            worker="w",
        )
        for number in range(6)
    ]
    waits: list[float] = []

    def work(one: Batch) -> None:
        mine = Ledger(url, clock=lambda _connection: 1_000_000)
        slept: list[float] = []
        place = Workplace(
            ledger=mine, sealer=None, clock=None, secret=str, name="w", sleep=slept.append
        )
        throttle = Throttle(place, one, Limits(rate=100, bytes=10_000))
        assert (throttle.most_items(2_000), throttle.most_bytes(1 << 24)) == (100, 10_000)
        for _ in range(5):
            slept.clear()
            throttle.wait(items=100, size=1_000, beat=lambda: None)
            waits.append(sum(slept))
        mine.close()

    threads = [threading.Thread(target=work, args=(one,)) for one in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    assert sorted(round(wait, 3) for wait in waits) == [float(turn) for turn in range(30)]


@pytest.mark.guarantee(12)
def test_a_source_that_is_away_is_probed_too_and_no_target_is_blamed_for_it(service):
    run_id = begin(service)
    cache, away = service.folder / "cache", service.folder / "away"
    cache.rename(away)
    while not circuits(service):
        service.answer(at_most=1)
        service.conductor.tick()
    assert circuits(service) == [("the sources of contacts", "open")]
    said = [line for line in service.status(run_id).warnings if "does not answer" in line]
    assert [line.partition(";")[0] for line in said] == [
        "one of the sources of contacts does not answer"
    ]
    service.answer()
    attempts = tried_units(service)
    service.clock.advance(minutes=6)
    for _ in range(2):
        service.conductor.tick()
    service.answer()
    service.conductor.tick()
    assert tried_units(service) == attempts + 2, "one batch of two users probes"
    away.rename(cache)
    service.go_on()
    assert circuits(service) == []
    assert [phase.settled for phase in service.status(run_id).phases] == [len(USERS)] * 2


def tried_units(service):
    with service.ledger.read() as connection:
        return sum(connection.execute(select(unit.c.attempts)).scalars())


def test_without_limits_nobody_asks_the_ledger():
    nowhere = Ledger("postgresql://nobody@127.0.0.1:1/none")
    place = Workplace(ledger=nowhere, sealer=None, clock=None, secret=str, name="w")
    Throttle(place, None, Limits()).wait(items=10, size=10, beat=lambda: None)


def test_answers_are_sums_and_the_latest_wish(tmp_path):
    ledger = Ledger(f"sqlite:///{Path(tmp_path) / 'ledger.db'}")
    ledger.prepare()
    held = [
        Batch(
            id=number,
            run="r1",
            kind="restore",
            phase=2,
            wave=0,
            first=0,
            last=0,
            members=None,
            epoch=1,
            attempts=1,
            crashes=0,
            worker="w",
        )
        for number in (1, 1, 2)
    ]
    with ledger.begin() as connection:
        for one, wish in zip(held, (5, 3, 4), strict=True):
            found = pressure.Answers(ended=1, troubled=1, writes=2, spent_ms=3, retry_at=wish)
            pressure.note_answers(connection, one, found)
        assert pressure.answers_of(connection, "r1") == {
            2: pressure.Answers(ended=3, troubled=3, writes=6, spent_ms=9, retry_at=5)
        }
    ledger.close()


# One user first ---------------------------------------------------------------------------------


def covers(service):
    """By phase, which users the batches that are not split or over cover, in the order of going."""
    with service.ledger.read() as connection:
        rows = connection.execute(
            select(batch)
            .where(batch.c.kind == "restore", batch.c.state.in_(("waiting", "ready")))
            .order_by(batch.c.priority.desc(), batch.c.wave, batch.c.phase, batch.c.id)
        ).all()
    found: dict[int, list[int]] = {0: [], 1: []}
    for row in rows:
        users = range(row.first, row.last + 1) if row.members is None else json.loads(row.members)
        found[row.phase].extend(users)
    return found


def test_a_user_who_is_moved_to_the_front_goes_first_once_and_nobody_is_left_out(service):
    run_id = service.submit(PLAN, users=USERS)
    service.conductor = service.another_conductor("first", batch_users=5)
    for _ in range(2):
        service.conductor.tick()
        service.answer()
    service.conductor.tick()
    with service.ledger.read() as connection:
        number = service.progress.number(connection, run_id, "user07")
    assert service.runs.prioritize(run_id, number, who="jo", reason="press") == 2
    assert service.runs.prioritize(run_id, number, who="jo", reason="press") == 2
    for users in covers(service).values():
        assert users[0] == number
        assert sorted(users) == list(range(len(USERS)))
    service.conductor.tick()
    service.conductor.tick()
    with service.ledger.read() as connection:
        first = connection.execute(
            select(batch.c.first, batch.c.last).where(batch.c.id == service.rings.waiting[0].batch)
        ).one()
    assert tuple(first) == (number, number)
    service.go_on()
    assert [phase.settled for phase in service.status(run_id).phases] == [len(USERS)] * 2
    with service.ledger.read() as connection:
        entries = connection.execute(
            select(audit_log.c.who, audit_log.c.detail).where(audit_log.c.action == "prioritize")
        ).all()
    assert [entry.who for entry in entries] == ["jo", "jo"]
    assert "user07" not in entries[0].detail
    with pytest.raises(Refused, match="finished"):
        service.runs.prioritize(run_id, number, who="jo", reason="")


def test_what_is_tried_again_for_a_user_who_goes_first_goes_first_too(service, illness):
    run_id = begin(service)
    with service.ledger.read() as connection:
        number = service.progress.number(connection, run_id, "user07")
    service.runs.prioritize(run_id, number, who="jo", reason="press")
    illness.on = True
    service.conductor.tick()
    service.answer()
    illness.on = False
    service.clock.advance(seconds=30)
    service.conductor.tick()
    with service.ledger.read() as connection:
        made = connection.execute(
            select(batch.c.first, batch.c.last, batch.c.priority)
            .where(batch.c.priority > 0)
            .where(batch.c.members.is_not(None))
        ).all()
    assert [tuple(row) for row in made] == [(number, number, FRONT)]
    service.go_on()
    assert [phase.settled for phase in service.status(run_id).phases] == [len(USERS)] * 2


def test_a_follow_up_batch_gives_up_the_user_who_goes_first(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.prepare()
    with ledger.begin() as connection:
        expansion.add_batches(connection, [("r1", "restore", 0, 0, 2, 9)], state=BatchState.READY)
        connection.execute(update(batch).values(members="[2, 5, 9]"))
        assert move_to_front(connection, "r1", 4) == 0
        assert move_to_front(connection, "r1", 5) == 1
        rows = connection.execute(
            select(batch.c.members, batch.c.priority).where(batch.c.state == BatchState.READY)
        ).all()
    assert sorted(map(tuple, rows)) == [("[2, 9]", 0), ("[5]", FRONT)]
    ledger.close()
