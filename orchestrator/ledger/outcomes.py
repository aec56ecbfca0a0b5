"""Settles units: books, states, counters, quarantine and accounts in one transaction.

A checkpoint is a small finish: what it recorded is never done again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Update,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from orchestrator.books import EMPTY, FIELDS, Books, imbalances
from orchestrator.causes import Cause
from orchestrator.ledger import leases, troubles
from orchestrator.ledger.database import change_each, insert_all, upsert, within
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.schema import (
    account,
    batch,
    counter,
    journal,
    quarantine,
    run,
    unit,
)
from orchestrator.lifecycle import BatchState, UnitState


class Kept(Struct, frozen=True, kw_only=True):
    """A quarantined copy, sealed."""

    source: str
    reason: str
    sha256: str
    length: int
    sealed: bytes


class UnitResult(Struct, frozen=True, kw_only=True):
    """What one attempt made of one unit."""

    user: int
    state: UnitState
    books: Books
    cause: Cause | None = None
    not_before: int = 0
    awaits: int | None = None
    attempted: bool = True
    """False: it was not tried at all, so this does not count as an attempt."""
    kept: tuple[Kept, ...] = ()
    account: bytes | None = None


class JournalRow(Struct, frozen=True, kw_only=True):
    """What is about to change for one unit and chunk, sealed."""

    user: int
    user_hash: bytes
    place: bytes
    sealed: bytes


UNBALANCED = Cause(
    fingerprint="ba1a4c",
    code="unbalanced",
    sentence="the books of the unit do not balance; nothing was settled",
    transient=False,
)


def record_intents(
    connection: Connection,
    held: Batch,
    rows: Sequence[JournalRow],
    *,
    now: int,
    verified: bool = False,
) -> list[int]:
    """Journal what is about to be written; the numbers of the rows, in order.

    `verified`: it was written and read back by now. Raises `LeaseLost` when the batch is no longer
    ours: then nothing may be written.
    """
    leases.still_held(connection, held)
    found = connection.execute(
        insert(journal).returning(journal.c.id, sort_by_parameter_order=True),
        [
            {
                "user_hash": row.user_hash,
                "place": row.place,
                "run": held.run,
                "user": row.user,
                "phase": held.phase,
                "epoch": held.epoch,
                "verified": verified,
                "at": now,
                "sealed": row.sealed,
            }
            for row in rows
        ],
    )
    return list(found.scalars())


def checkpoint(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    *,
    verified: Sequence[int],
    now: int,
    lease_ms: int,
    nothing: Sequence[int] = (),
) -> None:
    """Record finished units and keep the batch; raises `LeaseLost`, then nothing is recorded.

    `nothing`: users of whom nothing was found or missed, whose units are settled with empty books.
    """
    progress = bool(results or nothing)
    leases.heartbeat(connection, held, now=now, lease_ms=lease_ms, progress=progress)
    _record(connection, held, results, verified=verified, now=now, nothing=nothing)


def finish(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    *,
    verified: Sequence[int],
    now: int,
    nothing: Sequence[int] = (),
    state: BatchState = BatchState.DONE,
    not_before: int = 0,
) -> None:
    """Record the last units and give the batch back; raises `LeaseLost`, then nothing is."""
    leases.end(connection, held, state=state, not_before=not_before)
    _record(connection, held, results, verified=verified, now=now, nothing=nothing)


def _record(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    *,
    verified: Sequence[int],
    now: int,
    nothing: Sequence[int] = (),
) -> None:
    if verified:
        connection.execute(
            update(journal).where(within(connection, journal.c.id, verified)).values(verified=True)
        )
    if not results and not nothing:
        return
    sound = [_balanced(result) for result in results]
    users = [*nothing, *(result.user for result in sound)]
    settled, others = _settle_untried(connection, held, nothing, now=now)
    sound += [UnitResult(user=user, state=UnitState.SETTLED, books=EMPTY) for user in others]
    olds = _change_units(connection, held, sound, now=now)
    _record_exceptions(connection, held, users, sound, now=now)
    _forget_details(connection, held, [old.user for old in olds if old.copies])
    _record_details(connection, held, sound)
    moves = Counter(str(result.state) for result in sound)
    moves["settled"] += settled
    moves.subtract(str(old.state) for old in olds)
    changes = {name: moves[name] for name in _COUNTED}
    for name, new, old in zip(FIELDS, _sums(sound), _sums_before(olds), strict=True):
        changes[name] = new - old
    count(connection, held, {name: by for name, by in changes.items() if by})
    if held.progressed_at < now - _NOTED_EVERY_MS:
        connection.execute(_PROGRESSED, {"of_run": held.run, "at": now, "noted": _NOTED_EVERY_MS})


_COUNTED = ("settled", "failed", "held", "cancelled")
_NOTED_EVERY_MS = 500
"""How exact the time of the last progress is: one row a run, which all its batches would queue
for."""
_AT = bindparam("at", type_=BigInteger)
_PROGRESSED = (
    update(run)
    .where(
        run.c.id == bindparam("of_run"),
        or_(
            run.c.progressed_at.is_(None),
            run.c.progressed_at < _AT - bindparam("noted", type_=BigInteger),
        ),
    )
    .values(progressed_at=_AT)
)
_UNTRIED = {"state": UnitState.WAITING, "attempts": 0, "copies": 0, "bytes_read": 0, "lost": 0}
"""The books of such a unit are empty: everything else in them is of copies, or of bytes read."""


def _settle_untried(
    connection: Connection, held: Batch, users: Sequence[int], *, now: int
) -> tuple[int, Sequence[int]]:
    """Settle units with empty books, of nearly always all users; how many, and who is left."""
    if not users:
        return 0, ()
    given = {"of_run": held.run, "of_phase": held.phase}
    first, last = min(users), max(users)
    if last - first + 1 == len(users):
        given |= {"first_user": first, "last_user": last}
        settle = _SETTLE_RANGE
    else:
        settle = _settling(within(connection, unit.c.user, users))
    settled = connection.execute(settle, given | {"at": now}).rowcount
    if settled == len(users):
        return settled, ()
    left = select(unit.c.user).where(
        unit.c.run == held.run,
        unit.c.phase == held.phase,
        within(connection, unit.c.user, users),
        unit.c.state != UnitState.SETTLED,
    )
    return settled, connection.execute(left).scalars().all()


def _settling(which: ColumnElement[bool]) -> Update:
    return (
        update(unit)
        .where(
            unit.c.run == bindparam("of_run"),
            unit.c.phase == bindparam("of_phase"),
            which,
            *(unit.c[name] == value for name, value in _UNTRIED.items()),
        )
        .values(state=UnitState.SETTLED, attempts=1, settled_at=_AT)
    )


_SETTLE_RANGE = _settling(unit.c.user.between(bindparam("first_user"), bindparam("last_user")))


def _change_units(
    connection: Connection, held: Batch, results: Sequence[UnitResult], *, now: int
) -> Sequence[Row[Any]]:
    """Write the units down; returns how those were that had been tried before.

    Nearly all units are tried once. How those were is known, so they need not be read and locked.
    """
    if not results:
        return []
    at: dict[str, Any] = {"run": held.run, "phase": held.phase}
    done = change_each(connection, unit, _rows(results, [], now=now), at=at | _UNTRIED, by="user")
    if len(done) == len(results):
        return []
    others = [result for result in results if result.user not in done]
    olds = _locked(connection, held, [result.user for result in others])
    change_each(connection, unit, _rows(others, olds, now=now), at=at, by="user")
    return olds


def _rows(
    results: Sequence[UnitResult], olds: Sequence[Row[Any]], *, now: int
) -> list[dict[str, Any]]:
    """The units as they shall be; of their books only the columns that change in any of them."""
    attempts = {old.user: old.attempts for old in olds}
    sums = zip(FIELDS, _sums(results), _sums_before(olds), strict=True)
    changed = [name for name, new, old in sums if new or old]  # none of them is ever negative
    return [
        {
            "user": result.user,
            "state": result.state,
            "attempts": attempts.get(result.user, 0) + result.attempted,
            "settled_at": now if result.state is UnitState.SETTLED else None,
            **{name: getattr(result.books, name) for name in changed},
        }
        for result in results
    ]


def _sums(results: Sequence[UnitResult]) -> list[int]:
    """The books of all of them, added up."""
    filled = [astuple(result.books) for result in results if result.books is not EMPTY]
    return [sum(column) for column in zip(*filled, strict=True)] or [0] * len(FIELDS)


def _sums_before(olds: Sequence[Row[Any]]) -> list[int]:
    columns = zip(*(old[-len(FIELDS) :] for old in olds), strict=True)
    return [sum(column) for column in columns] or [0] * len(FIELDS)


def _locked(connection: Connection, held: Batch, users: Sequence[int]) -> Sequence[Row[Any]]:
    """The units as they are; nobody changes them meanwhile."""
    found = select(
        unit.c.user, unit.c.state, unit.c.attempts, *(unit.c[name] for name in FIELDS)
    ).where(
        unit.c.run == held.run,
        unit.c.phase == held.phase,
        within(connection, unit.c.user, users),
    )
    if connection.dialect.name == "postgresql":
        found = found.with_for_update(key_share=True)
    return connection.execute(found).all()


def count(connection: Connection, held: Batch, changes: Mapping[str, int]) -> None:
    """Add to the counters of the batch's cell."""
    if changes:
        at = {"run": held.run, "phase": held.phase, "wave": held.wave, "slot": held.slot}
        upsert(connection, counter, [at | dict(changes)], add=True)


