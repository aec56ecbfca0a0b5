"""What operators tell the public about a run: drafts made of its counters, bulletins, the promise.

With its first bulletin a run has a public page. Each one replaces the promise of the one before:
where it names no time, none is promised. A promise that is not kept is an alarm.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select, update

from orchestrator.errors import Refused
from orchestrator.ledger import audit_log, bulletins
from orchestrator.ledger.database import Ledger, insert_missing
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import public_page
from orchestrator.lifecycle import RunState
from orchestrator.progress import Progress
from orchestrator.run_standing import Status
from orchestrator.sealing import Sealer
from orchestrator.standing.rows import row_of
from orchestrator.telling import Going, bulletin

LONGEST = 5_000
PROMISES_AT_MOST = timedelta(days=60)
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])")
_SUPPORT = re.compile(r"https://[^\s\"'<>]{3,300}|[^\s@\"'<>:/?]{1,64}@[^\s@\"'<>:/?]{3,190}")
_TITLE = "We are restoring what was lost"


class Bulletin(Struct, frozen=True, kw_only=True):
    """What was said, when, and what was promised with it."""

    id: int
    at: datetime
    text: str
    next_due: datetime | None
    who: str


class PageSettings(Struct, frozen=True, kw_only=True):
    """How a run shows itself to the public, and until when its users may choose."""

    slug: str
    title: str
    support: str
    choose_until: datetime | None
    links: int = 0
    """Which generation of users' links opens anything."""


class DuePromise(Struct, frozen=True, kw_only=True):
    """The next update that was promised."""

    run: str
    name: str
    said: datetime
    due: datetime
    late_seconds: float
    """How long it has been overdue; 0: it is not."""


class Draft(Struct, frozen=True, kw_only=True):
    """A proposal of what to say."""

    text: str
    promised: datetime | None
    """When an update was promised, at latest."""
    late: bool


