"""How much processor time some processes and a server have used: what other load leaves alone.

Wall time on a machine that others use says little; this says what the work costs. Linux only: it
is read from /proc, and is 0 elsewhere.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _OWN, _WITH_REAPED = 1, slice(11, 13), slice(11, 15)


def seconds(pids: Iterable[int], *, server: int) -> float:
    """What those processes used so far, and the server with its children, past ones included."""
    wanted = set(pids)
    total = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = entry.read_text()
        except OSError:  # it ended meanwhile
            continue
        pid, fields = int(entry.parent.name), told.rpartition(")")[2].split()
        if pid == server:
            total += sum(map(int, fields[_WITH_REAPED]))
        elif pid in wanted or int(fields[_PARENT]) == server:
            total += sum(map(int, fields[_OWN]))
    return total / _TICKS


def postmaster(data: Path) -> int:
    """The process at the top of the PostgreSQL whose data lies there."""
    return int((data / "postmaster.pid").read_text().split()[0])
