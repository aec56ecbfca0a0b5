"""What an inspection has seen so far: adds up to an `Inventory`, in bounded memory."""

from datetime import datetime
from hashlib import sha256

from msgspec import msgpack

from orchestrator.ports import Inventory, Unowned

Fact = bytes | str | int | float | None

_WRAP = 1 << 256


class Inspection:
    """Collects pieces of material in any order; the same pieces give the same manifest."""

    def __init__(self) -> None:
        self._sum = 0
        self._pieces = 0
        self._newest: datetime | None = None
        self._unowned: dict[str, tuple[int, int]] = {}
        self._notes: list[str] = []

    def piece(self, *facts: Fact) -> None:
        """One file or row, by everything that changes when it does.

        Pieces are added up, not chained: a database needs not sort millions of rows for us.
        """
        digest = sha256(msgpack.encode(facts)).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _WRAP
        self._pieces += 1

    def dated(self, when: datetime | None) -> None:
        """Something last changed at that time."""
        if when is not None and (self._newest is None or when > self._newest):
            self._newest = when

    def stray(self, why: str, size: int, *, files: int = 1) -> None:
        """Bytes that belong to no user or no category."""
        before = self._unowned.get(why, (0, 0))
        self._unowned[why] = (before[0] + files, before[1] + size)

    def note(self, sentence: str) -> None:
        """Something an operator should know. No user ids, no content."""
        self._notes.append(sentence)

    def strays(self) -> tuple[int, int]:
        """How many stray files there were so far, and their bytes."""
        return (
            sum(files for files, _ in self._unowned.values()),
            sum(size for _, size in self._unowned.values()),
        )

    def inventory(self) -> Inventory:
        """All of it."""
        total = sha256(self._sum.to_bytes(32, "big") + self._pieces.to_bytes(8, "big"))
        return Inventory(
            manifest=total.hexdigest(),
            newest=self._newest,
            notes=tuple(self._notes),
            unowned=tuple(
                Unowned(why=why, files=files, size=size)
                for why, (files, size) in sorted(self._unowned.items())
            ),
        )
