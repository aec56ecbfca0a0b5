"""What was said in public about runs, and when the next word was promised."""

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, func, insert, select

from orchestrator.ledger.schema import bulletin, public_page, run


class Promise(Struct, frozen=True, kw_only=True):
    """The next update that the public was promised about a run. Times as the ledger's."""

    run: str
    name: str
    """Of the run's plan."""
    said: int
    due: int
    late_ms: int
    """How long ago it was due; 0: it is not late."""


def add(
    connection: Connection, run_id: str, text: str, *, next_due: int | None, who: str, now: int
) -> int:
    """Keep a bulletin, which replaces the promise of the one before; its number."""
    made = connection.execute(
        insert(bulletin).values(run=run_id, at=now, text=text, next_due=next_due, who=who)
    )
    key = made.inserted_primary_key
    return 0 if key is None else int(key[0])


def page(
    connection: Connection, run_id: str, *, before: int | None = None, limit: int = 50
) -> Sequence[Row[Any]]:
    """Bulletins of a run, the newest first, before a given one."""
    chosen = select(bulletin).where(bulletin.c.run == run_id)
    if before is not None:
        chosen = chosen.where(bulletin.c.id < before)
    return connection.execute(chosen.order_by(bulletin.c.id.desc()).limit(limit)).all()


def slug_of(connection: Connection, run_id: str) -> str | None:
    """The end of the address of a run's public page; None where it has none."""
    found = select(public_page.c.slug).where(public_page.c.run == run_id)
    return connection.execute(found).scalar_one_or_none()


def promises(
    connection: Connection, *, now: int, runs: Collection[str] | None = None
) -> list[Promise]:
    """What is promised at this moment, the soonest first; `runs`: about these only."""
    rows = connection.execute(_last(runs).order_by(bulletin.c.next_due, bulletin.c.run))
    return [
        Promise(
            run=row.run,
            name=row.name,
            said=row.at,
            due=row.next_due,
            late_ms=max(0, now - row.next_due),
        )
        for row in rows
    ]


def overdue(
    connection: Connection, *, now: int, runs: Collection[str] | None = None
) -> list[Promise]:
    """Promises that were not kept: the next update is due, and nothing was said."""
    return [one for one in promises(connection, now=now, runs=runs) if one.late_ms]


def _last(runs: Collection[str] | None) -> Select[Any, Any, Any, Any]:
    """The newest bulletin of each run, where it promises another one."""
    newest = select(func.max(bulletin.c.id)).group_by(bulletin.c.run)
    if runs is not None:
        newest = newest.where(bulletin.c.run.in_(runs))
    return (
        select(bulletin.c.run, bulletin.c.at, bulletin.c.next_due, run.c.name)
        .join(run, run.c.id == bulletin.c.run)
        .where(bulletin.c.id.in_(newest), bulletin.c.next_due.is_not(None))
    )
