"""Moves one user's units to the front: their batches are split off, and go first.

A batch of a range becomes up to three: those before, the user, those after. All stay ranges, so
that every user is in exactly one of them, and a later phase still finds what it follows. What has
to be tried again gets a batch of its own later, which goes first as well.
"""

import json

from sqlalchemy import Connection, Row, insert, select, update

from orchestrator.ledger.database import insert_missing
from orchestrator.ledger.schema import batch, front
from orchestrator.lifecycle import BatchState

FRONT = 100


def move_to_front(connection: Connection, run_id: str, user: int) -> int:
    """Let what is not yet on its way for this user go first; how many batches that is.

    Repeating it changes nothing more. What is dispatched or running is on its way already.
    """
    insert_missing(connection, front, [{"run": run_id, "user": user}])
    rows = connection.execute(
        select(batch).where(
            batch.c.run == run_id,
            batch.c.state.in_((BatchState.WAITING, BatchState.READY)),
            batch.c.first <= user,
            batch.c.last >= user,
        )
    ).all()
    return sum(_alone(connection, row, user) for row in rows)


def in_front(connection: Connection, run_id: str) -> set[int]:
    """The users of a run who go first: a few, chosen one by one."""
    return set(connection.execute(select(front.c.user).where(front.c.run == run_id)).scalars())


def _alone(connection: Connection, row: Row[tuple[object, ...]], user: int) -> int:
    parts = _parts(row, user)
    if parts is None:
        return 0
    taken = connection.execute(
        update(batch)
        .where(batch.c.id == row.id, batch.c.state == row.state)
        .values({"priority": FRONT} if len(parts) == 1 else {"state": BatchState.SPLIT})
    )
    if taken.rowcount and len(parts) > 1:
        connection.execute(
            insert(batch),
            [
                {
                    "run": row.run,
                    "kind": row.kind,
                    "phase": row.phase,
                    "wave": row.wave,
                    "state": row.state,
                    "not_before": row.not_before,
                    "first": first,
                    "last": last,
                    "members": members,
                    "priority": FRONT if first == last == user else row.priority,
                }
                for first, last, members in parts
            ],
        )
    return taken.rowcount


def _parts(row: Row[tuple[object, ...]], user: int) -> list[tuple[int, int, str | None]] | None:
    """First, last and members of what it is split into; None where the user is not in it."""
    if row.members is None:
        ranges = [(row.first, user - 1), (user, user), (user + 1, row.last)]
        return [(first, last, None) for first, last in ranges if first <= last]
    members = json.loads(row.members)
    if user not in members:
        return None
    groups = [[user], [member for member in members if member != user]]
    return [(group[0], group[-1], json.dumps(group)) for group in groups if group]
