"""What the conductor reads and moves: cells, waiting batches, follow-ups, the end of a run."""

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

from sqlalchemy import (
    Connection,
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from orchestrator.admission import Cell, Facts, Move
from orchestrator.ledger.database import insert_missing, learn, upsert, within
from orchestrator.ledger.outbox import tell
from orchestrator.ledger.priority import FRONT, in_front
from orchestrator.ledger.schema import (
    AWAITING,
    DUE,
    UNDONE,
    account,
    approval,
    batch,
    cell,
    counter,
    data_key,
    exception,
    journal,
    promotion,
    quarantine,
    run,
    speed,
    unit,
)
from orchestrator.lifecycle import (
    TERMINAL_UNITS,
    BatchState,
    CellState,
    RunState,
    moved,
)
from orchestrator.notices import NoticeKind

UNFINISHED = (BatchState.WAITING, BatchState.READY, BatchState.DISPATCHED, BatchState.RUNNING)


def active_runs(connection: Connection) -> list[tuple[str, RunState]]:
    """Runs that the conductor has to look after, oldest first."""
    return [(row.id, RunState(row.state)) for row in connection.execute(_ACTIVE)]


_LOOKED_AFTER = (
    RunState.SUBMITTED,
    RunState.INSPECTING,
    RunState.AWAITING_APPROVAL,
    RunState.RUNNING,
)
_ACTIVE = (
    select(run.c.id, run.c.state)
    .where(or_(*(run.c.state == state for state in _LOOKED_AFTER)))  # IN is written out each time
    .order_by(run.c.created_at, run.c.id)
)


def move_run(
    connection: Connection,
    run_id: str,
    old: RunState,
    new: RunState,
    *,
    now: int,
    told: bool = True,
    **values: object,
) -> bool:
    """Make one move of a run, and keep a notice of it; False where it was not in `old` any more."""
    moved(old, new)
    found = connection.execute(
        update(run).where(run.c.id == run_id, run.c.state == old).values(state=new, **values)
    )
    if told and found.rowcount == 1:
        tell_move(connection, run_id, old, new, now=now)
    return found.rowcount == 1


_NOTICES: Mapping[tuple[RunState | None, RunState], NoticeKind] = {
    (None, RunState.AWAITING_APPROVAL): NoticeKind.AWAITING_APPROVAL,
    (RunState.AWAITING_APPROVAL, RunState.RUNNING): NoticeKind.STARTED,
    (RunState.PAUSED, RunState.RUNNING): NoticeKind.RESUMED,
    (RunState.FINISHED, RunState.RUNNING): NoticeKind.REOPENED,
    (None, RunState.PAUSED): NoticeKind.PAUSED,
    (None, RunState.FINISHED): NoticeKind.FINISHED,
    (None, RunState.REFUSED): NoticeKind.REFUSED,
    (None, RunState.CANCELLED): NoticeKind.CANCELLED,
}
"""What is told of which move; None: from wherever."""


def tell_move(
    connection: Connection, run_id: str, old: RunState, new: RunState, *, now: int
) -> None:
    """Keep a notice of a run's move, and of what has to be accepted when it is over."""
    kind = _NOTICES.get((old, new)) or _NOTICES.get((None, new))
    if kind is None:
        return
    if kind is not NoticeKind.FINISHED:
        tell(connection, run_id, kind, now=now)
        return
    names = ("settled", "failed", "cancelled", "lost", "quarantined", "nameless")
    sums = connection.execute(
        select(*(func.coalesce(func.sum(counter.c[name]), 0).label(name) for name in names)).where(
            counter.c.run == run_id
        )
    ).one()
    numbers = {name: int(number) for name, number in zip(names, sums, strict=True)}
    numbers["quarantined"] += numbers.pop("nameless")  # copies that name no item are kept, too
    tell(connection, run_id, kind, now=now, data=numbers)
    if numbers["lost"] or numbers["quarantined"]:
        parts = {name: numbers[name] for name in ("lost", "quarantined")}
        tell(connection, run_id, NoticeKind.LOSSES, now=now, data=parts)


def cell_facts(connection: Connection, run_id: str) -> dict[Cell, Facts]:
    """Every cell of a run with its counters."""
    given = {"of_run": run_id}
    sums = {(row.phase, row.wave): row for row in connection.execute(_CELL_SUMS, given)}
    promoted = {(row.phase, row.wave): row.people for row in connection.execute(_PROMOTIONS, given)}
    progressed = connection.execute(_PROGRESSED, given).scalar_one()
    quiet = None if progressed is None else moment(progressed)
    found: dict[Cell, Facts] = {}
    for row in connection.execute(_CELLS, given):
        key = (row.phase, row.wave)
        sum_row = sums.get(key)
        found[key] = Facts(
            state=CellState(row.state),
            units=row.units,
            settled=int(sum_row.settled) if sum_row else 0,
            failed=int(sum_row.failed) if sum_row else 0,
            cancelled=int(sum_row.cancelled) if sum_row else 0,
            promoted=promoted.get(key, 0),
            quiet_since=quiet if row.settled_at is None else moment(row.settled_at),
        )
    return found


_RUN = bindparam("of_run", type_=run.c.id.type)
_CELLS = select(cell).where(cell.c.run == _RUN)
_CELL_SUMS = (
    select(
        counter.c.phase,
        counter.c.wave,
        func.sum(counter.c.settled).label("settled"),
        func.sum(counter.c.failed).label("failed"),
        func.sum(counter.c.cancelled).label("cancelled"),
    )
    .where(counter.c.run == _RUN)
    .group_by(counter.c.phase, counter.c.wave)
)
_PROMOTIONS = (
    select(promotion.c.phase, promotion.c.wave, func.count().label("people"))
    .where(promotion.c.run == _RUN)
    .group_by(promotion.c.phase, promotion.c.wave)
)
_PROGRESSED = select(run.c.progressed_at).where(run.c.id == _RUN)


def moment(milliseconds: int) -> datetime:
    """The ledger's time as an aware datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def apply_moves(connection: Connection, run_id: str, due: Sequence[Move], *, now: int) -> None:
    """Carry out changes of cells."""
    for move in due:
        times: dict[str, object] = {}
        match move.state:
            case CellState.OPEN:
                times = {"opened_at": func.coalesce(cell.c.opened_at, now), "settled_at": None}
            case CellState.HELD | CellState.SETTLED:
                times = {"settled_at": func.coalesce(cell.c.settled_at, now)}
            case CellState.CLOSED:
                pass
        connection.execute(
            update(cell)
            .where(cell.c.run == run_id, cell.c.phase == move.cell[0], cell.c.wave == move.cell[1])
            .values(state=move.state, why=move.why or None, **times)
        )


def release_waiting(connection: Connection, run_id: str, at: Cell) -> int:
    """Make a cell's waiting batches ready; how many."""
    phase, wave = at
    return connection.execute(
        update(batch)
        .where(
            batch.c.run == run_id,
            batch.c.phase == phase,
            batch.c.wave == wave,
            batch.c.state == BatchState.WAITING,
        )
        .values(state=BatchState.READY)
    ).rowcount


def release_following(
    connection: Connection, run_id: str, at: Cell, *, after: int, most: int
) -> tuple[int, int]:
    """Make those waiting batches ready whose users have no undone batch in the phase before.

    Looks at the next `most` behind user `after`; returns how many it released and up to which user
    it looked, -1 at the end. Batches of a phase and wave do not overlap, so of those before only
    the one that begins last can.
    """
    phase, wave = at
    before = batch.alias("before")
    undone = (
        select(before.c.last)
        .where(
            before.c.run == run_id,
            before.c.phase == phase - 1,
            before.c.wave == wave,
            text(UNDONE),
            before.c.first <= batch.c.last,
        )
        .order_by(before.c.first.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(batch.c.id, batch.c.first, undone.label("undone_to"))
        .where(
            batch.c.run == run_id,
            batch.c.phase == phase,
            batch.c.wave == wave,
            text(UNDONE),
            batch.c.state == BatchState.WAITING,
            batch.c.first > after,
        )
        .order_by(batch.c.first)
        .limit(most)
    ).all()
    free = [row.id for row in rows if row.undone_to is None or row.undone_to < row.first]
    if free:
        connection.execute(
            update(batch)
            .where(batch.c.id.in_(free), batch.c.state == BatchState.WAITING)
            .values(state=BatchState.READY)
        )
    return len(free), rows[-1].first if len(rows) == most else -1


def waiting_batches(connection: Connection, run_id: str) -> set[Cell]:
    """Cells that have batches which were never ready."""
    rows = connection.execute(_CELLS_THAT_WAIT, {"of_run": run_id})
    return {(row.phase, row.wave) for row in rows}


_CELLS_THAT_WAIT = select(cell.c.phase, cell.c.wave).where(
    cell.c.run == _RUN,
    exists().where(
        batch.c.run == _RUN,
        batch.c.state == BatchState.WAITING,
        batch.c.phase == cell.c.phase,
        batch.c.wave == cell.c.wave,
    ),
)


def follow_up(
    connection: Connection, run_id: str, *, now: int, size: int, kind: str = "restore"
) -> int:
    """Make batches of units that waited and whose time has come; how many batches."""
    rows = connection.execute(_DUE, {"of_run": run_id, "by_now": now, "most": size * 64})
    units = [(row.phase, row.user) for row in rows]
    return _make_batches(connection, run_id, units, size=size, kind=kind)


_DUE = (
    select(exception.c.phase, exception.c.user)
    .where(exception.c.run == _RUN, text(DUE), exception.c.not_before <= bindparam("by_now"))
    .order_by(exception.c.not_before)
    .limit(bindparam("most", type_=Integer))
)


def follow_up_after(
    connection: Connection, run_id: str, *, after: int, size: int, kind: str = "restore"
) -> tuple[int, int]:
    """Make batches of units that waited for another phase of their user, which has ended.

    Looks at the next few behind user `after`; returns how many batches it made and up to which
    user it looked, -1 at the end.
    """
    most = size * 64
    given = {"of_run": run_id, "after": after, "most": most}
    rows = connection.execute(_AWAITED, given).all()
    ended = [(row.phase, row.user) for row in rows if row.state in TERMINAL_UNITS]
    made = _make_batches(connection, run_id, ended, size=size, kind=kind)
    return made, max(row.user for row in rows) - 1 if len(rows) == most else -1


_LOOKED_AT = (
    select(exception.c.phase, exception.c.user, exception.c.awaits)
    .where(exception.c.run == _RUN, text(AWAITING), exception.c.user > bindparam("after"))
    .order_by(exception.c.user, exception.c.phase)
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_AWAITED = select(_LOOKED_AT.c.phase, _LOOKED_AT.c.user, unit.c.state).join(
    unit,
    and_(
        unit.c.run == _RUN,
        unit.c.user == _LOOKED_AT.c.user,
        unit.c.phase == _LOOKED_AT.c.awaits,
    ),
)


def _make_batches(
    connection: Connection,
    run_id: str,
    units: Sequence[tuple[int, int]],
    *,
    size: int,
    kind: str,
) -> int:
    """Make batches of units, given as phase and user, and note of each which has taken it."""
    if not units:
        return 0
    wave_of = waves_of(connection, run_id)
    groups: dict[Cell, list[int]] = {}
    for phase, user in sorted(units):
        groups.setdefault((phase, wave_of(user)), []).append(user)
    first = in_front(connection, run_id)
    made = 0
    for (phase, wave), users in groups.items():
        for part, priority in _parted(users, size=size, first=first):
            number = connection.execute(
                insert(batch)
                .values(
                    run=run_id,
                    kind=kind,
                    phase=phase,
                    wave=wave,
                    first=part[0],
                    last=part[-1],
                    members=json.dumps(part),
                    state=BatchState.READY,
                    priority=priority,
                )
                .returning(batch.c.id)
            ).scalar_one()
            connection.execute(
                update(exception)
                .where(
                    exception.c.run == run_id,
                    exception.c.phase == phase,
                    within(connection, exception.c.user, part),
                )
                .values(batch=number)
            )
            made += 1
    return made


def _parted(
    users: Sequence[int], *, size: int, first: Collection[int]
) -> Iterator[tuple[list[int], int]]:
    """Who is in one batch, and its priority: whoever goes first is alone in theirs."""
    yield from (([user], FRONT) for user in users if user in first)
    others = [user for user in users if user not in first]
    yield from ((others[at : at + size], 0) for at in range(0, len(others), size))


def waves_of(connection: Connection, run_id: str) -> Callable[[int], int]:
    """Tells which wave a user number belongs to: numbers follow wave order.

    A run about another one has that one's numbers and waves, though not all of them.
    """
    whole = select(func.coalesce(run.c.root, run.c.id)).where(run.c.id == run_id)
    rows = connection.execute(
        select(cell.c.wave, cell.c.units)
        .where(cell.c.run == whole.scalar_subquery(), cell.c.phase == 0)
        .order_by(cell.c.wave)
    ).all()
    ends = list(accumulate(row.units for row in rows))
    waves = [row.wave for row in rows]
    return lambda number: waves[bisect_right(ends, number)]


def count(connection: Connection, run_id: str, phase: int, wave: int, **changes: int) -> None:
    """Add to the counters of a cell."""
    upsert(
        connection,
        counter,
        [{"run": run_id, "phase": phase, "wave": wave, "slot": 0, **changes}],
        add=True,
    )


def approvals(connection: Connection, run_id: str, digest: str) -> int:
    """How many people approved exactly this digest."""
    return connection.execute(
        select(func.count())
        .select_from(approval)
        .where(approval.c.run == run_id, approval.c.digest == digest)
    ).scalar_one()


def unfinished_batches(connection: Connection, run_id: str) -> bool:
    """Whether a batch of the run still has to end."""
    return (
        connection.execute(
            select(batch.c.id).where(batch.c.run == run_id, batch.c.state.in_(UNFINISHED)).limit(1)
        ).first()
        is not None
    )


def note_speed(connection: Connection, run_id: str, *, now: int) -> int:
    """Remember how much was done by now; what is older than a hundred notes is forgotten.

    Returns how many units ended so far.
    """
    done = connection.execute(
        select(
            func.coalesce(func.sum(counter.c["items"]), 0),
            func.coalesce(func.sum(counter.c.settled + counter.c.failed), 0),
        ).where(counter.c.run == run_id)
    ).one()
    insert_missing(
        connection, speed, [{"run": run_id, "at": now, "items": done[0], "units": done[1]}]
    )
    oldest = connection.execute(
        select(speed.c.at)
        .where(speed.c.run == run_id)
        .order_by(speed.c.at.desc())
        .offset(100)
        .limit(1)
    ).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(speed).where(speed.c.run == run_id, speed.c.at <= oldest))
    return int(done[1])


def learn_again(connection: Connection) -> None:
    """Let the planner know of what grows while runs go on, from nothing to millions of rows."""
    learn(connection, journal, data_key, account, quarantine, exception)
