"""What was just asked is not asked again: who a token is of, that a run exists, how it stands.

Hundreds of people look at the same run at once. What they see is at most `STATUS_SECONDS` old, and
a token that was revoked through another process works for `CALLER_SECONDS` at most; through this
one it ends at once. Decisions (If-Match, approvals) never come from here.
"""

import threading
import time
from collections.abc import Callable

from orchestrator.identity.roles import Caller
from orchestrator.progress import Progress
from orchestrator.run_standing import Status

STATUS_SECONDS = 0.5
CALLER_SECONDS = 2.0
MOST = 10_000


class Recent:
    """Shared by the threads of one process."""

    def __init__(
        self,
        progress: Progress,
        *,
        status_seconds: float = STATUS_SECONDS,
        caller_seconds: float = CALLER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._status_seconds = status_seconds
        self._caller_seconds = caller_seconds
        self._clock = clock
        self._callers: dict[str, tuple[float, Caller]] = {}
        self._statuses: dict[str, tuple[float, Status]] = {}
        self._runs: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}

    def caller(self, secret: str) -> Caller | None:
        """Whoever this token or session was of just now."""
        found = self._callers.get(secret)
        return found[1] if found is not None and found[0] > self._clock() else None

    def remember(self, secret: str, caller: Caller) -> None:
        """It was looked up just now."""
        if len(self._callers) >= MOST:
            self._callers.clear()
        self._callers[secret] = (self._clock() + self._caller_seconds, caller)

    def forget_callers(self) -> None:
        """A token or session ended."""
        self._callers.clear()

    def require(self, run_id: str) -> None:
        """Raises `NotFound` where there is no such run. Runs never go away."""
        if run_id not in self._runs:
            self._progress.state(run_id)
            self._runs.add(run_id)

    def status(self, run_id: str) -> Status:
        """The run as it stands, or stood a moment ago. Many who ask at once ask the ledger once."""
        self.require(run_id)
        lock = self._locks.setdefault(run_id, threading.Lock())
        with lock:
            found = self._statuses.get(run_id)
            if found is None or found[0] <= self._clock():
                if len(self._statuses) >= MOST:
                    self._statuses.clear()
                status = self._progress.status(run_id)
                found = (self._clock() + self._status_seconds, status)
                self._statuses[run_id] = found
        return found[1]

    def changed(self, run_id: str) -> Status:
        """The run as it stands now, for whoever just changed it and for all who ask next."""
        self._statuses.pop(run_id, None)
        return self.status(run_id)
