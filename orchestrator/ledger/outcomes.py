"""Settles units: books, states, counters, quarantine and accounts in one transaction.

A checkpoint is a small finish: what it recorded is never done again.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from orchestrator.books import FIELDS, Books, imbalances
from orchestrator.causes import Cause
from orchestrator.ledger import leases
from orchestrator.ledger.database import insert_missing, upsert
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.schema import (
    account,
    batch,
    cause,
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
        connection.execute(update(journal).where(journal.c.id.in_(verified)).values(verified=True))
    if not results:
        return
    sound = [_balanced(result) for result in results]
    before = _rows(connection, held, [result.user for result in sound])
    moves = {"settled": 0, "failed": 0, "held": 0, "cancelled": 0}
    sums = Books()
    rows: list[dict[str, Any]] = []
    for result in sound:
        old = before[result.user]
        old_books = Books(**{name: old[name] for name in FIELDS})
        sums = sums + (result.books - old_books)
        if old["state"] in moves:
            moves[old["state"]] -= 1
        if result.state in moves:
            moves[result.state] += 1
        rows.append(
            {
                "run": held.run,
                "user": result.user,
                "phase": held.phase,
                "state": result.state,
                "attempts": old["attempts"] + (1 if result.attempted else 0),
                "settled_at": now if result.state is UnitState.SETTLED else None,
                **{name: getattr(result.books, name) for name in FIELDS},
            }
        )
    upsert(connection, unit, rows)
    upsert(
        connection,
        counter,
        [
            {
                "run": held.run,
                "phase": held.phase,
                "wave": held.wave,
                "slot": held.slot,
                **moves,
                **{name: getattr(sums, name) for name in FIELDS},
            }
        ],
        add=True,
    )
    _record_exceptions(connection, held, sound, now=now)
    _record_details(connection, held, sound)
    connection.execute(update(run).where(run.c.id == held.run).values(progressed_at=now))


def _balanced(result: UnitResult) -> UnitResult:
    """The result, or a failed one where its books break a law."""
    if not imbalances(result.books, settled=result.state is UnitState.SETTLED):
        return result
    return UnitResult(user=result.user, state=UnitState.FAILED, books=Books(), cause=UNBALANCED)


def _rows(connection: Connection, held: Batch, users: Sequence[int]) -> dict[int, dict[str, Any]]:
    found = connection.execute(
        select(unit).where(
            unit.c.run == held.run, unit.c.phase == held.phase, unit.c.user.in_(users)
        )
    )
    return {row["user"]: dict(row) for row in found.mappings()}


def _record_exceptions(
    connection: Connection, held: Batch, results: Sequence[UnitResult], *, now: int
) -> None:
    users = [result.user for result in results]
    connection.execute(
        delete(exception).where(
            exception.c.run == held.run,
            exception.c.phase == held.phase,
            exception.c.user.in_(users),
        )
    )
    troubled = [(result, result.cause) for result in results if result.cause is not None]
    if not troubled:
        return
    connection.execute(
        insert(exception),
        [
            {
                "run": held.run,
                "user": result.user,
                "phase": held.phase,
                "state": result.state,
                "cause": why.fingerprint,
                "not_before": result.not_before,
                "awaits": result.awaits,
                "since": now,
            }
            for result, why in troubled
        ],
    )
    causes = {why.fingerprint: why for _, why in troubled}
    record_causes(connection, held.run, held.phase, list(causes.values()))


def record_causes(connection: Connection, run_id: str, phase: int, causes: Sequence[Cause]) -> None:
    """Remember what these fingerprints mean."""
    insert_missing(
        connection,
        cause,
        [
            {
                "run": run_id,
                "fingerprint": why.fingerprint,
                "phase": phase,
                "code": why.code,
                "sentence": why.sentence,
                "transient": why.transient,
            }
            for why in sorted(causes, key=lambda why: why.fingerprint)
        ],
    )


def _record_details(connection: Connection, held: Batch, results: Sequence[UnitResult]) -> None:
    users = [result.user for result in results]
    connection.execute(
        delete(quarantine).where(
            quarantine.c.run == held.run,
            quarantine.c.phase == held.phase,
            quarantine.c.user.in_(users),
            quarantine.c.released_at.is_(None),
        )
    )
    kept = [
        {
            "run": held.run,
            "user": result.user,
            "phase": held.phase,
            "source": copy.source,
            "reason": copy.reason,
            "sha256": copy.sha256,
            "length": copy.length,
            "sealed": copy.sealed,
        }
        for result in results
        for copy in result.kept
    ]
    if kept:
        connection.execute(insert(quarantine), kept)
    upsert(
        connection,
        account,
        [
            {"run": held.run, "user": result.user, "phase": held.phase, "sealed": result.account}
            for result in results
            if result.account is not None
        ],
    )


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
