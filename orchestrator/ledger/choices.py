"""What single users want where the plan would decide for everyone: kept, and what follows of it."""

import json
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select, update

from orchestrator.catalogue import category_kind
from orchestrator.causes import Cause
from orchestrator.errors import NotFound, Refused
from orchestrator.ledger.database import upsert
from orchestrator.ledger.schema import batch, choice, unit
from orchestrator.lifecycle import BatchState, UnitState
from orchestrator.plan import Choice, Phase
from orchestrator.ports import Merging

CHOSEN = Cause(
    fingerprint="c405e2",
    code="chosen",
    sentence="its user chose what is done about conflicts",
    transient=True,
)


def check(phases: Sequence[Phase], wanted: Choice, category: str | None) -> None:
    """Raises `NotFound` and `Refused` where a run has nothing of the kind to choose."""
    named = [phase.restore for phase in phases if category in (None, phase.restore)]
    if not named:
        raise NotFound(
            "the run does not restore that category",
            hint=f"one of: {', '.join(phase.restore for phase in phases)}",
        )
    if wanted is Choice.MERGE and not any(
        issubclass(category_kind(name), Merging) for name in named
    ):
        raise Refused("there are no fields in it that could be merged", hint="keep-both, keep-mine")


def keep(
    connection: Connection,
    run_id: str,
    user: int,
    wanted: Choice,
    *,
    who: str,
    now: int,
    category: str | None,
) -> None:
    """Write it down; of the same user and category the last one counts."""
    chosen = {"run": run_id, "user": user, "category": category or ""}
    upsert(connection, choice, [{**chosen, "choice": wanted.value, "who": who, "at": now}])


def in_hand(connection: Connection, run_id: str, user: int) -> set[int]:
    """Phases in which a worker has this user in hand, and reads choices no more."""
    found = select(batch.c.phase, batch.c.members).where(
        batch.c.run == run_id,
        batch.c.state == BatchState.RUNNING,
        batch.c.first <= user,
        batch.c.last >= user,
    )
    return {
        row.phase
        for row in connection.execute(found)
        if row.members is None or user in json.loads(row.members)
    }


def keep_from_beginning(connection: Connection, run_id: str, user: int) -> None:
    """Let no worker begin with this user until the commit: who begins later knows the choice.

    A worker learns in the statement by which it claims whether there are choices at all, so it
    must not be waiting in that statement meanwhile: what is on its way is called back.
    """
    if connection.dialect.name != "postgresql":
        return  # who writes is alone
    theirs = (batch.c.run == run_id, batch.c.first <= user, batch.c.last >= user)
    ahead = (BatchState.WAITING, BatchState.READY)
    connection.execute(
        select(batch.c.id).where(*theirs, batch.c.state.in_(ahead)).with_for_update(read=True)
    ).all()
    connection.execute(
        update(batch)
        .where(*theirs, batch.c.state == BatchState.DISPATCHED)
        .values(state=BatchState.READY, lease_until=0)
    )


def left_as_they_were(
    connection: Connection, run_id: str, user: int, phases: Collection[int], wanted: Choice
) -> set[tuple[int, int]]:
    """Settled units, as user and phase, in which live items stayed that would not stay now."""
    if wanted is Choice.KEEP_MINE:
        return set()
    found = select(unit.c.user, unit.c.phase).where(
        unit.c.run == run_id,
        unit.c.user == user,
        unit.c.phase.in_(phases),
        unit.c.state == UnitState.SETTLED,
        unit.c.superseded > 0,
    )
    return {(row.user, row.phase) for row in connection.execute(found)}
