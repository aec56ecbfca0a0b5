"""P11: how long work rests after a crash, in leases; nothing may be lost, nothing be there twice.

    python benchmarks/recovery.py [--lease 4] [--rounds 2]

Against a real installation on PostgreSQL and Redis: two workers of two processes each restore
contacts, held to a steady rate. Measured each time, from the fault to the moment at which

- every batch that a killed worker held is handed out again;
- units are settled again after Redis was wiped, or killed and started again;
- units are settled again after PostgreSQL crashed and came back.

The target is recounted from its files at the end.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.stand import figures
from orchestrator.audit import audit
from orchestrator.lifecycle import BatchState
from tests.faults.breakable import Breakable
from tests.faults.cargo import CONTACTS, Cargo
from tests.faults.installation import Installation

USERS = 10_000
RATE = 100
SLOWLY = CONTACTS.replace("pim}", f"pim, limits: {{rate: {RATE}/s}}}}")


def seconds_until(here: Installation, condition: Callable[[], object], began: float) -> float:
    here.until(condition)
    return time.monotonic() - began


def killed_worker(here: Installation, _run: str, _: Breakable) -> float:
    """The worker is not started again until its work is back with others."""
    worker = here.processes.pop("worker1")
    here.until(lambda: _held_by(here, set(worker.children())))
    gone = set(worker.children())
    lost = _held_by(here, gone)
    worker.kill()
    began = time.monotonic()

    def back() -> bool:
        """Nothing of it is with the dead, or waits to be handed out."""
        ready = {number for number, _, _ in here.batches(BatchState.READY)}
        held = {number for number, _ in _held_by(here, gone)}
        return not {number for number, _ in lost} & (held | ready)

    took = seconds_until(here, back, began)
    here.worker("worker1")
    return took


def _held_by(here: Installation, children: set[int]) -> set[tuple[int, int]]:
    return {
        (number, epoch)
        for number, epoch, holder in here.batches(BatchState.RUNNING)
        if int(holder.split(":")[1]) in children
    }


def wiped_redis(here: Installation, run: str, _: Breakable) -> float:
    with here.redis.client() as client:
        client.flushall()
    return _settles(here, run)


def killed_redis(here: Installation, run: str, _: Breakable) -> float:
    here.redis.signal(signal.SIGKILL)
    here.redis.start()
    return _settles(here, run)


def crashed_postgresql(here: Installation, run: str, postgres: Breakable) -> float:
    here.ledger.close()
    postgres.crash()
    postgres.come_back()
    return _settles(here, run)


def _settles(here: Installation, run: str) -> float:
    """Until the units that were in nobody's hand move: two batches for each process."""
    began = time.monotonic()
    before = here.settled(run)
    here.until(lambda: here.settled(run) > before)
    return time.monotonic() - began


FAULTS = (killed_worker, wiped_redis, killed_redis, crashed_postgresql)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lease", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    took: dict[str, list[float]] = {fault.__name__: [] for fault in FAULTS}
    postgres = Breakable()
    try:
        with postgres.connect() as connection:
            connection.execute("CREATE DATABASE ledger")
        with tempfile.TemporaryDirectory() as folder:
            cargo = Cargo(Path(folder, "cargo"), users=USERS, items=1, phases=SLOWLY)
            with Installation(
                Path(folder, "home"),
                ledger_url=postgres.url("ledger"),
                lease_seconds=options.lease,
            ) as here:
                here.start(workers=2)
                run = here.submit(cargo.plan, cargo.folder)
                here.until(lambda: here.settled(run))
                for _ in range(options.rounds):
                    for fault in FAULTS:
                        took[fault.__name__].append(fault(here, run, postgres))
                        print(
                            f"{fault.__name__}: {took[fault.__name__][-1]:.2f} s", file=sys.stderr
                        )
                        time.sleep(options.lease)
                left = cargo.units - here.settled(run)
                here.finish(run, seconds=300)
                wrongs = [*cargo.wrongs(), *audit(here.ledger, run)]
    finally:
        postgres.stop()
    print(figures.machine())
    print(figures.versions())
    print(f"P11: from fault to work, lease {options.lease} s")
    for name, times in took.items():
        worst = max(times)
        print(
            f"  {name.replace('_', ' '):20} median {statistics.median(times):5.2f} s,"
            f" worst {worst:5.2f} s = {worst / options.lease:.2f} leases (goal < 2)"
        )
    print(f"  {cargo.units} units, {left} left at the last fault; lost or twice: {len(wrongs)}")
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
