"""Gauges that are read from the ledger: sums that it keeps anyway, never counted from its rows.

Asked at most once in `EVERY` seconds, however often and by whomever; so a look costs the same for
60 units as for 6,000,000.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, RowMapping, exists, func, or_, select, text

from orchestrator import VERSION
from orchestrator.books import FIELDS, Books, Outcome, imbalances
from orchestrator.errors import Unavailable
from orchestrator.flow_control import whole_window
from orchestrator.ledger import leadership, outbox, pressure
from orchestrator.ledger.bulletins import promises
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.outcomes import UNBALANCED
from orchestrator.ledger.schema import (
    DUE,
    batch,
    cell,
    circuit,
    counter,
    exception,
    run,
    trouble,
)
from orchestrator.lifecycle import TERMINAL_RUNS, BatchState, CellState, RunState
from orchestrator.metrics.families import FAMILIES
from orchestrator.metrics.tally import Tally

EVERY = 5.0
"""Seconds."""
SHOWN_MS = 24 * 3600 * 1000
"""So long a run that is over is still shown."""
MOST_RUNS = 50
"""The newest; more would make as many series again in Prometheus."""
_ENDED = ("settled", "failed", "held", "cancelled")
_PARTS = ("copies", "quarantined", "framing")

Sample = tuple[str, tuple[str, ...], float]
"""Name without its prefix, values of its labels, value."""


class _Sums(Struct, kw_only=True):
    """One phase of one run."""

    units: int = 0
    states: Counter[str] = msgspec.field(default_factory=Counter[str])
    books: Counter[str] = msgspec.field(default_factory=Counter[str])


class LedgerGauges:
    """What the ledger says, remembered for a few seconds. Safe between threads."""

    def __init__(
        self,
        ledger: Ledger,
        tally: Tally,
        *,
        every: float = EVERY,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._tally = tally
        self._every = every
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._samples: Sequence[Sample] = ()
        self._categories: dict[str, list[str]] = {}

    def collect(self, sees: Callable[[str], bool] = lambda _run: True) -> Iterator[Metric]:
        """The gauges; of runs, those that `sees`. A ledger that is away has none: they go stale."""
        made: dict[str, GaugeMetricFamily] = {}
        for short, labels, value in self._recent():
            name = f"reinstate_{short}"
            family = FAMILIES[name]
            if family.labels[:1] == ("run",) and not sees(labels[0]):
                continue
            if name not in made:
                made[name] = GaugeMetricFamily(name, family.says, labels=family.labels)
            made[name].add_metric(labels, value)
        yield from made.values()

    def _recent(self) -> Sequence[Sample]:
        with self._lock:
            if self._monotonic() - self._looked >= self._every:
                try:
                    self._samples = list(self._look())
                except Unavailable:
                    self._samples = [("build_info", (VERSION,), 1)]
                self._looked = self._monotonic()
            return self._samples

    def _look(self) -> Iterator[Sample]:
        asked, before = self._monotonic(), self._wall()
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            took = self._monotonic() - asked
            self._tally.observe("reinstate_ledger_answer_seconds", took)
            yield "ledger_clock_skew_seconds", (), before + took / 2 - now / 1000
            yield "build_info", (VERSION,), 1
            leader = leadership.leader(connection)
            yield "leaders", (), float(leader is not None and leader[1] > now)
            yield from _handed_out(connection)
            rows = _shown(connection, now)
            self._learn_categories(connection, rows)
            shown = [row.id for row in rows]
            for row in rows:
                yield "run_info", (row.id, row.name, row.purpose, row.state), 1
                if row.users is not None:
                    yield "run_users", (row.id,), row.users
                if row.progressed_at is not None:
                    yield "progress_timestamp_seconds", (row.id,), row.progressed_at / 1000
            yield from self._books(connection, rows)
            for row in rows:
                if row.state == RunState.RUNNING:
                    since = _oldest_ready(connection, row.id, now)
                    waited = 0.0 if since is None else max(0, now - since) / 1000
                    yield "oldest_ready_unit_seconds", (row.id,), waited
            circuits = select(circuit.c.run, circuit.c.target).where(circuit.c.run.in_(shown))
            for row in connection.execute(circuits):
                yield "circuit_open", (row.run, row.target), 1
            number, oldest = outbox.waiting(connection)
            yield "waiting_deliveries", (), number
            age = 0.0 if oldest is None else max(0, now - oldest) / 1000
            yield "oldest_delivery_seconds", (), age
            for promise in promises(connection, now=now):
                yield "promise_due_timestamp_seconds", (promise.run,), promise.due / 1000
                yield "promise_missed", (promise.run,), float(promise.late_ms > 0)

    def _learn_categories(self, connection: Connection, rows: Sequence[Any]) -> None:
        """The categories of each run's phases; a plan is read once."""
        known = self._categories
        self._categories = {row.id: known[row.id] for row in rows if row.id in known}
        new = [row.id for row in rows if row.id not in known]
        for row in connection.execute(select(run.c.id, run.c.plan).where(run.c.id.in_(new))):
            phases = msgspec.json.decode(row.plan)["phases"]
            self._categories[row.id] = [phase["restore"] for phase in phases]

    def _books(self, connection: Connection, rows: Sequence[Any]) -> Iterator[Sample]:
        sums: dict[str, dict[int, _Sums]] = {row.id: {} for row in rows}
        open_units = dict.fromkeys(sums, 0)
        cells = {key: Counter[str]() for key in sums}
        for row in _cells(connection, list(sums)):
            run_id = row["run"]
            one = sums[run_id].setdefault(row["phase"], _Sums())
            one.units += row["units"]
            one.states.update({name: int(row[name] or 0) for name in _ENDED})
            one.books.update({name: int(row[name] or 0) for name in FIELDS})
            cells[run_id][row["state"]] += 1
            if row["state"] == CellState.OPEN:
                ended = sum(int(row[name] or 0) for name in ("settled", "failed", "cancelled"))
                open_units[run_id] += row["units"] - ended
        unbalanced = _unbalanced_units(connection, list(sums))
        for run_id, phases in sums.items():
            broken = unbalanced.get(run_id, 0)
            for phase, one in sorted(phases.items()):
                yield from _of_phase(run_id, self._categories[run_id][phase], one)
                broken += len(imbalances(Books(**one.books), settled=False))
            yield "unbalanced_books", (run_id,), broken
            yield "open_units", (run_id,), open_units[run_id]
            for state in CellState:
                yield "cells", (run_id, state), cells[run_id][state]


