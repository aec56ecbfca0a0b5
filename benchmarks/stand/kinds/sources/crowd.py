"""Any number of users of whom nothing was recovered: units without work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.items import Folder, UserId
from orchestrator.ports import Inventory, Surroundings


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Users without data."""

    users: int = 1_000
    """How many."""

    def open(self, surroundings: Surroundings) -> "CrowdSource":
        """Ready to read."""
        del surroundings
        return CrowdSource(self.users)


class CrowdSource:
    """Knows its users by their number only."""

    def __init__(self, users: int) -> None:
        self._users = users

    def inspect(self) -> Inventory:
        """Its manifest is its size."""
        return Inventory(manifest=str(self._users), newest=None)

    def users(self) -> Iterator[UserId]:
        """In the order of their ids."""
        return (UserId(f"user-{number:08}") for number in range(self._users))

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """Empty ones."""
        del category
        return (Folder(owner=owner, files=()) for owner in owners)

    def close(self) -> None:
        """Nothing is open."""


KIND = Crowd
