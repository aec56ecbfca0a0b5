"""How much of a run was done by when: the notes that its conductor took, the oldest first."""

from datetime import datetime

from sqlalchemy import select

from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import speed


def throughput(ledger: Ledger, run_id: str) -> list[tuple[datetime, int, int]]:
    """When, items and units done by then; at most as many as the ledger keeps (a hundred)."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(speed.c.at, speed.c["items"], speed.c.units)
            .where(speed.c.run == run_id)
            .order_by(speed.c.at)
        ).all()
    return [(moment(at), items, units) for at, items, units in rows]
