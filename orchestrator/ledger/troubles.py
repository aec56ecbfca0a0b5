"""Units that need attention or time, and how many have which cause: both move together.

Why counts of their own: grouping the exceptions of a run reads all of them, and a bad day has
many. The counts are read in a millisecond however many there are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete

from orchestrator.causes import Cause
from orchestrator.ledger.database import insert_all, insert_missing, upsert, within
from orchestrator.ledger.schema import cause, exception, trouble

Counts = Counter[tuple[int, str, str]]
"""How many exceptions more or less there are, by phase, cause and state."""


def forget(connection: Connection, run_id: str, which: ColumnElement[bool]) -> Counts:
    """Remove the exceptions of a run for which `which` holds; what to `count`."""
    gone = connection.execute(
        delete(exception)
        .where(exception.c.run == run_id, which)
        .returning(exception.c.phase, exception.c.cause, exception.c.state)
    )
    counts = Counts()
    for row in gone:
        counts[row.phase, row.cause, row.state] -= 1
    return counts


def of_units(connection: Connection, phase: int, users: Sequence[int]) -> ColumnElement[bool]:
    """Those of these users' units in one phase."""
    return (exception.c.phase == phase) & within(connection, exception.c.user, users)


def note(
    connection: Connection, run_id: str, rows: Sequence[Mapping[str, Any]], causes: Iterable[Cause]
) -> Counts:
    """Add exceptions of units that have none, and say what their causes mean; what to `count`."""
    counts = Counts()
    if not rows:
        return counts
    names = tuple(rows[0])
    insert_all(connection, exception, ("run", *names), ((run_id, *row.values()) for row in rows))
    for row in rows:
        counts[row["phase"], row["cause"], str(row["state"])] += 1
    meant = {why.fingerprint: why for why in causes}
    insert_missing(
        connection,
        cause,
        [
            {
                "run": run_id,
                "fingerprint": fingerprint,
                "phase": rows[0]["phase"],
                "code": why.code,
                "sentence": why.sentence,
                "transient": why.transient,
            }
            for fingerprint, why in sorted(meant.items())
        ],
    )
    return counts


def count(connection: Connection, run_id: str, counts: Counts, *, slot: int = 0) -> None:
    """Move the counts; `slot` spreads writers over rows."""
    upsert(
        connection,
        trouble,
        [
            {
                "run": run_id,
                "phase": phase,
                "cause": fingerprint,
                "state": state,
                "slot": slot,
                "units": units,
            }
            for (phase, fingerprint, state), units in sorted(counts.items())
            if units
        ],
        add=True,
    )
