"""The use cases: submit, approve, pause, resume, cancel, promote, retry, release, accept.

Each is one transaction that leaves a line in the audit log, and may be repeated without harm.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from orchestrator.causes import Cause
from orchestrator.errors import NotFound, Refused, Unavailable
from orchestrator.findings import UNDO
from orchestrator.items import UserId
from orchestrator.ledger import audit_log, choices, flow, outbox, troubles
from orchestrator.ledger.database import Ledger, insert_missing
from orchestrator.ledger.keys import keys_of
from orchestrator.ledger.priority import move_to_front
from orchestrator.ledger.schema import (
    approval,
    batch,
    cell,
    decline,
    exception,
    promotion,
    quarantine,
    run,
    run_user,
    unit,
)
from orchestrator.lifecycle import (
    TERMINAL_RUNS,
    TERMINAL_UNITS,
    BatchState,
    CellState,
    RunState,
    UnitState,
    moved,
)
from orchestrator.notices import NoticeKind
from orchestrator.plan import Choice
from orchestrator.planner import plan_from_document
from orchestrator.query import Query, matching
from orchestrator.sealing import Sealer
from orchestrator.standing.rows import row_of
from orchestrator.submitting import Submission, declines, keep

ROWS_AT_ONCE = 5_000
AGAIN = Cause(
    fingerprint="a6a123",
    code="again",
    sentence="an operator asked for another attempt",
    transient=True,
)
MAY_RETRY = frozenset({RunState.RUNNING, RunState.PAUSED, RunState.FINISHED})
"""States in which units may be tried again."""


class Runs:
    """What operators do with runs; `who` is the name that the audit log will show."""

    def __init__(
        self,
        ledger: Ledger,
        sealer: Sealer,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._new_id = new_id

    def submit(self, given: Submission) -> str:
        """Keep the plan and its lists, and let the conductor have it; the id of the run."""
        run_id = self._new_id()
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            keep(connection, self._sealer, run_id, given, now=now)
            self._log(
                connection,
                now,
                given.author,
                "preview" if given.preview else "submit",
                run_id,
                {"plan": given.plan.digest, "name": given.plan.name},
            )
        return run_id

    def find(self, prefix: str) -> str:
        """The run whose id begins with `prefix`; `last` is the newest. Raises `NotFound`."""
        newest = select(run.c.id).order_by(run.c.created_at.desc(), run.c.id.desc())
        with self._ledger.read() as connection:
            if prefix == "last":
                found = list(connection.execute(newest.limit(1)).scalars())
            else:
                found = list(
                    connection.execute(
                        newest.where(run.c.id.startswith(prefix, autoescape=True)).limit(2)
                    ).scalars()
                )
        if prefix == "last" and not found:
            raise NotFound("there are no runs yet", hint="submit a plan: reinstate submit PLAN")
        if not prefix or not found:
            raise NotFound("there is no such run", hint="list them: reinstate runs")
        if len(found) > 1:
            raise NotFound("several runs begin like that", hint="give more of the run's id")
        return found[0]

    def approve(self, run_id: str, *, who: str, reason: str, digest: str | None = None) -> None:
        """Approve what was inspected. Raises `Refused` for the author, or another digest."""
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            if row.state != RunState.AWAITING_APPROVAL:
                raise Refused(f"the run does not await approval, it is {row.state}")
            if same_person(who, row.author):
                raise Refused(
                    "nobody approves a plan of their own",
                    hint="ask somebody else: reinstate approve RUN --as NAME",
                )
            if digest is not None and digest != row.digest:
                raise Refused(
                    "this is not what was inspected",
                    hint="look at it again: reinstate status RUN",
                )
            now = self._ledger.clock(connection)
            these = (approval.c.run == run_id, approval.c.digest == row.digest)
            names = connection.execute(select(approval.c.name).where(*these)).scalars()
            insert_missing(
                connection,
                approval,
                [
                    {
                        "run": run_id,
                        "name": _spelled(who, names),
                        "digest": row.digest,
                        "at": now,
                        "reason": reason,
                    }
                ],
            )
            so_far = flow.approvals(connection, run_id, row.digest)
            outbox.tell(
                connection,
                run_id,
                NoticeKind.APPROVED,
                now=now,
                subject=f"{row.digest}:{so_far}",
                data={"approvals": so_far},
            )
            self._log(connection, now, who, "approve", run_id, {"digest": row.digest})

    def pause(self, run_id: str, *, who: str, reason: str) -> None:
        """Start nothing more; what is under way is handed back within a heartbeat."""
        self._move(run_id, RunState.PAUSED, who=who, action="pause", why=reason)

    def resume(self, run_id: str, *, who: str, reason: str) -> None:
        """Go on where it was paused."""
        self._move(
            run_id,
            RunState.RUNNING,
            who=who,
            action="resume",
            why=reason,
            only_from=RunState.PAUSED,
        )

    def cancel(self, run_id: str, *, who: str, reason: str) -> None:
        """End the run; what was restored stays, what was not is cancelled."""
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            now = self._ledger.clock(connection)
            new = moved(RunState(row.state), RunState.CANCELLED)
            connection.execute(
                update(run)
                .where(run.c.id == run_id)
                .values(state=new, why=reason or None, finished_at=now)
            )
            connection.execute(
                update(batch)
                .where(
                    batch.c.run == run_id,
                    batch.c.state.in_(
                        (BatchState.WAITING, BatchState.READY, BatchState.DISPATCHED)
                    ),
                )
                .values(state=BatchState.CANCELLED, lease_until=0)
            )
            _cancel_units(connection, run_id)
            flow.tell_move(connection, run_id, RunState(row.state), RunState.CANCELLED, now=now)
            self._log(connection, now, who, "cancel", run_id, {"reason": reason})

    def promote(
        self,
        run_id: str,
        *,
        who: str,
        reason: str,
        phase: int | None = None,
        wave: int | None = None,
    ) -> int:
        """Let held gates pass; how many. Without `phase` and `wave`: every gate that is held."""
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            if same_person(who, row.author):
                raise Refused(
                    "nobody promotes a run of their own",
                    hint="ask somebody else: reinstate promote RUN --as NAME",
                )
            if row.state in TERMINAL_RUNS:
                raise Refused(f"the run is {row.state}, no gate matters any more")
            held = select(cell.c.phase, cell.c.wave).where(
                cell.c.run == run_id, cell.c.state == CellState.HELD
            )
            if phase is not None:
                held = held.where(cell.c.phase == phase)
            if wave is not None:
                held = held.where(cell.c.wave == wave)
            found = connection.execute(held).all()
            now = self._ledger.clock(connection)
            these = promotion.c.run == run_id
            names = set(connection.execute(select(promotion.c.name).where(these)).scalars())
            insert_missing(
                connection,
                promotion,
                [
                    {
                        "run": run_id,
                        "phase": at.phase,
                        "wave": at.wave,
                        "name": _spelled(who, names),
                        "at": now,
                        "reason": reason,
                    }
                    for at in found
                ],
            )
            self._log(connection, now, who, "promote", run_id, {"gates": len(found)})
        return len(found)

    def retry(
        self, run_id: str, query: Query, *, who: str, reason: str = "", dry_run: bool = False
    ) -> int:
        """Let failed units that match try again, with their attempts counted anew; how many.

        What was settled is not touched, and what was verified is never written again.
        """
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            state = RunState(row.state)
            chosen = matching(run_id, query.only_failed(), self._sealer)
            units = {(found.user, found.phase) for found in connection.execute(chosen)}
            number = len(units)
            if dry_run or not number:
                return number
            if state not in MAY_RETRY:
                raise Refused(f"a run that is {state} cannot retry", hint="submit the plan again")
            must_not_be_undone(connection, run_id)
            now = self._ledger.clock(connection)
            try_again(connection, run_id, units, now=now)
            if state is RunState.FINISHED:
                flow.move_run(
                    connection, run_id, state, RunState.RUNNING, now=now, finished_at=None
                )
            self._log(connection, now, who, "retry", run_id, {"units": number, "reason": reason})
        return number

    def release(self, run_id: str, copies: Mapping[int, bytes], *, who: str, reason: str) -> int:
        """Hand back quarantined copies, mended by an operator; `copies` by their numbers.

        Their units are tried again with these copies as the most trusted source. How many were
        found.
        """
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            state = RunState(row.state)
            if state not in MAY_RETRY:
                raise Refused(f"a run that is {state} takes nothing back")
            now = self._ledger.clock(connection)
            must_not_be_undone(connection, run_id)
            root = row.root or run_id
            found = connection.execute(
                select(quarantine.c.id, quarantine.c.user, quarantine.c.phase, run_user.c.user_hash)
                .join(
                    run_user,
                    (run_user.c.run == quarantine.c.run) & (run_user.c.number == quarantine.c.user),
                )
                .where(quarantine.c.run == run_id, quarantine.c.id.in_(list(copies)))
            ).all()
            keys = keys_of(connection, self._sealer, [kept.user_hash for kept in found], root=root)
            for kept in found:
                context = f"quarantine:{run_id}:{kept.user}:{kept.phase}".encode()
                of_user = keys.get((root, kept.user_hash), {})
                key = of_user[min(of_user)] if of_user else self._sealer
                connection.execute(
                    update(quarantine)
                    .where(quarantine.c.id == kept.id)
                    .values(
                        released_at=now,
                        released_by=who,
                        released=key.seal(copies[kept.id], context),
                    )
                )
            if found:
                try_again(connection, run_id, {(kept.user, kept.phase) for kept in found}, now=now)
                if state is RunState.FINISHED:
                    flow.move_run(
                        connection, run_id, state, RunState.RUNNING, now=now, finished_at=None
                    )
            self._log(
                connection, now, who, "release", run_id, {"copies": len(found), "reason": reason}
            )
        return len(found)

    def decline(self, run_id: str, users: Iterable[UserId], *, who: str) -> int:
        """Put users on the decline list of a run, effective at once; how many were given."""
        with self._ledger.begin() as connection:
            row_of(connection, run_id)
            now = self._ledger.clock(connection)
            rows = list(declines(run_id, users, self._sealer.user_hash, now))
            insert_missing(connection, decline, rows)
            self._log(connection, now, who, "decline", run_id, {"users": len(rows)})
        return len(rows)

    def prioritize(self, run_id: str, user: int, *, who: str, reason: str) -> int:
        """Let what waits for a user, given by number, go first; how many batches that is."""
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            if row.state in TERMINAL_RUNS:
                raise Refused(f"the run is {row.state}: nothing of it waits")
            now = self._ledger.clock(connection)
            moved_batches = move_to_front(connection, run_id, user)
            detail = {"user": user, "batches": moved_batches, "reason": reason}
            self._log(connection, now, who, "prioritize", run_id, detail)
        return moved_batches

    def choose(
        self,
        run_id: str,
        user: int,
        wanted: Choice,
        *,
        who: str,
        reason: str = "",
        category: str | None = None,
    ) -> int:
        """What one user, given by number, wants where the plan would decide for everyone.

        Without `category`: in all of them, those apart for which they chose already. Categories
        that were done with items left as they are go once more; how many. What was written is not
        taken back: undo does that. Raises `Refused` where there is nothing to choose, and
        `Unavailable` while a worker has the user in hand, who read the choices before.
        """
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            state = RunState(row.state)
            if row.purpose != "restore" or state in (RunState.REFUSED, RunState.CANCELLED):
                raise Refused("nothing of this run is written, so there is nothing to choose")
            phases = plan_from_document(json.loads(row.plan)).phases
            choices.check(phases, wanted, category)
            now = self._ledger.clock(connection)
            these = [at for at, phase in enumerate(phases) if category in (None, phase.restore)]
            choices.keep_from_beginning(connection, run_id, user)
            if choices.in_hand(connection, run_id, user) & set(these):
                raise Unavailable(
                    "a worker has this user in hand, who would not hear of it",
                    retry_in=60.0,
                    hint="choose once more in a minute",
                )
            choices.keep(connection, run_id, user, wanted, who=who, now=now, category=category)
            again = choices.left_as_they_were(connection, run_id, user, these, wanted)
            if again:
                must_not_be_undone(connection, run_id)
                try_again(connection, run_id, again, now=now, why=choices.CHOSEN)
                if state is RunState.FINISHED:
                    flow.move_run(
                        connection, run_id, state, RunState.RUNNING, now=now, finished_at=None
                    )
            detail = {"user": user, "choice": wanted.value, "category": category, "reason": reason}
            self._log(connection, now, who, "choose", run_id, detail)
        return len(again)

    def accept_losses(self, run_id: str, *, who: str, reason: str) -> None:
        """Take note, by name, that what is lost or quarantined stays so."""
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            if row.state not in TERMINAL_RUNS:
                raise Refused(f"the run is still {row.state}", hint="accept when it has finished")
            now = self._ledger.clock(connection)
            connection.execute(
                update(run).where(run.c.id == run_id).values(accepted_by=who, accepted_at=now)
            )
            self._log(connection, now, who, "accept_losses", run_id, {"reason": reason})

    def _move(
        self,
        run_id: str,
        new: RunState,
        *,
        who: str,
        action: str,
        why: str,
        only_from: RunState | None = None,
    ) -> None:
        with self._ledger.begin() as connection:
            row = row_of(connection, run_id)
            old = RunState(row.state)
            if only_from is not None and old is not only_from:
                raise Refused(f"the run is {old}, not {only_from}")
            now = self._ledger.clock(connection)
            reason = why if new is RunState.PAUSED else None
            flow.move_run(connection, run_id, old, new, now=now, why=reason)
            self._log(connection, now, who, action, run_id, {"reason": why})

    def _log(
        self, connection: Connection, now: int, who: str, action: str, run_id: str, detail: object
    ) -> None:
        audit_log.append(connection, now=now, who=who, action=action, run=run_id, detail=detail)


def must_not_be_undone(connection: Connection, run_id: str) -> None:
    """Nothing is tried again of a run that was closed, or while it is being undone."""
    row = row_of(connection, run_id)
    if row.closed_at is not None:
        raise Refused(f"the run was closed by {row.closed_by}: its keys were erased")
    undo = connection.execute(
        select(run.c.id)
        .where(run.c.about == run_id, run.c.purpose == UNDO, run.c.state.not_in(TERMINAL_RUNS))
        .limit(1)
    ).scalar_one_or_none()
    if undo is not None:
        raise Refused(
            f"undo {undo} of the run has not ended", hint=f"reinstate watch {undo}, or cancel it"
        )


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's, however they are spelled."""
    return one.strip().casefold() == other.strip().casefold()


