"""The use cases after a run: verify, undo, close, forget.

A verify and an undo are runs about another run, their `about`: with units, books, attempts, pauses
and an end of their own, so that whatever is known of runs holds for them. What an undo changes is
journalled under its own id; undoing that undo is the same thing once more. A run closes when it
shall never be undone any more: then the keys of what was kept of its users are erased.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, LargeBinary, func, insert, select, update

import orchestrator
from orchestrator.errors import NotFound, Refused, Unavailable
from orchestrator.findings import UNDO, VERIFY
from orchestrator.ledger import audit_log, keys
from orchestrator.ledger.database import Ledger, insert_missing
from orchestrator.ledger.schema import (
    account,
    batch,
    decline,
    journal,
    listed,
    quarantine,
    run,
    run_user,
)
from orchestrator.ledger.scopes import Sample, narrow
from orchestrator.ledger.scrubbing import scrub
from orchestrator.lifecycle import TERMINAL_RUNS, BatchState, RunState
from orchestrator.query import Query, matching
from orchestrator.sealing import UNDER_MASTER, Sealer

UNDO_WINDOW = timedelta(days=30)
"""For so long after its end a run is not closed, unless it is said that it shall be."""
_BEGUN = (RunState.RUNNING, RunState.PAUSED, RunState.FINISHED, RunState.CANCELLED)
_OVER = (RunState.FINISHED, RunState.CANCELLED)


class Erased(Struct, frozen=True, kw_only=True):
    """What a close or a forget erased."""

    keys: int
    scrubbed: bool
    """Whether the ledger's files were rewritten, too: somebody may have been in the way."""


