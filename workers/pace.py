"""Holds a phase to what its plan allows its target: items and bytes a second, over all workers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from orchestrator.ledger.leases import Batch
from orchestrator.ledger.pressure import reserve
from orchestrator.plan import Limits
from workers.workplace import Workplace

BEAT_SECONDS = 0.5
FIRST_STRIDE: Final = 200
"""Items that a target gets at once while nobody knows how fast it is."""
_SHARE: Final = 0.125
"""Of a lease, for which a target may keep a worker from its heartbeat."""

T = TypeVar("T")


class Stride:
    """Gives a target so much at once that it is done in time for a heartbeat.

    A worker that does not beat for a lease is taken for dead and ends itself; a slow server needs
    longer than that for a chunk.
    """

    def __init__(self, work: Workplace, beat: Callable[[], None]) -> None:
        self._work = work
        self._beat = beat
        self._rate: float | None = None
        """Items a second, of the slowest portion so far."""

    def portions(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """The items in order, some at a time; between two portions beats the heart."""
        seconds = self._work.lease_ms / 1000 * _SHARE
        at = 0
        while at < len(items):
            rate = self._rate
            most = FIRST_STRIDE if rate is None else max(1, int(min(rate * seconds, len(items))))
            portion = items[at : at + most]
            began = self._work.monotonic()
            yield portion
            spent = self._work.monotonic() - began
            told = len(portion) / spent if spent > 0 else float("inf")
            self._rate = told if rate is None else min(told, rate * 2)
            at += len(portion)
            self._beat()


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
