"""A PNG file (W3C PNG, third edition) checked to the last row: every CRC, and all of its data.

Decodes by itself, piece by piece: a picture of any size takes a megabyte of memory.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Layout, broken, positive_size

_HEADER_LENGTH: Final = 13
_PIECE: Final = 1 << 20
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_METADATA: Final = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"caBX"})
"""Whatever is wrong in these harms no picture."""
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_ADAM7: Final = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column and row, and the steps between them, of each pass (§ 8.1)."""
_LAST_FILTER: Final = 4
_PALETTE: Final = 3
_MOST_CHUNKS: Final = 1_000_000


class _Chunk(Struct, frozen=True, gc=False):
    kind: bytes
    start: int
    """Of its data."""
    length: int
    sound: bool
    """Its CRC is right."""


class _Header(Struct, frozen=True, gc=False):
    width: int
    height: int
    pixel_bits: int
    interlaced: bool
    palette: bool


def lay_out(data: bytes, pixel_limit: int) -> Layout:
    """The layout of a complete PNG, which was decoded on the way.

    Raises:
        ItemRejected: it is cut, zeroed, altered, or has more than `pixel_limit` pixels.
    """
    chunks, header, metadata_damaged = _read_chunks(data, pixel_limit)
    plain = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    if not plain:
        raise broken(data, 8, Reason.STRUCTURE, "no picture data")
    if header.palette and not any(chunk.kind == b"PLTE" for chunk in chunks):
        raise broken(data, 8, Reason.STRUCTURE, "no palette")
    _inflate(data, [(chunk.start, chunk.length) for chunk in plain], header)
    work = header.width * header.height
    for frame, parts in _frames(data, chunks, header):
        work += frame.width * frame.height
        if work > 10 * pixel_limit:
            raise ItemRejected(Reason.TOO_LARGE, "the frames have too many pixels in sum")
        _inflate(data, parts, frame)
    last = chunks[-1]
    return Layout(
        kind=ImageKind.PNG,
        width=header.width,
        height=header.height,
        end=last.start + last.length + 4,
        memory=_PIECE,
        work=work,
        decoded=True,
        metadata_damaged=metadata_damaged,
    )


