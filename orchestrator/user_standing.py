"""How far one user is, over all runs: for a banner in the operator's own product.

Nothing in it says who the user is, what they had, or why something failed.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection, select

from orchestrator.errors import NotFound
from orchestrator.ledger import bulletins
from orchestrator.ledger.bulletins import slug_of
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import run, run_user, unit
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.plan import Phase
from orchestrator.progress import Progress
from orchestrator.sealing import Sealer, reference
from orchestrator.telling import banner, spelled

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
    text: str
    """The same in one or two sentences, for a banner."""
    categories: list[CategoryStanding]
    next_update: datetime | None = None
    """By when the public was promised news."""
    status_page: str | None = None
    """The end of the public page's address; null: there is none."""


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
            run.c.root.is_(None),
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
        said = [] if row is None else bulletins.page(connection, row.run, limit=1)
        page = None if row is None or not said else slug_of(connection, row.run)
    if row is None:
        raise NotFound("no such user in any run")
    phases = progress.plan(row.run).phases
    finished = all(one.state != UnitState.WAITING for one in units)
    due = said[0].next_due if said else None
    return UserStanding(
        user=reference(row.user_hash),
        run=row.run,
        finished=finished,
        text=banner(
            back=_named(phases, units, "done"),
            partly=_named(phases, units, "partly"),
            rest=_named(phases, units, "waiting", "attention"),
            over=finished,
        ),
        next_update=None if due is None else moment(due),
        status_page=page,
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


def _named(phases: Sequence[Phase], units: Sequence[Any], *words: Word) -> list[str]:
    return [spelled(phases[one.phase].restore) for one in units if _word(one) in words]


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
