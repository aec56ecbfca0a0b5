"""Tells workers that cannot get work from those that have none: by the ledger, not by asking.

A consumer that got stuck after the broker came back looks as alive as any other.
"""

LEASES_WITHOUT_A_CLAIM = 3
CALM_SECONDS = 5.0
"""So long nothing has to be dispatched until that counts as having nothing to do."""


class Hunger:
    """Since when messages have gone out and nobody has taken one."""

    def __init__(self, *, patience: float) -> None:
        """`patience` in seconds."""
        self._patience = patience
        self._since: float | None = None
        self._calm: float | None = None

    def stuck(self, *, dispatched: int, running: int, now: float) -> bool:
        """Whether it has lasted too long. Says so once, then counts anew."""
        if dispatched:
            self._calm = None
        elif self._calm is None:
            self._calm = now
        if running or (self._calm is not None and now - self._calm > CALM_SECONDS):
            self._since = None
        elif self._since is None and dispatched:
            self._since = now
        if self._since is None or now - self._since <= self._patience:
            return False
        self._since = None
        return True
