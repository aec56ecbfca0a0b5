"""Which solo workers have a job, and since when: a file named after the process, in a folder.

Only on a broker of files. There, no main process watches over the one that works, so the engine
has to find by itself who hangs.
"""

import os
import time
from pathlib import Path


def begin(spool: Path) -> None:
    """This process has a job from now on."""
    _mark(spool, os.getpid()).touch()


def end(spool: Path, pid: int | None = None) -> None:
    """The process (this one) has no job any more."""
    _mark(spool, os.getpid() if pid is None else pid).unlink(missing_ok=True)


def overdue(spool: Path, *, older_than: float) -> list[int]:
    """Processes that have had one job for more than so many seconds, in order."""
    found: list[int] = []
    for mark in (spool / "busy").iterdir():
        try:
            age = time.time() - mark.stat().st_mtime
        except FileNotFoundError:
            continue
        if mark.name.isdigit() and age > older_than:
            found.append(int(mark.name))
    return sorted(found)


def _mark(spool: Path, pid: int) -> Path:
    return spool / "busy" / str(pid)
