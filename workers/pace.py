"""Holds a phase to what its plan allows its target: items and bytes a second, over all workers."""

from collections.abc import Callable

from orchestrator.ledger.leases import Batch
from orchestrator.ledger.pressure import reserve
from orchestrator.plan import Limits
from workers.workplace import Workplace

BEAT_SECONDS = 0.5


class Throttle:
    """Takes what is written out of the phase's allowance; waits while others' share is due.

    The allowance is a row of the ledger, so the limits hold however many workers there are and
    wherever they run. What is asked for at once is written at once, which is why nobody should ask
    for more than `most_items` and `most_bytes`, about a second's worth.
    """

    def __init__(self, work: Workplace, held: Batch, limits: Limits) -> None:
        self._work = work
        self._held = held
        self._limits = limits

    def most_items(self, wanted: int) -> int:
        """As many items as may be written at once, `wanted` at most."""
        rate = self._limits.rate
        return wanted if rate is None else max(1, min(wanted, int(rate)))

    def most_bytes(self, wanted: int) -> int:
        """As many bytes as may be written at once, `wanted` at most."""
        rate = self._limits.bytes
        return wanted if rate is None else max(1, min(wanted, rate))

    def wait(self, *, items: int, size: int, beat: Callable[[], None]) -> None:
        """Count it as spent, and wait until it may be written; `beat` while waiting."""
        costs: dict[str, float] = {}
        if self._limits.rate:
            costs["items"] = 1000 * items / self._limits.rate
        if self._limits.bytes:
            costs["bytes"] = 1000 * size / self._limits.bytes
        if not costs:
            return
        work = self._work
        with work.ledger.begin() as connection:
            now = work.ledger.clock(connection)
            longest = reserve(connection, self._held, costs, now=now)
        while longest > 0:
            work.sleep(min(longest, BEAT_SECONDS))
            longest -= BEAT_SECONDS
            beat()
