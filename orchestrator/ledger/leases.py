"""The five statements that hand batches out: dispatch, claim, heartbeat, finish, reclaim.

The lease sits on the batch; its fencing token is the epoch, which grows at every dispatch and at
every reclaim. Whoever holds an old epoch finds no row and stops; and so does who lost the batch to
another under the same epoch, which only a database that forgot commits can bring about.

Why a claim need not be flushed to disk: before anything outside the ledger is changed, the journal
is, and with it all that was committed earlier. Who claimed what a crash made forgotten finds out
before.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from orchestrator.errors import LeaseLost
from orchestrator.ledger.database import change_each
from orchestrator.ledger.schema import (
    OUT,
    READY,
    batch,
    choice,
    death,
    decline,
    exception,
    quarantine,
    run,
)
from orchestrator.lifecycle import BatchState, RunState
from orchestrator.releases import series


class Known(Struct, frozen=True, kw_only=True):
    """Whether the ledger may know of such things about a batch's users; else nobody need ask."""

    declines: bool = True
    """Of its run."""
    choices: bool = True
    exceptions: bool = True
    deaths: bool = True
    releases: bool = True


class Batch(Struct, frozen=True, kw_only=True):
    """A claimed batch: users `first` to `last` of one phase, or only `members` of them."""

    id: int
    run: str
    kind: str
    phase: int
    wave: int
    first: int
    last: int
    members: tuple[int, ...] | None
    epoch: int
    attempts: int
    crashes: int
    worker: str
    """Who holds it."""
    known: Known = Known()
    progressed_at: int = 0
    """When its run was last known to have moved."""

    @property
    def slot(self) -> int:
        """Which row of the counters it moves; spreads workers over rows."""
        return self.id % 16


class Ring(Struct, frozen=True, kw_only=True):
    """What the broker carries: nothing but two numbers."""

    batch: int
    epoch: int


class Lane(Struct, frozen=True, kw_only=True):
    """Batches that go to one target, and how many more it may get now."""

    run: str
    phases: tuple[int, ...]
    room: int


def dispatch(
    connection: Connection, runs: Sequence[str], *, now: int, lease_ms: int, room: int
) -> list[Ring]:
    """Mark up to `room` ready batches as dispatched; publish them after the commit."""
    if room <= 0 or not runs:
        return []
    chosen = _ready(connection, batch.c.run.in_(runs), now=now, room=room)
    return _mark(connection, [row.id for row in chosen], now=now, lease_ms=lease_ms)


class Sent(Struct, kw_only=True):
    """What was handed out of one run and phase."""

    batches: int = 0
    users: int = 0


def dispatch_lanes(
    connection: Connection,
    lanes: Sequence[Lane],
    *,
    now: int,
    lease_ms: int,
    room: int,
    joined: Mapping[tuple[str, int], int] | None = None,
) -> tuple[list[Ring], dict[tuple[str, int], Sent]]:
    """The same, no more of each lane than its target may get, and the lanes by turns.

    Also what was sent of which runs and phases. `joined`: of these runs and phases, batches that
    lie side by side are made one first, of up to so many users.
    """
    found: list[tuple[int, int, Any]] = []
    for lane in lanes:
        most = min(lane.room, room)
        if most > 0:
            these = and_(batch.c.run == lane.run, batch.c.phase.in_(lane.phases))
            places = {phase: (joined or {}).get((lane.run, phase), 0) for phase in lane.phases}
            if any(places.values()):
                several = _ready(connection, these, now=now, room=most * JOINED)
                ready = _joined(connection, several, places, most=most)
            else:
                ready = _ready(connection, these, now=now, room=most)
            found.extend((-row.priority, turn, row) for turn, row in enumerate(ready))
    chosen = [row for _, _, row in sorted(found, key=lambda each: each[:2])[: max(0, room)]]
    rings = _mark(connection, [row.id for row in chosen], now=now, lease_ms=lease_ms)
    rows = {row.id: row for row in chosen}
    sent: dict[tuple[str, int], Sent] = {}
    for ring in rings:
        row = rows[ring.batch]
        one = sent.setdefault((row.run, row.phase), Sent())
        one.batches += 1
        one.users += row.last - row.first + 1
    return rings, sent


JOINED = 20
"""So many batches are made one at most."""


