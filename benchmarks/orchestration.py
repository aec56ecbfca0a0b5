"""P1, P2, P12: units a second through the whole orchestrator, when the units cost nothing.

    python benchmarks/orchestration.py [--users 128000] [--rounds 3] [--processes N] [--growth]

Three ways to settle the same units in the same PostgreSQL (fsync on), side by side:

ours      real conductor, Redis and Celery prefork workers; every guarantee on: leases, epochs,
          books checked and counted, counters, decline list, sealed ids
celery    what a good engineer writes by hand: one Celery task a unit, acknowledged late, published
          in one go over one connection; the task settles its row and commits
bare      no broker, no leases: as many processes, each settles its share of the ranges with one
          UPDATE a range and one of a counter row of its own

For each also the CPU time of one unit, by who used it: on a machine that others use, too, that is
the figure to compare. `--growth` shows that of runs of 1,000 to 1,000,000 users instead (`--most`).
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from celery import Celery
from sqlalchemy import bindparam, insert, select, update

from benchmarks.stand import figures, servers
from benchmarks.stand.spending import Spent, per_unit, since, spent
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.schema import batch, counter, run, run_user, unit
from orchestrator.lifecycle import BatchState, RunState
from orchestrator.planner import read_plan
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from tests.brokers import RedisServer
from tests.servers import Postgres

PLAN = """
version: 1
name: benchmark
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{crowd: {{kind: crowd, users: {users}}}}}
targets: {{void: {{kind: void}}}}
waves: [{{name: everyone}}]
phases: [{{restore: contacts, to: void}}]
approvals: 0
"""
BATCH = 100
BARE = 2_000
"""Users in a range of the bare loop: with 500 or 8,000 a unit costs it more."""
PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class Stand:
    """What one way of doing it is given."""

    url: str
    postgres: Postgres
    redis: RedisServer
    processes: int

    def spent(self, **others: list[int]) -> Spent:
        """CPU seconds so far, the servers' and of `others`."""
        servers_ = {"postgresql": [self.postgres.pid], "redis": [self.redis.pid]}
        return spent({**others, **servers_})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """So many units were settled in so many seconds."""

    units: int
    seconds: float
    used: Spent

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds


# Ours --------------------------------------------------------------------------------------------


def submit(settings: Settings, ledger: Ledger, users: int) -> str:
    """Hand in a plan for so many users; the run's id."""
    text = PLAN.format(users=users)
    plan = read_plan(text.encode(), path="plan.yaml", base=Path())
    return Runs(ledger, load_sealer(settings)).submit(
        Submission(plan=plan, text=text, folder="/", author="benchmark")
    )