class Bulletins:
    """Says things in public; `who` is the name that the audit log will show, and no page."""

    def __init__(
        self,
        ledger: Ledger,
        sealer: Sealer,
        progress: Progress,
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._progress = progress

    def draft(self, run_id: str) -> Draft:
        """What could be said now: sentences made of the run's counters, to be edited."""
        status = self._progress.status(run_id)
        with self._ledger.read() as connection:
            _row(connection, run_id)
            now = self._ledger.clock(connection)
            promised = bulletins.promises(connection, now=now, runs=[run_id])
        text = bulletin(goings(status), paused=status.run.state is RunState.PAUSED)
        return Draft(
            text=text,
            promised=moment(promised[0].due) if promised else None,
            late=bool(promised and promised[0].late_ms),
        )

    def publish(self, run_id: str, text: str, *, next_due: datetime | None, who: str) -> Bulletin:
        """Say it in public. Raises `Refused` for a promise in the past, or a text of nothing."""
        text = _text(text)
        with self._ledger.begin() as connection:
            _row(connection, run_id)
            now = self._ledger.clock(connection)
            due = None if next_due is None else _promise(next_due, now)
            self._keep(connection, run_id)
            number = bulletins.add(connection, run_id, text, next_due=due, who=who, now=now)
            detail = {"bulletin": number, "next_due": due}
            audit_log.append(
                connection, now=now, who=who, action="publish_bulletin", run=run_id, detail=detail
            )
        return Bulletin(
            id=number,
            at=moment(now),
            text=text,
            next_due=None if due is None else moment(due),
            who=who,
        )

    def page(self, run_id: str, *, before: int | None = None, limit: int = 50) -> list[Bulletin]:
        """What was said, the newest first, before a given one."""
        with self._ledger.read() as connection:
            return [
                of_row(row)
                for row in bulletins.page(connection, run_id, before=before, limit=limit)
            ]

    def promises(self, *, only: Collection[str] | None = None) -> list[DuePromise]:
        """What is promised at this moment, the soonest first; `only`: about these runs."""
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            return [
                DuePromise(
                    run=one.run,
                    name=one.name,
                    said=moment(one.said),
                    due=moment(one.due),
                    late_seconds=one.late_ms / 1000,
                )
                for one in bulletins.promises(connection, now=now, runs=only)
            ]

    def settings(self, run_id: str) -> PageSettings:
        """How the run shows itself, or would, at an address that nobody guesses."""
        with self._ledger.read() as connection:
            _row(connection, run_id)
            return settings_of(connection, run_id) or self._first(run_id)

    def change(
        self,
        run_id: str,
        *,
        slug: str,
        title: str,
        support: str,
        choose_until: datetime | None,
        who: str,
    ) -> PageSettings:
        """Choose them. Raises `Refused` for what is no address, or is another run's."""
        if not _SLUG.fullmatch(slug):
            raise Refused(
                "this cannot be the end of an address",
                hint="3 to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
            )
        if support and not _SUPPORT.fullmatch(support):
            raise Refused(
                "nobody is reached there", hint="https://… or an address for mail, or nothing"
            )
        until = None if choose_until is None else int(choose_until.timestamp() * 1000)
        with self._ledger.begin() as connection:
            _row(connection, run_id)
            self._keep(connection, run_id)
            taken = select(public_page.c.run).where(
                public_page.c.slug == slug, public_page.c.run != run_id
            )
            if connection.execute(taken).first() is not None:
                raise Refused(
                    "another run has this address", hint="let that one have another first"
                )
            chosen = {
                "slug": slug,
                "title": _line(title) or _TITLE,
                "support": support,
                "choose_until": until,
            }
            connection.execute(
                update(public_page).where(public_page.c.run == run_id).values(**chosen)
            )
            audit_log.append(
                connection,
                now=self._ledger.clock(connection),
                who=who,
                action="change_public_page",
                run=run_id,
                detail={"slug": slug, "choose_until": until},
            )
        return self.settings(run_id)

    def revoke_links(self, run_id: str, *, who: str, reason: str) -> None:
        """Let no link of the run's users that was written until now open anything any more."""
        with self._ledger.begin() as connection:
            _row(connection, run_id)
            self._keep(connection, run_id)
            connection.execute(
                update(public_page)
                .where(public_page.c.run == run_id)
                .values(links=public_page.c.links + 1)
            )
            audit_log.append(
                connection,
                now=self._ledger.clock(connection),
                who=who,
                action="revoke_links",
                run=run_id,
                detail={"reason": reason},
            )

    def _keep(self, connection: Connection, run_id: str) -> None:
        first = self._first(run_id)
        new = {"slug": first.slug, "title": first.title, "support": first.support}
        insert_missing(connection, public_page, [{"run": run_id, **new}])

    def _first(self, run_id: str) -> PageSettings:
        slug = self._sealer.sign(b"slug", run_id.encode()).hex()[:12]
        return PageSettings(slug=slug, title=_TITLE, support="", choose_until=None)


def settings_of(connection: Connection, run_id: str) -> PageSettings | None:
    """How a run shows itself; None where nobody has thought of it yet."""
    row = connection.execute(select(public_page).where(public_page.c.run == run_id)).one_or_none()
    if row is None:
        return None
    return PageSettings(
        slug=row.slug,
        title=row.title,
        support=row.support,
        choose_until=None if row.choose_until is None else moment(row.choose_until),
        links=row.links,
    )


def goings(status: Status) -> list[Going]:
    """How each category of a run is going."""
    return [
        Going(
            category=phase.category,
            state=phase.state,
            users=phase.units,
            done=phase.settled,
            failed=phase.failed,
            cancelled=phase.cancelled,
            books=phase.books,
        )
        for phase in status.phases
    ]


def of_row(row: Any) -> Bulletin:
    """A row of the ledger as a bulletin."""
    return Bulletin(
        id=row.id,
        at=moment(row.at),
        text=row.text,
        next_due=None if row.next_due is None else moment(row.next_due),
        who=row.who,
    )


def _row(connection: Connection, run_id: str) -> Any:
    """The run, if the public is told of it: one that restores, for everybody in its plan."""
    row = row_of(connection, run_id)
    if row.purpose != "restore" or row.root is not None:
        raise Refused("the public is told of runs that restore", hint="name the run itself")
    return row


def _text(text: str) -> str:
    """As it is kept: no control characters, no more than one empty line."""
    lines = [_line(line) for line in text.replace("\r\n", "\n").split("\n")]
    kept = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    if not kept:
        raise Refused("this says nothing", hint="take the draft, or write a text")
    if len(kept) > LONGEST:
        raise Refused(f"a bulletin has at most {LONGEST:,} characters")
    return kept


def _line(text: str) -> str:
    return "".join(part for part in text if part.isprintable()).strip()


def _promise(next_due: datetime, now: int) -> int:
    due = int(next_due.timestamp() * 1000)
    if due <= now:
        raise Refused("the next update is promised for a time that has passed")
    if due - now > PROMISES_AT_MOST.total_seconds() * 1000:
        raise Refused(f"promise the next update within {PROMISES_AT_MOST.days} days")
    return due