class _Grown(Struct, frozen=True, kw_only=True):
    """A batch that holds the users of its neighbours, too."""

    id: int
    run: str
    phase: int
    priority: int
    first: int
    last: int


def _joined(
    connection: Connection, ready: Sequence[Row[Any]], users: Mapping[int, int], *, most: int
) -> list[Row[Any] | _Grown]:
    """The first of each group of neighbours, at most `most`, which now holds all of its users.

    `users`: by phase, how many one may hold. No group is larger than leaves enough for `most`, so
    that the last ones of a phase are small and nobody is idle while another works on.

    Only batches of ranges that nobody has worked on yet: what was halved because it ended workers
    stays halved. Of what becomes part of another one nobody knows; a late ring for it is stale.
    """
    groups: list[list[Row[Any]]] = []
    at_most = min(JOINED, -(-len(ready) // most))
    for row in ready:
        last = groups[-1] if groups else None
        if last and len(last) < at_most and _goes_on(last, row, users[row.phase]):
            last.append(row)
        elif len(groups) == most:
            break
        else:
            groups.append([row])
    grown = [group for group in groups if len(group) > 1]
    ends = [{"id": group[0].id, "last": group[-1].last} for group in grown]
    change_each(connection, batch, ends, at={"state": BatchState.READY}, by="id")
    parts = [row.id for group in grown for row in group[1:]]
    if parts:
        connection.execute(delete(batch).where(batch.c.id.in_(parts)))
    return [group[0] if len(group) == 1 else _grown(group) for group in groups]


def _grown(group: Sequence[Row[Any]]) -> _Grown:
    first = group[0]
    return _Grown(
        id=first.id,
        run=first.run,
        phase=first.phase,
        priority=first.priority,
        first=first.first,
        last=group[-1].last,
    )


def _goes_on(group: Sequence[Row[Any]], row: Row[Any], users: int) -> bool:
    first, last = group[0], group[-1]
    alike = (first.run, first.kind, first.phase, first.wave)
    return (
        alike == (row.run, row.kind, row.phase, row.wave)
        and all(_untouched(each) for each in (first, row))
        and row.first == last.last + 1
        and row.last - first.first < users
    )


def _untouched(row: Row[Any]) -> bool:
    return row.members is None and not (row.priority or row.attempts or row.crashes)


def _ready(
    connection: Connection, these: ColumnElement[bool], *, now: int, room: int
) -> list[Row[Any]]:
    """Ready batches, those that go first first; locked until the commit.

    Why those at the front are asked for apart: the others are read in the order of an index, as
    many as there is room for, however many there are.
    """
    order = (batch.c.wave, batch.c.phase, batch.c.id)
    ready = select(*_LOOKED_AT).where(these, text(READY), batch.c.not_before <= now)
    if connection.dialect.name == "postgresql":
        ready = ready.with_for_update(skip_locked=True)
    first = ready.where(batch.c.priority > 0).order_by(batch.c.priority.desc(), *order)
    found = connection.execute(first.limit(room)).all()
    if len(found) < room:
        others = ready.where(batch.c.priority == 0).order_by(*order)
        found = [*found, *connection.execute(others.limit(room - len(found)))]
    return list(found)


_LOOKED_AT = tuple(
    batch.c[name]
    for name in (
        *("id", "run", "kind", "phase", "wave", "first", "last", "members"),
        *("priority", "attempts", "crashes"),
    )
)


def _mark(connection: Connection, ids: Sequence[int], *, now: int, lease_ms: int) -> list[Ring]:
    if not ids:
        return []
    rows = connection.execute(
        update(batch)
        .where(batch.c.id.in_(ids), batch.c.state == BatchState.READY)
        .values(
            state=BatchState.DISPATCHED,
            epoch=batch.c.epoch + 1,
            lease_until=now + lease_ms,
        )
        .returning(batch.c.id, batch.c.epoch)
    )
    order = {number: position for position, number in enumerate(ids)}
    rings = [Ring(batch=row.id, epoch=row.epoch) for row in rows]
    return sorted(rings, key=lambda ring: order[ring.batch])


def claim(
    connection: Connection,
    ring: Ring,
    *,
    now: int | ColumnElement[int],
    lease_ms: int,
    worker: str,
    release: str,
) -> Batch | None:
    """The batch, now ours; None where the ring is stale: do nothing.

    Stale is also what belongs to a run that is stopped, or to one of a release that decides
    otherwise than `release`: one of the two is being replaced, and the lease lapses.
    """
    by_database = not isinstance(now, int)
    given = {
        "of_batch": ring.batch,
        "of_epoch": ring.epoch,
        "lease_ms": lease_ms,
        "holder": worker,
        "series": series(release),
        "within_series": f"{series(release)}.%",
    }
    row = connection.execute(
        _claiming(connection.dialect.name, now if by_database else None),
        given if by_database else given | {"now": now},
    ).one_or_none()
    if row is None:
        return None
    return Batch(
        id=row.id,
        run=row.run,
        kind=row.kind,
        phase=row.phase,
        wave=row.wave,
        first=row.first,
        last=row.last,
        members=None if row.members is None else tuple(json.loads(row.members)),
        epoch=row.epoch,
        attempts=row.attempts,
        crashes=row.crashes,
        worker=worker,
        known=Known(**{name: bool(getattr(row, name)) for name in Known.__struct_fields__}),
        progressed_at=row.progressed_at or 0,
    )


@cache
def _claiming(dialect: str, time: ColumnElement[int] | None) -> ReturningUpdate[Any]:
    now = bindparam("now", type_=BigInteger) if time is None else time
    alike = or_(
        run.c.code_version == bindparam("series"),
        run.c.code_version.like(bindparam("within_series")),
    )
    progressed_at = select(run.c.progressed_at).where(run.c.id == _RUN).scalar_subquery()
    at_work = run.c.state.in_((RunState.RUNNING, RunState.INSPECTING))
    statement = (
        update(batch)
        .where(
            batch.c.id == bindparam("of_batch"),
            batch.c.epoch == bindparam("of_epoch"),
            batch.c.state == BatchState.DISPATCHED,
            exists().where(run.c.id == batch.c.run, at_work, alike),
        )
        .values(
            state=BatchState.RUNNING,
            attempts=batch.c.attempts + 1,
            lease_until=now + bindparam("lease_ms", type_=BigInteger),
            worker=bindparam("holder"),
        )
        .returning(
            batch,
            progressed_at.label("progressed_at"),
            *(found.exists().label(name) for name, found in _details().items()),
        )
    )
    if dialect == "postgresql":  # see the module's docstring
        statement = statement.returning(func.set_config("synchronous_commit", "off", True))
    return statement


def _details() -> dict[str, Select[Any]]:
    """What there may be to ask about a batch's users, by the names of `Known`."""
    root = select(func.coalesce(run.c.root, run.c.id)).where(run.c.id == _RUN).scalar_subquery()

    def of(table: Table) -> Select[Any]:
        users = table.c.user.between(literal_column("batch.first"), literal_column("batch.last"))
        return select(table.c.run).where(table.c.run == _RUN, users)

    def of_phase(table: Table) -> Select[Any]:
        return of(table).where(table.c.phase == literal_column("batch.phase"))

    return {
        "declines": select(decline.c.run).where(decline.c.run == root),
        "choices": of(choice),
        "exceptions": of_phase(exception),
        "deaths": of_phase(death),
        "releases": of_phase(quarantine).where(quarantine.c.released_at.is_not(None)),
    }


_RUN: ColumnElement[str] = literal_column("batch.run", String(16))
"""As it is: among what is returned on SQLite, columns would lose the name of their table."""


def heartbeat(
    connection: Connection, held: Batch, *, now: int, lease_ms: int, progress: bool
) -> None:
    """Keep the lease; raises `LeaseLost` when it is no longer ours.

    `progress`: something was finished since the last one, so a crash from here on starts anew.
    """
    statement = _PROGRESS if progress else _BEAT
    _ours(connection, held, statement, {"until": now + lease_ms})


def still_held(connection: Connection, held: Batch) -> None:
    """Raise `LeaseLost` unless the batch is ours; nobody can take it before the commit."""
    mine = select(batch.c.id).where(
        batch.c.id == held.id,
        batch.c.epoch == held.epoch,
        batch.c.state == BatchState.RUNNING,
        batch.c.worker == held.worker,
    )
    if connection.dialect.name == "postgresql":
        mine = mine.with_for_update(key_share=True)
    if connection.execute(mine).one_or_none() is None:
        raise LeaseLost(f"batch {held.id} is no longer held under epoch {held.epoch}")


def end(
    connection: Connection,
    held: Batch,
    *,
    state: BatchState,
    not_before: int = 0,
) -> None:
    """Give the batch back as `state`, under its epoch; raises `LeaseLost` when it is not ours."""
    _ours(connection, held, _END, {"ends_as": state, "until": 0, "not_sooner": not_before})


def _ours(
    connection: Connection, held: Batch, change: Update, values: Mapping[str, object]
) -> None:
    mine = {"of_batch": held.id, "of_epoch": held.epoch, "held_by": held.worker}
    if connection.execute(change, {**mine, **values}).rowcount != 1:
        raise LeaseLost(f"batch {held.id} is no longer held under epoch {held.epoch}")


_MINE = (
    update(batch)
    .where(
        batch.c.id == bindparam("of_batch"),
        batch.c.epoch == bindparam("of_epoch"),
        batch.c.state == BatchState.RUNNING,
        batch.c.worker == bindparam("held_by"),
    )
    .values(lease_until=bindparam("until", type_=BigInteger))
)
_BEAT = _MINE
_PROGRESS = _MINE.values(crashes=0, progress=batch.c.progress + 1)
_END = _MINE.values(
    state=bindparam("ends_as", type_=batch.c.state.type),
    not_before=bindparam("not_sooner", type_=BigInteger),
)


def reclaim(connection: Connection, *, now: int) -> list[int]:
    """Take back what lapsed: ready again under a new epoch. Returns those that crashed too often.

    A batch that was never claimed did not crash: its message was lost.
    """
    rows = connection.execute(_RECLAIM, {"now": now}).all()
    if rows:
        _end_leftovers(connection)
    return [
        row.id
        for row in rows
        if row.crashes >= (CRASHES_TO_REFUSE if row.kind == "inspect" else CRASHES_TO_SPLIT)
    ]


_RECLAIM = (
    update(batch)
    .where(text(OUT), batch.c.lease_until < bindparam("now", type_=BigInteger))
    .values(
        epoch=batch.c.epoch + 1,
        crashes=batch.c.crashes + case((batch.c.state == BatchState.RUNNING, 1), else_=0),
        state=BatchState.READY,
        lease_until=0,
    )
    .returning(batch.c.id, batch.c.kind, batch.c.crashes)
)


def _end_leftovers(connection: Connection) -> None:
    """A batch whose last unit was recorded just before its worker died may outlive its run."""
    over = select(run.c.id).where(run.c.state.in_((RunState.FINISHED, RunState.CANCELLED)))
    connection.execute(
        update(batch)
        .where(batch.c.state == BatchState.READY, batch.c.run.in_(over))
        .values(state=BatchState.CANCELLED)
    )


CRASHES_TO_SPLIT = 2
CRASHES_TO_REFUSE = 5
"""An inspection cannot be split, and its run hangs on it: more of its workers may be unlucky."""


def split(connection: Connection, number: int) -> bool:
    """Replace a batch by its halves; False where it holds one user and cannot be split.

    Halves of a range are aligned to a power of two, so that later phases nest in them.
    """
    row = connection.execute(select(batch).where(batch.c.id == number)).one()
    if row.members is not None:
        members = json.loads(row.members)
        middle = len(members) // 2
        parts = [members[:middle], members[middle:]]
        ranges = [(part[0], part[-1], json.dumps(part)) for part in parts if part]
    else:
        cut = halfway(row.first, row.last)
        ranges = [(row.first, cut - 1, None), (cut, row.last, None)] if cut > row.first else []
    if len(ranges) < 2:  # noqa: PLR2004  one part is no split
        return False
    connection.execute(
        update(batch).where(batch.c.id == number).values(state=BatchState.SPLIT, lease_until=0)
    )
    connection.execute(
        insert(batch),
        [
            {
                "run": row.run,
                "kind": row.kind,
                "phase": row.phase,
                "wave": row.wave,
                "first": first,
                "last": last,
                "members": members_text,
                "state": BatchState.READY,
                "priority": row.priority,
                "attempts": row.attempts,
            }
            for first, last, members_text in ranges
        ],
    )
    return True


def halfway(first: int, last: int) -> int:
    """Where to cut `first..last`: the most aligned number inside; `first` where it is one user."""
    if first == last:
        return first
    width = 1
    while width * 2 <= last - first:
        width *= 2
    cut = (last // width) * width
    return cut if first < cut <= last else first + (last - first + 1) // 2
