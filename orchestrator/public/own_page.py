"""What one user sees of their own things, by a link of theirs, and what they may choose.

A link that is wrong, over, or of somebody who is not there any more is answered alike, so that
nobody learns from it who is, or was, in a run.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, func, select

from orchestrator.books import FIELDS, Books
from orchestrator.catalogue import category_kind
from orchestrator.errors import NotFound, Refused
from orchestrator.ledger import audit_log, bulletins, choices
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.schema import choice, decline, quarantine, run, run_user, unit
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.plan import Choice
from orchestrator.ports import Merging
from orchestrator.public.bulletins import settings_of
from orchestrator.public.claims import Claims, of_user
from orchestrator.public.links import Link, read, written
from orchestrator.reasons import Reason
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.standing.rows import row_of
from orchestrator.telling import advice, of_unit

THE_USER = "the user"
"""Who chose, in ledger and audit log: who holds a link is taken for them."""
VALID = timedelta(days=30)
VALID_AT_MOST = timedelta(days=366)
ROWS_AT_ONCE = 2_000
CLAIMS_SHOWN = 3


class OwnLink(Struct, frozen=True, kw_only=True):
    """A link for one user, of a bulk of them: to be sent to them, and to nobody else."""

    number: int
    user: str
    url: str
    expires: datetime


class Why(Struct, frozen=True, kw_only=True):
    """Why copies are not back, in plain words."""

    copies: int
    text: str


class OwnCategory(Struct, frozen=True, kw_only=True):
    """What became of one category."""

    category: str
    state: UnitState
    told: list[str]
    why: list[Why]
    advice: list[str]
    choice: Choice | None
    """What this user has chosen for it."""
    may_choose: bool
    options: tuple[Choice, ...]


class OwnClaim(Struct, frozen=True, kw_only=True):
    """What they told support that they miss, and what came of it; empty until it is known."""

    category: str
    at: datetime
    answer: str


class OwnPage(Struct, frozen=True, kw_only=True):
    """Everything that a user is told."""

    title: str
    support: str
    slug: str | None
    """Of the public page, where there is one."""
    next_update: datetime | None
    as_of: datetime
    choose_until: datetime | None
    """None: until a category is begun."""
    categories: list[OwnCategory]
    claims: list[OwnClaim]
    """What they told support that they miss, the newest first."""

    @property
    def open(self) -> list[OwnCategory]:
        """Categories about which something can still be chosen."""
        return [one for one in self.categories if one.may_choose]


class _Choosing(Struct, frozen=True, kw_only=True):
    """Whether a user may choose about a category."""

    until: datetime | None
    now: datetime
    going_on: bool
    in_hand: set[int]

    def may(self, phase: int, state: UnitState) -> bool:
        """With a deadline: until then, also about what was done; without: until it is begun."""
        if not self.going_on or state is UnitState.CANCELLED:
            return False
        if self.until is not None:
            return self.now < self.until
        return state is not UnitState.SETTLED and phase not in self.in_hand


class OwnPages:
    """Writes links, and shows what is behind them."""

    def __init__(self, ledger: Ledger, sealer: Sealer, runs: Runs, claims: Claims) -> None:
        self._ledger = ledger
        self._claims = claims
        self._sealer = sealer
        self._runs = runs

    # Links ----------------------------------------------------------------------------------------

    def link(
        self, run_id: str, user: int, *, who: str, reason: str, valid: timedelta = VALID
    ) -> tuple[str, datetime]:
        """A link for one user, given by number, and when it ends."""
        with self._ledger.begin() as connection:
            _must_be_open(connection, run_id)
            if _whose(connection, run_id, user) is None:
                raise Refused("this user is declined or forgotten: nothing of theirs is shown")
            now = self._ledger.clock(connection)
            text, expires = self._written(connection, run_id, user, now, valid)
            detail = {"user": user, "expires": expires, "reason": reason}
            self._log(connection, now, who, "issue_link", run_id, detail)
        return text, moment(expires * 1000)

    def links(
        self,
        run_id: str,
        *,
        site: str,
        who: str,
        reason: str,
        after: int = -1,
        wave: int | None = None,
        valid: timedelta = VALID,
    ) -> Iterator[OwnLink]:
        """Links of everybody behind a number, with their ids, in the order of their numbers.

        Read a page at a time; whoever is declined or forgotten is left out. `site`: where people
        reach us.
        """
        with self._ledger.begin() as connection:
            _must_be_open(connection, run_id)
            now = self._ledger.clock(connection)
            detail = {"users": "all", "after": after, "wave": wave, "reason": reason}
            self._log(connection, now, who, "issue_links", run_id, detail)
        return self._pages(run_id, site, after, wave, valid)

    def _pages(
        self, run_id: str, site: str, after: int, wave: int | None, valid: timedelta
    ) -> Iterator[OwnLink]:
        while True:
            with self._ledger.read() as connection:
                now = self._ledger.clock(connection)
                rows = connection.execute(_addressees(run_id, after, wave)).all()
                ids = Ids(connection, self._sealer, run_id)
                generation = _generation(connection, run_id)
                page = [(row.number, ids.open(row.sealed_id)) for row in rows]
            expires = now // 1000 + int(valid.total_seconds())
            for number, user in page:
                if user is not None:
                    link = Link(run=run_id, user=number, expires=expires, generation=generation)
                    url = f"{site}/mine/{written(self._sealer, link)}"
                    yield OwnLink(number=number, user=user, url=url, expires=moment(expires * 1000))
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1].number

    def _written(
        self, connection: Connection, run_id: str, user: int, now: int, valid: timedelta
    ) -> tuple[str, int]:
        if not timedelta(0) < valid <= VALID_AT_MOST:
            raise Refused(f"a link is good for at most {VALID_AT_MOST.days} days")
        expires = now // 1000 + int(valid.total_seconds())
        generation = _generation(connection, run_id)
        link = Link(run=run_id, user=user, expires=expires, generation=generation)
        return written(self._sealer, link), expires

    # What is behind them --------------------------------------------------------------------------

    def look(self, text: str) -> OwnPage:
        """What a link's user is told. Raises `NotFound`, whatever is wrong with the link."""
        link = self._read(text)
        with self._ledger.read() as connection:
            page = self._page(connection, link)
            claims = of_user(connection, link.run, link.user, limit=CLAIMS_SHOWN)
        if not claims:
            return page
        return structs.replace(
            page,
            claims=[
                OwnClaim(category=one.category, at=one.at, answer=self._claims.get(one.id).answer)
                for one in claims
            ],
        )

    def choose(self, text: str, wanted: Choice, *, category: str | None = None) -> list[str]:
        """What a link's user wants about conflicts; in which categories it is so now.

        Without `category`: wherever it can still be chosen. Raises `Refused` where it is too late,
        `Unavailable` while a worker has just that in hand, and `NotFound` like `look`.
        """
        link = self._read(text)
        with self._ledger.read() as connection:
            page = self._page(connection, link)
        asked = [one for one in page.open if category in {None, one.category}]
        these = [one for one in asked if wanted in one.options]
        if not these:
            raise Refused(
                "this cannot be chosen any more" if not asked else "there is nothing to combine",
                hint="our support can still help" if not asked else "choose one of the others",
            )
        for one in these:
            if one.choice is not wanted:
                self._runs.choose(
                    link.run,
                    link.user,
                    wanted,
                    who=THE_USER,
                    reason="on their own page",
                    category=one.category,
                )
        return [one.category for one in these]

    def _read(self, text: str) -> Link:
        link = read(self._sealer, text)
        if link is None:
            raise _nothing()
        return link

    def _page(self, connection: Connection, link: Link) -> OwnPage:
        now = self._ledger.clock(connection)
        row = connection.execute(select(run).where(run.c.id == link.run)).one_or_none()
        settings = settings_of(connection, link.run)
        generation = 0 if settings is None else settings.links
        if (
            link.expires * 1000 <= now
            or link.generation != generation
            or row is None
            or row.closed_at is not None
            or _whose(connection, link.run, link.user) is None
        ):
            raise _nothing()
        promised = bulletins.page(connection, link.run, limit=1)
        due = promised[0].next_due if promised else None
        until = None if settings is None else settings.choose_until
        names = [phase["restore"] for phase in json.loads(row.plan)["phases"]]
        choosing = _Choosing(
            until=until,
            now=moment(now),
            going_on=row.state not in (RunState.REFUSED, RunState.CANCELLED),
            in_hand=choices.in_hand(connection, link.run, link.user),
        )
        return OwnPage(
            title="What became of your data" if settings is None else settings.title,
            support="" if settings is None else settings.support,
            slug=settings.slug if settings is not None and promised else None,
            next_update=None if due is None else moment(due),
            as_of=moment(now).replace(second=0, microsecond=0),
            choose_until=until,
            categories=list(_categories(connection, link, names, choosing)),
            claims=[],
        )

    def _log(
        self, connection: Connection, now: int, who: str, action: str, run_id: str, detail: object
    ) -> None:
        audit_log.append(connection, now=now, who=who, action=action, run=run_id, detail=detail)