class Aftercare:
    """What operators do with what a run left; `who` is the name that the audit log will show."""

    def __init__(
        self,
        ledger: Ledger,
        sealer: Sealer,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
        batch_users: int = 100,
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._new_id = new_id
        self._batch_users = batch_users

    def verify(
        self, run_id: str, query: Query, *, who: str, sample: Sample | None = None, reason: str = ""
    ) -> str:
        """Have the target compared with the journal; the id of the verify. Writes nothing there."""
        return self._begin(VERIFY, run_id, query, who=who, reason=reason, sample=sample)

    def undo(self, run_id: str, query: Query, *, who: str, reason: str) -> str:
        """Have what a run (or an undo) wrote taken back; the id of the undo.

        It asks for as many approvals as the plan does, none of them its author's.
        """
        return self._begin(UNDO, run_id, query, who=who, reason=reason)

    def _begin(
        self,
        purpose: str,
        about: str,
        query: Query,
        *,
        who: str,
        reason: str,
        sample: Sample | None = None,
    ) -> str:
        run_id = self._new_id()
        with self._ledger.begin() as connection:
            row = _row(connection, about)
            _must_have_traces(row, purpose)
            root = row.root or row.id
            if purpose == UNDO:
                _must_be_alone(connection, root)
            now = self._ledger.clock(connection)
            connection.execute(
                insert(run).values(
                    id=run_id,
                    name=row.name,
                    purpose=purpose,
                    about=about,
                    root=root,
                    state=RunState.SUBMITTED,
                    author=who.strip(),
                    plan=row.plan,
                    plan_text=row.plan_text,
                    plan_digest=row.plan_digest,
                    folder=row.folder,
                    code_version=orchestrator.VERSION,
                    created_at=now,
                )
            )
            units = narrow(
                connection,
                run_id,
                about=about,
                matching=matching(about, query, self._sealer),
                kind=purpose,
                batch_users=self._batch_users,
                sample=sample,
            )
            if not units:
                raise NotFound(
                    f"run {about} wrote nothing that matches", hint=f"reinstate users {about}"
                )
            detail = {"about": about, "units": units, "reason": reason}
            self._log(connection, now, who, purpose, run_id, detail)
        return run_id

    def close(self, run_id: str, *, who: str, reason: str, early: bool = False) -> Erased:
        """Erase the keys of all that was kept of a run's users, for ever.

        `early`: also within the undo window. Raises `Refused` while anything of it goes on. Of a
        run that is closed, what is left of the keys in the ledger's files is looked for once more.
        """
        erased = 0
        with self._ledger.begin() as connection:
            row = _row(connection, run_id)
            if row.root is not None:
                raise Refused(
                    f"this {row.purpose} closes with run {row.root}",
                    hint=f"reinstate close {row.root}",
                )
            if row.closed_at is None:
                now = self._ledger.clock(connection)
                _may_close(connection, row, now=now, early=early)
                erased = keys.erase(connection, run_id, now=now)
                for one in keys.family(connection, run_id):
                    _empty_old_seals(connection, one)
                connection.execute(
                    update(run)
                    .where((run.c.id == run_id) | (run.c.root == run_id))
                    .values(closed_at=now, closed_by=who.strip())
                )
                detail = {"keys": erased, "reason": reason}
                self._log(connection, now, who, "close", run_id, detail)
        return Erased(keys=erased, scrubbed=scrub(self._ledger))

    def forget(self, run_id: str, user: int, *, who: str, reason: str) -> Erased:
        """Decline a user, given by number, and erase their keys and their id.

        Raises `Unavailable` while a worker has that user in hand: they are declined by then.
        """
        with self._ledger.begin() as connection:
            row = _row(connection, run_id)
            root = row.root or row.id
            now = self._ledger.clock(connection)
            user_hash = _user_hash(connection, root, user)
            family = keys.family(connection, root)
            rows = [{"run": one, "user_hash": user_hash, "added_at": now} for one in family]
            insert_missing(connection, decline, rows)
            self._log(connection, now, who, "decline", run_id, {"user": user})
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            if _in_hand(connection, family, user):
                raise Unavailable(
                    "a worker has this user in hand; nothing more is written for them",
                    retry_in=5.0,
                    hint="say it once more in a minute",
                )
            erased = keys.erase(connection, root, now=now, user_hash=user_hash)
            for one in family:
                _empty_old_seals(connection, one, user=user)
                _empty_ids(connection, one, user_hash)
            detail = {"user": user, "keys": erased, "reason": reason}
            self._log(connection, now, who, "forget", run_id, detail)
        return Erased(keys=erased, scrubbed=scrub(self._ledger))

    def _log(
        self, connection: Connection, now: int, who: str, action: str, run_id: str, detail: object
    ) -> None:
        audit_log.append(connection, now=now, who=who, action=action, run=run_id, detail=detail)


# What has to be so ----------------------------------------------------------------------------


def _row(connection: Connection, run_id: str) -> Any:
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such run", hint="list them: reinstate runs")
    return row


def _must_have_traces(row: Any, purpose: str) -> None:
    """A run that wrote, whose journal can be read."""
    if row.purpose not in {"restore", UNDO}:
        raise Refused(f"a {row.purpose} writes nothing", hint="name the run itself")
    if row.closed_at is not None:
        raise Refused(
            f"run {row.id} was closed by {row.closed_by}: its keys were erased, so nobody can tell "
            "any more what it wrote or what was there before"
        )
    may = _OVER if purpose == UNDO else _BEGUN
    if row.state not in may:
        raise Refused(
            f"the run is {row.state}",
            hint="let it finish or cancel it first" if purpose == UNDO else "wait until it runs",
        )


def _must_be_alone(connection: Connection, root: str) -> None:
    """Nothing else may write where an undo does: no retry of the run, no other undo."""
    other = _going_on(connection, root, (run.c.purpose.in_(("restore", UNDO)),))
    if other is not None:
        what = "undo" if other.purpose == UNDO else "run"
        raise Refused(
            f"{what} {other.id} is still {other.state}",
            hint=f"let it finish, or: reinstate cancel {other.id}",
        )


def _may_close(connection: Connection, row: Any, *, now: int, early: bool) -> None:
    other = _going_on(connection, row.id, ())
    if other is not None:
        raise Refused(f"run {other.id} is still {other.state}", hint=f"reinstate watch {other.id}")
    since = timedelta(milliseconds=now - (row.finished_at or now))
    if row.purpose == "restore" and since < UNDO_WINDOW and not early:
        raise Refused(
            f"the run may be undone for {(UNDO_WINDOW - since).days + 1} days more; closing it "
            "ends that for ever",
            hint="verify it, then close it with --early, or later without",
        )


def _going_on(connection: Connection, root: str, more: tuple[ColumnElement[bool], ...]) -> Any:
    return connection.execute(
        select(run.c.id, run.c.purpose, run.c.state)
        .where(
            (run.c.id == root) | (run.c.root == root),
            run.c.state.not_in(TERMINAL_RUNS),
            *more,
        )
        .limit(1)
    ).one_or_none()


def _in_hand(connection: Connection, family: list[str], user: int) -> bool:
    found = connection.execute(
        select(batch.c.id)
        .where(
            batch.c.run.in_(family),
            batch.c.state == BatchState.RUNNING,
            batch.c.kind != "inspect",
            batch.c.first <= user,
            batch.c.last >= user,
        )
        .limit(1)
    )
    return found.first() is not None


# What is erased -------------------------------------------------------------------------------


def _user_hash(connection: Connection, run_id: str, number: int) -> bytes:
    found = select(run_user.c.user_hash).where(
        run_user.c.run == run_id, run_user.c.number == number
    )
    return connection.execute(found).scalar_one()


def _empty_old_seals(connection: Connection, run_id: str, *, user: int | None = None) -> None:
    """Empty what earlier releases sealed under the master key itself: it has no key to erase."""
    for column in (
        journal.c.sealed,
        account.c.sealed,
        quarantine.c.sealed,
        quarantine.c.released,
    ):
        table = column.table
        these = [table.c.run == run_id, _under_master(column)]
        if user is not None:
            these.append(table.c.user == user)
        connection.execute(update(table).where(*these).values({column.name: b""}))
    if user is None:
        for table in (run_user, listed):
            these = [table.c.run == run_id, _under_master(table.c.sealed_id)]
            connection.execute(update(table).where(*these).values(sealed_id=b""))


def _under_master(column: Column[Any]) -> ColumnElement[bool]:
    return func.substr(column, 1, 1, type_=LargeBinary).in_(UNDER_MASTER)


def _empty_ids(connection: Connection, run_id: str, user_hash: bytes) -> None:
    for table in (run_user, listed):
        connection.execute(
            update(table)
            .where(table.c.run == run_id, table.c.user_hash == user_hash)
            .values(sealed_id=b"")
        )
