"""P7, P12: what a tick of the conductor costs as a run grows; each category follows its user's.

    python benchmarks/conducting.py [--users 10000 100000] [--batch-users 20] [--ticks 40]

Expands runs of 6 categories (`--batch-users 20` makes 60,000 batches of 1,000,000 users) and lets
the real conductor work on them. What it hands out is ended at once, by two statements, so that
nothing but the conductor is measured: ticks that hand out 256 batches, and ticks that find every
place taken.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select, text

from benchmarks.stand import figures, servers
from orchestrator.conductor import Conductor
from orchestrator.ledger import expansion
from orchestrator.ledger.database import Ledger, insert_all
from orchestrator.ledger.leases import Ring
from orchestrator.ledger.schema import batch, run_user
from orchestrator.planner import read_plan
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.submitting import Submission

CATEGORIES = ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")
PLAN = """
version: 1
name: conducting
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory}}
targets: {live: {kind: memory}}
waves: [{name: canary, users: 20}, {name: everyone}]
phases: [PHASES]
"""
WINDOW = 256
ENDED = """
WITH ended AS (
  UPDATE batch SET state = 'done', lease_until = 0 WHERE state = 'dispatched'
  RETURNING run, phase, wave, last - first + 1 AS users
)
INSERT INTO counter (run, phase, wave, slot, settled)
SELECT run, phase, wave, 0, sum(users) FROM ended GROUP BY 1, 2, 3
ON CONFLICT (run, phase, wave, slot) DO UPDATE SET settled = counter.settled + excluded.settled
"""


class Silent:
    """A doorbell that nobody hears."""

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def begun(ledger: Ledger, users: int, usual: int) -> str:
    """A run of so many users that is running; its id."""
    phases = ", ".join(f"{{restore: {category}, to: live, scope: user}}" for category in CATEGORIES)
    written = PLAN.replace("PHASES", phases)
    plan = read_plan(written.encode(), path="plan.yaml", base=Path())
    run_id = Runs(ledger, Sealer(bytes(32))).submit(
        Submission(plan=plan, text=written, folder="/", author="benchmark")
    )
    with ledger.begin() as connection:
        names = ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous")
        rows = (
            (run_id, number, int(number >= 20), number.to_bytes(16, "big"), b"s" * 45, False)
            for number in range(users)
        )
        insert_all(connection, run_user, names, rows)
        expansion.expand(connection, run_id, categories=CATEGORIES, batch_users=usual)
        connection.execute(text("UPDATE run SET state = 'running', progressed_at = 0"))
    return run_id


def measured(ledger: Ledger, users: int, usual: int, ticks: int) -> None:
    """Print what ticks cost."""
    run_id = begun(ledger, users, usual)
    with ledger.read() as connection:
        batches = connection.execute(select(func.count()).select_from(batch)).scalar_one()
    conductor = Conductor(ledger, Silent(), name="benchmark", window=WINDOW)
    found: dict[str, list[float]] = {"handing out": [], "waiting": []}
    for turn in range(ticks + 3):
        for name, times in found.items():
            began = time.perf_counter()
            conductor.tick()
            if turn > 3:
                times.append((time.perf_counter() - began) * 1000)
            del name
        with ledger.begin() as connection:
            connection.execute(text(ENDED))
    print(f"{users:,} users, {batches:,} batches: ms a tick")
    for name, times in found.items():
        print(f"  {name:12} {figures.spread(times)}")
    del run_id


def main() -> None:
    """Measure at each size."""
    read = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    read.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000])
    read.add_argument("--batch-users", type=int, default=20)
    read.add_argument("--ticks", type=int, default=40)
    given = read.parse_args()
    print(figures.machine())
    print(figures.versions())
    for users in given.users:
        with servers.postgres() as server, servers.database(server, "bench") as url:
            ledger = Ledger(url)
            ledger.prepare()
            measured(ledger, users, given.batch_users, given.ticks)
            ledger.close()


if __name__ == "__main__":
    main()
