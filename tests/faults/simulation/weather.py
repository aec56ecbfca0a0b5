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


@dataclass
class Weather:
    """The faults of one seed."""

    rng: random.Random
    chances: dict[str, float]
    budget: int
    """So many faults at most: then it clears up."""
    until: float
    """And at this time at the latest."""
    seen: Counter[str] = field(default_factory=Counter)

    @classmethod
    def drawn(cls, rng: random.Random, *, now: float) -> "Weather":
        """A mixture: each kind is in it with even odds."""
        return cls(
            rng=rng,
            chances={
                kind: most * rng.choice((0.3, 1.0)) if rng.random() < 0.5 else 0.0
                for kind, most in KINDS.items()
            },
            budget=rng.choice((5, 20, 40)),
            until=now + rng.choice((300, 1800, 7200)),
        )

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