def _handed_out(connection: Connection) -> Iterator[Sample]:
    out = pressure.batches_out(connection)
    by_run: Counter[tuple[str, str]] = Counter()
    for (run_id, _, state), number in out.items():
        by_run[run_id, state] += number
    at_work = sum(number for (_, state), number in by_run.items() if state == BatchState.RUNNING)
    yield "window_batches", (), whole_window(at_work)
    for labels, number in by_run.items():
        yield "batches_out", labels, number


def _shown(connection: Connection, now: int) -> Sequence[Any]:
    return connection.execute(
        select(run.c.id, run.c.name, run.c.purpose, run.c.state, run.c.users, run.c.progressed_at)
        .where(or_(run.c.state.not_in(TERMINAL_RUNS), run.c.finished_at > now - SHOWN_MS))
        .order_by(run.c.created_at.desc(), run.c.id.desc())
        .limit(MOST_RUNS)
    ).all()


def _cells(connection: Connection, runs: Sequence[str]) -> Sequence[RowMapping]:
    """Every cell with the sums of its counters."""
    names = (*_ENDED, *FIELDS)
    sums = (
        select(
            counter.c.run,
            counter.c.phase,
            counter.c.wave,
            *(func.sum(counter.c[name]).label(name) for name in names),
        )
        .where(counter.c.run.in_(runs))
        .group_by(counter.c.run, counter.c.phase, counter.c.wave)
        .subquery()
    )
    joined = cell.outerjoin(
        sums,
        (sums.c.run == cell.c.run) & (sums.c.phase == cell.c.phase) & (sums.c.wave == cell.c.wave),
    )
    found = select(
        cell.c.run, cell.c.phase, cell.c.state, cell.c.units, *(sums.c[name] for name in names)
    )
    return (
        connection.execute(found.select_from(joined).where(cell.c.run.in_(runs))).mappings().all()
    )


def _of_phase(run_id: str, category: str, one: _Sums) -> Iterator[Sample]:
    for outcome in Outcome:
        yield "items", (run_id, category, outcome), one.books[outcome]
    yield "lost_items", (run_id, category), one.books["lost"]
    for part in _PARTS:
        yield "read_bytes", (run_id, category, part), one.books[f"bytes_{part}"]
    for state in _ENDED:
        yield "units", (run_id, category, state), one.states[state]
    yield "units", (run_id, category, "waiting"), one.units - one.states.total()


def _unbalanced_units(connection: Connection, runs: Sequence[str]) -> dict[str, int]:
    rows = connection.execute(
        select(trouble.c.run, func.sum(trouble.c.units).label("units"))
        .where(trouble.c.run.in_(runs), trouble.c.cause == UNBALANCED.fingerprint)
        .group_by(trouble.c.run)
    )
    return {row.run: int(row.units) for row in rows}


def _oldest_ready(connection: Connection, run_id: str, now: int) -> int | None:
    """Since when the oldest unit waits that nothing holds back: its gates opened, or it is due."""
    ready = exists().where(
        batch.c.run == run_id,
        batch.c.state == BatchState.READY,
        batch.c.phase == cell.c.phase,
        batch.c.wave == cell.c.wave,
        batch.c.not_before <= now,
    )
    first = connection.execute(
        select(func.min(cell.c.opened_at)).where(
            cell.c.run == run_id, cell.c.state == CellState.OPEN, ready
        )
    ).scalar_one()
    again = connection.execute(
        select(func.min(exception.c.not_before)).where(
            exception.c.run == run_id, text(DUE), exception.c.not_before <= now
        )
    ).scalar_one()
    return min((since for since in (first, again) if since is not None), default=None)
