"""A few users whose answers are worth reading, picked from the truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plans.sample.truth import GroundTruth, TrueItem


def worth_reading(truth: GroundTruth) -> Mapping[str, str]:
    """Four users, each with why: all came back, some is lost, much was repaired, erased."""
    special = {*truth.erased, *truth.ambiguous}
    tallies = {user: _Tally() for user in truth.users if user not in special}
    for item in truth.items:
        if item.user in tallies:
            tallies[item.user].take(item)
    orders: Sequence[tuple[str, Callable[[_Tally], tuple[int, int]]]] = (
        ("everything came back", lambda tally: (-tally.lost, tally.restored)),
        ("some is gone, and it can be said what and why", lambda tally: (tally.lost, tally.broken)),
        (
            "copies that were damaged could be repaired",
            lambda tally: (tally.mended - 3 * tally.lost, tally.restored),
        ),
    )
    told: dict[str, str] = {}
    for why, order in orders:
        user = max((user for user in tallies if user not in told), key=lambda u: order(tallies[u]))
        told[user] = why
    return {**told, truth.erased[0]: "asked to be erased, and stays so"}


@dataclass(slots=True)
class _Tally:
    """What became of one user's items."""

    restored: int = 0
    lost: int = 0
    broken: int = 0
    mended: int = 0

    def take(self, item: TrueItem) -> None:
        """Count one item."""
        copies = item.copies
        self.restored += item.fate == "restored"
        self.lost += item.fate == "lost"
        self.broken += sum(1 for copy in copies if not copy.whole)
        self.mended += item.fate == "restored" and all(c.damage and c.mends for c in copies)
