"""What happened to one user, category by category, in the order in which it happened."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, select

from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import cause, cell, exception, journal, quarantine, run_user, unit
from orchestrator.plan import Plan


class Happening(Struct, frozen=True, kw_only=True, order=True):
    """One thing that happened, or that is still so since then."""

    at: datetime
    category: str
    what: str
    """opened, writing, written, quarantine-released, or the state of a unit."""
    detail: str = ""


def timeline(ledger: Ledger, run_id: str, user: int, plan: Plan) -> list[Happening]:
    """Everything that the ledger knows of a user, given by number; the oldest first."""
    with ledger.read() as connection:
        found = [
            Happening(at=moment(at), category=plan.phases[phase].restore, what=what, detail=detail)
            for at, phase, what, detail in _facts(connection, run_id, user)
        ]
    return sorted(found)


_Fact = tuple[int, int, str, str]


def _facts(connection: Connection, run_id: str, user: int) -> Iterator[_Fact]:
    def of(table: Any) -> tuple[Any, Any]:
        return table.c.run == run_id, table.c.user == user

    opened = (
        select(cell.c.opened_at, cell.c.phase)
        .join(run_user, (run_user.c.run == cell.c.run) & (run_user.c.wave == cell.c.wave))
        .where(run_user.c.run == run_id, run_user.c.number == user, cell.c.opened_at.is_not(None))
    )
    for at, phase in connection.execute(opened):
        yield at, phase, "opened", "its wave may be restored"
    attempts = (
        select(func.min(journal.c.at), func.max(journal.c.at), journal.c.phase, journal.c.epoch)
        .where(*of(journal))
        .group_by(journal.c.phase, journal.c.epoch)
    )
    for first, last, phase, _ in connection.execute(attempts):
        yield first, phase, "writing", "its changes were noted, and written"
        if last != first:
            yield last, phase, "written", "the last of them were read back"
    released = select(quarantine.c.released_at, quarantine.c.phase, quarantine.c.released_by).where(
        *of(quarantine), quarantine.c.released_at.is_not(None)
    )
    for at, phase, who in connection.execute(released):
        yield at, phase, "quarantine-released", f"a mended copy was handed back by {who}"
    troubles = (
        select(exception.c.since, exception.c.phase, exception.c.state, cause.c.sentence)
        .join(cause, (cause.c.run == exception.c.run) & (cause.c.fingerprint == exception.c.cause))
        .where(*of(exception))
    )
    for at, phase, state, sentence in connection.execute(troubles):
        yield at, phase, state, sentence
    settled = select(unit.c.settled_at, unit.c.phase, unit.c.state, unit.c.attempts).where(
        *of(unit), unit.c.settled_at.is_not(None)
    )
    for at, phase, state, tries in connection.execute(settled):
        yield at, phase, state, f"after {tries} attempt{'' if tries == 1 else 's'}"
