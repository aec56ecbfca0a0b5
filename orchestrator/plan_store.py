"""Plans kept apart from runs: stored, changed as new versions, compared. Only plans without errors.

Nothing that a version holds is ever changed; a run keeps its own copy of what was submitted.
"""

import difflib
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import func, insert, select, tuple_

from orchestrator.errors import NotFound, Refused
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import stored_plan
from orchestrator.plan import Plan
from orchestrator.planner import read_plan

Place = tuple[int, str]


class PlanEntry(Struct, frozen=True, kw_only=True):
    """A version of a stored plan, without its text."""

    id: str
    version: int
    name: str
    digest: str
    author: str
    created: datetime
    place: Place


class StoredPlan(PlanEntry, frozen=True, kw_only=True):
    """A version of a stored plan."""

    text: str
    folder: str
    """Where its relative paths start."""


class PlanStore:
    """Keeps plans; `who` is the name that the audit log will show."""

    def __init__(
        self, ledger: Ledger, *, new_id: Callable[[], str] = lambda: secrets.token_hex(4)
    ) -> None:
        self._ledger = ledger
        self._new_id = new_id

    def add(self, text: str, *, folder: Path, who: str) -> StoredPlan:
        """Keep a plan. Raises `PlanInvalid` with every problem of it."""
        return self._keep(self._new_id(), 0, text, folder, who)

    def change(self, plan_id: str, text: str, *, version: int, who: str) -> StoredPlan:
        """Keep a newer version than `version`, which was looked at. Raises `Refused` for an older.

        The folder stays.
        """
        folder = Path(self.get(plan_id).folder)
        return self._keep(plan_id, version, text, folder, who)

    def _keep(self, plan_id: str, before: int, text: str, folder: Path, who: str) -> StoredPlan:
        plan: Plan = read_plan(text.encode(), path="plan", base=folder)
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            newest = connection.execute(
                select(func.max(stored_plan.c.version)).where(stored_plan.c.id == plan_id)
            ).scalar_one()
            if (newest or 0) != before:
                raise Refused("the plan was changed since you looked", hint="look at it again")
            values: dict[str, Any] = {
                "id": plan_id,
                "version": before + 1,
                "name": plan.name,
                "text": text,
                "digest": plan.digest,
                "folder": str(folder),
                "author": who,
                "created_at": now,
            }
            connection.execute(insert(stored_plan).values(values))
            audit_log.append(
                connection,
                now=now,
                who=who,
                action="store_plan",
                run=None,
                detail={"plan": plan_id, "version": before + 1, "digest": plan.digest},
            )
        return self.get(plan_id, before + 1)

    def get(self, plan_id: str, version: int | None = None) -> StoredPlan:
        """A version of a plan; the newest, if none is named. Raises `NotFound`."""
        chosen = select(stored_plan).where(stored_plan.c.id == plan_id)
        if version is not None:
            chosen = chosen.where(stored_plan.c.version == version)
        chosen = chosen.order_by(stored_plan.c.version.desc()).limit(1)
        with self._ledger.read() as connection:
            row = connection.execute(chosen).one_or_none()
        if row is None:
            raise NotFound("there is no such plan")
        return StoredPlan(**_facts(row), text=row.text, folder=row.folder)

    def page(self, *, after: Place | None = None, limit: int = 50) -> list[PlanEntry]:
        """The newest version of each plan, the newest plan first."""
        newest = (
            select(stored_plan.c.id, func.max(stored_plan.c.version).label("version"))
            .group_by(stored_plan.c.id)
            .subquery()
        )
        chosen = (
            select(stored_plan)
            .join(
                newest,
                (stored_plan.c.id == newest.c.id) & (stored_plan.c.version == newest.c.version),
            )
            .order_by(stored_plan.c.created_at.desc(), stored_plan.c.id.desc())
            .limit(limit)
        )
        if after is not None:
            place = tuple_(stored_plan.c.created_at, stored_plan.c.id)
            chosen = chosen.where(place < tuple_(*after))
        with self._ledger.read() as connection:
            return [PlanEntry(**_facts(row)) for row in connection.execute(chosen)]

    def versions(self, plan_id: str) -> list[PlanEntry]:
        """Every version of a plan, the newest first. Raises `NotFound`."""
        chosen = select(stored_plan).where(stored_plan.c.id == plan_id)
        with self._ledger.read() as connection:
            rows = connection.execute(chosen.order_by(stored_plan.c.version.desc())).all()
        if not rows:
            raise NotFound("there is no such plan")
        return [PlanEntry(**_facts(row)) for row in rows]


def difference(old: str, new: str, *, old_name: str, new_name: str) -> str:
    """What changed between two texts, as a unified diff; empty where nothing did."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), old_name, new_name, lineterm=""
    )
    return "\n".join(lines)


def _facts(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version,
        "name": row.name,
        "digest": row.digest,
        "author": row.author,
        "created": moment(row.created_at),
        "place": (row.created_at, row.id),
    }
