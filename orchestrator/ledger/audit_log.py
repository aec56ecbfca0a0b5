"""Who did what and when: rows chained by hash, so that any edit, removal or reorder shows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text

from orchestrator.ledger.schema import audit_log

_GENESIS = "0" * 64


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
        or _GENESIS
    )
    entry = {
        "at": now,
        "who": who,
        "action": action,
        "run": run,
        "detail": json.dumps(detail, sort_keys=True, ensure_ascii=False),
        "previous": previous,
    }
    connection.execute(insert(audit_log).values(**entry, hash=_hash(entry)))


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
    previous = _GENESIS
    broken: list[int] = []
    rows = connection.execute(select(audit_log).order_by(audit_log.c.id)).mappings()
    for row in rows:
        entry = {k: row[k] for k in ("at", "who", "action", "run", "detail", "previous")}
        if row["previous"] != previous or row["hash"] != _hash(entry):
            broken.append(row["id"])
        previous = row["hash"]
    return broken


def _hash(entry: Mapping[str, object]) -> str:
    text_form = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text_form.encode()).hexdigest()
