"""Quarantined copies with their evidence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from orchestrator.ledger.database import within
from orchestrator.ledger.keys import Ids, Sealed, opened
from orchestrator.ledger.schema import quarantine, run_user, unit
from orchestrator.plan import Plan
from orchestrator.query import Query, matching
from orchestrator.reasons import Reason
from orchestrator.sealing import Sealer
from orchestrator.standing.rows import plan_of, row_of, user_id

COPIES_AT_ONCE: Final = 64
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""So many copies, and of large ones fewer, are held in memory at a time."""


class Few(msgspec.Struct, frozen=True, kw_only=True):
    """Some copies, in the order of their numbers; each holds the bytes of its copy."""

    copies: list[dict[str, Any]]
    last: bool
    """Whether no more follow."""


def few(
    connection: Connection,
    sealer: Sealer,
    run_id: str,
    *,
    user: int | None,
    after: int,
    query: Query | None,
) -> Few:
    """As many as can be held at once, after a given number.

    `query`: only copies of units that match, and of its reasons.
    """
    plan = plan_of(row_of(connection, run_id))
    following = (
        select(quarantine.c.id, quarantine.c.length)
        .where(quarantine.c.run == run_id, quarantine.c.id > after)
        .order_by(quarantine.c.id)
        .limit(COPIES_AT_ONCE)
    )
    if user is not None:
        following = following.where(quarantine.c.user == user)
    if query is not None:
        following = following.where(*_of_units(run_id, query, sealer))
    listed = [(row.id, row.length) for row in connection.execute(following)]
    numbers = _that_fit(listed)
    rows = connection.execute(
        select(quarantine, run_user.c.user_hash, run_user.c.sealed_id)
        .join(
            run_user,
            and_(
                run_user.c.run == quarantine.c.run,
                run_user.c.number == quarantine.c.user,
            ),
        )
        .where(within(connection, quarantine.c.id, numbers))
        .order_by(quarantine.c.id)
    ).all()
    ids = Ids(connection, sealer, run_id)
    evidence = list(opened(connection, sealer, _evidence(rows)))
    return Few(
        copies=[
            _quarantined(row, plan, ids, data) for row, data in zip(rows, evidence, strict=True)
        ],
        last=len(numbers) == len(listed) < COPIES_AT_ONCE,
    )


def reasons(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """How many copies are quarantined, by category, source and reason."""
    plan = plan_of(row_of(connection, run_id))
    rows = connection.execute(
        select(
            quarantine.c.phase,
            quarantine.c.source,
            quarantine.c.reason,
            func.count().label("copies"),
        )
        .where(quarantine.c.run == run_id, quarantine.c.released_at.is_(None))
        .group_by(quarantine.c.phase, quarantine.c.source, quarantine.c.reason)
        .order_by(quarantine.c.phase, func.count().desc(), quarantine.c.source)
    ).all()
    return [
        {
            "category": plan.phases[row.phase].restore,
            "source": row.source,
            "reason": row.reason,
            "copies": row.copies,
            "means": Reason(row.reason).for_operator,
        }
        for row in rows
    ]


def _that_fit(copies: Sequence[tuple[int, int]]) -> list[int]:
    """The numbers of the first copies that can be held at once; one at least."""
    room = BYTES_AT_ONCE
    numbers: list[int] = []
    for number, length in copies:
        room -= length
        if numbers and room < 0:
            break
        numbers.append(number)
    return numbers


def _of_units(run_id: str, query: Query, sealer: Sealer) -> Iterator[ColumnElement[bool]]:
    """Of quarantined copies: their unit matches, and their reason."""
    if query.reasons:
        yield quarantine.c.reason.in_(query.reasons)
    asked = replace(query, reasons=())
    if asked != Query():
        yield (
            matching(run_id, asked, sealer)
            .where(unit.c.user == quarantine.c.user, unit.c.phase == quarantine.c.phase)
            .order_by(None)
            .correlate(quarantine)
            .exists()
        )


def _evidence(rows: Sequence[Row[Any]]) -> list[Sealed]:
    return [
        Sealed(
            row.run,
            row.user_hash,
            row.sealed,
            f"quarantine:{row.run}:{row.user}:{row.phase}".encode(),
        )
        for row in rows
    ]


ERASED: Mapping[str, Any] = {
    "detail": "its key was erased",
    "file": "",
    "spans": [],
    "ident": None,
    "repairs": [],
    "data": None,
}
"""What is known of a copy that cannot be opened any more."""


def _quarantined(row: Row[Any], plan: Plan, ids: Ids, data: bytes | None) -> dict[str, Any]:
    evidence = ERASED if data is None else msgspec.msgpack.decode(data)
    reason = Reason(row.reason)
    return {
        "number": row.id,
        "user": user_id(row.sealed_id, row.user_hash, ids),
        "user_number": row.user,
        "category": plan.phases[row.phase].restore,
        "source": row.source,
        "reason": str(reason),
        "means": reason.for_operator,
        "detail": evidence["detail"],
        "file": evidence["file"],
        "spans": [
            {"file": file, "offset": offset, "length": length}
            for file, offset, length in evidence["spans"]
        ],
        "ident": evidence["ident"],
        "repairs_tried": list(evidence["repairs"]),
        "sha256": row.sha256,
        "length": row.length,
        "released": row.released_at is not None,
        "data": evidence["data"],
    }
