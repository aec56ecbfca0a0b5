"""P8: what pages ask of a large ledger: status, one user, failure groups, units, losses.

    python benchmarks/pages.py [--users 10000 100000] [--looks 40]

Fills a PostgreSQL with 6 units a user (1 % failed, 1 % lost something) and asks each page at
random places. 1,000,000 users make 6,000,000 units: `--users 10000 1000000`.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import text

from benchmarks.stand import figures, servers
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.schema import run_user
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.query import parse
from orchestrator.runs import Runs, Submission
from orchestrator.sealing import Sealer

CATEGORIES = ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")
PLAN = """
version: 1
name: pages
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory}}
targets: {live: {kind: memory}}
waves: [{name: canary, users: 20}, {name: pilot, share: 1%}, {name: everyone}]
phases: [PHASES]
"""
SETTLED = """
UPDATE unit SET state = CASE WHEN "user" % 100 = 3 THEN 'failed' ELSE 'settled' END,
  attempts = 1, settled_at = 1, copies = 3, items = 3, restored = 3,
  lost = CASE WHEN "user" % 100 = 7 THEN 1 ELSE 0 END
"""
FAILED = """
INSERT INTO exception (run, "user", phase, state, cause, not_before, since)
SELECT run, "user", phase, 'failed', CASE "user" % 3 WHEN 0 THEN 'aaaaaa' WHEN 1 THEN 'bbbbbb'
  ELSE 'cccccc' END, 0, 1 FROM unit WHERE state = 'failed'
"""
CAUSES = """
INSERT INTO cause SELECT DISTINCT ON (run, cause) run, cause, phase, 'unavailable', 'away', true
FROM exception ORDER BY run, cause, phase
"""
TROUBLES = """
INSERT INTO trouble SELECT run, phase, cause, state, "user" % 16, count(*) FROM exception
GROUP BY 1, 2, 3, 4, 5
"""
COUNTERS = """
INSERT INTO counter (run, phase, wave, slot, settled, failed, copies, items, restored, lost)
SELECT unit.run, phase, wave, "user" % 16, count(*) FILTER (WHERE state = 'settled'),
  count(*) FILTER (WHERE state = 'failed'), sum(copies), sum(items), sum(restored), sum(lost)
FROM unit JOIN run_user ON run_user.run = unit.run AND number = "user" GROUP BY 1, 2, 3, 4
"""


def filled(ledger: Ledger, sealer: Sealer, users: int) -> str:
    """A run of so many users that is done; its id."""
    phases = ", ".join(f"{{restore: {category}, to: live}}" for category in CATEGORIES)
    written = PLAN.replace("PHASES", phases)
    plan = read_plan(written.encode(), path="plan.yaml", base=Path())
    run_id = Runs(ledger, sealer).submit(
        Submission(plan=plan, text=written, folder="/", author="benchmark")
    )
    context = f"user:{run_id}".encode()
    sealed = [sealer.seal(b"somebody", context) for _ in range(100)]
    share = users // 100 + 20
    with ledger.begin() as connection:
        names = ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous")
        rows = (
            (
                run_id,
                number,
                (number >= 20) + (number >= share),
                sealer.user_hash(f"user-{number}"),
                sealed[number % 100],
                False,
            )
            for number in range(users)
        )
        insert_all(connection, run_user, names, rows)
        expansion.expand(connection, run_id, categories=CATEGORIES, batch_users=100)
        for statement in (SETTLED, FAILED, CAUSES, TROUBLES, COUNTERS):
            connection.execute(text(statement))
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
    return run_id


def pages(
    progress: Progress, run_id: str, users: int, chance: random.Random
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each page with a way to ask for it, somewhere."""
    plan = progress.plan(run_id)

    def place() -> tuple[int, int]:
        return chance.randrange(users), chance.randrange(len(CATEGORIES))

    yield "status", lambda: progress.status(run_id)
    yield "failure groups", lambda: progress.causes(run_id)
    yield "one user by id", lambda: progress.user(run_id, f"user-{chance.randrange(users)}")
    for words in (
        "",
        "state:settled",
        "state:failed",
        "state:failed category:photos",
        "wave:pilot",
        "wave:everyone state:failed",
        "cause:aaaaaa",
    ):
        query = parse(words.split(), plan)
        yield (
            f"units {words}".strip(),
            lambda query=query: progress.units(run_id, query, after=place()),
        )
    yield "losses, first 100", lambda: _first(progress.losses(run_id, after=place()), 100)


def _first(rows: Iterator[object], most: int) -> list[object]:
    return [row for row, _ in zip(rows, range(most), strict=False)]


def main() -> None:
    """Measure at each size and print the 95th of a hundred, in milliseconds."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000])
    read.add_argument("--looks", type=int, default=40)
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    sealer = Sealer(bytes(range(32)))
    worst = 0.0
    for users in given.users:
        with servers.postgres() as server, servers.database(server, "bench") as url:
            ledger = Ledger(url)
            ledger.prepare()
            run_id = filled(ledger, sealer, users)
            progress = Progress(ledger, sealer)
            print(f"{users * len(CATEGORIES):,} units: median and 95 % of looks, ms")
            for name, look in pages(progress, run_id, users, random.Random(1)):
                look()
                times: list[float] = []
                for _ in range(given.looks):
                    began = time.perf_counter()
                    look()
                    times.append((time.perf_counter() - began) * 1000)
                late = statistics.quantiles(times, n=20)[-1]
                worst = max(worst, late)
                print(f"  {name:30} {statistics.median(times):8.1f} {late:8.1f}")
            ledger.close()
    print(f"P8: the slowest page takes {worst:.0f} ms in 95 % of looks   (goal below 50)")


if __name__ == "__main__":
    main()
