"""Holds a batch under its lease: heartbeats with checkpoints, the end, and when to stop.

What was checkpointed is never done again; nothing is recorded once the lease is lost.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, select

from orchestrator.flow_control import Answers
from orchestrator.ledger import leases, outcomes, pressure
from orchestrator.ledger.keys import KeyRing
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import run
from orchestrator.lifecycle import BatchState, RunState
from workers.workplace import Workplace


class Stopped(Exception):
    """The run was paused or cancelled: hand the rest back as `leaves`."""

    def __init__(self, leaves: BatchState) -> None:
        super().__init__(leaves)
        self.leaves = leaves


class Tenure:
    """One batch while it is ours. Everything here raises `LeaseLost` when it no longer is."""

    def __init__(
        self, work: Workplace, held: Batch, ring: KeyRing, results: Sequence[UnitResult] = ()
    ) -> None:
        self.held = held
        self.ring = ring
        self.results: list[UnitResult] = list(results)
        """Units that are finished and not recorded yet."""
        self.nothing: list[int] = []
        """Users of whom nothing was found or missed: their units are finished, too."""
        self.verified: list[int] = []
        """Journal rows all of whose writes were read back, not recorded yet."""
        self.answers = Answers(ended=1)
        """What the target made of what it was asked."""
        self._work = work
        self._recorded: set[int] = set()
        self.began = self._beat_at = work.monotonic()

    def beat(self) -> None:
        """Keep the lease and record what is finished, when it is time to. Raises `Stopped`."""
        work = self._work
        now = work.monotonic()
        if now - self._beat_at < work.lease_ms / 4000:
            return
        self._beat_at = now
        with self.transaction() as connection:
            outcomes.checkpoint(
                connection,
                self.held,
                self.results,
                verified=self.verified,
                now=work.ledger.clock(connection),
                lease_ms=work.lease_ms,
                nothing=self.nothing,
            )
            state = self._state(connection)
        work.deadline(work.lease_ms / 1000 - (work.monotonic() - now))
        work.count_attempts(self.held, self.results)
        self._recorded |= {result.user for result in self.results}
        self._recorded.update(self.nothing)
        self.results, self.verified, self.nothing = [], [], []
        _go_on(state)

    def go_on(self, connection: Connection) -> None:
        """Raise `Stopped` unless the run is running."""
        _go_on(self._state(connection))

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """A transaction of the ledger that keeps the keys made so far, too."""
        with self._work.ledger.begin() as connection:
            yield connection
            self.ring.keep(connection)
        self.ring.kept()

    def ended(self) -> set[int]:
        """Users whose unit has its result."""
        return {result.user for result in self.results} | self._recorded | set(self.nothing)

    def finish(self, *, state: BatchState, halved: bool = False) -> None:
        """Record the last results and give the batch back; `halved`: as two, where it can be."""
        work = self._work
        with self.transaction() as connection:
            outcomes.finish(
                connection,
                self.held,
                self.results,
                verified=self.verified,
                now=work.ledger.clock(connection),
                nothing=self.nothing,
                state=state,
            )
            if halved:
                leases.split(connection, self.held.id)
            pressure.note_answers(connection, self.held, self.answers)
        work.count_attempts(self.held, self.results)

    def _state(self, connection: Connection) -> RunState:
        return RunState(
            connection.execute(select(run.c.state).where(run.c.id == self.held.run)).scalar_one()
        )


def _go_on(state: RunState) -> None:
    if state is RunState.CANCELLED:
        raise Stopped(BatchState.CANCELLED)
    if state is not RunState.RUNNING:
        raise Stopped(BatchState.READY)
