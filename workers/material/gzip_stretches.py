"""Any stretch of a gzip file (RFC 1952), without unpacking everything before it each time.

While it unpacks forward, it keeps the unpacker's state every 16 MiB (40 KB each), and later starts
from the nearest.
"""

import zlib
from bisect import bisect_right
from typing import Final

from workers.material.archive_members import ArchiveFile

_STEP: Final = 16 * 1024 * 1024
_PACKED_PIECE: Final = 256 * 1024
_PIECE: Final = 1024 * 1024
_GZIP: Final = 31
"""The largest window, and that gzip's header is expected."""
_MAGIC: Final = b"\x1f\x8b"
_RATIO: Final = 200
_ALWAYS: Final = 1 << 30
"""Any archive may unpack to a gigabyte, whatever its ratio."""


class GzipStretches:
    """The unpacked bytes of a gzip file, read at offsets. `damage` says why nothing follows."""

    def __init__(self, file: ArchiveFile) -> None:
        self.damage = ""
        self._file = file
        self._most = max(_ALWAYS, _RATIO * file.size)
        self._unpacker = zlib.decompressobj(_GZIP)
        self._packed = 0
        """Offset in the file of what the unpacker gets next."""
        self._start = 0
        """Offset of the first byte that is held."""
        self._held = b""
        self._marks = [0]
        self._states = [(0, self._unpacker.copy())]

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` unpacked bytes; fewer at the end, or where the file is damaged."""
        nearest = bisect_right(self._marks, offset) - 1
        if offset < self._start or self._marks[nearest] > self._start + len(self._held):
            packed, unpacker = self._states[nearest]
            self._packed, self._unpacker = packed, unpacker.copy()
            self._start, self._held = self._marks[nearest], b""
        kept: list[bytes] = [self._held]
        end = self._start + len(self._held)
        while end < offset + length:
            piece = self._next(end)
            if not piece:
                break
            if end <= offset:
                kept, self._start = [piece], end
            else:
                kept.append(piece)
            end += len(piece)
        self._held = b"".join(kept)
        begin = offset - self._start
        return self._held[begin : begin + length]

    def _next(self, end: int) -> bytes:
        """The piece that follows `end`; nothing where the file ends."""
        if end >= self._marks[-1] + _STEP:
            self._marks.append(end)
            self._states.append((self._packed, self._unpacker.copy()))
        if end > self._most:
            self.damage = "it unpacks to far more than anyone packs"
            return b""
        while True:
            if self._unpacker.eof:
                if self._file.at(self._packed, 2) != _MAGIC:
                    return b""
                self._unpacker = zlib.decompressobj(_GZIP)
            packed = self._file.at(self._packed, _PACKED_PIECE)
            try:
                piece = self._unpacker.decompress(packed, _PIECE)
            except zlib.error:
                self.damage = "its packed data is damaged"
                return b""
            left = len(self._unpacker.unconsumed_tail) + len(self._unpacker.unused_data)
            self._packed += len(packed) - left
            if piece:
                return piece
            if not packed and not self._unpacker.eof:
                self.damage = "it is cut"
                return b""
