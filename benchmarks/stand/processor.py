"""How much processor time some processes and a server have used: what other load leaves alone.

Wall time on a machine that others use says little; this says what the work costs. Linux only: it
is read from /proc, and is 0 elsewhere.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USED = 1, slice(11, 15)


def ours(*servers: int) -> float:
    """What this process, those servers and all that descend from them used so far."""
    return seconds([os.getpid(), *servers])


def seconds(pids: Iterable[int]) -> float:
    """What those processes and all that descend from them used so far.

    Descendants that ended are in it once their parent has waited for them.
    """
    told: dict[int, list[str]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            told[int(entry.parent.name)] = entry.read_text().rpartition(")")[2].split()
    counted = {*pids} & told.keys()
    while more := {pid for pid, one in told.items() if int(one[_PARENT]) in counted} - counted:
        counted |= more
    return sum(int(ticks) for pid in counted for ticks in told[pid][_USED]) / _TICKS


def postmaster(data: Path) -> int:
    """The process at the top of the PostgreSQL whose data lies there."""
    return int((data / "postmaster.pid").read_text().split()[0])
