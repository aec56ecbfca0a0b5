"""Bulk work in three steps: frozen and looked at, confirmed, followed to its end.

    prepared → started                      everything at once
    prepared → canary → started             the first few, then, when they did well, the rest
    prepared → dropped

Which units it is about is fixed when it is prepared; whoever confirms says how many that are. What
did not fit any more when its turn came is listed with the reason, not forgotten.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, and_, func, insert, literal, select, tuple_, update

from orchestrator.errors import NotFound, Refused
from orchestrator.ledger import audit_log, flow
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import cause, exception, operation, operation_unit, run, unit
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.query import Query, matching
from orchestrator.runs import MAY_RETRY, must_not_be_undone, try_again
from orchestrator.sealing import Sealer

AT_ONCE = 5_000
NOT_FAILED = "it has not failed any more when its turn came"
Place = tuple[int, str]


class OperationState(StrEnum):
    """How far an operation is."""

    PREPARED = "prepared"
    CANARY = "canary"
    STARTED = "started"
    DROPPED = "dropped"


class OperationProgress(Struct, frozen=True, kw_only=True):
    """What became of an operation's units; the numbers add up to `units`."""

    units: int
    not_begun: int
    skipped: int
    waiting: int
    settled: int
    failed: int
    cancelled: int


class OperationRow(Struct, frozen=True, kw_only=True):
    """An operation as it stands."""

    id: str
    run: str
    kind: str
    state: OperationState
    terminal: bool
    """Nothing of it is open any more."""
    units: int
    canary: int | None
    author: str
    reason: str
    created: datetime
    confirmed_by: str | None
    confirmed: datetime | None
    progress: OperationProgress | None
    """None in lists."""
    place: Place


class OperationUnit(Struct, frozen=True, kw_only=True):
    """One unit of an operation that was not done, and why."""

    user: int
    phase: int
    state: UnitState
    why: str


