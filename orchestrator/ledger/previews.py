"""Previews by their digests: what each had inspected, and what it counted."""

import json
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from orchestrator.approval import Counted, covered
from orchestrator.ledger.schema import counter, run
from orchestrator.lifecycle import RunState

INSPECTED = "inspected"
"""Where a run's inventory keeps the digest of what was inspected."""


def seal(connection: Connection, run_id: str) -> None:
    """Let the digest of a preview cover what it counted; called when it ends, however often."""
    row = connection.execute(select(run).where(run.c.id == run_id)).one()
    if row.digest is not None:
        digest = together(connection, row, inspected_of(row))
        connection.execute(update(run).where(run.c.id == run_id).values(digest=digest))


def together(connection: Connection, preview: Row[Any], inspected: str) -> str:
    """The digest of something inspected, and of what a preview counted."""
    names = [phase["restore"] for phase in json.loads(preview.plan)["phases"]]
    rows = connection.execute(
        select(
            counter.c.phase,
            *(func.sum(counter.c[name]).label(name) for name in ("copies", "items", "nameless")),
        )
        .where(counter.c.run == preview.id)
        .group_by(counter.c.phase)
        .order_by(counter.c.phase)
    )
    counted = [
        Counted(
            category=names[row.phase],
            copies=int(row.copies),
            items=int(row.items),
            nameless=int(row.nameless),
        )
        for row in rows
    ]
    return covered(inspected, counted, users=preview.users or 0, sample=preview.sample)


def inspected_of(preview: Row[Any]) -> str:
    """What a preview had inspected; earlier releases kept nothing else."""
    inventory = json.loads(preview.inventory) if preview.inventory else {}
    return str(inventory.get(INSPECTED, preview.digest))


def find(connection: Connection, digest: str) -> Row[Any] | None:
    """The newest preview that ended with this digest."""
    return connection.execute(
        select(run)
        .where(run.c.purpose == "preview", run.c.digest == digest, run.c.state == RunState.FINISHED)
        .order_by(run.c.created_at.desc())
        .limit(1)
    ).one_or_none()
