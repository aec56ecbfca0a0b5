"""The directories of a TIFF file (TIFF 6.0; BigTIFF), walked without decoding.

A TIFF has no end mark: what is complete is known from the offsets that its directories name.
"""

import struct
from collections.abc import Mapping
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Layout, broken, positive_size

_WIDTH, _HEIGHT, _BITS, _SAMPLES = 256, 257, 258, 277
_STRIPS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS = 273, 279, 324, 325
_DNG_VERSION: Final = 50706
_WANTED: Final = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _SAMPLES, _STRIPS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS}
)
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_MOST_DIRECTORIES: Final = 1_000
_MOST_VALUES: Final = 1_000_000
_LARGEST_PIXEL: Final = 4 * 64
"""Bits: four samples of doubles."""

_Directory = Mapping[int, tuple[int, ...]]


def lay_out(data: bytes) -> Layout:
    """The layout of a TIFF whose every strip and tile lies within the file.

    Raises:
        ItemRejected: it is cut, its structure is damaged, or it is a camera's raw picture.
    """
    if data[8:10] == b"CR":
        raise ItemRejected(Reason.UNSUPPORTED, "a camera's raw picture")
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    at = _numbers(data, 8 if big else 4, "Q" if big else "I", 1, order)[0]
    width = height = bits = work = 0
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= _MOST_DIRECTORIES:
            raise broken(data, at, Reason.STRUCTURE, "directories go in a circle")
        seen.add(at)
        directory, at = _directory(data, at, order, big=big)
        across, down = _one(directory, _WIDTH), _one(directory, _HEIGHT)
        positive_size(across, down)
        _pieces_within(data, directory)
        pixel = max(directory.get(_BITS, (1,)), default=1) * _one(directory, _SAMPLES, 1)
        if pixel > _LARGEST_PIXEL:
            raise ItemRejected(Reason.VALUE, "more samples a pixel than a picture has")
        work += across * down
        if across * down > width * height:
            width, height = across, down
        bits = max(bits, pixel)
    positive_size(width, height)
    return Layout(
        kind=ImageKind.TIFF,
        width=width,
        height=height,
        end=len(data),
        memory=width * height * max(8, bits // 4) + 2 * len(data),
        work=work,
    )


def _one(directory: _Directory, tag: int, default: int = 0) -> int:
    values = directory.get(tag, ())
    return values[0] if values else default


def _pieces_within(data: bytes, directory: _Directory) -> None:
    pieces = 0
    for offsets, lengths in ((_STRIPS, _STRIP_LENGTHS), (_TILES, _TILE_LENGTHS)):
        starts, sizes = directory.get(offsets, ()), directory.get(lengths, ())
        pieces += len(starts)
        for start, size in zip(starts, sizes, strict=False):
            if start + size > len(data):
                raise broken(data, start, Reason.CUT, "picture data goes beyond the end")
    if not pieces:
        raise broken(data, 8, Reason.STRUCTURE, "no picture data")


def _directory(
    data: bytes, at: int, order: str, *, big: bool
) -> tuple[dict[int, tuple[int, ...]], int]:
    """The values that are wanted of one directory, and the offset of the next one."""
    count = _numbers(data, at, "Q" if big else "H", 1, order)[0]
    at += 8 if big else 2
    width, inline = (20, 8) if big else (12, 4)
    if at + count * width > len(data):
        raise broken(data, at, Reason.CUT, "directory goes beyond the end")
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at, at + count * width, width):
        tag, form = struct.unpack_from(f"{order}HH", data, entry)
        if tag == _DNG_VERSION:
            raise ItemRejected(Reason.UNSUPPORTED, "a camera's raw picture")
        letter = _INTEGERS.get(form)
        if tag not in _WANTED or letter is None or tag in found:
            continue
        values = _numbers(data, entry + 4, "Q" if big else "I", 1, order)[0]
        if values > _MOST_VALUES:
            raise ItemRejected(Reason.TOO_LARGE, f"more than {_MOST_VALUES} values in a tag")
        place = entry + 4 + inline
        if struct.calcsize(f"={letter}") * values > inline:
            place = _numbers(data, place, "Q" if big else "I", 1, order)[0]
        found[tag] = _numbers(data, place, letter, values, order)
    after = at + count * width
    return found, _numbers(data, after, "Q" if big else "I", 1, order)[0]


def _numbers(data: bytes, at: int, letter: str, count: int, order: str) -> tuple[int, ...]:
    form = f"{order}{count}{letter}"
    if at + struct.calcsize(form) > len(data):
        raise broken(data, min(at, len(data)), Reason.CUT, "values go beyond the end")
    return struct.unpack_from(form, data, at)
