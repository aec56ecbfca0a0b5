"""One user of a run: what became of each category, and of each item."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from orchestrator.errors import NotFound
from orchestrator.ledger.flow import moment
from orchestrator.ledger.keys import Sealed, opened
from orchestrator.ledger.schema import (
    account,
    cause,
    decline,
    exception,
    quarantine,
    run_user,
    unit,
)
from orchestrator.lifecycle import UnitState
from orchestrator.plan import Plan
from orchestrator.reasons import Reason
from orchestrator.run_standing import DOCUMENT_VERSION, UnitAnswer, UserAnswer
from orchestrator.sealing import Sealer
from orchestrator.standing.rows import books_of, plan_of, row_of

_LINE: Final = ("ident", "outcome", "note", "source", "repairs", "degraded", "reason", "origins")
_EMPTY_LINE: Final[dict[str, Any]] = dict.fromkeys(_LINE, "")
"""Accounts of earlier releases have no origins."""


def answer(connection: Connection, sealer: Sealer, run_id: str, number: int) -> UserAnswer:
    """Everything that is known of one user."""
    plan = plan_of(row_of(connection, run_id))
    who = connection.execute(
        select(run_user).where(run_user.c.run == run_id, run_user.c.number == number)
    ).one()
    return UserAnswer(
        version=DOCUMENT_VERSION,
        run=run_id,
        number=number,
        wave=plan.waves[who.wave].name,
        declined=_is_declined(connection, run_id, who.user_hash),
        ambiguous=who.ambiguous,
        categories=tuple(_answers(connection, sealer, run_id, number, plan)),
    )


def number_of(connection: Connection, sealer: Sealer, run_id: str, name: str) -> int:
    """The number of a user within a run, named by id, reference or number. Raises `NotFound`."""
    found = select(run_user.c.number).where(run_user.c.run == run_id)
    if name.startswith("#") and name[1:].isdecimal():
        found = found.where(run_user.c.number == int(name[1:]))
    elif (hashes := sealer.hashes_of(name)) is not None:
        found = found.where(run_user.c.user_hash.between(*hashes))
    else:
        found = found.where(run_user.c.user_hash == sealer.user_hash(name))
    numbers = list(connection.execute(found.limit(2)).scalars())
    if len(numbers) != 1:
        raise NotFound("no such user in this run", hint="name a user by id, by u_… or by #number")
    return numbers[0]


def _answers(
    connection: Connection, sealer: Sealer, run_id: str, number: int, plan: Plan
) -> Iterator[UnitAnswer]:
    """Every category of one user, by four questions however many there are."""

    def of_user(table: Table) -> ColumnElement[bool]:
        return and_(table.c.run == run_id, table.c.user == number)

    rows = connection.execute(select(unit).where(of_user(unit)).order_by(unit.c.phase))
    units = list(rows.mappings())
    sealed = {
        row.phase: row.sealed
        for row in connection.execute(
            select(account.c.phase, account.c.sealed).where(of_user(account))
        )
    }
    sentences = {
        row.phase: row.sentence
        for row in connection.execute(
            select(exception.c.phase, cause.c.sentence)
            .join(
                cause,
                and_(cause.c.run == exception.c.run, cause.c.fingerprint == exception.c.cause),
            )
            .where(of_user(exception))
        )
    }
    kept: dict[int, list[dict[str, Any]]] = {}
    for entry in connection.execute(
        select(
            quarantine.c.phase,
            quarantine.c.reason,
            quarantine.c.source,
            func.count().label("copies"),
        )
        .where(of_user(quarantine), quarantine.c.released_at.is_(None))
        .group_by(quarantine.c.phase, quarantine.c.reason, quarantine.c.source)
        .order_by(quarantine.c.phase, quarantine.c.reason, quarantine.c.source)
    ):
        kept.setdefault(entry.phase, []).append(
            {
                "reason": entry.reason,
                "source": entry.source,
                "copies": entry.copies,
                "for_user": Reason(entry.reason).for_user,
            }
        )
    lines = _lines(connection, sealer, run_id, number, sealed)
    for row in units:
        phase = row["phase"]
        yield UnitAnswer(
            category=plan.phases[phase].restore,
            state=UnitState(row["state"]),
            attempts=row["attempts"],
            expected=row["expected"],
            books=books_of(row),
            cause=sentences.get(phase, ""),
            settled=None if row["settled_at"] is None else moment(row["settled_at"]),
            items=lines.get(phase, ()),
            quarantined=tuple(kept.get(phase, ())),
        )


def _lines(
    connection: Connection, sealer: Sealer, run_id: str, number: int, sealed: Mapping[int, bytes]
) -> dict[int, tuple[dict[str, Any], ...]]:
    """By phase, what became of each of a user's items; nothing where keys were erased."""
    whose = connection.execute(
        select(run_user.c.user_hash).where(run_user.c.run == run_id, run_user.c.number == number)
    ).scalar_one()
    values = [
        Sealed(run_id, whose, data, f"account:{run_id}:{number}:{phase}".encode())
        for phase, data in sealed.items()
    ]
    found: dict[int, tuple[dict[str, Any], ...]] = {}
    for phase, data in zip(sealed, opened(connection, sealer, values), strict=True):
        if data is not None:
            decoded = msgspec.msgpack.decode(data, type=list[tuple[Any, ...]])
            found[phase] = tuple(
                {**_EMPTY_LINE, **dict(zip(_LINE, line, strict=False))} for line in decoded
            )
    return found


def _is_declined(connection: Connection, run_id: str, user_hash: bytes) -> bool:
    return (
        connection.execute(
            select(decline.c.run).where(decline.c.run == run_id, decline.c.user_hash == user_hash)
        ).first()
        is not None
    )
