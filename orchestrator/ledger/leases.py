"""The five statements that hand batches out: dispatch, claim, heartbeat, finish, reclaim.

The lease sits on the batch; its fencing token is the epoch, which grows at every dispatch and at
every reclaim. Whoever holds an old epoch finds no row and stops.
"""

import json
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, case, insert, select, text, update

from orchestrator.errors import LeaseLost
from orchestrator.ledger.schema import READY, batch, run
from orchestrator.lifecycle import BatchState, RunState


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
    return _mark(connection, [number for number, _ in chosen], now=now, lease_ms=lease_ms)


def dispatch_lanes(
    connection: Connection, lanes: Sequence[Lane], *, now: int, lease_ms: int, room: int
) -> list[Ring]:
    """The same, no more of each lane than its target may get, and the lanes by turns."""
    found: list[tuple[int, int, int]] = []
    for lane in lanes:
        if min(lane.room, room) > 0:
            these = and_(batch.c.run == lane.run, batch.c.phase.in_(lane.phases))
            ready = _ready(connection, these, now=now, room=min(lane.room, room))
            found.extend((-priority, turn, number) for turn, (number, priority) in enumerate(ready))
    chosen = [number for _, _, number in sorted(found)[: max(0, room)]]
    return _mark(connection, chosen, now=now, lease_ms=lease_ms)


def places(connection: Connection, rings: Sequence[Ring]) -> set[tuple[str, int]]:
    """The runs and phases that these rings are for."""
    if not rings:
        return set()
    rows = connection.execute(
        select(batch.c.run, batch.c.phase)
        .where(batch.c.id.in_([ring.batch for ring in rings]))
        .distinct()
    )
    return {(row.run, row.phase) for row in rows}


def _ready(
    connection: Connection, these: ColumnElement[bool], *, now: int, room: int
) -> list[tuple[int, int]]:
    """Ready batches, those that go first first, each with its priority; locked until the commit.

    Why those at the front are asked for apart: the others are read in the order of an index, as
    many as there is room for, however many there are.
    """
    order = (batch.c.wave, batch.c.phase, batch.c.id)
    ready = select(batch.c.id, batch.c.priority).where(
        these, text(READY), batch.c.not_before <= now
    )
    if connection.dialect.name == "postgresql":
        ready = ready.with_for_update(skip_locked=True)
    first = ready.where(batch.c.priority > 0).order_by(batch.c.priority.desc(), *order)
    found = connection.execute(first.limit(room)).all()
    if len(found) < room:
        others = ready.where(batch.c.priority == 0).order_by(*order)
        found = [*found, *connection.execute(others.limit(room - len(found)))]
    return [(row.id, row.priority) for row in found]


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
    connection: Connection, ring: Ring, *, now: int, lease_ms: int, worker: str
) -> Batch | None:
    """The batch, now ours; None where the ring is stale: do nothing."""
    row = connection.execute(
        update(batch)
        .where(
            batch.c.id == ring.batch,
            batch.c.epoch == ring.epoch,
            batch.c.state == BatchState.DISPATCHED,
        )
        .values(
            state=BatchState.RUNNING,
            attempts=batch.c.attempts + 1,
            lease_until=now + lease_ms,
            worker=worker,
        )
        .returning(batch)
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
    )


def heartbeat(
    connection: Connection, held: Batch, *, now: int, lease_ms: int, progress: bool
) -> None:
    """Keep the lease; raises `LeaseLost` when it is no longer ours.

    `progress`: something was finished since the last one, so a crash from here on starts anew.
    """
    values = {"lease_until": now + lease_ms}
    if progress:
        values |= {"crashes": 0, "progress": batch.c.progress + 1}
    _ours(connection, held, **values)


def still_held(connection: Connection, held: Batch) -> None:
    """Raise `LeaseLost` unless the batch is ours; nobody can take it before the commit."""
    mine = select(batch.c.id).where(
        batch.c.id == held.id,
        batch.c.epoch == held.epoch,
        batch.c.state == BatchState.RUNNING,
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
    _ours(connection, held, state=state, lease_until=0, not_before=not_before)


def _ours(connection: Connection, held: Batch, **values: object) -> None:
    found = connection.execute(
        update(batch)
        .where(
            batch.c.id == held.id,
            batch.c.epoch == held.epoch,
            batch.c.state == BatchState.RUNNING,
        )
        .values(**values)
    )
    if found.rowcount != 1:
        raise LeaseLost(f"batch {held.id} is no longer held under epoch {held.epoch}")


def reclaim(connection: Connection, *, now: int) -> list[int]:
    """Take back what lapsed: ready again under a new epoch. Returns those that crashed too often.

    A batch that was never claimed did not crash: its message was lost.
    """
    rows = connection.execute(
        update(batch)
        .where(
            batch.c.state.in_((BatchState.DISPATCHED, BatchState.RUNNING)),
            batch.c.lease_until < now,
        )
        .values(
            epoch=batch.c.epoch + 1,
            crashes=batch.c.crashes + case((batch.c.state == BatchState.RUNNING, 1), else_=0),
            state=BatchState.READY,
            lease_until=0,
        )
        .returning(batch.c.id, batch.c.kind, batch.c.crashes)
    ).all()
    if rows:
        _end_leftovers(connection)
    return [
        row.id
        for row in rows
        if row.crashes >= (CRASHES_TO_REFUSE if row.kind == "inspect" else CRASHES_TO_SPLIT)
    ]


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
