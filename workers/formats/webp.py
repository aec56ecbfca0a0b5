"""The chunks of a WebP file (RFC 9649), walked without decoding."""

from typing import Final

from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Extent, Layout, broken, positive_size

_PIXEL_BYTES: Final = 20  # the canvas twice, a copy, and the picture made of it
_FLAT_BITS: Final = 0.5
"""Bits a pixel. The arithmetic coder writes long zero runs for flat areas, as on screenshots."""
_FRAME_HEADER: Final = 16


def lay_out(data: bytes) -> Layout:
    """The layout of a complete WebP file.

    Raises:
        ItemRejected: it is cut, zeroed, or its structure is damaged.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise broken(data, 12, Reason.CUT, "shorter than its header says")
    width = height = frames = 0
    coded: list[Extent] = []
    at = 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start = at + 8
        if start + length > end:
            raise broken(data, at, Reason.STRUCTURE, "chunk goes beyond the file's size")
        match kind:
            case b"VP8X":
                width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
                height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
            case b"VP8 ":
                coded.append(Extent(start, start + length))
                if not width:
                    width = int.from_bytes(data[start + 6 : start + 8], "little") & 0x3FFF
                    height = int.from_bytes(data[start + 8 : start + 10], "little") & 0x3FFF
                frames += 1
            case b"VP8L":
                coded.append(Extent(start, start + length))
                if not width:
                    bits = int.from_bytes(data[start + 1 : start + 5], "little")
                    width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
                frames += 1
            case b"ANMF":
                coded.extend(_frame(data, start + _FRAME_HEADER, start + length))
                frames += 1
            case _:
                pass
        at = start + length + (length & 1)
    if not frames:
        raise broken(data, 12, Reason.STRUCTURE, "no picture data")
    positive_size(width, height)
    return Layout(
        kind=ImageKind.WEBP,
        width=width,
        height=height,
        end=end,
        memory=width * height * _PIXEL_BYTES + len(data),
        work=width * height * frames,
        coded=_judged(coded, width * height * frames),
    )


def _judged(coded: list[Extent], area: int) -> tuple[Extent, ...]:
    bits = 8 * sum(extent.end - extent.start for extent in coded)
    quiet = bits < _FLAT_BITS * area
    return tuple(Extent(extent.start, extent.end, quiet) for extent in coded)


def _frame(data: bytes, at: int, end: int) -> list[Extent]:
    """Coded data of one frame of an animation; its alpha may be plain, so it is left out."""
    found: list[Extent] = []
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            raise broken(data, at, Reason.STRUCTURE, "chunk goes beyond its frame")
        if data[at : at + 4] in {b"VP8 ", b"VP8L"}:
            found.append(Extent(at + 8, at + 8 + length))
        at += 8 + length + (length & 1)
    return found