def _spelled(who: str, before: Iterable[str]) -> str:
    """A name as the same person's was spelled before, so that nobody counts twice."""
    return next((name for name in before if same_person(who, name)), who.strip())


def _cancel_units(connection: Connection, run_id: str) -> None:
    """Cancel what has not ended, and count it."""
    open_states = (UnitState.WAITING, UnitState.HELD)
    cells: Sequence[Any] = connection.execute(
        update(unit)
        .where(unit.c.run == run_id, unit.c.state.in_(open_states))
        .values(state=UnitState.CANCELLED)
        .returning(unit.c.phase, unit.c.user)
    ).all()
    gone = troubles.forget(connection, run_id, exception.c.state.in_(open_states))
    troubles.count(connection, run_id, gone)
    wave_of = flow.waves_of(connection, run_id)
    sums: dict[tuple[int, int], int] = {}
    for row in cells:
        key = (row.phase, wave_of(row.user))
        sums[key] = sums.get(key, 0) + 1
    for (phase, wave), number in sums.items():
        flow.count(connection, run_id, phase, wave, cancelled=number)


def try_again(
    connection: Connection,
    run_id: str,
    units: Collection[tuple[int, int]],
    *,
    now: int,
    why: Cause = AGAIN,
) -> None:
    """Units, as user and phase, wait for another attempt, in the caller's transaction."""
    wave_of = flow.waves_of(connection, run_id)
    by_phase: dict[int, list[int]] = {}
    for user, phase in sorted(units):
        by_phase.setdefault(phase, []).append(user)
    for phase, users in by_phase.items():
        for start in range(0, len(users), ROWS_AT_ONCE):
            part = users[start : start + ROWS_AT_ONCE]
            _wait(connection, run_id, phase, part, wave_of, now, why)


def _wait(
    connection: Connection,
    run_id: str,
    phase: int,
    users: list[int],
    wave_of: Callable[[int], int],
    now: int,
    why: Cause,
) -> None:
    these = (unit.c.run == run_id, unit.c.phase == phase, unit.c.user.in_(users))
    before = connection.execute(select(unit.c.user, unit.c.state).where(*these)).all()
    connection.execute(update(unit).where(*these).values(state=UnitState.WAITING, attempts=0))
    counts = troubles.forget(connection, run_id, troubles.of_units(connection, phase, users))
    rows = [
        {
            "user": user,
            "phase": phase,
            "state": UnitState.WAITING,
            "cause": why.fingerprint,
            "not_before": now,
            "since": now,
        }
        for user in users
    ]
    counts.update(troubles.note(connection, run_id, rows, [why]))
    troubles.count(connection, run_id, counts)
    for (wave, state), number in Counter(
        (wave_of(row.user), UnitState(row.state)) for row in before
    ).items():
        if state in TERMINAL_UNITS:
            flow.count(connection, run_id, phase, wave, **{state.value: -number})