def reached(ledger: Ledger, run_id: str, *states: RunState) -> float:
    """Wait for one of the states; seconds from the run's first move on, by the ledger's clock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with ledger.read() as connection:
            row = connection.execute(_STATE, {"of_run": run_id}).one()
        if row.state in states:
            return ((row.finished_at or 0) - (row.started_at or 0)) / 1000
        if row.state == RunState.REFUSED:
            raise SystemExit(f"the run was refused: {row.why}")
        time.sleep(0.02)
    raise SystemExit("the run did not end")


_STATE = select(run.c.state, run.c.why, run.c.started_at, run.c.finished_at).where(
    run.c.id == bindparam("of_run")
)


def proven(ledger: Ledger, run_id: str, users: int) -> None:
    """Every unit is settled once, and the counters say so too."""
    with ledger.read() as connection:
        states = list(
            connection.execute(
                select(unit.c.state, unit.c.attempts).where(unit.c.run == run_id).distinct()
            )
        )
        counted = connection.execute(
            select(counter.c.settled).where(counter.c.run == run_id)
        ).scalars()
        if [tuple(row) for row in states] != [("settled", 1)] or sum(counted) != users:
            raise SystemExit(f"not every unit was settled once: {states}")


def ours(stand: Stand, users: int) -> Measured:
    """From the opening of the first gate to the end of the run."""
    with awake(stand) as (made, ledger):
        run_id = submit(made.settings, ledger, users)
        reached(ledger, run_id, RunState.RUNNING, RunState.FINISHED)
        before = stand.spent(**made.pids)
        seconds = reached(ledger, run_id, RunState.FINISHED)
        used = since(before, stand.spent(**made.pids))
        proven(ledger, run_id, users)
    return Measured(units=users, seconds=seconds, used=used)


@contextmanager
def awake(stand: Stand) -> Iterator[tuple[servers.Installation, Ledger]]:
    """Conductor and workers that have done something already."""
    with servers.installation(stand.url, stand.redis, processes=stand.processes) as made:
        ledger = Ledger(stand.url)
        ledger.prepare(key_check=load_sealer(made.settings).check)
        first = submit(made.settings, ledger, BATCH * stand.processes * 4)
        reached(ledger, first, RunState.FINISHED)
        yield made, ledger
        ledger.close()


# By hand, with Celery ----------------------------------------------------------------------------

app = Celery("by_hand", broker=os.environ.get("BY_HAND_BROKER"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=64,  # short tasks
    worker_hijack_root_logger=False,
    task_default_queue="by_hand",
)
_connections: dict[int, psycopg.Connection] = {}
_SETTLE = (
    "UPDATE unit SET state = 'settled', attempts = attempts + 1, settled_at = %s"
    ' WHERE run = %s AND "user" = %s AND phase = 0'
)


@app.task(name="by_hand.settle")
def settle(run_id: str, user: int) -> None:
    """Settle one unit."""
    connection = _connections.get(os.getpid())
    if connection is None:
        connection = psycopg.connect(os.environ["BY_HAND_LEDGER"])
        _connections[os.getpid()] = connection
    with connection.transaction():
        connection.execute(_SETTLE, (time.time_ns() // 1_000_000, run_id, user))


@contextmanager
def hand_written(stand: Stand) -> Iterator[tuple[Celery, list[int]]]:
    """The application above, and its workers."""
    environment = {
        **os.environ,
        "BY_HAND_BROKER": stand.redis.url,
        "BY_HAND_LEDGER": plain(stand.url),
        "PYTHONPATH": str(servers.ROOT),
    }
    programs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--quiet", "--app=benchmarks.orchestration"),
                *("worker", "--pool=prefork", f"--hostname=by_hand{first}@%h"),
                f"--concurrency={min(servers.CHILDREN, stand.processes - first)}",
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            env=environment,
            cwd=servers.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for first in range(0, stand.processes, servers.CHILDREN)
    ]
    app.conf.broker_url = stand.redis.url
    try:
        yield app, [program.pid for program in programs]
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait(timeout=30)


def by_hand(stand: Stand, users: int) -> Measured:
    """From the first message to the last row."""
    with (
        hand_written(stand) as (hands, pids),
        psycopg.connect(plain(stand.url), autocommit=True) as connection,
    ):
        prepared(stand.url, users + stand.processes)

        def await_settled(number: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                found = connection.execute(
                    "SELECT count(*) FROM unit WHERE run = 'bench' AND state = 'settled'"
                ).fetchone()
                if found and found[0] >= number:
                    return
                time.sleep(0.05)
            raise SystemExit("the tasks did not end")

        with (
            hands.connection_for_write(url=stand.redis.url) as line,
            hands.amqp.Producer(line) as producer,
        ):
            for user in range(users, users + stand.processes):
                settle.apply_async(("bench", user), producer=producer)
            await_settled(stand.processes)  # everybody is awake
            before = stand.spent(workers=pids, publisher=[os.getpid()])
            began = time.monotonic()
            for user in range(users):
                settle.apply_async(("bench", user), producer=producer)
        await_settled(users + stand.processes)
        seconds = time.monotonic() - began
        after = stand.spent(workers=pids, publisher=[os.getpid()])
        for name in ("workers", "postgresql", "redis"):  # they are children of this process
            before["publisher"] -= before[name]
            after["publisher"] -= after[name]
        return Measured(units=users, seconds=seconds, used=since(before, after))


# Bare --------------------------------------------------------------------------------------------


def bare(stand: Stand, users: int) -> Measured:
    """From the starting signal to the last row."""
    prepared(stand.url, users)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(stand.processes + 1)
    used = context.Queue()
    workers = [
        context.Process(
            target=_share, args=(plain(stand.url), start, used, users, number, stand.processes)
        )
        for number in range(stand.processes)
    ]
    for worker in workers:
        worker.start()
    before = stand.spent()
    start.wait()
    began = time.monotonic()
    by_workers = sum(used.get() for _ in workers)
    seconds = time.monotonic() - began
    for worker in workers:
        worker.join()
    spendings = {"workers": by_workers, **since(before, stand.spent())}
    with psycopg.connect(plain(stand.url)) as connection:
        found = connection.execute(
            "SELECT count(*) FROM unit WHERE run = 'bench' AND state = 'settled'"
        ).fetchone()
    if found is None or found[0] != users:
        raise SystemExit("the bare loop left something out")
    return Measured(units=users, seconds=seconds, used=spendings)


def _share(
    address: str,
    start: "multiprocessing.Barrier",
    used: "multiprocessing.Queue[float]",
    users: int,
    mine: int,
    of: int,
) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        start.wait()
        before = time.process_time()
        for number, first in enumerate(range(0, users, BARE)):
            if number % of != mine:
                continue
            last = min(first + BARE, users) - 1
            done = list(range(first, last + 1))  # each unit's work: none
            with connection.transaction():
                connection.execute(
                    "UPDATE unit SET state = 'settled', attempts = attempts + 1, settled_at = %s"
                    """ WHERE run = 'bench' AND phase = 0 AND "user" = ANY(%s)""",
                    (time.time_ns() // 1_000_000, done),
                )
                connection.execute(
                    "UPDATE counter SET settled = settled + %s"
                    " WHERE run = 'bench' AND phase = 0 AND wave = 0 AND slot = %s",
                    (len(done), mine),
                )
        used.put(time.process_time() - before)


# All three ---------------------------------------------------------------------------------------


def plain(url: str) -> str:
    """The address as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def prepared(url: str, users: int) -> None:
    """The same tables, with the units of a run called `bench`."""
    ledger = Ledger(url)
    ledger.prepare()
    with ledger.begin() as connection:
        insert_all(
            connection,
            run_user,
            ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous"),
            (("bench", user, 0, user.to_bytes(16, "big"), b"", False) for user in range(users)),
        )
        expansion.expand(connection, "bench", categories=["contacts"], batch_users=BATCH)
        connection.execute(update(batch).values(state=BatchState.CANCELLED))
        connection.execute(
            insert(counter),
            [{"run": "bench", "phase": 0, "wave": 0, "slot": slot} for slot in range(64)],
        )
    ledger.close()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute("ANALYZE")
        connection.execute("CHECKPOINT")


