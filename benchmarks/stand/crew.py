"""Whole runs on one machine: the real conductor, and worker processes that answer its rings.

The rings come by a pipe in place of Celery; everything else is what a run has everywhere.
"""

import base64
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, select

from orchestrator import catalogue
from orchestrator.audit import audit
from orchestrator.conductor import Conductor, keep_going
from orchestrator.items import Folder, UserId
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Ring
from orchestrator.ledger.schema import run as run_table
from orchestrator.ledger.schema import unit
from orchestrator.lifecycle import TERMINAL_RUNS, RunState
from orchestrator.planner import read_plan
from orchestrator.ports import Rules
from orchestrator.progress import Progress
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.submitting import Submission
from workers.jobs import perform, workplace

KEY = bytes(range(32))
SEALER = Sealer(KEY)
PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Pipe:
    """A doorbell of one machine."""

    rings: Any

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        """Hand them to whichever worker is free."""
        del expires
        for one in rings:
            self.rings.put((one.batch, one.epoch))

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one way took."""

    seconds: float
    processor: float
    """Seconds of all processes together."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run to be carried out, and what has to come of it."""

    text: str
    """The plan."""
    folder: Path
    """Where its relative paths start."""
    items: int
    """So many are restored, or it is no measurement."""
    ledger: str
    """The address of an empty database."""
    batch_users: int
    settings: Mapping[str, str]
    """Further ones of the workers' environment."""


def carried_out(
    task: Task, *, processes: int, processor: Callable[[], float], noticing: bool = False
) -> Spent:
    """What it took until the last unit had ended; raises where anything is missing.

    By the ledger's clock, from the start of the run: what the conductor takes to notice an approval
    is once a run however large it is. `noticing`: from the approval all the same.
    """
    ledger = Ledger(task.ledger)
    ledger.prepare()
    plan = read_plan(task.text.encode(), path="plan.yaml", base=task.folder)
    rings, warm = PROCESSES.Queue(), PROCESSES.Barrier(processes + 1)
    settings = {
        "REINSTATE_LEDGER_URL": task.ledger,
        "REINSTATE_KEY": base64.b64encode(KEY).decode(),
        "REINSTATE_WORKERS": str(processes),
        **task.settings,
    }
    crew = [PROCESSES.Process(target=_work, args=(settings, rings, warm)) for _ in range(processes)]
    for one in crew:
        one.start()
    warm.wait()
    stopped = threading.Event()
    conductor = Conductor(
        ledger,
        Pipe(rings),
        name="benchmark",
        window=max(8, processes * 4),
        batch_users=task.batch_users,
    )
    thread = threading.Thread(target=keep_going, args=[conductor], kwargs={"stopped": stopped})
    runs, progress = Runs(ledger, SEALER), Progress(ledger, SEALER)
    try:
        run = runs.submit(
            Submission(plan=plan, text=task.text, folder=str(task.folder), author="mia")
        )
        thread.start()
        while (state := progress.state(run)) is not RunState.AWAITING_APPROVAL:
            assert state not in TERMINAL_RUNS, state
            time.sleep(0.02)
        before, approved = processor(), ledger.now()
        runs.approve(run, who="jo", reason="a benchmark")
        while progress.state(run) not in TERMINAL_RUNS:
            time.sleep(0.2)  # asking is counted as ours
        used = processor() - before
        began, ended = _times(ledger, run)
        books = progress.status(run).books
        assert (books.restored, books.items) == (task.items, task.items), books
        assert audit(ledger, run) == []
    finally:
        stopped.set()
        thread.join()
        for _ in crew:
            rings.put(None)
        for one in crew:
            one.join()
        ledger.close()
    return Spent(seconds=ended - (approved / 1e3 if noticing else began), processor=used)


def quiet() -> None:
    """No line for each batch, and short ones for what goes wrong."""
    structlog.configure(
        processors=[
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def _work(settings: dict[str, str], rings: Any, warm: Barrier) -> None:
    """Answers rings until it is told to end."""
    quiet()
    os.environ.update(settings)
    work = workplace()
    kinds = [catalogue.category_kind(category)() for category in catalogue.categories()]
    work.ledger.now()
    nothing = Folder(owner=UserId("nobody"), files=[])
    rules = Rules(repairs=frozenset(), loss=datetime.now(UTC))
    list(
        work.parser.parse(kinds[0], nothing, rules, lambda _: None)
    )  # what readers are forked from
    work.parser.renew()
    warm.wait()
    with closing(work):
        while (ring := rings.get()) is not None:
            perform(work, Ring(batch=ring[0], epoch=ring[1]))


def _times(ledger: Ledger, run: str) -> tuple[float, float]:
    """When a run began and its last unit ended, in seconds of the ledger's clock."""
    with ledger.read() as connection:
        began = select(run_table.c.started_at).where(run_table.c.id == run)
        last = select(func.max(unit.c.settled_at)).where(unit.c.run == run)
        return (
            connection.execute(began).scalar_one() / 1e3,
            connection.execute(last).scalar_one() / 1e3,
        )
