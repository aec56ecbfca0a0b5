"""P1, P2, P12: units a second through the whole orchestrator, when the units cost nothing.

    python benchmarks/orchestration.py [--users 40000] [--rounds 3] [--processes 4] [--growth]

Three ways to settle the same units in the same PostgreSQL (fsync on), side by side:

ours      real conductor, Redis and Celery prefork workers; every guarantee on: leases, epochs,
          books checked and counted, counters, decline list, sealed ids
celery    what a good engineer writes by hand: one Celery task a unit, acknowledged late, published
          in one go over one connection; the task settles its row and commits
bare      no broker, no leases: as many processes, each settles its share of the ranges with one
          UPDATE a range and one of a counter row of its own

`--growth` also shows the cost of a unit from 1,000 users to 100,000 (`--most` for more).
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
from pathlib import Path

import psycopg
from celery import Celery
from sqlalchemy import insert, select, update

from benchmarks.stand import figures, servers
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import batch, counter, run, run_user, unit
from orchestrator.lifecycle import BatchState, RunState
from orchestrator.planner import read_plan
from orchestrator.runs import Runs, Submission
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from tests.brokers import RedisServer

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
PATIENCE = 300.0


# Ours --------------------------------------------------------------------------------------------


def submit(settings: Settings, ledger: Ledger, users: int) -> str:
    """Hand in a plan for so many users; the run's id."""
    text = PLAN.format(users=users)
    plan = read_plan(text.encode(), path="plan.yaml", base=Path())
    return Runs(ledger, load_sealer(settings)).submit(
        Submission(plan=plan, text=text, folder="/", author="benchmark")
    )


