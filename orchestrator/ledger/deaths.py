"""Attempts that ended with their worker while it had a copy in its hands, and what follows.

A copy that was in hand at two of them is poison: its unit goes on without it. Until then the crash
is the copy's, not the unit's: it does not count towards failing the unit. Where one unit's copies
ended so many workers that they look innocent, its crashes count again.
"""

from msgspec import Struct
from sqlalchemy import Connection, func, insert, select, update

from orchestrator.ledger.schema import batch, death

DEATHS_TO_POISON = 2
MOST_FORGIVEN = 12
"""So many deaths over one unit are put down to its copies."""


class Death(Struct, frozen=True, kw_only=True):
    """One attempt's end. `copy`: a keyed hash of which copy was in hand."""

    batch: int
    epoch: int
    run: str
    phase: int
    user: int
    copy: bytes


def record(connection: Connection, one: Death, *, now: int) -> bool:
    """Note a death; whether it is put down to the copy. Told again, it changes nothing."""
    known = select(death.c.batch).where(death.c.batch == one.batch, death.c.epoch == one.epoch)
    if connection.execute(known).one_or_none() is not None:
        return False
    of_unit = (death.c.run == one.run, death.c.phase == one.phase, death.c.user == one.user)
    before = connection.execute(select(func.count()).where(*of_unit)).scalar_one()
    connection.execute(
        insert(death).values(
            batch=one.batch,
            epoch=one.epoch,
            run=one.run,
            phase=one.phase,
            user=one.user,
            copy=one.copy,
            at=now,
        )
    )
    return before < MOST_FORGIVEN


def bury(connection: Connection, one: Death, *, now: int) -> None:
    """Note a death that the ledger sees as a crash, and take that off again if it was a copy's.

    The crash may be counted before or after.
    """
    if record(connection, one, now=now):
        connection.execute(
            update(batch).where(batch.c.id == one.batch).values(crashes=batch.c.crashes - 1)
        )


def poisonous(
    connection: Connection, run: str, phase: int, *, first: int, last: int
) -> dict[int, frozenset[bytes]]:
    """By user from `first` to `last`, the copies that nobody shall take into their hands again."""
    rows = connection.execute(
        select(death.c.user, death.c.copy)
        .where(
            death.c.run == run,
            death.c.phase == phase,
            death.c.user.between(first, last),
        )
        .group_by(death.c.user, death.c.copy)
        .having(func.count() >= DEATHS_TO_POISON)
    )
    found: dict[int, frozenset[bytes]] = {}
    for row in rows:
        found[row.user] = found.get(row.user, frozenset[bytes]()) | {row.copy}
    return found
