"""Simulates seeds until told to stop: `python -m tests.faults.simulation 0..2000`.

make simulate                 500 seeds that nobody has tried, on every core
make simulate SEEDS=0..2000   these
make simulate SEED=17         one, with its whole history
"""

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.faults.simulation.report import Report, simulate


def main(arguments: Sequence[str]) -> int:
    """Simulate and sum up; 1 where a guarantee was broken."""
    said = arguments[0] if arguments else ""
    if said and ".." not in said:
        report = simulate(int(said))
        _say(*report.lines())
        _sum_up([report], began=time.monotonic())
        return int(bool(report.violations))
    first = random.SystemRandom().randrange(10_000, 1_000_000)
    first, last = map(int, said.split("..")) if said else (first, first + 500)
    began = time.monotonic()
    reports: list[Report] = []
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for report in pool.imap_unordered(simulate, range(first, last), chunksize=4):
            reports.append(report)
            for violation in report.violations:
                _say(f"seed {report.seed}: {violation}")
            if len(reports) % 50 == 0:
                _say(f"{len(reports)} of {last - first} seeds")
    _sum_up(reports, began=began)
    return int(any(report.violations for report in reports))


def _sum_up(reports: Sequence[Report], *, began: float) -> None:
    faults: Counter[str] = Counter()
    for report in reports:
        faults.update(report.faults)
    broken = [report.seed for report in reports if report.violations]
    _say(
        f"{len(reports)} seeds, {sum(report.hours for report in reports):.0f} simulated hours, "
        f"{sum(report.steps for report in reports)} yield points, {faults.total()} faults, "
        f"{faults['kill']} crashes, {len(broken)} seeds with violations, "
        f"{time.monotonic() - began:.0f} s"
    )
    _say("faults: " + ", ".join(f"{kind} {number}" for kind, number in faults.most_common()))
    if broken:
        _say("again, with its history: make simulate SEED=" + str(broken[0]))


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
