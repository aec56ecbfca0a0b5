"""Looks at a run again and again: a server tells by its events, this machine is asked each time.

Where events do not come, the server is asked, too; where it is away, the last look stands for a
while. A look can be a moment old: what ends a wait after a change of our own is looked at again
when `sure`.
"""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import msgspec
from msgspec import structs

from orchestrator.client.asking import Client, Lines
from orchestrator.client.event_stream import events_of
from orchestrator.errors import ReinstateError, Unavailable
from orchestrator.run_standing import Status

FRESH = 2.0
"""After so many seconds a look shows what was changed before them, whichever process answers."""
PATIENCE = 120.0
"""A server may be away for so long before whoever watches gives up."""
AGAIN = 2.0
ASKED_EVERY = 1.0
"""How often a server is asked whose events do not come."""
HANGING_UP = 2.0
AWAY = "the server does not answer; it is asked again"


class Following:
    """Looks at one run, as cheaply as can be."""

    def __init__(
        self, asked: Client, run: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._asked = asked
        self._run = run
        self._clock = clock
        self._latest: Status | None = None
        self._seen = 0.0
        self._told = False
        self._stop = threading.Event()
        self._lines: Lines | None = None
        self._sure_at = 0.0

    @property
    def sure(self) -> bool:
        """Whether a look shows what we changed ourselves."""
        return self._clock() >= self._sure_at

    @property
    def stalled(self) -> str:
        """Why nothing moved at the last look."""
        return "" if self._latest is None else self._latest.stalled

    def moved(self) -> None:
        """We just changed the run."""
        if self._asked.remote:
            self._sure_at = self._clock() + FRESH

    def look(self) -> Status:
        """The run as it stands. Raises `Unavailable` where nobody has answered for long."""
        if not self._asked.remote:
            self._latest = self._asked.status(self._run)
            return self._latest
        age = self._clock() - self._seen
        if self._latest is None or (not self._told and age >= ASKED_EVERY):
            try:
                self._note(self._asked.status(self._run))
            except Unavailable:
                if self._latest is None or age > PATIENCE:
                    raise
                return structs.replace(self._latest, stalled=AWAY)
        latest = self._latest
        assert latest is not None  # noqa: S101  it was just asked for
        if latest.elapsed is None or latest.over:
            return latest
        return structs.replace(latest, elapsed=latest.elapsed + self._clock() - self._seen)

    def listen(self) -> None:
        """In a thread: take what the server tells, until `stop`."""
        last = ""
        while not self._stop.is_set():
            try:
                with self._asked.events(f"/runs/{self._run}/events", last_event=last) as lines:
                    self._lines = lines
                    for event in events_of(lines):
                        last = event.number or last
                        if event.name == "run":
                            self._note(msgspec.json.decode(event.data, type=Status))
                        self._told = True
                        if self._stop.is_set():
                            return
            except (ReinstateError, msgspec.DecodeError):
                pass  # whoever looks asks for it meanwhile, and is told what is wrong
            self._told = False
            self._stop.wait(AGAIN)

    def stop(self) -> None:
        """Nobody looks any more."""
        self._stop.set()
        if self._lines is not None:
            self._lines.hang_up()

    def _note(self, status: Status) -> None:
        self._latest, self._seen = status, self._clock()


@contextmanager
def following(asked: Client, run: str) -> Generator[Following]:
    """Somebody who looks at a run for as long as the block lasts."""
    found = Following(asked, run)
    if not asked.remote:
        yield found
        return
    listener = threading.Thread(target=found.listen, daemon=True, name="events")
    listener.start()
    try:
        yield found
    finally:
        found.stop()
        listener.join(HANGING_UP)
