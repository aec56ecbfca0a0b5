"""One reader as its worker sees it: two pipes, a note of what it holds, and memory to share."""

import mmap
import os
from typing import TYPE_CHECKING, Final

from workers.readers.messages import NOTE, SHARED_AT, Line

if TYPE_CHECKING:
    from workers.readers.pool import Template

_PATIENCE: Final = 0.25
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""So much shared memory is kept for the next large file."""


class ReaderProcess:
    """One process, as its worker sees it."""

    def __init__(self, template: "Template", incoming: int, outgoing: int, note: int) -> None:
        self.template = template
        self.line = Line(incoming, outgoing, patience=_PATIENCE)
        self.pid = 0
        self._shared = note
        self._extent = 0
        self._note = mmap.mmap(note, NOTE.size)
        self._files = (incoming, outgoing, note)

    def holds(self) -> tuple[int, int]:
        """The number of the file in its hands, and the number beside it."""
        number, part = NOTE.unpack_from(self._note)
        return number, part

    def share(self, data: bytes, offset: int) -> None:
        """Put a large file where the reader finds it: one copy instead of many small ones."""
        start, end = SHARED_AT + offset, offset + len(data)
        with memoryview(data) as view:
            written = 0
            while written < len(data):
                written += os.pwrite(self._shared, view[written:], start + written)
        if self._extent > _KEPT_BYTES > end:
            os.ftruncate(self._shared, SHARED_AT + end)
            self._extent = 0
        self._extent = max(self._extent, end)

    def close(self) -> None:
        """Let go of what leads to it."""
        for file in self._files:
            os.close(file)
        self._files = ()
        if not self._note.closed:
            self._note.close()
