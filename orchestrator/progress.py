"""What operators and support see: runs, phases, one user, failures, losses. Reads only.

Every number is a sum of counters or a row of the ledger; nothing is counted by walking units.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, select, text, tuple_

from orchestrator.ledger.database import Ledger
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.schema import WITH_LOSSES, exception, run, run_user, unit
from orchestrator.lifecycle import RunState
from orchestrator.plan import Plan
from orchestrator.query import Query, matching, some_match
from orchestrator.run_standing import CauseRow, RunRow, Status, UserAnswer
from orchestrator.sealing import Sealer, reference
from orchestrator.standing import copies
from orchestrator.standing.rows import books_of, plan_of, row_of, run_row, user_id
from orchestrator.standing.run import causes, is_led, status
from orchestrator.standing.user import answer, number_of

PAGE = 200


class Progress:
    """Asks the ledger, in one consistent look a question."""

    def __init__(self, ledger: Ledger, sealer: Sealer) -> None:
        self._ledger = ledger
        self._sealer = sealer

    def runs(self, *, limit: int = 50) -> list[RunRow]:
        """The newest runs first."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(run).order_by(run.c.created_at.desc(), run.c.id).limit(limit)
            )
            return [run_row(row) for row in rows]

    def plan(self, run_id: str) -> Plan:
        """The plan of a run."""
        with self._ledger.read() as connection:
            return plan_of(row_of(connection, run_id))

    def plan_text(self, run_id: str) -> str:
        """The plan of a run, as the operator wrote it."""
        with self._ledger.read() as connection:
            return row_of(connection, run_id).plan_text

    def folder(self, run_id: str) -> Path:
        """Where a plan's relative paths start."""
        with self._ledger.read() as connection:
            return Path(row_of(connection, run_id).folder)

    def sample(self, run_id: str) -> int | None:
        """How many users a preview looks at; None: everyone."""
        with self._ledger.read() as connection:
            return row_of(connection, run_id).sample

    def reference(self, run_id: str, number: int) -> str:
        """How a user, given by number, is named where nobody needs to know who it is."""
        with self._ledger.read() as connection:
            found = connection.execute(
                select(run_user.c.user_hash).where(
                    run_user.c.run == run_id, run_user.c.number == number
                )
            ).scalar_one()
        return reference(found)

    def state(self, run_id: str) -> RunState:
        """What a run is doing."""
        with self._ledger.read() as connection:
            return RunState(row_of(connection, run_id).state)

    def is_led(self) -> bool:
        """Whether a conductor looks after runs at this moment."""
        with self._ledger.read() as connection:
            return is_led(connection, self._ledger.clock(connection))

    def status(self, run_id: str) -> Status:
        """The run as it stands now."""
        with self._ledger.read() as connection:
            return status(connection, run_id, now=self._ledger.clock(connection))

    def causes(self, run_id: str) -> list[CauseRow]:
        """Why units fail or wait, the commonest first."""
        with self._ledger.read() as connection:
            return causes(connection, run_id, plan_of(row_of(connection, run_id)))

    def inventory(self, run_id: str) -> dict[str, Any]:
        """What inspection found: sources, capabilities, warnings."""
        with self._ledger.read() as connection:
            text = row_of(connection, run_id).inventory
        return json.loads(text) if text else {}

    def units(
        self, run_id: str, query: Query, *, after: tuple[int, int] = (-1, -1), limit: int = 50
    ) -> list[dict[str, Any]]:
        """Units that match, by user and phase, after a given one: a page at a time."""
        with self._ledger.read() as connection:
            plan = plan_of(row_of(connection, run_id))
            if not connection.execute(select(some_match(run_id, query))).scalar_one():
                return []
            found = matching(run_id, query, self._sealer, after=after).limit(limit).subquery()
            rows = connection.execute(
                select(
                    unit,
                    run_user.c.wave,
                    run_user.c.user_hash,
                    run_user.c.sealed_id,
                    exception.c.cause,
                )
                .join_from(
                    found,
                    unit,
                    and_(
                        unit.c.run == run_id,
                        unit.c.user == found.c.user,
                        unit.c.phase == found.c.phase,
                    ),
                )
                .join(run_user, and_(run_user.c.run == run_id, run_user.c.number == unit.c.user))
                .outerjoin(
                    exception,
                    and_(
                        exception.c.run == run_id,
                        exception.c.user == unit.c.user,
                        exception.c.phase == unit.c.phase,
                    ),
                )
                .order_by(unit.c.user, unit.c.phase)
            ).mappings()
            ids = Ids(connection, self._sealer, run_id)
            return [_unit_row(row, plan, ids) for row in rows]

    def count(self, run_id: str, query: Query, *, at_most: int) -> int:
        """How many units match; no more than `at_most` are counted."""
        found = matching(run_id, query, self._sealer).order_by(None).limit(at_most).subquery()
        with self._ledger.read() as connection:
            return connection.execute(select(func.count()).select_from(found)).scalar_one()

    def losses(self, run_id: str, *, after: tuple[int, int] = (-1, -1)) -> Iterator[dict[str, Any]]:
        """Units of which something is lost or quarantined, by user and phase, after a given one.

        Read a page at a time, so that a slow reader holds no transaction open.
        """
        while True:
            with self._ledger.read() as connection:
                plan = plan_of(row_of(connection, run_id))
                rows = connection.execute(
                    select(unit, run_user.c.wave, run_user.c.user_hash, run_user.c.sealed_id)
                    .join_from(
                        unit,
                        run_user,
                        and_(run_user.c.run == unit.c.run, run_user.c.number == unit.c.user),
                    )
                    .where(
                        unit.c.run == run_id,
                        text(f"({WITH_LOSSES})"),
                        _after(after),
                        run_user.c.number >= after[0],  # or all users before are walked
                    )
                    .order_by(unit.c.user, unit.c.phase)
                    .limit(PAGE)
                ).mappings()
                ids = Ids(connection, self._sealer, run_id)
                page = [_unit_row(row, plan, ids) for row in rows]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]["number"], page[-1]["phase"]

    def user(self, run_id: str, name: str) -> UserAnswer:
        """One user, named by id, reference or number. Raises `NotFound`."""
        with self._ledger.read() as connection:
            number = number_of(connection, self._sealer, run_id, name)
            return answer(connection, self._sealer, run_id, number)

    def number(self, connection: Connection, run_id: str, name: str) -> int:
        """The number of a user within a run."""
        return number_of(connection, self._sealer, run_id, name)

    def quarantine(
        self,
        run_id: str,
        *,
        user: int | None = None,
        after: int = 0,
        query: Query | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Quarantined copies with their evidence, in the order of their numbers, after a given one.

        `query`: only copies of units that match, and of its reasons. Read a few at a time.
        """
        while True:
            with self._ledger.read() as connection:
                some = copies.few(
                    connection, self._sealer, run_id, user=user, after=after, query=query
                )
            yield from some.copies
            if some.last:
                return
            after = some.copies[-1]["number"]

    def reasons(self, run_id: str) -> list[dict[str, Any]]:
        """How many copies are quarantined, by category, source and reason."""
        with self._ledger.read() as connection:
            return copies.reasons(connection, run_id)


def _unit_row(row: Any, plan: Plan, ids: Ids) -> dict[str, Any]:
    books = books_of(row)
    return {
        "user": user_id(row["sealed_id"], row["user_hash"], ids),
        "number": row["user"],
        "wave": plan.waves[row["wave"]].name,
        "category": plan.phases[row["phase"]].restore,
        "phase": row["phase"],
        "state": row["state"],
        "attempts": row["attempts"],
        "expected": row["expected"],
        "cause": row.get("cause"),
        "books": msgspec.to_builtins(books),
    }


def _after(place: tuple[int, int]) -> ColumnElement[bool]:
    """Units behind a user and phase, in the order of both; an index leads there at once."""
    return tuple_(unit.c.user, unit.c.phase) > tuple_(*place)