def _read_chunks(data: bytes, pixel_limit: int) -> tuple[list[_Chunk], _Header, bool]:
    chunks: list[_Chunk] = []
    header, metadata_damaged = None, False
    for chunk in _chunks(data):
        if not chunk.sound:
            if chunk.kind not in _METADATA:
                raise broken(data, chunk.start, Reason.CHECKSUM, "chunk with a wrong checksum")
            metadata_damaged = True
        if chunk.kind == b"CgBI":
            raise ItemRejected(Reason.UNSUPPORTED, "PNG in a form that only one platform reads")
        if header is None:
            header = _header(data, chunk)
            if header.width * header.height > pixel_limit:
                raise ItemRejected(Reason.TOO_LARGE, f"{header.width} by {header.height} pixels")
        elif chunk.kind == b"IHDR":
            raise broken(data, chunk.start, Reason.STRUCTURE, "second header")
        chunks.append(chunk)
    if header is None:
        raise broken(data, 8, Reason.CUT, "no header")
    return chunks, header, metadata_damaged


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Every chunk up to and with IEND."""
    view, at = memoryview(data), 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            raise broken(data, at, Reason.CUT, "no end chunk")
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if not kind.isalpha():
            raise broken(data, at, Reason.STRUCTURE, "no chunk")
        if kind.isupper() and kind not in _CRITICAL:
            raise broken(data, at, Reason.STRUCTURE, "unknown critical chunk")
        end = at + 8 + length
        if end + 4 > len(data):
            raise broken(data, at, Reason.CUT, "chunk goes beyond the end")
        checksum = int.from_bytes(data[end : end + 4], "big")
        yield _Chunk(kind, at + 8, length, zlib.crc32(view[at + 4 : end]) == checksum)
        if kind == b"IEND":
            return
        at = end + 4
    raise ItemRejected(Reason.TOO_LARGE, f"more than {_MOST_CHUNKS} chunks")


def _header(data: bytes, chunk: _Chunk) -> _Header:
    """§ 11.2.1: size, bit depth, colour type, three methods."""
    if chunk.kind != b"IHDR" or chunk.length != _HEADER_LENGTH:
        raise broken(data, chunk.start, Reason.STRUCTURE, "does not begin with its header")
    at = chunk.start
    width, height = (
        int.from_bytes(data[at : at + 4], "big"),
        int.from_bytes(data[at + 4 : at + 8], "big"),
    )
    depth, colour, compression, filtering, interlace = data[at + 8 : at + 13]
    positive_size(width, height)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise broken(data, at, Reason.VALUE, "combination of header values that is not defined")
    return _Header(width, height, depth * _CHANNELS[colour], bool(interlace), colour == _PALETTE)


def _frames(
    data: bytes, chunks: Iterable[_Chunk], header: _Header
) -> Iterator[tuple[_Header, list[tuple[int, int]]]]:
    """The further frames of an animation (§ 11.3.6): their size, and where their data lies."""
    frame: _Header | None = None
    parts: list[tuple[int, int]] = []
    for chunk in chunks:
        if chunk.kind == b"fdAT" and frame is not None:
            parts.append((chunk.start + 4, max(chunk.length - 4, 0)))
        elif chunk.kind in {b"fcTL", b"IEND"}:
            if frame is not None and parts:
                yield frame, parts
            at, parts = chunk.start, []
            width, height = (
                int.from_bytes(data[at + 4 : at + 8], "big"),
                int.from_bytes(data[at + 8 : at + 12], "big"),
            )
            if chunk.kind == b"fcTL" and not (
                0 < width <= header.width and 0 < height <= header.height
            ):
                raise broken(data, at, Reason.VALUE, "frame larger than the picture")
            frame = _Header(width, height, header.pixel_bits, header.interlaced, header.palette)


def _rows(header: _Header) -> Iterator[tuple[int, int]]:
    """Bytes of a row with its filter byte, and how many such rows, for each pass."""
    passes = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    for column, row, across, down in passes:
        width = (header.width - column + across - 1) // across
        height = (header.height - row + down - 1) // down
        if width > 0 and height > 0:
            yield 1 + (width * header.pixel_bits + 7) // 8, height


def _inflate(data: bytes, parts: list[tuple[int, int]], header: _Header) -> None:
    """Prove that compressed data gives all rows of the picture, each with a known filter."""
    start = parts[0][0]
    pieces = _pieces(data, parts)
    held = b""
    try:
        for row, count in _rows(header):
            left = row * count
            at = 0  # offset of the next filter byte, counted from the start of what is held
            while left:
                if not held:
                    held = next(pieces, b"")
                    if not held:
                        raise broken(data, start, Reason.CUT, "fewer rows than the header says")
                taken = min(left, len(held))
                if at < taken:
                    if max(held[at:taken:row]) > _LAST_FILTER:
                        raise broken(data, start, Reason.VALUE, "unknown row filter")
                    at += -(-(taken - at) // row) * row
                at -= taken
                left -= taken
                held = held[taken:]
        next(pieces, None)  # the checksum follows the last row
    except zlib.error:
        raise broken(data, start, Reason.SYNTAX, "compressed data is damaged") from None


def _pieces(data: bytes, parts: list[tuple[int, int]]) -> Iterator[bytes]:
    """What the parts inflate to, a megabyte at most at a time."""
    inflater = zlib.decompressobj()
    view = memoryview(data)
    for start, length in parts:
        waiting: bytes | memoryview = view[start : start + length]
        while waiting and not inflater.eof:
            if piece := inflater.decompress(waiting, _PIECE):
                yield piece
            waiting = inflater.unconsumed_tail
