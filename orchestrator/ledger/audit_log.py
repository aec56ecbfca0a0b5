"""Who did what and when: rows chained by hash, so that any edit, removal or reorder shows."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, text

from orchestrator.audit_chain import GENESIS, broken, detail_text, link
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import audit_log

AT_ONCE = 500


def append(
    connection: Connection, *, now: int, who: str, action: str, run: str | None, detail: object
) -> None:
    """Add one row in the caller's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7205759403792794)"))
    previous = (
        connection.execute(
            select(audit_log.c.hash).order_by(audit_log.c.id.desc()).limit(1)
        ).scalar_one_or_none()
        or GENESIS
    )
    entry = {
        "at": now,
        "who": who,
        "action": action,
        "run": run,
        "detail": detail_text(detail),
        "previous": previous,
    }
    connection.execute(insert(audit_log).values(**entry, hash=link(entry)))


def page(
    connection: Connection,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
    run: str | None = None,
    who: str | None = None,
    action: str | None = None,
) -> Sequence[Row[Any]]:
    """Rows of the log: the newest first, or, behind the row `after`, the oldest first."""
    chosen = select(audit_log).limit(limit)
    if after is None:
        chosen = chosen.order_by(audit_log.c.id.desc())
    else:
        chosen = chosen.where(audit_log.c.id > after).order_by(audit_log.c.id)
    if before is not None:
        chosen = chosen.where(audit_log.c.id < before)
    for column, wanted in (
        (audit_log.c.run, run),
        (audit_log.c.who, who),
        (audit_log.c.action, action),
    ):
        if wanted is not None:
            chosen = chosen.where(column == wanted)
    return connection.execute(chosen).all()


def broken_links(connection: Connection) -> list[int]:
    """Ids of rows that do not follow from the one before; empty when the log is whole.

    Rows cut off at the end are not seen: compare the last hash with one kept elsewhere.
    """
    rows = connection.execute(select(audit_log).order_by(audit_log.c.id)).mappings()
    return list(broken(dict(row) for row in rows))


def number(connection: Connection) -> int:
    """How many rows there are."""
    return connection.execute(select(func.count()).select_from(audit_log)).scalar_one()


def holds(connection: Connection, known: str) -> bool:
    """Whether a row has this hash."""
    found = select(audit_log.c.id).where(audit_log.c.hash == known).limit(1)
    return connection.execute(found).first() is not None


def everything(ledger: Ledger) -> Iterator[Row[Any]]:
    """Every row, the oldest first; read a page at a time, so that no transaction stays open."""
    after = 0
    while True:
        with ledger.read() as connection:
            rows = page(connection, after=after, limit=AT_ONCE)
        yield from rows
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].id
