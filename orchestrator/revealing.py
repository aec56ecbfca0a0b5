"""Who a reference stands for, and what quarantined bytes say: given with a reason, and noted."""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import select

from orchestrator.errors import NotFound, Refused
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.schema import run_user
from orchestrator.progress import Progress
from orchestrator.sealing import Sealer


class Revealed(Struct, frozen=True, kw_only=True):
    """Who a user is."""

    user: str
    number: int


class Revealing:
    """Tells who and what, and leaves a line in the audit log first: number, never name."""

    def __init__(self, ledger: Ledger, sealer: Sealer, progress: Progress) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._progress = progress

    def user(self, run_id: str, name: str, *, who: str, reason: str) -> Revealed:
        """The id of a user, named by reference or number. Raises `NotFound`."""
        with self._ledger.begin() as connection:
            number = self._progress.number(connection, run_id, name)
            sealed = connection.execute(
                select(run_user.c.sealed_id).where(
                    run_user.c.run == run_id, run_user.c.number == number
                )
            ).scalar_one()
            user = Ids(connection, self._sealer, run_id).open(sealed)
            audit_log.append(
                connection,
                now=self._ledger.clock(connection),
                who=who,
                action="reveal_user",
                run=run_id,
                detail={"user": number, "reason": reason},
            )
        if user is None:
            raise Refused("who this was has been erased", hint="nobody can know it any more")
        return Revealed(user=user, number=number)

    def users(
        self, run_id: str, numbers: Sequence[int], *, who: str, reason: str
    ) -> list[Revealed]:
        """The ids of many users, by number; whoever is not there or was erased is left out."""
        with self._ledger.begin() as connection:
            rows = connection.execute(
                select(run_user.c.number, run_user.c.sealed_id)
                .where(run_user.c.run == run_id, run_user.c.number.in_(numbers))
                .order_by(run_user.c.number)
            ).all()
            ids = Ids(connection, self._sealer, run_id)
            named = [(row.number, ids.open(row.sealed_id)) for row in rows]
            audit_log.append(
                connection,
                now=self._ledger.clock(connection),
                who=who,
                action="reveal_users",
                run=run_id,
                detail={"users": [row.number for row in rows], "reason": reason},
            )
        return [Revealed(user=user, number=number) for number, user in named if user is not None]

    def copy(self, run_id: str, copy: int, *, who: str, reason: str) -> dict[str, Any]:
        """One quarantined copy, with its bytes. Raises `NotFound`."""
        found = next(self._progress.quarantine(run_id, after=copy - 1), None)
        if found is None or found["number"] != copy:
            raise NotFound("there is no such copy in quarantine")
        self._note(run_id, {"copy": copy, "reason": reason}, who)
        return found

    def copies(self, run_id: str, *, who: str, reason: str) -> Iterator[dict[str, Any]]:
        """Every quarantined copy of a run, with its bytes."""
        self._note(run_id, {"copies": "all", "reason": reason}, who)
        return self._progress.quarantine(run_id)

    def _note(self, run_id: str, detail: object, who: str) -> None:
        with self._ledger.begin() as connection:
            audit_log.append(
                connection,
                now=self._ledger.clock(connection),
                who=who,
                action="export_quarantine",
                run=run_id,
                detail=detail,
            )
