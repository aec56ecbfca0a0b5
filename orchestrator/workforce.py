"""Who is at work: the conductor that leads, and workers with what they have in hand."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import func, select

from orchestrator.ledger import leadership
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import BatchState


class WorkerRow(Struct, frozen=True, kw_only=True):
    """One worker process that has something in hand."""

    worker: str
    batches: int
    runs: list[str]
    lease_until: datetime
    """Past: it has been silent for too long, and its batches are about to go to others."""
    lapsed: bool


class Workforce(Struct, frozen=True, kw_only=True):
    """Everybody at work at this moment."""

    conductor: str | None
    """Whoever leads; None: nobody, so nothing moves."""
    workers: list[WorkerRow]
    dispatched: int
    """Batches that wait in the broker for a worker."""


def workforce(ledger: Ledger, *, run_id: str | None = None) -> Workforce:
    """Who works, on everything or on one run."""
    with ledger.read() as connection:
        now = ledger.clock(connection)
        leader = leadership.leader(connection)
        running = select(
            batch.c.worker,
            batch.c.run,
            func.count().label("batches"),
            func.max(batch.c.lease_until).label("until"),
        ).where(batch.c.state == BatchState.RUNNING, batch.c.worker.is_not(None))
        waiting = (
            select(func.count()).select_from(batch).where(batch.c.state == BatchState.DISPATCHED)
        )
        if run_id is not None:
            running = running.where(batch.c.run == run_id)
            waiting = waiting.where(batch.c.run == run_id)
        grouped = running.group_by(batch.c.worker, batch.c.run).order_by(batch.c.worker)
        rows = connection.execute(grouped).all()
        dispatched = connection.execute(waiting).scalar_one()
    names = dict.fromkeys(row.worker for row in rows)
    return Workforce(
        conductor=leader[0] if leader is not None and leader[1] > now else None,
        workers=[
            _worker(
                name, [(row.run, row.batches, row.until) for row in rows if row.worker == name], now
            )
            for name in names
        ],
        dispatched=dispatched,
    )


def _worker(name: str, held: list[tuple[str, int, int]], now: int) -> WorkerRow:
    until = max(end for _, _, end in held)
    return WorkerRow(
        worker=name,
        batches=sum(number for _, number, _ in held),
        runs=sorted({run for run, _, _ in held}),
        lease_until=moment(until),
        lapsed=until < now,
    )
