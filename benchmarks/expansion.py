"""P7: how long making the units of a run takes, against COPY of the same rows.

    python benchmarks/expansion.py [--users 200000] [--categories 6] [--rounds 3]

ours      numbering users (COPY), then cells, batches and units (INSERT … SELECT), one transaction
          each, as inspection and conductor do it
COPY      the same unit rows, ready as text in memory, into an empty table of the same shape
"""

import argparse
import statistics
import time

import psycopg

from benchmarks.stand import figures, servers
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.schema import run_user

RUN = "bench"
ROWS_A_BLOCK = 50_000


def ours(ledger: Ledger, users: int, categories: int) -> tuple[float, float]:
    """Seconds for numbering users, and for expanding them."""
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
    return numbered - began, time.monotonic() - numbered


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
    with servers.postgres() as server:
        for _ in range(given.rounds):
            with servers.database(server, "bench") as url:
                ledger = Ledger(url)
                ledger.prepare()
                copying.append(copied(url, given.users, given.categories))
                numbered, expanded = ours(ledger, given.users, given.categories)
                numbering.append(numbered)
                expanding.append(expanded)
                ledger.close()
    print(f"COPY of the units   {figures.spread(copying)} s")
    print(f"numbering users     {figures.spread(numbering)} s")
    print(f"expanding           {figures.spread(expanding)} s")
    ratio = statistics.median(expanding) / statistics.median(copying)
    print(f"P7: expanding / COPY = {ratio:.2f}   (goal at most 2.5)")


if __name__ == "__main__":
    main()