def _nothing() -> NotFound:
    return NotFound("this link opens nothing", hint="ask for a new one")


def _must_be_open(connection: Connection, run_id: str) -> None:
    row = row_of(connection, run_id)
    if row.purpose != "restore" or row.root is not None:
        raise Refused("users have a page of the run that restores", hint="name the run itself")
    if row.closed_at is not None:
        raise Refused("the run is closed: nothing is known of its users any more")
    if row.users is None:
        raise Refused("its users are not known yet", hint="wait until it was inspected")


def _whose(connection: Connection, run_id: str, user: int) -> bytes | None:
    """The hash of a user who has a page: neither forgotten nor declined."""
    return connection.execute(
        select(run_user.c.user_hash).where(
            run_user.c.run == run_id,
            run_user.c.number == user,
            func.length(run_user.c.sealed_id) > 0,
            ~_declined(run_id),
        )
    ).scalar_one_or_none()


def _declined(run_id: str) -> ColumnElement[bool]:
    return exists().where(decline.c.run == run_id, decline.c.user_hash == run_user.c.user_hash)


def _addressees(run_id: str, after: int, wave: int | None) -> Select[Any, Any]:
    chosen = (
        select(run_user.c.number, run_user.c.sealed_id)
        .where(run_user.c.run == run_id, run_user.c.number > after, ~_declined(run_id))
        .order_by(run_user.c.number)
        .limit(ROWS_AT_ONCE)
    )
    return chosen if wave is None else chosen.where(run_user.c.wave == wave)


