"""What became of each item of a unit, kept encoded as it is noted: some 60 bytes an item."""

import msgspec
from msgspec import Struct

from orchestrator.books import Outcome


class Line(Struct, frozen=True, array_like=True, gc=False):
    """What became of one item."""

    ident: str
    outcome: Outcome
    note: str = ""
    source: str = ""
    repairs: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    reason: str = ""
    origins: str = ""
    """Of what was merged: which fields came from where."""


RECENT = 1000
"""So many lines are encoded together."""
_encode = msgspec.msgpack.Encoder().encode
_SHORT, _MIDDLE = 16, 1 << 16


class Account:
    """Lines in the order in which they came."""

    def __init__(self) -> None:
        self._recent: list[Line] = []
        self._encoded = bytearray()
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._recent)

    def append(self, line: Line) -> None:
        """Add one."""
        self._recent.append(line)
        if len(self._recent) == RECENT:
            self._fold()

    def clear(self) -> None:
        """Begin anew."""
        self.__init__()

    def encoded(self) -> bytes:
        """All of them, as `list[Line]` is encoded."""
        self._fold()
        return _head(self._count) + bytes(self._encoded)

    def _fold(self) -> None:
        lines = _encode(self._recent)
        self._encoded += memoryview(lines)[len(_head(len(self._recent))) :]
        self._count += len(self._recent)
        self._recent = []


def _head(count: int) -> bytes:
    """How MessagePack begins a list of so many."""
    if count < _SHORT:
        return bytes([0x90 | count])
    if count < _MIDDLE:
        return b"\xdc" + count.to_bytes(2)
    return b"\xdd" + count.to_bytes(4)
