"""Which conductor leads: one row with a lease and a term; works behind any pooler."""

from sqlalchemy import Connection, bindparam, or_, select, update

from orchestrator.ledger.database import insert_missing
from orchestrator.ledger.schema import conductor

_ROW = 1
_KEPT = (
    update(conductor)
    .where(
        conductor.c.id == _ROW,
        conductor.c.holder == bindparam("by"),
        conductor.c.term == bindparam("in_term"),
    )
    .values(lease_until=bindparam("until"))
)


def lead(
    connection: Connection, *, name: str, term: int | None, now: int, lease_ms: int
) -> int | None:
    """The term in which `name` leads, or None while somebody else does.

    `term` is the one that it led so far; a leader whose lease was taken comes back as a new term.
    The caller's transaction holds the row, so two leaders never act at once.
    """
    if term is not None:
        given = {"by": name, "in_term": term, "until": now + lease_ms}
        if connection.execute(_KEPT, given).rowcount == 1:
            return term
    insert_missing(
        connection,
        conductor,
        [{"id": _ROW, "term": 0, "holder": "", "lease_until": 0}],
    )
    return connection.execute(
        update(conductor)
        .where(
            conductor.c.id == _ROW,
            or_(
                conductor.c.lease_until < now,
                conductor.c.lease_until > now + 2 * lease_ms,  # the clock was set back since
                conductor.c.holder == name,
            ),
        )
        .values(term=conductor.c.term + 1, holder=name, lease_until=now + lease_ms)
        .returning(conductor.c.term)
    ).scalar_one_or_none()


def resign(connection: Connection, *, name: str) -> None:
    """Let the next one lead at once."""
    connection.execute(update(conductor).where(conductor.c.holder == name).values(lease_until=0))


def leader(connection: Connection) -> tuple[str, int] | None:
    """Who leads and until when."""
    row = connection.execute(select(conductor).where(conductor.c.id == _ROW)).one_or_none()
    return None if row is None else (row.holder, row.lease_until)