Way = Callable[[Stand, int], Measured]


@contextmanager
def fresh(processes: int) -> Iterator[Stand]:
    """Servers of its own."""
    with (
        servers.postgres() as server,
        servers.redis() as broker,
        servers.database(server, "bench") as url,
    ):
        yield Stand(url=url, postgres=server, redis=broker, processes=processes)


def measured(way: Way, users: int, processes: int) -> Measured:
    """One way, once."""
    with fresh(processes) as stand:
        return way(stand, users)


def main() -> None:
    """Measure in turns and print ratios of medians."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, default=128_000)
    read.add_argument("--by-hand", type=int, default=4_000, help="users of the hand-written way")
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--processes", type=int, default=max(2, os.cpu_count() or 2))
    read.add_argument("--growth", action="store_true", help="show P12 instead")
    read.add_argument("--most", type=int, default=1_000_000, help="users of the last growth step")
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    if given.growth:
        growth(given.most, given.processes)
        return
    print(f"{given.processes} worker processes, {given.users:,} units of no work")
    ways: dict[str, tuple[Way, int]] = {
        "celery": (by_hand, given.by_hand),
        "bare": (bare, given.users),
        "ours": (ours, given.users),
    }
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (way, users) in ways.items():
            found[name].append(measured(way, users, given.processes))
    for name, values in found.items():
        print(f"{name:8} {figures.spread([value.rate for value in values]):>28} units/s")
        cheapest = min(values, key=lambda value: sum(value.used.values()) / value.units)
        print(f"{'':8} CPU a unit: {per_unit(cheapest.used, cheapest.units)} (least of the rounds)")
    rates = {name: statistics.median(v.rate for v in values) for name, values in found.items()}
    print(f"P1: ours / celery = {rates['ours'] / rates['celery']:.1f}   (goal 30)")
    print(f"P2: ours / bare   = {rates['ours'] / rates['bare']:.2f}   (goal 0.8)")


def growth(most: int, processes: int) -> None:
    """P12: what a unit costs as the run grows: small runs many times, one after the other."""
    print(f"{processes} worker processes; P12: CPU a unit from submission to end, all processes")
    users, first = 1_000, 0.0
    while users <= most:
        runs = max(1, min(20, 40_000 // users))
        with fresh(processes) as stand, awake(stand) as (made, ledger):
            before, seconds = stand.spent(**made.pids), 0.0
            for _ in range(runs):
                run_id = submit(made.settings, ledger, users)
                seconds += reached(ledger, run_id, RunState.FINISHED)
            used = since(before, stand.spent(**made.pids))
            proven(ledger, run_id, users)
        cost = sum(used.values()) / (users * runs)
        first = first or cost
        print(
            f"{users:>9,} users x {runs:2}: {per_unit(used, users * runs)}, {cost / first:.2f} of "
            f"the first; {seconds / runs / users * 1e6:.1f} µs by the clock",
            flush=True,
        )
        users *= 10


if __name__ == "__main__":
    main()