def _balanced(result: UnitResult) -> UnitResult:
    """The result, or a failed one where its books break a law."""
    if result.books is EMPTY or not imbalances(
        result.books, settled=result.state is UnitState.SETTLED
    ):
        return result
    return UnitResult(user=result.user, state=UnitState.FAILED, books=Books(), cause=UNBALANCED)


def _record_exceptions(
    connection: Connection,
    held: Batch,
    users: Sequence[int],
    results: Sequence[UnitResult],
    *,
    now: int,
) -> None:
    """Replace what was noted of these users' units."""
    counts = troubles.Counts()
    if held.known.exceptions:
        which = troubles.of_units(connection, held.phase, users)
        counts = troubles.forget(connection, held.run, which)
    causes = [result.cause for result in results if result.cause is not None]
    rows = [
        {
            "user": result.user,
            "phase": held.phase,
            "state": result.state,
            "cause": result.cause.fingerprint,
            "not_before": result.not_before,
            "awaits": result.awaits,
            "since": now,
        }
        for result in results
        if result.cause is not None
    ]
    counts.update(troubles.note(connection, held.run, rows, causes))
    troubles.count(connection, held.run, counts, slot=held.slot)


def _forget_details(connection: Connection, held: Batch, users: Sequence[int]) -> None:
    """Remove what earlier attempts left of quarantine and accounts; what was released stays."""
    if not users:
        return
    for table in (quarantine, account):
        these = (table.c.run == held.run) & (table.c.phase == held.phase)
        if table is quarantine:
            these &= quarantine.c.released_at.is_(None)
        connection.execute(delete(table).where(these, within(connection, table.c.user, users)))