def finished(ledger: Ledger, run_id: str) -> float:
    """Wait for the end; seconds from the first move to the last, by the ledger's clock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with ledger.read() as connection:
            row = connection.execute(select(run).where(run.c.id == run_id)).one()
        if row.state == RunState.FINISHED:
            return (row.finished_at - row.started_at) / 1000
        if row.state == RunState.REFUSED:
            raise SystemExit(f"the run was refused: {row.why}")
        time.sleep(0.05)
    raise SystemExit("the run did not end")


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


def ours(url: str, broker: RedisServer, users: int, processes: int) -> float:
    """Units a second, from the opening of the first gate to the end of the run."""
    with servers.installation(url, broker, processes=processes) as made:
        ledger = Ledger(url)
        ledger.prepare(key_check=load_sealer(made.settings).check)
        finished(ledger, submit(made.settings, ledger, BATCH * processes * 4))  # everybody is awake
        run_id = submit(made.settings, ledger, users)
        seconds = finished(ledger, run_id)
        proven(ledger, run_id, users)
        ledger.close()
    return users / seconds


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
def hand_written(url: str, broker: RedisServer, processes: int) -> Iterator[Celery]:
    """Workers of the application above."""
    environment = {
        **os.environ,
        "BY_HAND_BROKER": broker.url,
        "BY_HAND_LEDGER": plain(url),
        "PYTHONPATH": str(servers.ROOT),
    }
    programs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--quiet", "--app=benchmarks.orchestration"),
                *("worker", "--pool=prefork", f"--hostname=by_hand{first}@%h"),
                f"--concurrency={min(servers.CHILDREN, processes - first)}",
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            env=environment,
            cwd=servers.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for first in range(0, processes, servers.CHILDREN)
    ]
    app.conf.broker_url = broker.url
    try:
        yield app
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait(timeout=30)


def by_hand(url: str, broker: RedisServer, users: int, processes: int) -> float:
    """Units a second, from the first message to the last row."""
    with (
        hand_written(url, broker, processes) as hands,
        psycopg.connect(plain(url), autocommit=True) as connection,
    ):
        prepared(url, users + processes)

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
            hands.connection_for_write(url=broker.url) as line,
            hands.amqp.Producer(line) as producer,
        ):
            for user in range(users, users + processes):
                settle.apply_async(("bench", user), producer=producer)
            await_settled(processes)  # everybody is awake
            began = time.monotonic()
            for user in range(users):
                settle.apply_async(("bench", user), producer=producer)
        await_settled(users + processes)
        return users / (time.monotonic() - began)


# Bare --------------------------------------------------------------------------------------------


def bare(url: str, broker: RedisServer, users: int, processes: int) -> float:
    """Units a second, from the starting signal to the last row."""
    del broker
    prepared(url, users)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes + 1)
    workers = [
        context.Process(target=_share, args=(plain(url), start, users, number, processes))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.monotonic()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began
    with psycopg.connect(plain(url)) as connection:
        found = connection.execute(
            "SELECT count(*) FROM unit WHERE run = 'bench' AND state = 'settled'"
        ).fetchone()
    if found is None or found[0] != users:
        raise SystemExit("the bare loop left something out")
    return users / seconds


def _share(address: str, start: "multiprocessing.Barrier", users: int, mine: int, of: int) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        start.wait()
        size = expansion.batch_size(users, usual=BATCH)  # as large as ours are
        for number, first in enumerate(range(0, users, size)):
            if number % of != mine:
                continue
            last = min(first + size, users) - 1
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


# All three ---------------------------------------------------------------------------------------


def plain(url: str) -> str:
    """The address as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def prepared(url: str, users: int) -> None:
    """The same tables, with the units of a run called `bench`."""
    ledger = Ledger(url)
    ledger.prepare()
    with ledger.begin() as connection:
        connection.execute(
            insert(run_user),
            [
                {
                    "run": "bench",
                    "number": number,
                    "wave": 0,
                    "user_hash": number.to_bytes(16, "big"),
                    "sealed_id": b"",
                    "ambiguous": False,
                }
                for number in range(users)
            ],
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


Way = Callable[[str, RedisServer, int, int], float]


def measured(way: Way, users: int, processes: int) -> float:
    """Units a second of one way, on servers of its own."""
    with (
        servers.postgres() as server,
        servers.redis() as broker,
        servers.database(server, "bench") as url,
    ):
        return way(url, broker, users, processes)


def main() -> None:
    """Measure in turns and print ratios of medians."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, default=40_000)
    read.add_argument("--by-hand", type=int, default=4_000, help="users of the hand-written way")
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--processes", type=int, default=4)
    read.add_argument("--growth", action="store_true", help="show P12 too")
    read.add_argument("--most", type=int, default=100_000, help="users of the largest growth step")
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    size = expansion.batch_size(given.users, usual=BATCH)
    print(f"{given.processes} worker processes, {given.users:,} units of no work, {size} a batch")
    found: dict[str, list[float]] = {"ours": [], "celery": [], "bare": []}
    for _ in range(given.rounds):
        found["celery"].append(measured(by_hand, given.by_hand, given.processes))
        found["bare"].append(measured(bare, given.users, given.processes))
        found["ours"].append(measured(ours, given.users, given.processes))
    for name, values in found.items():
        print(f"{name:8} {figures.spread(values):>28} units/s")
    mine = statistics.median(found["ours"])
    print(f"P1: ours / celery = {mine / statistics.median(found['celery']):.1f}   (goal 30)")
    print(f"P2: ours / bare   = {mine / statistics.median(found['bare']):.2f}   (goal 0.8)")
    if given.growth:
        growth(given.most, given.rounds, given.processes)


def growth(most: int, rounds: int, processes: int) -> None:
    """P12: what a unit costs as the run grows."""
    users, costs = 1_000, dict[int, float]()
    while users <= most:
        costs[users] = statistics.median(
            1e6 / measured(ours, users, processes) for _ in range(rounds)
        )
        print(f"P12: {users:>9,} users: {costs[users]:6.1f} µs a unit")
        users *= 10


if __name__ == "__main__":
    main()
