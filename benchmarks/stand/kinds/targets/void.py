"""A live system that holds nothing and is given nothing: whatever is written is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.items import Ident, Media, UserId
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)


@dataclass(frozen=True, kw_only=True)
class Void:
    """Nowhere."""

    def open(self, surroundings: Surroundings) -> "VoidTarget":
        """Ready."""
        del surroundings
        return VoidTarget()


class VoidTarget:
    """Answers every question at once."""

    def identity(self, category: str) -> str:
        """The same everywhere."""
        del category
        return "void"

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """As able as a target can be."""
        del categories
        return Capabilities(create_only=True, compare_and_set=True, tombstones=True)

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The ident."""
        del category, media
        return str(ident)

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Nothing."""
        del category, owners
        return iter(())

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """Nothing."""
        del category
        return [None] * len(places)

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Refused."""
        del category
        return [Written(fate=Fate.REFUSED, detail="void")] * len(writes)

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """There is nothing to take away."""
        del category
        return [Written(fate=Fate.CONFLICT, detail="void")] * len(removals)

    def close(self) -> None:
        """Nothing is open."""


KIND = Void