def _record_details(connection: Connection, held: Batch, results: Sequence[UnitResult]) -> None:
    """Keep what was quarantined, and the accounts."""
    kept = [
        (held.run, result.user, held.phase, *astuple(copy))
        for result in results
        for copy in result.kept
    ]
    if kept:
        names = ("run", "user", "phase", "source", "reason", "sha256", "length", "sealed")
        insert_all(connection, quarantine, names, kept)
    accounts = [
        (held.run, result.user, held.phase, result.account)
        for result in results
        if result.account is not None
    ]
    if accounts:
        insert_all(connection, account, ("run", "user", "phase", "sealed"), accounts)


def fail_lone_unit(connection: Connection, number: int, why: Cause, *, now: int) -> None:
    """End the only unit of a batch that nobody holds as failed, and the batch with it.

    An inspection that cannot be carried out refuses its run.
    """
    row = connection.execute(select(batch).where(batch.c.id == number)).one()
    connection.execute(
        update(batch).where(batch.c.id == number).values(state=BatchState.CANCELLED, lease_until=0)
    )
    if row.kind == "inspect":
        connection.execute(update(run).where(run.c.id == row.run).values(why=why.sentence))
        return
    held = Batch(
        id=row.id,
        run=row.run,
        kind=row.kind,
        phase=row.phase,
        wave=row.wave,
        first=row.first,
        last=row.last,
        members=None,
        epoch=row.epoch,
        attempts=row.attempts,
        crashes=row.crashes,
        worker="",
    )
    result = UnitResult(user=row.first, state=UnitState.FAILED, books=Books(), cause=why)
    _record(connection, held, [result], verified=(), now=now)


def give_up(connection: Connection, held: Batch, why: Cause, *, now: int) -> None:
    """A batch broke for no reason that names a unit: halve it, or fail its only unit.

    Raises `LeaseLost` when it is no longer ours.
    """
    leases.end(connection, held, state=BatchState.READY)
    if held.kind == "inspect" or not leases.split(connection, held.id):
        fail_lone_unit(connection, held.id, why, now=now)
