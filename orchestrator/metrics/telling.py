"""From children to whoever adds up: one datagram a batch, that nobody waits for.

A datagram is whole or not there at all, needs no lock that a killed child could keep, and where
nobody reads any more it is dropped: measuring never holds up what it measures.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from orchestrator.metrics.tally import Tally

LARGEST = 128 * 1024
Tell = Callable[[bytes], None]
"""Passes on what `Tally.take` gave."""


def nowhere(_told: bytes) -> None:
    """Nobody listens."""


class Pair:
    """Between a process and the children that it forks later, itself included."""

    def __init__(self) -> None:
        """Ready to tell; nobody listens yet."""
        self._hears, self._tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._tells.setblocking(False)

    def tell(self, told: bytes) -> None:
        """Pass it on, or drop it."""
        if 0 < len(told) <= LARGEST:
            with contextlib.suppress(OSError):
                self._tells.send(told)

    def listen(self, tally: Tally) -> None:
        """Add up, in a thread of its own, for as long as the process lives."""
        _listen(self._hears, tally)

    def close(self) -> None:
        """Tell and hear nothing more."""
        self._tells.close()
        self._hears.close()


class Post:
    """Between processes that know the same path."""

    def __init__(self, path: Path) -> None:
        """Whoever listens has to `listen` first."""
        self._path = path
        self._own: tuple[int, socket.socket] | None = None

    def tell(self, told: bytes) -> None:
        """Pass it on, or drop it."""
        if not 0 < len(told) <= LARGEST:
            return
        with contextlib.suppress(OSError):
            if self._own is None or self._own[0] != os.getpid():
                made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                made.setblocking(False)
                self._own = (os.getpid(), made)
            self._own[1].sendto(told, str(self._path))

    def close(self) -> None:
        """Let go of this process's own end."""
        if self._own is not None:
            self._own[1].close()
        self._own = None

    def listen(self, tally: Tally) -> None:
        """Add up, in a thread of its own; takes the place of whoever listened there before."""
        self._path.unlink(missing_ok=True)
        hears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        hears.bind(str(self._path))
        self._path.chmod(0o600)
        _listen(hears, tally)


def _listen(hears: socket.socket, tally: Tally) -> None:
    def hear() -> None:
        while True:
            try:
                tally.add(hears.recv(LARGEST))
            except OSError:
                return

    threading.Thread(target=hear, name="metrics", daemon=True).start()
