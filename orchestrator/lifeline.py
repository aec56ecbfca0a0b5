"""Processes that must not outlive whoever started them, nor their time, whatever they do."""

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None)  # loaded here: between fork and exec it would be too late


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends. Linux only.

    Survives exec, not fork. Call it first in the child; safe between fork and exec.
    """
    if sys.platform == "linux":
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def die_after(seconds: float) -> None:
    """Let the kernel end this process so many seconds from now, unless called again; 0: never.

    It needs no cooperation: an endless loop ends, and a process that was frozen past its time is
    ended before it does anything more. Where SIGALRM has a handler, call `alarm_kills` first.
    """
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001) if seconds else 0.0)


def alarm_kills() -> None:
    """Give SIGALRM back its default, to end the process. For the main thread."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class Lifeline:
    """The reading end of a pipe that nobody writes to: it ends when its writer does.

    A parent that holds the writing end (`Popen(stdin=PIPE)`) need not say goodbye, even kill -9
    closes it. Works on every POSIX system.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._cut = False

    def cut(self, *, within: float) -> bool:
        """Whether the writer has gone; waits up to `within` seconds for that."""
        if not self._cut and select.select([self._descriptor], [], [], within)[0]:
            self._cut = os.read(self._descriptor, 1024) == b""
        return self._cut
