"""CPU seconds of processes and of everything below them, ended children included.

Where others are at work on the machine, this moves less than any time by the clock.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

Spent = dict[str, float]
"""CPU seconds, user and system, by what the processes are for."""
_TICKS = os.sysconf("SC_CLK_TCK")


def spent(roots: Mapping[str, list[int]]) -> Spent:
    """By name, what these processes and all below them used so far."""
    used: dict[int, float] = {}
    below: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it ended meanwhile
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        used[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS  # its own, its waited-for's
        below[int(fields[1])].append(int(entry.name))

    def whole(pid: int) -> float:
        return used.get(pid, 0.0) + sum(whole(child) for child in below[pid])

    return {name: sum(whole(pid) for pid in pids) for name, pids in roots.items()}


def since(before: Spent, after: Spent) -> Spent:
    """What was used between the two."""
    return {name: after[name] - before[name] for name in after}


def per_unit(used: Spent, units: int) -> str:
    """`workers 20.1, conductor 8.5 = 28.6 µs`: the CPU time of one unit."""
    parts = ", ".join(f"{name} {value / units * 1e6:.1f}" for name, value in used.items())
    return f"{parts} = {sum(used.values()) / units * 1e6:.1f} µs"
