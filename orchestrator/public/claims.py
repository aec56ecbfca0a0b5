"""Claims: "I had 300, I see 64". What is searched for, where each item is, and the top-up.

A search is a preview of one user's category over every source of the plan, also those that its
phase does not read. A top-up restores what it found: a run of its own, with the approvals that the
plan asks for. Both have the users and keys of the run that the claim is about, so they are
forgotten and closed with it. Searching is the workers'; nothing of a source is touched here.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection, Row, exists, func, insert, select, tuple_, update

import orchestrator
from orchestrator.books import Outcome
from orchestrator.errors import NotFound, Refused
from orchestrator.findings import UNDO
from orchestrator.ledger import audit_log, scopes
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.priority import FRONT
from orchestrator.ledger.schema import claim, decline, quarantine, run, run_user, unit
from orchestrator.lifecycle import TERMINAL_RUNS, TERMINAL_UNITS, RunState, UnitState
from orchestrator.plan_text.document import digest_of
from orchestrator.progress import Progress
from orchestrator.reasons import Reason
from orchestrator.run_standing import Status, UnitAnswer
from orchestrator.standing.rows import row_of
from orchestrator.telling import Place, ToppedUp, claim_answer

_BEGUN = (RunState.RUNNING, RunState.PAUSED, RunState.FINISHED, RunState.CANCELLED)
At = tuple[int, str]


class ClaimRow(Struct, frozen=True, kw_only=True):
    """What was claimed, and by which runs it is searched for and topped up."""

    id: str
    run: str
    user: int
    category: str
    had: int
    sees: int
    search: str
    top_up: str | None
    who: str
    at: datetime


class FoundItem(Struct, frozen=True, kw_only=True):
    """One item that a search found, and where it is."""

    ident: str
    place: Place
    source: str
    reason: str = ""


class Damaged(Struct, frozen=True, kw_only=True):
    """Copies that were found damaged."""

    source: str
    reason: str
    copies: int
    text: str


class Searched(Struct, frozen=True, kw_only=True):
    """A claim, and what is known of it by now."""

    claim: ClaimRow
    state: Literal["searching", "searched", "failed"]
    why: str
    """Why the search failed."""
    places: dict[Place, int]
    items: tuple[FoundItem, ...]
    damaged: tuple[Damaged, ...]
    top_up_state: RunState | None
    brought_back: int
    """Items that the top-up restored or merged."""
    answer: str
    """For the user, in plain words; empty until it was searched."""

    @property
    def may_top_up(self) -> bool:
        """Whether there is something to bring back that nobody brings back yet."""
        idle = self.top_up_state in {None, RunState.REFUSED, RunState.CANCELLED}
        return self.state == "searched" and idle and self.places.get(Place.FOUND, 0) > 0


class Claims:
    """Searches for what users miss; `who` is the name that the audit log will show."""

    def __init__(
        self,
        ledger: Ledger,
        progress: Progress,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._new_id = new_id

    def open(
        self, run_id: str, user: int, category: str, *, had: int, sees: int, who: str, reason: str
    ) -> str:
        """Note a claim of a user, given by number, and begin to search; the id of the claim."""
        claim_id, search = self._new_id(), self._new_id()
        with self._ledger.begin() as connection:
            row = _about(connection, run_id)
            now = self._ledger.clock(connection)
            phase = _phase(row, category)
            _must_be_there(connection, run_id, user)
            self._make(connection, row, search, "preview", user=user, phase=phase, who=who)
            connection.execute(
                insert(claim).values(
                    id=claim_id,
                    run=run_id,
                    user=user,
                    category=category,
                    had=had,
                    sees=sees,
                    search=search,
                    who=who,
                    at=now,
                )
            )
            detail = {"claim": claim_id, "user": user, "category": category, "reason": reason}
            self._log(connection, now, who, "claim", run_id, detail)
        return claim_id

    def top_up(self, claim_id: str, *, who: str, reason: str) -> str:
        """Ask for what a search found to be restored; the id of the run that awaits approval."""
        found = self.get(claim_id)
        if not found.may_top_up:
            raise Refused(
                "there is nothing to bring back"
                if found.state == "searched"
                else f"the search is not done: {found.why or 'it goes on'}",
                hint="a top-up of it was made already" if found.claim.top_up else "",
            )
        asked = found.claim
        top_up = self._new_id()
        with self._ledger.begin() as connection:
            row = _about(connection, asked.run)
            now = self._ledger.clock(connection)
            phase = _phase(row, asked.category)
            _must_be_there(connection, asked.run, asked.user)
            _must_be_alone(connection, asked, phase)
            taken = connection.execute(
                update(claim)
                .where(claim.c.id == claim_id, claim.c.top_up.is_not_distinct_from(asked.top_up))
                .values(top_up=top_up)
            )
            if not taken.rowcount:
                raise Refused("somebody else has just asked for it", hint="look again")
            self._make(connection, row, top_up, "restore", user=asked.user, phase=phase, who=who)
            detail = {"claim": claim_id, "user": asked.user, "top_up": top_up, "reason": reason}
            self._log(connection, now, who, "top_up", asked.run, detail)
        return top_up

    def _make(
        self,
        connection: Connection,
        row: Any,
        run_id: str,
        purpose: str,
        *,
        user: int,
        phase: int,
        who: str,
    ) -> None:
        """A run of one unit over every source, with the users and keys of the run `row`."""
        document = json.loads(row.plan)
        document["phases"][phase]["from"] = [one["name"] for one in document["sources"]]
        connection.execute(
            insert(run).values(
                id=run_id,
                name=row.name,
                purpose=purpose,
                root=row.id,
                state=RunState.SUBMITTED,
                author=who.strip(),
                plan=json.dumps(document, sort_keys=True),
                plan_text=f"# One user's category, from every source, of:\n{row.plan_text}",
                plan_digest=digest_of(document),
                folder=row.folder,
                code_version=orchestrator.VERSION,
                created_at=self._ledger.clock(connection),
            )
        )
        scopes.single(
            connection, run_id, root=row.id, user=user, phase=phase, kind=purpose, priority=FRONT
        )

    # Looking --------------------------------------------------------------------------------------

    def row(self, claim_id: str) -> ClaimRow:
        """What was claimed. Raises `NotFound`."""
        with self._ledger.read() as connection:
            return _claim(connection, claim_id)

    def page(self, run_id: str, *, before: At | None = None, limit: int = 50) -> list[ClaimRow]:
        """Claims about a run, the newest first, before a given one."""
        chosen = select(claim).where(claim.c.run == run_id)
        if before is not None:
            chosen = chosen.where(tuple_(claim.c.at, claim.c.id) < tuple_(*before))
        chosen = chosen.order_by(claim.c.at.desc(), claim.c.id.desc()).limit(limit)
        with self._ledger.read() as connection:
            return [_of_row(row) for row in connection.execute(chosen)]

    def get(self, claim_id: str) -> Searched:
        """A claim, and where everything is that the search found. Raises `NotFound`."""
        asked = self.row(claim_id)
        search = self._progress.status(asked.search)
        mine, before = self._unit(asked.search, asked), self._unit(asked.run, asked)
        with self._ledger.read() as connection:
            state, why = _state(search, mine, there=_is_there(connection, asked.run, asked.user))
            damaged = tuple(_damaged(connection, asked)) if state == "searched" else ()
            mended = _mended(connection, asked)
            topped = _topped(connection, asked)
        items: tuple[FoundItem, ...] = ()
        places: dict[Place, int] = {}
        if state == "searched" and mine is not None:
            items = tuple(_placed(mine, before))
            places = _places(asked, items, nameless=max(0, mine.books.nameless - mended))
        return Searched(
            claim=asked,
            state=state,
            why=why,
            places=places,
            items=items,
            damaged=damaged,
            top_up_state=topped[0],
            brought_back=topped[1],
            answer=claim_answer(
                asked.category,
                had=asked.had,
                sees=asked.sees,
                places=places,
                reasons=_reasons(damaged),
                top_up=_going(topped[0]),
                brought_back=topped[1],
            )
            if state == "searched"
            else "",
        )

    def reveal(self, claim_id: str, *, who: str, reason: str) -> Searched:
        """The same, by somebody who says why they need to know which items these are."""
        found = self.get(claim_id)
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            detail = {"claim": claim_id, "user": found.claim.user, "reason": reason}
            self._log(connection, now, who, "reveal_claim", found.claim.run, detail)
        return found

    def _unit(self, run_id: str, asked: ClaimRow) -> UnitAnswer | None:
        user = self._progress.user(run_id, f"#{asked.user}")
        return next((one for one in user.categories if one.category == asked.category), None)

    def _log(
        self, connection: Connection, now: int, who: str, action: str, run_id: str, detail: object
    ) -> None:
        audit_log.append(connection, now=now, who=who, action=action, run=run_id, detail=detail)


def of_user(connection: Connection, run_id: str, user: int, *, limit: int) -> list[ClaimRow]:
    """What one user, given by number, told that they miss, the newest first."""
    chosen = select(claim).where(claim.c.run == run_id, claim.c.user == user)
    chosen = chosen.order_by(claim.c.at.desc(), claim.c.id.desc()).limit(limit)
    return [_of_row(row) for row in connection.execute(chosen)]


# What has to be so --------------------------------------------------------------------------------


def _about(connection: Connection, run_id: str) -> Row[Any]:
    """The run that a claim is about."""
    row = row_of(connection, run_id)
    if row.purpose != "restore" or row.root is not None:
        raise Refused("claims are about a run that restores", hint="name the run itself")
    if row.state not in _BEGUN:
        raise Refused(f"the run is {row.state}: nothing of it can be missed yet")
    if row.closed_at is not None:
        raise Refused("the run is closed: nothing is known of its users any more")
    return row


def _phase(row: Any, category: str) -> int:
    named = [phase["restore"] for phase in json.loads(row.plan)["phases"]]
    if category not in named:
        raise NotFound("the run does not restore that category", hint=f"one of: {', '.join(named)}")
    return named.index(category)


def _must_be_there(connection: Connection, run_id: str, user: int) -> None:
    if not _is_there(connection, run_id, user):
        raise Refused("this user is declined or forgotten: nothing of theirs is restored")


def _is_there(connection: Connection, run_id: str, user: int) -> bool:
    """Whether a user is neither declined nor forgotten."""
    declined = exists().where(decline.c.run == run_id, decline.c.user_hash == run_user.c.user_hash)
    found = connection.execute(
        select(run_user.c.number).where(
            run_user.c.run == run_id,
            run_user.c.number == user,
            func.length(run_user.c.sealed_id) > 0,
            ~declined,
        )
    )
    return found.first() is not None


def _must_be_alone(connection: Connection, asked: ClaimRow, phase: int) -> None:
    """Nobody else writes, or is going to write, what a top-up would."""
    state = connection.execute(
        select(unit.c.state).where(
            unit.c.run == asked.run, unit.c.user == asked.user, unit.c.phase == phase
        )
    ).scalar_one()
    if state not in TERMINAL_UNITS:
        raise Refused(
            "their category is still being restored by the run itself",
            hint="move the user to the front, and look again when it is done",
        )
    other = connection.execute(
        select(run.c.id, run.c.purpose)
        .where(
            run.c.root == asked.run,
            run.c.state.not_in(TERMINAL_RUNS),
            (run.c.purpose == UNDO)
            | run.c.id.in_(
                select(claim.c.top_up).where(
                    claim.c.run == asked.run,
                    claim.c.user == asked.user,
                    claim.c.category == asked.category,
                )
            ),
        )
        .limit(1)
    ).one_or_none()
    if other is not None:
        what = "an undo" if other.purpose == UNDO else "a top-up"
        raise Refused(f"{what} of it, {other.id}, has not ended", hint="let it end, or cancel it")


# What was found -----------------------------------------------------------------------------------


def _claim(connection: Connection, claim_id: str) -> ClaimRow:
    row = connection.execute(select(claim).where(claim.c.id == claim_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such claim", hint="list those of a run")
    return _of_row(row)


def _of_row(row: Any) -> ClaimRow:
    named: dict[str, Any] = {name: getattr(row, name) for name in ClaimRow.__struct_fields__}
    named["at"] = moment(row.at)
    return ClaimRow(**named)


def _state(
    search: Status, found: UnitAnswer | None, *, there: bool
) -> tuple[Literal["searching", "searched", "failed"], str]:
    if search.run.closed is not None:
        return "failed", "the run was closed: nothing is known of its users any more"
    if not there:
        return "failed", "this user is declined or forgotten"
    if not search.over:
        return "searching", ""
    if found is not None and found.state is UnitState.SETTLED:
        return "searched", ""
    cause = found.cause if found is not None else ""
    return "failed", search.run.why or cause or f"it was {search.run.state}"


def _places(asked: ClaimRow, items: Sequence[FoundItem], *, nameless: int) -> dict[Place, int]:
    """How many are where. Damaged copies that name no item may each have been one."""
    counts = Counter(one.place for one in items)
    counts[Place.QUARANTINED] += nameless
    counts[Place.NEVER_FOUND] = max(0, asked.had - counts.total())
    return {place: counts[place] for place in Place if counts[place]}


def _reasons(damaged: Sequence[Damaged]) -> list[str]:
    """Why copies are damaged; that there is another version is no damage."""
    return list(dict.fromkeys(one.text for one in damaged if one.reason != str(Reason.VERSION)))


def _going(state: RunState | None) -> ToppedUp:
    match state:
        case None | RunState.REFUSED | RunState.CANCELLED:
            return ToppedUp.NOT_YET
        case RunState.FINISHED:
            return ToppedUp.DONE
        case _:
            return ToppedUp.UNDER_WAY


def _placed(search: UnitAnswer, before: UnitAnswer | None) -> Iterator[FoundItem]:
    """Where each item is: what the search would do now says it, and what the run did before."""
    done = {line["ident"]: line["outcome"] for line in (before.items if before else ())}
    for line in search.items:
        ident = line["ident"]
        yield FoundItem(
            ident=str(ident),
            place=placed(Outcome(line["outcome"]), done.get(ident)),
            source=line["source"],
            reason=line["reason"],
        )


def placed(now: Outcome, before: str | None) -> Place:
    """Where an item is: `now` is what would become of it, `before` what became of it in the run."""
    match now:
        case Outcome.RESTORED | Outcome.MERGED | Outcome.PENDING:
            return Place.FOUND
        case Outcome.QUARANTINED:
            return Place.QUARANTINED
        case Outcome.DECLINED:
            return Place.DELETED
        case Outcome.PRESENT | Outcome.SUPERSEDED:
            if before == Outcome.RESTORED:
                return Place.RESTORED
            if before == Outcome.MERGED:
                return Place.MERGED
            return Place.THERE if now is Outcome.PRESENT else Place.KEPT


def _damaged(connection: Connection, asked: ClaimRow) -> Iterator[Damaged]:
    """What the search found damaged, apart from what was mended and handed back since."""
    mended = select(quarantine.c.sha256).where(
        quarantine.c.run == asked.run,
        quarantine.c.user == asked.user,
        quarantine.c.released_at.is_not(None),
    )
    rows = connection.execute(
        select(quarantine.c.source, quarantine.c.reason, func.count().label("copies"))
        .where(
            quarantine.c.run == asked.search,
            quarantine.c.user == asked.user,
            quarantine.c.sha256.not_in(mended),
        )
        .group_by(quarantine.c.source, quarantine.c.reason)
        .order_by(func.count().desc(), quarantine.c.source, quarantine.c.reason)
    )
    for row in rows:
        text = Reason(row.reason).for_user
        yield Damaged(source=row.source, reason=row.reason, copies=row.copies, text=text)


def _mended(connection: Connection, asked: ClaimRow) -> int:
    """How many of the copies that the search found damaged were mended and handed back since."""
    found = quarantine.alias("found")
    released = exists().where(
        quarantine.c.run == asked.run,
        quarantine.c.user == asked.user,
        quarantine.c.released_at.is_not(None),
        quarantine.c.sha256 == found.c.sha256,
    )
    return connection.execute(
        select(func.count())
        .select_from(found)
        .where(found.c.run == asked.search, found.c.user == asked.user, released)
    ).scalar_one()


def _topped(connection: Connection, asked: ClaimRow) -> tuple[RunState | None, int]:
    """How the top-up stands, and how many items it brought back."""
    if asked.top_up is None:
        return None, 0
    state = connection.execute(select(run.c.state).where(run.c.id == asked.top_up)).scalar_one()
    back = connection.execute(
        select(func.sum(unit.c.restored + unit.c.merged)).where(
            unit.c.run == asked.top_up, unit.c.user == asked.user
        )
    ).scalar_one()
    return RunState(state), int(back or 0)
