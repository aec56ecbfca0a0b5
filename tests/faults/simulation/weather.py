"""What can go wrong in one simulation, and how often: drawn from its seed.

Not everything at once: each seed has its own mixture (swarm testing), so that rare combinations
are not drowned by common faults.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

KINDS = {
    "kill": 0.03,
    "stall": 0.03,
    "ledger-away": 0.03,
    "commit-unanswered": 0.04,
    "target-away": 0.05,
    "source-away": 0.03,
    "unknown-applied": 0.2,
    "unknown-not-applied": 0.2,
    "conflict": 0.15,
    "altered": 0.08,
    "refused": 0.04,
    "lost-write": 0.2,
    "ring-lost": 0.2,
    "ring-repeated": 0.2,
    "ring-late": 0.2,
    "ring-forged": 0.1,
    "broker-away": 0.05,
    "broker-wiped": 0.03,
}
"""Every kind of fault with its greatest chance at one opportunity."""
JUMPS = (-3600.0, -90.0, 90.0, 3600.0)
"""Seconds by which the ledger's clock may be set, from one look at it to the next."""


@dataclass
class Weather:
    """The faults of one seed."""

    rng: random.Random
    chances: dict[str, float]
    budget: int
    """So many faults at most: then it clears up."""
    until: float
    """And at this time at the latest."""
    clock: random.Random
    """Sets the ledger's clock. Draws of its own: in all else a seed stays the story that it was."""
    clock_chance: float
    seen: Counter[str] = field(default_factory=Counter)

    @classmethod
    def drawn(cls, rng: random.Random, *, seed: int, now: float) -> "Weather":
        """A mixture: each kind is in it with even odds, a clock that jumps in three of ten."""
        clock = random.Random(f"jumps {seed}")
        return cls(
            clock=clock,
            clock_chance=0.05 if clock.random() < 0.3 else 0.0,
            rng=rng,
            chances={
                kind: most * rng.choice((0.3, 1.0)) if rng.random() < 0.5 else 0.0
                for kind, most in KINDS.items()
            },
            budget=rng.choice((5, 20, 40)),
            until=now + rng.choice((300, 1800, 7200)),
        )

    def clock_jump(self, *, now: float) -> float:
        """By how much the ledger's clock is set now; mostly not at all."""
        if not self.clock_chance or now >= self.until or self.faults >= self.budget:
            return 0.0
        if self.clock.random() >= self.clock_chance:
            return 0.0
        self.seen["clock-jump"] += 1
        return self.clock.choice(JUMPS)

    @property
    def faults(self) -> int:
        """How many there have been."""
        return sum(self.seen.values())

    def strikes(self, kind: str, *, now: float) -> bool:
        """Whether it happens this time."""
        chance = self.chances[kind]
        if not chance or now >= self.until or self.faults >= self.budget:
            return False
        if self.rng.random() >= chance:
            return False
        self.seen[kind] += 1
        return True
