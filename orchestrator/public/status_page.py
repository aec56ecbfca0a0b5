"""What the public sees of a run, from its first bulletin on: kept for seconds, for any crowd.

Nothing personal is in it, and no number that stands for a few people. Where the ledger is away,
what was last seen of it is shown on.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from sqlalchemy import select

from orchestrator.errors import NotFound, Unavailable
from orchestrator.ledger import bulletins
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import public_page
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.progress import Progress
from orchestrator.public.bulletins import goings, settings_of
from orchestrator.telling import Going, following, how_many, losses_of, progress_of, whole_percent

SECONDS = 5.0
"""How old a page may be."""
STALE_SECONDS = 3_600.0
"""How old it may get while the ledger is away."""
BULLETINS = 30
"""So many are shown; older ones have been read."""

Word = Literal["waiting", "going", "done"]


class PublicCategory(Struct, frozen=True, kw_only=True):
    """How far one category is."""

    category: str
    state: Word
    share: str
    """How many of all users have it back, in words."""
    percent: int | None
    """The same as a number; null where it would stand for a few people, or there is none."""
    text: str


class PublicBulletin(Struct, frozen=True, kw_only=True):
    """What was said."""

    id: int
    at: datetime
    text: str


class PublicStatus(Struct, frozen=True, kw_only=True):
    """Everything that the public sees; `version` changes when a field changes its meaning."""

    version: int = 1
    title: str
    state: Literal["preparing", "going", "paused", "done"]
    as_of: datetime
    """When these numbers were so, to the minute."""
    next_update: datetime | None
    """By when the next bulletin is promised."""
    late: bool
    """That promise was not kept."""
    categories: list[PublicCategory]
    following: str
    lost: list[str]
    """What could not be brought back, in sentences."""
    bulletins: list[PublicBulletin]
    support: str


class PublicStatuses:
    """Shared by the threads of one process; many who look at once ask the ledger once."""

    def __init__(
        self,
        ledger: Ledger,
        progress: Progress,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._seconds = seconds
        self._clock = clock
        self._runs: tuple[float, dict[str, str]] = (float("-inf"), {})
        self._kept: dict[str, tuple[float, PublicStatus]] = {}
        self._lock = threading.Lock()

    def recent(self, slug: str) -> PublicStatus | None:
        """What is shown there, if it was looked at a moment ago."""
        found = self._kept.get(slug)
        return None if found is None or self._age(found[0]) >= self._seconds else found[1]

    def at(self, slug: str) -> PublicStatus:
        """What is shown at an address. Raises `NotFound`."""
        with self._lock:
            found = self.recent(slug)
            if found is not None:
                return found
            try:
                run_id = self._run_at(slug)
                status = self._status(run_id)
            except Unavailable:
                kept = self._kept.get(slug)
                if kept is None or self._age(kept[0]) > STALE_SECONDS:
                    raise
                return kept[1]
            except NotFound:
                self._kept.pop(slug, None)
                raise
            self._kept[slug] = (self._clock(), status)
            return status

    def _age(self, since: float) -> float:
        return self._clock() - since

    def _run_at(self, slug: str) -> str:
        """Of all addresses at once: whoever tries many costs no more than whoever tries one."""
        read_at, runs = self._runs
        if self._age(read_at) >= self._seconds:
            with self._ledger.read() as connection:
                rows = connection.execute(select(public_page.c.slug, public_page.c.run))
                runs = {row.slug: row.run for row in rows}
            self._runs = (self._clock(), runs)
        if slug not in runs:
            raise NotFound("there is nothing here")
        return runs[slug]

    def _status(self, run_id: str) -> PublicStatus:
        status = self._progress.status(run_id)
        with self._ledger.read() as connection:
            page = settings_of(connection, run_id)
            said = bulletins.page(connection, run_id, limit=BULLETINS)
            now = moment(self._ledger.clock(connection))
        if page is None or not said:
            raise NotFound("there is nothing here")
        promised = said[0].next_due
        due = None if promised is None else moment(promised)
        going = goings(status)
        return PublicStatus(
            title=page.title,
            state=_state(status.run.state),
            as_of=now.replace(second=0, microsecond=0),
            next_update=due,
            late=due is not None and due < now,
            categories=[_category(one) for one in going],
            following=following(going) if status.run.state not in TERMINAL_RUNS else "",
            lost=[sentence for one in going for sentence in losses_of(one)],
            bulletins=[PublicBulletin(id=row.id, at=moment(row.at), text=row.text) for row in said],
            support=page.support,
        )


def _state(state: RunState) -> Literal["preparing", "going", "paused", "done"]:
    match state:
        case RunState.RUNNING:
            return "going"
        case RunState.PAUSED:
            return "paused"
        case RunState.FINISHED:
            return "done"
        case _:
            return "preparing"


def _category(one: Going) -> PublicCategory:
    word: Word = "waiting" if not one.begun else "done" if one.over else "going"
    return PublicCategory(
        category=one.category,
        state=word,
        share=how_many(one.done, one.users),
        percent=whole_percent(one.done, one.users) if one.done != one.users else 100,
        text=progress_of(one),
    )
