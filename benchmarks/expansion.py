"""P7: how long making the units of a run takes, against COPY of the same rows.

    python benchmarks/expansion.py [--users 200000] [--categories 6] [--rounds 3]

ours      numbering users (COPY), then cells, batches and units (INSERT … SELECT), one transaction
          each, as inspection and conductor do it; in a process of its own, whose memory is told
COPY      the same unit rows, ready as text in memory, into an empty table of the same shape
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import psycopg

from benchmarks.stand import figures, servers
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.schema import run_user

RUN = "bench"
PROCESSES = multiprocessing.get_context("spawn")
ROWS_A_BLOCK = 50_000


def ours(url: str, users: int, categories: int) -> tuple[float, float, int]:
    """Seconds for numbering users and for expanding them, and MiB held at most for both."""
    ledger = Ledger(url)
    with ledger.read():
        pass  # what a connection takes is no planning
    before = _held()
    began = time.monotonic()
    with ledger.begin() as connection:
        names = ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous")
        rows = (
            (RUN, number, int(number >= users // 100), number.to_bytes(16, "big"), b"s" * 45, False)
            for number in range(users)
        )
        insert_all(connection, run_user, names, rows)
    numbered = time.monotonic()
    with ledger.begin() as connection:
        listed = [f"category{number}" for number in range(categories)]
        expansion.expand(connection, RUN, categories=listed, batch_users=100)
    ended = time.monotonic()
    ledger.close()
    return numbered - began, ended - numbered, (_held() - before) // 1024


def _held() -> int:
    """KiB that this process has held at once, at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def copied(url: str, users: int, categories: int) -> float:
    """Seconds for the same rows by COPY, into a table with the same indexes."""
    blocks: list[str] = []
    for first in range(0, users, ROWS_A_BLOCK):
        last = min(first + ROWS_A_BLOCK, users)
        blocks.extend(
            "".join(f"{RUN}\t{user}\t{phase}\twaiting\n" for user in range(first, last))
            for phase in range(categories)
        )
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE copied (LIKE unit INCLUDING ALL) WITH (fillfactor = 50)")
        connection.commit()
        began = time.monotonic()
        with connection.cursor().copy('COPY copied (run, "user", phase, state) FROM STDIN') as copy:
            for block in blocks:
                copy.write(block)
        connection.commit()
        return time.monotonic() - began


def main() -> None:
    """Measure in turns and print the ratio of medians."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, default=200_000)
    read.add_argument("--categories", type=int, default=6)
    read.add_argument("--rounds", type=int, default=3)
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    print(f"{given.users:,} users with {given.categories} categories each")
    numbering: list[float] = []
    expanding: list[float] = []
    copying: list[float] = []
    memory: list[int] = []
    with servers.postgres() as server:
        for _ in range(given.rounds):
            with servers.database(server, "bench") as url:
                ledger = Ledger(url)
                ledger.prepare()
                ledger.close()
                copying.append(copied(url, given.users, given.categories))
                with PROCESSES.Pool(1) as apart:
                    numbered, expanded, held = apart.apply(
                        ours, (url, given.users, given.categories)
                    )
                numbering.append(numbered)
                expanding.append(expanded)
                memory.append(held)
        with servers.database(server, "small") as url:
            ledger = Ledger(url)
            ledger.prepare()
            ledger.close()
            with PROCESSES.Pool(1) as apart:
                small = apart.apply(ours, (url, given.users // 10, given.categories))[2]
    print(f"COPY of the units   {figures.spread(copying)} s")
    print(f"numbering users     {figures.spread(numbering)} s")
    print(f"expanding           {figures.spread(expanding)} s")
    print(f"memory taken: {max(memory)} MiB; for a tenth of the users: {small} MiB")
    ratio = statistics.median(expanding) / statistics.median(copying)
    print(f"P7: expanding / COPY = {ratio:.2f}   (goal at most 2.5)")


if __name__ == "__main__":
    main()
