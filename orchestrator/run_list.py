"""The list of runs, a page at a time, each with how it ended."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, select, tuple_

from orchestrator.errors import PlanInvalid
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import counter, run
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.query import split
from orchestrator.run_standing import RunRow, outcome
from orchestrator.standing.rows import run_row

PURPOSES = ("restore", "preview", "verify", "undo")

Place = tuple[int, str]
"""When a run was submitted, in milliseconds, and its id."""


class RunEntry(Struct, frozen=True, kw_only=True):
    """A line of the list, and whether and how the run ended."""

    run: RunRow
    terminal: bool
    outcome: str | None
    place: Place


def runs_page(
    ledger: Ledger,
    *,
    after: Place | None = None,
    limit: int = 50,
    prefix: str = "",
    purpose: str | None = None,
    states: Collection[RunState] = (),
    only: Collection[str] | None = None,
) -> list[RunEntry]:
    """The newest first; `prefix`: how their ids begin.

    `only`: no others than these runs, and those about them.
    """
    chosen = select(run).order_by(run.c.created_at.desc(), run.c.id.desc()).limit(limit)
    if after is not None:
        chosen = chosen.where(tuple_(run.c.created_at, run.c.id) < tuple_(*after))
    if prefix:
        chosen = chosen.where(run.c.id.startswith(prefix, autoescape=True))
    if purpose is not None:
        chosen = chosen.where(run.c.purpose == purpose)
    if states:
        chosen = chosen.where(run.c.state.in_(states))
    if only is not None:
        chosen = chosen.where(run.c.id.in_(only) | run.c.root.in_(only))
    with ledger.read() as connection:
        rows = connection.execute(chosen).all()
        sums = _sums(connection, [row.id for row in rows if row.state == RunState.FINISHED])
    return [_entry(row, sums) for row in rows]


class RunQuery(Struct, frozen=True, kw_only=True):
    """Which runs are asked for; empty lists ask for any."""

    states: tuple[RunState, ...] = ()
    purpose: str | None = None
    prefix: str = ""


def parse_runs(query: str) -> RunQuery:
    """Read `state:running purpose:preview run:7f3a`. Raises `PlanInvalid` with a hint."""
    found = split(query, ("state", "purpose", "run"), example="state:running purpose:restore")
    for word, values, known in (
        ("state", found["state"], list(RunState)),
        ("purpose", found["purpose"], PURPOSES),
    ):
        if set(values) - set(known):
            raise PlanInvalid(f"no such {word}", hint=f"one of: {', '.join(known)}")
    if len(found["purpose"]) > 1 or len(found["run"]) > 1:
        raise PlanInvalid("purpose and run are given once", hint="leave one of them out")
    return RunQuery(
        states=tuple(RunState(state) for state in found["state"]),
        purpose=next(iter(found["purpose"]), None),
        prefix=next(iter(found["run"]), ""),
    )


def earlier_run(ledger: Ledger, run_id: str) -> str | None:
    """The run of the same name that was submitted last before this one."""
    this = select(run.c.name, run.c.created_at).where(run.c.id == run_id).subquery()
    chosen = (
        select(run.c.id)
        .join(this, run.c.name == this.c.name)
        .where(run.c.created_at < this.c.created_at, run.c.purpose == "restore")
        .order_by(run.c.created_at.desc(), run.c.id.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        return connection.execute(chosen).scalar_one_or_none()


def runs_about(ledger: Ledger, run_id: str, *, limit: int = 50) -> list[RunEntry]:
    """The verifies and undos of a run, the newest first."""
    chosen = (
        select(run)
        .where(run.c.about == run_id)
        .order_by(run.c.created_at.desc(), run.c.id.desc())
        .limit(limit)
    )
    with ledger.read() as connection:
        rows = connection.execute(chosen).all()
        sums = _sums(connection, [row.id for row in rows if row.state == RunState.FINISHED])
    return [_entry(row, sums) for row in rows]


def _sums(connection: Connection, runs: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Failed units, and items lost or quarantined, of each finished run."""
    missing = func.sum(counter.c.lost + counter.c.quarantined + counter.c.nameless)
    rows = connection.execute(
        select(counter.c.run, func.sum(counter.c.failed).label("failed"), missing.label("losses"))
        .where(counter.c.run.in_(runs))
        .group_by(counter.c.run)
    )
    return {row.run: (int(row.failed), int(row.losses)) for row in rows}


def _entry(row: Any, sums: Mapping[str, tuple[int, int]]) -> RunEntry:
    failed, losses = sums.get(row.id, (0, 0))
    found = run_row(row)
    return RunEntry(
        run=found,
        terminal=found.state in TERMINAL_RUNS,
        outcome=outcome(found, failed=failed, losses=0 if row.accepted_by else losses),
        place=(row.created_at, row.id),
    )