def _generation(connection: Connection, run_id: str) -> int:
    found = settings_of(connection, run_id)
    return 0 if found is None else found.links


def _categories(
    connection: Connection, link: Link, names: Sequence[str], choosing: _Choosing
) -> Iterator[OwnCategory]:
    def of(table: Table) -> ColumnElement[bool]:
        return and_(table.c.run == link.run, table.c.user == link.user)

    kept: dict[int, list[Why]] = {}
    copies = func.count().label("copies")
    for row in connection.execute(
        select(quarantine.c.phase, quarantine.c.reason, copies)
        .where(of(quarantine), quarantine.c.released_at.is_(None))
        .group_by(quarantine.c.phase, quarantine.c.reason)
        .order_by(quarantine.c.phase, copies.desc(), quarantine.c.reason)
    ):
        why = Why(copies=row.copies, text=Reason(row.reason).for_user)
        kept.setdefault(row.phase, []).append(why)
    chosen = {
        row.category: Choice(row.choice)
        for row in connection.execute(select(choice).where(of(choice)))
    }
    units = connection.execute(select(unit).where(of(unit)).order_by(unit.c.phase)).mappings()
    for row in units:
        phase, state = int(row["phase"]), UnitState(row["state"])
        books = Books(**{name: int(row[name]) for name in FIELDS})
        name = names[phase]
        may_choose = choosing.may(phase, state)
        yield OwnCategory(
            category=name,
            state=state,
            told=list(of_unit(row["expected"], books, state)),
            why=kept.get(phase, []),
            advice=list(advice(books, state, may_choose=may_choose)),
            choice=chosen.get(name, chosen.get("")),
            may_choose=may_choose,
            options=tuple(
                one
                for one in Choice
                if one is not Choice.MERGE or issubclass(category_kind(name), Merging)
            ),
        )
