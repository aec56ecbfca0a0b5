"""What an inspection has seen so far: adds up to an `Inventory`, in bounded memory."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from msgspec import msgpack

from orchestrator.ports import Inventory, Unowned

Fact = bytes | str | int | float | None

_WRAP = 1 << 256


@dataclass(slots=True, kw_only=True)
class Inspection:
    """Collects pieces of material in any order; the same pieces give the same manifest."""

    total: int = 0
    """The sum of the hashes of all pieces: a database need not sort millions of rows for us."""
    pieces: int = 0
    newest: datetime | None = None
    unowned: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """By the reason why, how many files and bytes."""
    notes: list[str] = field(default_factory=list[str])

    def piece(self, *facts: Fact) -> None:
        """One file or row, by everything that changes when it does."""
        digest = sha256(msgpack.encode(facts)).digest()
        self.total = (self.total + int.from_bytes(digest, "big")) % _WRAP
        self.pieces += 1

    def dated(self, when: datetime | None) -> None:
        """Something last changed at that time."""
        if when is not None and (self.newest is None or when > self.newest):
            self.newest = when

    def stray(self, why: str, size: int, *, files: int = 1) -> None:
        """Bytes that belong to no user or no category."""
        before = self.unowned.get(why, (0, 0))
        self.unowned[why] = (before[0] + files, before[1] + size)

    def note(self, sentence: str) -> None:
        """Something an operator should know. No user ids, no content."""
        self.notes.append(sentence)

    def include(self, other: "Inspection") -> None:
        """Add everything that another inspection has seen."""
        self.total = (self.total + other.total) % _WRAP
        self.pieces += other.pieces
        self.dated(other.newest)
        for why, (files, size) in other.unowned.items():
            self.stray(why, size, files=files)
        self.notes.extend(other.notes)

    def strays(self) -> tuple[int, int]:
        """How many stray files there were so far, and their bytes."""
        return (
            sum(files for files, _ in self.unowned.values()),
            sum(size for _, size in self.unowned.values()),
        )

    def inventory(self) -> Inventory:
        """All of it."""
        manifest = sha256(self.total.to_bytes(32, "big") + self.pieces.to_bytes(8, "big"))
        return Inventory(
            manifest=manifest.hexdigest(),
            newest=self.newest,
            notes=tuple(self.notes),
            unowned=tuple(
                Unowned(why=why, files=files, size=size)
                for why, (files, size) in sorted(self.unowned.items())
            ),
        )
