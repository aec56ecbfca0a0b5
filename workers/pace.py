"""Holds a phase to what its plan allows its target: items and bytes a second."""

from collections.abc import Callable

from orchestrator.plan import Limits

BEAT_SECONDS = 0.5


class Throttle:
    """Spends one worker's share of the limits; waits when it is used up.

    `share`: so many workers divide them evenly. A burst of one second is allowed.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        share: int,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._rates = (
            limits.rate / share if limits.rate else None,
            limits.bytes / share if limits.bytes else None,
        )
        self._free_at = [monotonic()] * 2
        self._monotonic = monotonic
        self._sleep = sleep

    def wait(self, *, items: int, size: int, beat: Callable[[], None]) -> None:
        """Wait until so much may be written, then count it as spent; `beat` while waiting."""
        now = self._monotonic()
        longest = 0.0
        for index, (rate, amount) in enumerate(zip(self._rates, (items, size), strict=True)):
            if rate is None:
                continue
            longest = max(longest, self._free_at[index] - now)
            self._free_at[index] = max(self._free_at[index], now) + amount / rate
        while longest > 0:
            self._sleep(min(longest, BEAT_SECONDS))
            longest -= BEAT_SECONDS
            beat()
