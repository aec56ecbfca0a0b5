"""The real conductor, ledger and pipeline in one process and one thread, under a clock of the test.

Rings go into a list and are answered at once, in order. Nothing else is replaced.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from orchestrator.conductor import Conductor
from orchestrator.items import UserId
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Ring
from orchestrator.ledger.outbox import Knock
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.metrics.tally import Tally
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.query import parse
from orchestrator.run_standing import Status
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.submitting import Submission
from workers.credentials import resolve
from workers.jobs import perform
from workers.workplace import Workplace

START = datetime(2009, 10, 20, tzinfo=UTC)


@dataclass
class Clock:
    """Time that passes only when told to, and a little at every look."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def ledger(self, _connection: Connection) -> int:
        self.now += timedelta(milliseconds=1)
        return int(self.now.timestamp() * 1000)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds=seconds)


@dataclass
class Rings:
    """A doorbell that only remembers."""

    waiting: list[Ring] = field(default_factory=list)
    rung: list[Ring] = field(default_factory=list)
    knocks: list[Knock] = field(default_factory=list)

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        assert expires > 0
        self.waiting.extend(rings)
        self.rung.extend(rings)

    def knock(self, knocks: Sequence[Knock], *, expires: float) -> None:
        assert expires > 0
        self.knocks.extend(knocks)

    def close(self) -> None:
        self.waiting.clear()


class Service:
    """A whole installation in one process."""

    def __init__(self, folder: Path, *, ledger_url: str | None = None, batch_users: int = 100):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.clock = Clock()
        self.ledger = Ledger(
            ledger_url or f"sqlite:///{folder / 'ledger.db'}", clock=self.clock.ledger
        )
        self.ledger.prepare()
        self.sealer = Sealer(bytes(range(32)))
        self.rings = Rings()
        self.measured = Tally()
        """What the workers told."""
        self.conductor = self.another_conductor("first", batch_users)
        self.runs = Runs(self.ledger, self.sealer)
        self.progress = Progress(self.ledger, self.sealer)
        self.work = self.another_worker("worker")

    def another_conductor(self, name: str, batch_users: int = 100) -> Conductor:
        return Conductor(self.ledger, self.rings, name=name, batch_users=batch_users)

    def another_worker(self, name: str) -> Workplace:
        return Workplace(
            ledger=self.ledger,
            sealer=self.sealer,
            clock=self.clock,
            secret=resolve,
            name=name,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
            tell=self.measured.add,
        )

    def submit(
        self,
        text: str,
        *,
        users: Iterable[str] = (),
        declined: Iterable[str] = (),
        census: Iterable[tuple[str, str, int]] = (),
        author: str = "mia",
        **more: Any,
    ) -> str:
        plan = read_plan(text.encode(), path="plan.yaml", base=self.folder, clock=self.clock)
        return self.runs.submit(
            Submission(
                plan=plan,
                text=text,
                folder=str(self.folder),
                author=author,
                users=[UserId(user) for user in users],
                declined=[UserId(user) for user in declined],
                census=[(UserId(user), category, number) for user, category, number in census],
                **more,
            )
        )

    def answer(self, *, at_most: int = 1_000) -> bool:
        """Let the worker come to rings that wait; whether there was any."""
        came = False
        while self.rings.waiting and at_most:
            perform(self.work, self.rings.waiting.pop(0))
            came, at_most = True, at_most - 1
        return came

    def go_on(self, *, ticks: int = 400) -> None:
        """Tick and answer rings until nothing moves any more, waiting out backoffs."""
        quiet = 0
        for _ in range(ticks):
            moved = self.conductor.tick()
            moved |= self.answer()
            quiet = 0 if moved else quiet + 1
            if quiet >= 3:
                return
            if not moved:
                self.clock.advance(minutes=11)
        raise AssertionError("the run does not come to rest")

    def run(self, text: str, **lists: Any) -> str:
        """Submit a plan that needs no approval and carry it out; the run's id."""
        run_id = self.submit(text, **lists)
        self.go_on()
        return run_id

    def status(self, run_id: str) -> Status:
        return self.progress.status(run_id)

    def retry(self, run_id: str, *words: str, **how: Any) -> int:
        query = parse(words, self.progress.plan(run_id))
        return self.runs.retry(run_id, query, who="jo", **how)

    def ended(self, run_id: str) -> RunState:
        state = self.progress.state(run_id)
        assert state in TERMINAL_RUNS, state
        return state
