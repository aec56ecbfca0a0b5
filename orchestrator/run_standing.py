"""How runs and users stand: the values that the ledger's looks give, and that the API tells."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from orchestrator.books import Books
from orchestrator.lifecycle import TERMINAL_RUNS, CellState, RunState, UnitState

DOCUMENT_VERSION = 1
"""Of the JSON documents of `report` and `user`; it changes when a field changes its meaning."""

NOT_LED = "no engine is running, so nothing moves; start it: reinstate up"
NOT_WORKED = "no worker has taken anything for a while; are workers running? reinstate doctor"


class RunRow(Struct, frozen=True, kw_only=True):
    """One line of the list of runs."""

    id: str
    name: str
    purpose: str
    state: RunState
    author: str
    users: int | None
    created: datetime
    finished: datetime | None
    why: str | None
    about: str | None = None
    """Of a verify or an undo: whose traces it is about."""
    closed: datetime | None = None
    """When its keys were erased: what was kept of its users cannot be read any more."""
    closed_by: str | None = None


class PhaseProgress(Struct, frozen=True, kw_only=True):
    """One phase, or one phase in one wave, summed up."""

    category: str
    wave: str | None
    state: CellState
    units: int
    settled: int
    failed: int
    held: int
    cancelled: int
    books: Books
    why: str = ""

    @property
    def waiting(self) -> int:
        """Units that have not ended."""
        return self.units - self.settled - self.failed - self.cancelled


class CauseRow(Struct, frozen=True, kw_only=True):
    """Units that fail or wait for one cause."""

    fingerprint: str
    category: str
    code: str
    sentence: str
    state: UnitState
    transient: bool
    units: int


class Status(Struct, frozen=True, kw_only=True):
    """A run as it stands."""

    run: RunRow
    digest: str | None
    approvals: tuple[str, ...]
    approvals_needed: int
    phases: tuple[PhaseProgress, ...]
    cells: tuple[PhaseProgress, ...]
    causes: tuple[CauseRow, ...]
    books: Books
    workers: int
    """Batches being worked on at this moment."""
    items_per_second: float | None
    seconds_left: tuple[float, float] | None
    """The least and most that the rest will take, from the speed so far; None without evidence."""
    stalled: str
    """Why nothing moves, where nothing moves."""
    warnings: tuple[str, ...]
    accepted_by: str | None
    elapsed: float | None = None
    """Seconds since it started, or that it took; None before it started."""
    measured: float | None = None
    """Over how many seconds the speed was measured."""
    previewed: str | None = None
    """The preview whose counts are part of what is approved."""
    promised: datetime | None = None
    """By when the public was promised the next update."""
    overdue: float | None = None
    """For how many seconds it has been waiting for that; None: it is not overdue."""

    @property
    def over(self) -> bool:
        """Whether the run is over; a finished one may still be retried."""
        return self.run.state in TERMINAL_RUNS

    @property
    def ending(self) -> str | None:
        """How a run that is over ended, as a word; None while it is under way."""
        return outcome(
            self.run,
            failed=sum(phase.failed for phase in self.phases),
            losses=0 if self.accepted_by else self.losses,
        )

    @property
    def losses(self) -> int:
        """Items that are lost or quarantined."""
        return self.books.lost + self.books.quarantined + self.books.nameless


def outcome(row: RunRow, *, failed: int, losses: int) -> str | None:
    """How a run ended; `losses` are those that nobody has accepted."""
    if row.state is not RunState.FINISHED:
        return str(row.state) if row.state in TERMINAL_RUNS else None
    if failed:
        return "failed"
    return "losses" if losses and row.purpose == "restore" else "done"


class UnitAnswer(Struct, frozen=True, kw_only=True):
    """What became of one category of one user."""

    category: str
    state: UnitState
    attempts: int
    expected: int | None
    books: Books
    cause: str
    settled: datetime | None
    items: tuple[dict[str, Any], ...]
    quarantined: tuple[dict[str, Any], ...]


class UserAnswer(Struct, frozen=True, kw_only=True):
    """Everything about one user in one run: the answer to "what happened to my photos?"."""

    version: int
    run: str
    number: int
    wave: str
    declined: bool
    ambiguous: bool
    categories: tuple[UnitAnswer, ...]
