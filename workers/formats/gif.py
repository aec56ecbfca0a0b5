"""The blocks of a GIF file (GIF89a), walked without decoding."""

from typing import Final

from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Layout, broken, positive_size

_PIXEL_BYTES: Final = 12  # indices, the composed canvas, and the one before it
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def lay_out(data: bytes) -> Layout:
    """The layout of a complete GIF file; its size is the canvas that all frames need.

    Raises:
        ItemRejected: it is cut, zeroed, or its structure is damaged.
    """
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13 + _table_length(data, 10)
    frames = 0
    while True:
        if at >= len(data):
            raise broken(data, 13, Reason.CUT, "no trailer")
        block = data[at]
        if block == _TRAILER:
            break
        if block == _EXTENSION:
            at = _after_pieces(data, at + 2)
        elif block == _IMAGE:
            left, top, across, down = (
                int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)
            )
            positive_size(across, down)
            width, height = max(width, left + across), max(height, top + down)
            frames += 1
            at = _after_pieces(data, at + 11 + _table_length(data, at + 9))
        else:
            raise broken(data, at, Reason.STRUCTURE, "no block")
    if not frames:
        raise broken(data, 13, Reason.STRUCTURE, "no picture data")
    return Layout(
        kind=ImageKind.GIF,
        width=width,
        height=height,
        end=at + 1,
        memory=width * height * _PIXEL_BYTES + len(data),
        work=width * height * frames,
    )


def _table_length(data: bytes, at: int) -> int:
    """Bytes of the colour table that the flags at `at` announce."""
    if at >= len(data):
        raise broken(data, at, Reason.CUT, "header is cut")
    flags = data[at]
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_pieces(data: bytes, at: int) -> int:
    """The offset after data sub-blocks, each with its length before it and 0 after the last."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    raise broken(data, 13, Reason.CUT, "block goes beyond the end")
