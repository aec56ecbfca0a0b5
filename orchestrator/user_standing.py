"""How far one user is, over all runs: for a banner in the operator's own product.

Nothing in it says who the user is, what they had, or why something failed.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection, select

from orchestrator.errors import NotFound
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import run, run_user, unit
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.progress import Progress
from orchestrator.sealing import Sealer, reference

Word = Literal["waiting", "done", "partly", "attention"]
_BEGUN = (RunState.RUNNING, RunState.PAUSED, RunState.FINISHED, RunState.CANCELLED)


class CategoryStanding(Struct, frozen=True, kw_only=True):
    """One category of one user."""

    category: str
    standing: Word
    """`partly`: something of it is lost or quarantined; `attention`: it failed so far."""
    restored: int
    since: datetime | None


class UserStanding(Struct, frozen=True, kw_only=True):
    """One user, in the newest run that is about them."""

    user: str
    """Their reference."""
    run: str
    finished: bool
    """Nothing more comes by itself."""
    categories: list[CategoryStanding]


def standing(
    ledger: Ledger,
    sealer: Sealer,
    progress: Progress,
    name: str,
    *,
    only: Collection[str] | None = None,
) -> UserStanding:
    """How far a user is, named by id or reference; `only`: in these runs. Raises `NotFound`."""
    hashes = sealer.hashes_of(name)
    hashed = sealer.user_hash(name)
    low, high = hashes or (hashed, hashed)
    chosen = (
        select(run_user.c.run, run_user.c.number, run_user.c.user_hash, run.c.state)
        .join(run, run.c.id == run_user.c.run)
        .where(
            run_user.c.user_hash.between(low, high),
            run.c.purpose == "restore",
            run.c.state.in_(_BEGUN),
        )
        .order_by(run.c.created_at.desc(), run.c.id)
        .limit(1)
    )
    if only is not None:
        chosen = chosen.where(run.c.id.in_(only))
    with ledger.read() as connection:
        row = connection.execute(chosen).one_or_none()
        units = [] if row is None else _units(connection, row.run, row.number)
    if row is None:
        raise NotFound("no such user in any run")
    phases = progress.plan(row.run).phases
    return UserStanding(
        user=reference(row.user_hash),
        run=row.run,
        finished=all(one.state != UnitState.WAITING for one in units),
        categories=[
            CategoryStanding(
                category=phases[one.phase].restore,
                standing=_word(one),
                restored=one.restored + one.merged,
                since=None if one.settled_at is None else moment(one.settled_at),
            )
            for one in units
        ],
    )


def _units(connection: Connection, run_id: str, number: int) -> list[Any]:
    these = (unit.c.run == run_id, unit.c.user == number)
    return list(connection.execute(select(unit).where(*these).order_by(unit.c.phase)).all())


def _word(one: Any) -> Word:
    match UnitState(one.state):
        case UnitState.WAITING | UnitState.HELD:
            return "waiting"
        case UnitState.SETTLED:
            return "partly" if one.lost or one.quarantined or one.nameless else "done"
        case UnitState.FAILED | UnitState.CANCELLED:
            return "attention"
