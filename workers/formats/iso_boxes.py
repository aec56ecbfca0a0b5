"""Boxes of the ISO base media file format (ISO/IEC 14496-12 § 4.2), as far as pictures use them."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_MOST_BOXES: Final = 100_000


class Box(Struct, frozen=True, gc=False):
    """One box: its four-letter type, where its content starts, and where the box ends.

    `end` can lie beyond the bytes at hand: then the file is cut.
    """

    kind: bytes
    start: int
    content: int
    end: int


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, until something follows that is no box."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        kind = data[start + 4 : start + 8]
        if not all(32 <= letter < 127 or letter == 169 for letter in kind):  # noqa: PLR2004  ASCII, ©
            return
        size, content = int.from_bytes(data[start : start + 4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(data[content : content + 8], "big"), start + 16
        elif size == 0:
            size = end - start
        if size < content - start:
            return
        yield Box(kind, start, content, start + size)
        start += size


def complete_length(data: bytes) -> int:
    """How many bytes whole boxes take from the start; 0 where one of them is cut."""
    end = 0
    for box in boxes(data, 0, len(data)):
        if box.end > len(data):
            return 0
        end = box.end
    return end
