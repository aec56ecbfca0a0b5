"""Any stretch of a gzip file (RFC 1952), without unpacking everything before it each time.

While it unpacks forward, it keeps the unpacker's state every 16 MiB (40 KB each) and starts from
the nearest.
"""

import zlib
from typing import Final

from workers.material.archive_members import ArchiveFile

_STEP: Final = 16 * 1024 * 1024
_PIECE: Final = 256 * 1024
_GZIP: Final = 31
"""The window's size, and that gzip's header is expected."""
_MAGIC: Final = b"\x1f\x8b"
_RATIO: Final = 200
_ALWAYS: Final = 1 << 30
"""Any archive may unpack to a gigabyte."""


class GzipStretches:
    """The unpacked bytes of a gzip file, read at offsets."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self._states = [(0, 0, zlib.decompressobj(_GZIP))]
        self._most = max(_ALWAYS, _RATIO * file.size)
        self._out, self._in = 0, 0
        self._unpacker = zlib.decompressobj(_GZIP)
        self._held = b""
        self.damage = ""
        """Why nothing follows what was read; empty where the file ends as it should."""

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` unpacked bytes; fewer at the end, or where the file is damaged."""
        if offset < self._out - len(self._held):
            self._go_back(offset)
        while self._out < offset:
            skipped = self._out + len(self._held) <= offset
            del skipped
            if not self._forward(keep_from=offset):
                break
        start = offset - (self._out - len(self._held))
        while len(self._held) - start < length:
            if not self._forward(keep_from=offset):
                break
        found = self._held[start : start + length]
        self._held = self._held[start + length :]
        return found
