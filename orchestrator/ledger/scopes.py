"""The units of a run about another run: which of that one's units it looks at, and their batches.

Users keep their numbers and waves, so that `#17` is the same person in both. What goes over traces
is narrowed to units that left some; what searches or tops up has one unit only.
"""

from typing import Any

from sqlalchemy import Connection, Select, exists, func, insert, literal, select

from orchestrator.ledger.schema import batch, cell, choice, journal, run_user, unit
from orchestrator.lifecycle import TERMINAL_UNITS, BatchState, CellState, UnitState


class Sample:
    """So many units by chance, or a share of all."""

    def __init__(self, number: int, of: int | None = None) -> None:
        self.number = number
        self.of = of

    def size(self, units: int) -> int:
        """How many of so many units; at least one."""
        return self.number if self.of is None else -(-units * self.number // self.of)


def narrow(
    connection: Connection,
    run_id: str,
    *,
    about: str,
    matching: Select[Any, Any],
    kind: str,
    batch_users: int,
    sample: Sample | None = None,
) -> int:
    """Make the units, users, cells and batches of `run_id`; how many units.

    `matching` selects user and phase of `about`; of those, the ones that ended and left a trace.
    """
    chosen = matching.order_by(None).subquery()
    traced = (
        select(literal(run_id), unit.c.user, unit.c.phase, literal(UnitState.WAITING.value))
        .join(chosen, (chosen.c.user == unit.c.user) & (chosen.c.phase == unit.c.phase))
        .where(
            unit.c.run == about,
            unit.c.state.in_(TERMINAL_UNITS),
            exists().where(
                journal.c.run == about,
                journal.c.user == unit.c.user,
                journal.c.phase == unit.c.phase,
            ),
        )
    )
    if sample is not None:
        units = connection.execute(select(func.count()).select_from(traced.subquery())).scalar_one()
        traced = traced.order_by(func.random()).limit(sample.size(units))
    made = connection.execute(
        insert(unit).from_select(["run", "user", "phase", "state"], traced)
    ).rowcount
    if made:
        _copy_users(connection, run_id, about)
        _make_cells(connection, run_id)
        _make_batches(connection, run_id, kind, batch_users)
    return made


def single(
    connection: Connection,
    run_id: str,
    *,
    root: str,
    user: int,
    phase: int,
    kind: str,
    priority: int,
) -> None:
    """Make one unit of `root` the only one of `run_id`: its user, cell and batch, and choices."""
    connection.execute(
        insert(unit).values(run=run_id, user=user, phase=phase, state=UnitState.WAITING)
    )
    _copy_users(connection, run_id, root)
    _make_cells(connection, run_id)
    wave = select(cell.c.wave).where(cell.c.run == run_id)
    connection.execute(
        insert(batch).values(
            run=run_id,
            kind=kind,
            phase=phase,
            wave=connection.execute(wave).scalar_one(),
            first=user,
            last=user,
            state=BatchState.WAITING,
            priority=priority,
        )
    )
    names = ["user", "category", "choice", "who", "at"]
    connection.execute(
        insert(choice).from_select(
            ["run", *names],
            select(literal(run_id), *(choice.c[name] for name in names)).where(
                choice.c.run == root, choice.c.user == user
            ),
        )
    )


def _copy_users(connection: Connection, run_id: str, about: str) -> None:
    names = ["number", "wave", "user_hash", "sealed_id", "ambiguous"]
    connection.execute(
        insert(run_user).from_select(
            ["run", *names],
            select(literal(run_id), *(run_user.c[name] for name in names)).where(
                run_user.c.run == about,
                exists().where(unit.c.run == run_id, unit.c.user == run_user.c.number),
            ),
        )
    )


def _make_cells(connection: Connection, run_id: str) -> None:
    connection.execute(
        insert(cell).from_select(
            ["run", "phase", "wave", "state", "units"],
            select(
                literal(run_id),
                unit.c.phase,
                run_user.c.wave,
                literal(CellState.CLOSED.value),
                func.count(),
            )
            .join_from(
                unit,
                run_user,
                (run_user.c.run == unit.c.run) & (run_user.c.number == unit.c.user),
            )
            .where(unit.c.run == run_id)
            .group_by(unit.c.phase, run_user.c.wave),
        )
    )


def _make_batches(connection: Connection, run_id: str, kind: str, size: int) -> None:
    """So many users a batch, those in between that are not in scope left out."""
    numbered = (
        select(
            unit.c.phase,
            run_user.c.wave,
            unit.c.user,
            (
                func.row_number().over(
                    partition_by=(unit.c.phase, run_user.c.wave), order_by=unit.c.user
                )
                - 1
            ).label("place"),
        )
        .join_from(
            unit, run_user, (run_user.c.run == unit.c.run) & (run_user.c.number == unit.c.user)
        )
        .where(unit.c.run == run_id)
        .subquery()
    )
    part = numbered.c.place - numbered.c.place % size
    connection.execute(
        insert(batch).from_select(
            ["run", "kind", "phase", "wave", "first", "last", "state"],
            select(
                literal(run_id),
                literal(kind),
                numbered.c.phase,
                numbered.c.wave,
                func.min(numbered.c.user),
                func.max(numbered.c.user),
                literal(BatchState.WAITING.value),
            )
            .group_by(numbered.c.phase, numbered.c.wave, part)
            .order_by(numbered.c.phase, numbered.c.wave, func.min(numbered.c.user)),
        )
    )