class Operations:
    """Prepares and starts operations; `who` is the name that the audit log will show."""

    def __init__(
        self,
        ledger: Ledger,
        sealer: Sealer,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._new_id = new_id

    def prepare_retry(
        self,
        run_id: str,
        query: Query,
        *,
        text: str,
        canary: int | None,
        who: str,
        reason: str,
    ) -> OperationRow:
        """Freeze the failed units that match; nothing of them is done yet.

        `text`: the query as it will be shown, users by reference.
        """
        made = self._new_id()
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            _run_state(connection, run_id)
            failed = matching(run_id, query.only_failed(), self._sealer).subquery()
            connection.execute(
                insert(operation_unit).from_select(
                    ["operation", "user", "phase", "begun"],
                    select(literal(made), failed.c.user, failed.c.phase, literal(value=False)),
                )
            )
            units = connection.execute(
                select(func.count()).where(operation_unit.c.operation == made)
            ).scalar_one()
            if not units:
                raise Refused("no failed unit matches", hint="look what failed, and ask for that")
            connection.execute(
                insert(operation).values(
                    id=made,
                    run=run_id,
                    kind="retry",
                    state=OperationState.PREPARED,
                    query=text.encode(),
                    units=units,
                    canary=None if canary is None or canary >= units else canary,
                    author=who,
                    reason=reason,
                    created_at=now,
                )
            )
            detail = {"operation": made, "units": units, "reason": reason}
            self._log(connection, now, who, "prepare_retry", run_id, detail)
        return self.get(made)

    def confirm(self, operation_id: str, *, units: int, who: str) -> OperationRow:
        """Begin what was prepared; `units`: as many as were shown. Repeating it does no more."""
        with self._ledger.begin() as connection:
            row = _row(connection, operation_id)
            match OperationState(row.state):
                case OperationState.STARTED | OperationState.CANARY:
                    pass
                case OperationState.DROPPED:
                    raise Refused("the operation was dropped", hint="prepare it again")
                case OperationState.PREPARED:
                    if units != row.units:
                        raise Refused(
                            "this is not the number of units that it is about",
                            hint="look at the operation, then confirm its number of units",
                        )
                    self._begin(connection, row, who=who, at_most=row.canary)
        return self.get(operation_id)

    def go_on(self, operation_id: str, *, who: str) -> OperationRow:
        """Begin the rest, after its first few. Raises `Refused` while those are not settled."""
        progress = self.get(operation_id).progress
        with self._ledger.begin() as connection:
            row = _row(connection, operation_id)
            if row.state not in {OperationState.STARTED, OperationState.CANARY}:
                raise Refused(f"the operation is {row.state}", hint="confirm it first")
            if row.state == OperationState.CANARY:
                if progress is not None and (progress.waiting or progress.failed):
                    raise Refused(
                        f"of its first units {progress.waiting} are not done and"
                        f" {progress.failed} failed again",
                        hint="see why, or drop it and prepare another",
                    )
                self._begin(connection, row, who=who, at_most=None)
        return self.get(operation_id)

    def drop(self, operation_id: str, *, who: str) -> None:
        """Do nothing of what has not begun."""
        with self._ledger.begin() as connection:
            row = _row(connection, operation_id)
            if row.state == OperationState.STARTED:
                raise Refused("all of it has begun", hint="pause the run to stop it")
            connection.execute(
                update(operation)
                .where(operation.c.id == operation_id)
                .values(state=OperationState.DROPPED)
            )
            now = self._ledger.clock(connection)
            detail = {"operation": operation_id}
            self._log(connection, now, who, "drop_operation", row.run, detail)

    def _begin(
        self, connection: Connection, row: Row[Any], *, who: str, at_most: int | None
    ) -> None:
        state = _run_state(connection, row.run)
        if state not in MAY_RETRY:
            raise Refused(f"a run that is {state} cannot retry", hint="submit the plan again")
        must_not_be_undone(connection, row.run)
        now = self._ledger.clock(connection)
        chosen = (
            select(operation_unit.c.user, operation_unit.c.phase)
            .where(operation_unit.c.operation == row.id, operation_unit.c.begun.is_(False))
            .order_by(operation_unit.c.user, operation_unit.c.phase)
            .limit(at_most)
        )
        units = [(found.user, found.phase) for found in connection.execute(chosen)]
        fit = {
            place for part in _parts(units) for place in _still_failed(connection, row.run, part)
        }
        for part in _parts(units):
            _mark(connection, row.id, [place for place in part if place in fit], skipped=None)
            _mark(
                connection,
                row.id,
                [place for place in part if place not in fit],
                skipped=NOT_FAILED,
            )
        if fit:
            try_again(connection, row.run, fit, now=now)
            if state is RunState.FINISHED:
                flow.move_run(
                    connection, row.run, state, RunState.RUNNING, now=now, finished_at=None
                )
        new = OperationState.STARTED if at_most is None else OperationState.CANARY
        connection.execute(
            update(operation)
            .where(operation.c.id == row.id)
            .values(state=new, confirmed_by=who, confirmed_at=now)
        )
        detail = {"operation": row.id, "units": len(fit), "reason": row.reason}
        self._log(connection, now, who, "retry", row.run, detail)

    # Looking --------------------------------------------------------------------------------------

    def get(self, operation_id: str) -> OperationRow:
        """An operation with what became of its units. Raises `NotFound`."""
        with self._ledger.read() as connection:
            row = _row(connection, operation_id)
            return _shown(row, _progress(connection, row))

    def page(
        self, run_id: str, *, after: Place | None = None, limit: int = 50
    ) -> list[OperationRow]:
        """The operations of a run, the newest first."""
        chosen = (
            select(operation)
            .where(operation.c.run == run_id)
            .order_by(operation.c.created_at.desc(), operation.c.id.desc())
            .limit(limit)
        )
        if after is not None:
            chosen = chosen.where(tuple_(operation.c.created_at, operation.c.id) < tuple_(*after))
        with self._ledger.read() as connection:
            return [_shown(row, None) for row in connection.execute(chosen)]

    def query(self, operation_id: str) -> str:
        """What was asked for."""
        with self._ledger.read() as connection:
            return _row(connection, operation_id).query.decode()

    def not_done(
        self, operation_id: str, *, after: tuple[int, int] = (-1, -1), limit: int = 50
    ) -> list[OperationUnit]:
        """Units that were left out, or failed again: by user and phase, a page at a time."""
        where = and_(
            operation_unit.c.operation == operation_id,
            tuple_(operation_unit.c.user, operation_unit.c.phase) > tuple_(*after),
        )
        with self._ledger.read() as connection:
            row = _row(connection, operation_id)
            found = connection.execute(
                select(
                    operation_unit.c.user,
                    operation_unit.c.phase,
                    operation_unit.c.skipped,
                    unit.c.state,
                    cause.c.sentence,
                )
                .join(unit, _same_unit(unit, row.run))
                .outerjoin(exception, _same_unit(exception, row.run))
                .outerjoin(
                    cause,
                    and_(cause.c.run == row.run, cause.c.fingerprint == exception.c.cause),
                )
                .where(
                    where,
                    operation_unit.c.skipped.is_not(None)
                    | (operation_unit.c.begun & (unit.c.state == UnitState.FAILED)),
                )
                .order_by(operation_unit.c.user, operation_unit.c.phase)
                .limit(limit)
            )
            return [
                OperationUnit(
                    user=one.user,
                    phase=one.phase,
                    state=UnitState(one.state),
                    why=one.skipped or one.sentence or "",
                )
                for one in found
            ]

    @staticmethod
    def _log(
        connection: Connection, now: int, who: str, action: str, run_id: str, detail: object
    ) -> None:
        audit_log.append(connection, now=now, who=who, action=action, run=run_id, detail=detail)


def _row(connection: Connection, operation_id: str) -> Row[Any]:
    row = connection.execute(select(operation).where(operation.c.id == operation_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such operation")
    return row


def _run_state(connection: Connection, run_id: str) -> RunState:
    state = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one_or_none()
    if state is None:
        raise NotFound("there is no such run", hint="list them: reinstate runs")
    return RunState(state)


def _parts(units: Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    return [units[start : start + AT_ONCE] for start in range(0, len(units), AT_ONCE)]


def _still_failed(
    connection: Connection, run_id: str, units: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    users = {user for user, _ in units}
    rows = connection.execute(
        select(exception.c.user, exception.c.phase).where(
            exception.c.run == run_id,
            exception.c.state == UnitState.FAILED,
            exception.c.user.between(min(users), max(users)),
        )
    )
    wanted = set(units)
    return [(row.user, row.phase) for row in rows if (row.user, row.phase) in wanted]


def _mark(
    connection: Connection,
    operation_id: str,
    units: Collection[tuple[int, int]],
    *,
    skipped: str | None,
) -> None:
    by_phase: dict[int, list[int]] = {}
    for user, phase in units:
        by_phase.setdefault(phase, []).append(user)
    for phase, users in by_phase.items():
        connection.execute(
            update(operation_unit)
            .where(
                operation_unit.c.operation == operation_id,
                operation_unit.c.phase == phase,
                operation_unit.c.user.in_(users),
            )
            .values(begun=True, skipped=skipped)
        )


def _same_unit(table: Any, run_id: str) -> Any:
    return and_(
        table.c.run == run_id,
        table.c.user == operation_unit.c.user,
        table.c.phase == operation_unit.c.phase,
    )


def _progress(connection: Connection, row: Row[Any]) -> OperationProgress:
    """Counts the operation's own units; as many as were asked for, not as many as there are."""
    numbers: dict[str, int] = {}
    for found in connection.execute(
        select(
            operation_unit.c.begun,
            operation_unit.c.skipped.is_not(None).label("skipped"),
            unit.c.state,
            func.count().label("units"),
        )
        .join(unit, _same_unit(unit, row.run))
        .where(operation_unit.c.operation == row.id)
        .group_by(operation_unit.c.begun, operation_unit.c.skipped.is_not(None), unit.c.state)
    ):
        name = "not_begun" if not found.begun else "skipped" if found.skipped else found.state
        numbers[name] = numbers.get(name, 0) + found.units
    return OperationProgress(
        units=row.units,
        not_begun=numbers.get("not_begun", 0),
        skipped=numbers.get("skipped", 0),
        waiting=numbers.get(UnitState.WAITING, 0) + numbers.get(UnitState.HELD, 0),
        settled=numbers.get(UnitState.SETTLED, 0),
        failed=numbers.get(UnitState.FAILED, 0),
        cancelled=numbers.get(UnitState.CANCELLED, 0),
    )


def _shown(row: Row[Any], progress: OperationProgress | None) -> OperationRow:
    state = OperationState(row.state)
    ended = progress is not None and not progress.waiting
    return OperationRow(
        id=row.id,
        run=row.run,
        kind=row.kind,
        state=state,
        terminal=state is OperationState.DROPPED or (state is OperationState.STARTED and ended),
        units=row.units,
        canary=row.canary,
        author=row.author,
        reason=row.reason,
        created=moment(row.created_at),
        confirmed_by=row.confirmed_by,
        confirmed=None if row.confirmed_at is None else moment(row.confirmed_at),
        progress=progress,
        place=(row.created_at, row.id),
    )
