"""A doorbell that loses, repeats, delays, reorders and forges rings, and is wiped now and then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import Unavailable
from orchestrator.ledger.leases import Ring
from tests.faults.simulation.schedule import Schedule
from tests.faults.simulation.weather import Weather


@dataclass
class Broker:
    """One for the whole simulated service; outlives every conductor and worker."""

    schedule: Schedule
    weather: Weather
    wake: Callable[[float], None]
    """Told when a message can be taken."""
    messages: list[tuple[float, float, Ring]] = field(default_factory=list)
    """Due from, expires at, ring."""

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        """Publish, as well as the weather lets it."""
        strikes = self._strikes
        half = len(rings) // 2 if strikes("broker-away") else None
        for ring in rings[:half]:
            if strikes("ring-lost"):
                continue
            self._put(ring, expires)
            if strikes("ring-repeated"):
                self._put(ring, expires)
            if strikes("ring-forged"):
                shift = self.schedule.rng.choice((-1, 1, 2))
                self._put(Ring(batch=ring.batch, epoch=ring.epoch + shift), expires)
                self._put(Ring(batch=ring.batch + 1000, epoch=ring.epoch), expires)
        if strikes("broker-wiped"):
            self.messages.clear()
        if half is not None:
            raise Unavailable("the broker did not take a message", retry_in=1.0)

    def take(self) -> Ring | None:
        """A message that can be had now, in no order."""
        now = self.schedule.now
        self.messages = [message for message in self.messages if message[1] > now]
        due = [message for message in self.messages if message[0] <= now]
        if not due:
            return None
        message = self.schedule.rng.choice(due)
        self.messages.remove(message)
        return message[2]

    def next_due(self) -> float:
        """When there will be one, as it stands."""
        return min((due for due, _, _ in self.messages), default=float("inf"))

    def close(self) -> None:
        """Messages stay: they are not the conductor's."""

    def _put(self, ring: Ring, expires: float) -> None:
        rng, now = self.schedule.rng, self.schedule.now
        late = self._strikes("ring-late")
        due = now + (rng.random() * 3 * expires if late else rng.random() * 0.2)
        # A message that comes after it expired: clocks of brokers and workers differ.
        self.messages.append((due, max(now + expires, due + 1), ring))
        self.wake(due)

    def _strikes(self, kind: str) -> bool:
        return self.weather.strikes(kind, now=self.schedule.now)
