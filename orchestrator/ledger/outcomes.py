"""Settles units: books, states, counters, quarantine and accounts in one transaction.

A checkpoint is a small finish: what it recorded is never done again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from orchestrator.books import FIELDS, Books, imbalances
from orchestrator.causes import Cause
from orchestrator.ledger import leases, troubles
from orchestrator.ledger.database import among, change_each, insert_all, upsert
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.schema import (
    account,
    batch,
    counter,
    exception,
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
    connection: Connection, held: Batch, rows: Sequence[JournalRow], *, now: int
) -> list[int]:
    """Journal what is about to be written; the numbers of the rows, in order.

    Raises `LeaseLost` when the batch is no longer ours: then nothing may be written.
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
                "verified": False,
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
) -> None:
    """Record finished units and keep the batch; raises `LeaseLost`, then nothing is recorded."""
    leases.heartbeat(connection, held, now=now, lease_ms=lease_ms, progress=bool(results))
    _record(connection, held, results, verified=verified, now=now)


def finish(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    *,
    verified: Sequence[int],
    now: int,
    state: BatchState = BatchState.DONE,
    not_before: int = 0,
) -> None:
    """Record the last units and give the batch back; raises `LeaseLost`, then nothing is."""
    leases.end(connection, held, state=state, not_before=not_before)
    _record(connection, held, results, verified=verified, now=now)


def _record(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    *,
    verified: Sequence[int],
    now: int,
) -> None:
    if verified:
        connection.execute(
            update(journal).where(among(connection, journal.c.id, verified)).values(verified=True)
        )
    if not results:
        return
    sound = [_balanced(result) for result in results]
    users = [result.user for result in sound]
    before = _rows(connection, held, users)
    olds = [before[user] for user in users]
    sums = {
        name: (sum(new) - sum(old), new != old)
        for name, new, old in zip(
            FIELDS,
            zip(*(astuple(result.books) for result in sound), strict=True),
            zip(*(row[_STATES:] for row in olds), strict=True),
            strict=True,
        )
    }
    _change_units(
        connection, held, sound, olds, [name for name, (_, other) in sums.items() if other], now
    )
    _record_exceptions(connection, held, sound, olds, now=now)
    _record_details(connection, held, sound, before)
    moves = Counter(str(result.state) for result in sound)
    moves.subtract(old.state for old in olds)
    changes = {name: moves[name] for name in _COUNTED}
    changes |= {name: by for name, (by, _) in sums.items()}
    count(connection, held, {name: by for name, by in changes.items() if by})
    connection.execute(
        update(run)
        .where(
            run.c.id == held.run,
            or_(run.c.progressed_at.is_(None), run.c.progressed_at < now - _NOTED_EVERY_MS),
        )
        .values(progressed_at=now)
    )


_COUNTED = ("settled", "failed", "held", "cancelled")
_NOTHING = Books()
_NOTED_EVERY_MS = 500
"""How exact the time of the last progress is: one row a run, which all its batches would queue
for."""


def _change_units(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    olds: Sequence[Row[Any]],
    changed: Sequence[str],
    now: int,
) -> None:
    """Write the units down; of the books only the columns that `changed` in any of them."""
    change_each(
        connection,
        unit,
        [
            {
                "user": result.user,
                "state": result.state,
                "attempts": old.attempts + (1 if result.attempted else 0),
                "settled_at": now if result.state is UnitState.SETTLED else None,
                **{name: getattr(result.books, name) for name in changed},
            }
            for result, old in zip(results, olds, strict=True)
        ],
        at={"run": held.run, "phase": held.phase},
        by="user",
    )


def count(connection: Connection, held: Batch, changes: Mapping[str, int]) -> None:
    """Add to the counters of the batch's cell."""
    if changes:
        at = {"run": held.run, "phase": held.phase, "wave": held.wave, "slot": held.slot}
        upsert(connection, counter, [at | dict(changes)], add=True)


def _balanced(result: UnitResult) -> UnitResult:
    """The result, or a failed one where its books break a law."""
    if result.books == _NOTHING or not imbalances(
        result.books, settled=result.state is UnitState.SETTLED
    ):
        return result
    return UnitResult(user=result.user, state=UnitState.FAILED, books=Books(), cause=UNBALANCED)


_STATES = 4
"""Columns of `_rows` before the books."""


def _rows(connection: Connection, held: Batch, users: Sequence[int]) -> dict[int, Row[Any]]:
    """The units as they are, and the cause of each exception; nobody changes them meanwhile."""
    found = select(
        unit.c.user,
        unit.c.state,
        unit.c.attempts,
        exception.c.cause,
        *(unit.c[name] for name in FIELDS),
    ).outerjoin(
        exception,
        and_(
            exception.c.run == unit.c.run,
            exception.c.user == unit.c.user,
            exception.c.phase == unit.c.phase,
        ),
    )
    if connection.dialect.name == "postgresql":
        found = found.with_for_update(of=unit, key_share=True)
    rows = connection.execute(
        found.where(
            unit.c.run == held.run,
            unit.c.phase == held.phase,
            among(connection, unit.c.user, users),
        )
    )
    return {row.user: row for row in rows}


def _record_exceptions(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    olds: Sequence[Row[Any]],
    *,
    now: int,
) -> None:
    counts = troubles.Counts()
    if over := [old.user for old in olds if old.cause is not None]:
        which = troubles.of_units(connection, held.phase, over)
        counts.update(troubles.forget(connection, held.run, which))
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


def _record_details(
    connection: Connection,
    held: Batch,
    results: Sequence[UnitResult],
    before: Mapping[int, Row[Any]],
) -> None:
    """Quarantine and accounts; what an earlier attempt left of either is replaced."""
    if again := [result.user for result in results if before[result.user].copies]:
        connection.execute(
            delete(quarantine).where(
                quarantine.c.run == held.run,
                quarantine.c.phase == held.phase,
                among(connection, quarantine.c.user, again),
                quarantine.c.released_at.is_(None),
            )
        )
        connection.execute(
            delete(account).where(
                account.c.run == held.run,
                account.c.phase == held.phase,
                among(connection, account.c.user, again),
            )
        )
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
