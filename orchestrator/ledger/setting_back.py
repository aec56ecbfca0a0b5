"""What was put off by a clock that was then set back: it must not wait until that time comes again.

The database's clock rules leases, backoffs, probes and limits. Set ahead, it ends leases early, and
what they held is handed out again. Set back by an hour, it would hold everything for an hour.
"""

from sqlalchemy import Column, Connection, update

from orchestrator.ledger.schema import allowance, batch, circuit, exception

NOTICED_MS = 5_000
"""So much earlier than before, and the clock was set; less is waited out."""

_PUT_OFF: tuple[Column[int], ...] = (
    batch.c.lease_until,
    batch.c.not_before,
    exception.c.not_before,
    circuit.c.probe_at,
    allowance.c.items_until,
    allowance.c.bytes_until,
)


def was_set_back(*, before: int, now: int) -> bool:
    """Whether the clock, which said `before`, was set back since; milliseconds."""
    return now < before - NOTICED_MS


def follow(connection: Connection, *, before: int, now: int) -> None:
    """Move what lies ahead of `before` back with the clock: it waits as long as was meant."""
    for column in _PUT_OFF:
        connection.execute(
            update(column.table)
            .where(column > before)
            .values({column.key: column - (before - now)})
        )
