"""The markers of a JPEG file (ITU-T T.81 annex B), walked without decoding.

EXIF and other application segments are stepped over: whatever is wrong in them harms no picture.
"""

import re
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Extent, Layout, broken, positive_size

_SOI: Final = b"\xff\xd8"
_DHT, _DAC, _DNL, _DRI, _SOS, _EOI, _COM = 0xC4, 0xCC, 0xDC, 0xDD, 0xDA, 0xD9, 0xFE
_DQT, _APP0, _APP14, _TEM = 0xDB, 0xE0, 0xEE, 0x01
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {_DHT, 0xC8, _DAC})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_DECODABLE: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_APPLICATION: Final = frozenset(range(0xE0, 0xF0))
_BARE: Final = frozenset({_TEM, 0xD8, *range(0xD0, 0xD8)})
_BETWEEN_SCANS: Final = frozenset({_DHT, _DAC, _DNL, _DRI, _DQT, _SOS, _COM}) | _APPLICATION
_SKIPPED: Final = _APPLICATION - {_APP0, _APP14} | {_COM}
"""Segments that no decoder needs; APP14 names the colours."""
_HEADER: Final = _BETWEEN_SCANS | _FRAMES
_CODED: Final = frozenset({0, *range(0xD0, 0xD8)})
"""What follows 0xFF within coded data: the mark of a plain 0xFF, and restarts."""
_MARKER: Final = re.compile(rb"\xff+[\x01-\xfe]")

_LONG: Final = 256 * 1024
"""Bytes of coded data that are walked in Python."""
_STRETCH: Final = 1024 * 1024
_MOST_SCANS: Final = 500  # what libjpeg-turbo's own tests allow; real files have 1 to 12
_ADOBE_LENGTH: Final = 12
_EIGHT_BITS: Final = 8


class _Component(Struct, gc=False):
    horizontal: int
    vertical: int


class _Walk(Struct):
    """What is known so far."""

    frame: int = 0
    width: int = 0
    height: int = 0
    components: dict[int, _Component] = {}
    shortest: dict[int, int] = {}
    """Table class and number → the symbol of its all-zero code (always the shortest)."""
    scans: int = 0
    interleaved: bool = True
    coded: list[Extent] = []
    kept: list[tuple[int, int]] = []
    """Segments and coded data that a decoder needs."""
    stray: bool = False
    """Bytes that belong to no segment lie between segments."""


def lay_out(data: bytes) -> Layout:
    """The layout of a complete JPEG.

    Raises:
        ItemRejected: it is cut, zeroed, or its structure is damaged beyond EXIF.
    """
    walk = _Walk()
    at = 2
    while True:
        marker, at = _next_marker(data, at, walk)
        if marker == _EOI:
            break
        if marker in _BARE:
            continue
        end = _segment_end(data, at)
        if marker == _SOS:
            quiet = _scan(data, at, end, walk)
            after = _end_of_scan(data, end)
            walk.coded.append(Extent(end, after, quiet))
            walk.kept.append((at - 2, after))
            at = after
            continue
        _segment(data, marker, at, end, walk)
        if marker not in _SKIPPED:
            walk.kept.append((at - 2, end))
        at = end
    if not walk.scans:
        raise broken(data, 2, Reason.STRUCTURE, "no picture data")
    return _layout(data, at, walk)


def _layout(data: bytes, end: int, walk: _Walk) -> Layout:
    area = walk.width * walk.height
    memory = area // 16 + len(data)
    if walk.frame in _PROGRESSIVE or not walk.interleaved:
        widest = max(part.horizontal * part.vertical for part in walk.components.values())
        shares = sum(part.horizontal * part.vertical for part in walk.components.values())
        memory += area * 2 * shares // widest  # all coefficients are held, two bytes each
    stream = None
    if walk.stray:
        parts = [data[start:stop] for start, stop in walk.kept]
        stream = b"".join((_SOI, *parts, b"\xff\xd9"))
    return Layout(
        kind=ImageKind.JPEG,
        width=walk.width,
        height=walk.height,
        end=end,
        memory=memory,
        work=area * walk.scans,
        coded=tuple(walk.coded),
        stream=stream,
        metadata_damaged=walk.stray,
    )


def _next_marker(data: bytes, at: int, walk: _Walk) -> tuple[int, int]:
    """The next marker's code and the offset after it."""
    found = _MARKER.match(data, at)
    while found is None or not _expected(data[found.end() - 1], walk):
        # A wrong length in an EXIF segment leaves its rest here; decoders skip it as well.
        if walk.scans:
            raise broken(data, at, Reason.STRUCTURE, "unexpected bytes between scans")
        walk.stray = True
        found = _MARKER.search(data, at if found is None else found.end())
        if found is None:
            raise broken(data, at, Reason.CUT, "no further marker")
    return data[found.end() - 1], found.end()


def _expected(marker: int, walk: _Walk) -> bool:
    if walk.scans:
        return marker in _BETWEEN_SCANS or marker == _EOI
    return marker in _HEADER or marker in _BARE or marker == _EOI


def _segment_end(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at : at + 2], "big")
    if at + max(length, 2) > len(data):
        raise broken(data, at, Reason.CUT, "segment goes beyond the end")
    if length < 2:  # noqa: PLR2004  the length counts its own two bytes
        raise broken(data, at, Reason.STRUCTURE, "segment without length")
    return at + length


def _end_of_scan(data: bytes, start: int) -> int:
    """Where the marker after coded data begins."""
    at, near = data.find(0xFF, start), min(len(data) - 1, start + _LONG)
    # Ten times faster than a regular expression: only every 256th byte is looked at in Python.
    while 0 <= at < near:
        if data[at + 1] not in _CODED and data[at + 1] != 0xFF:  # noqa: PLR2004  a fill byte
            return at
        at = data.find(0xFF, at + 1)
    if at >= 0:
        at = _end_of_long_scan(data, at)
    if at < 0:
        raise broken(data, start, Reason.CUT, "no end marker after the scan")
    return at


def _end_of_long_scan(data: bytes, start: int) -> int:
    """The same with numpy, which the decoder needs as well: five times faster yet; -1: nowhere."""
    import numpy as np  # noqa: PLC0415  heavy: only who has large pictures pays

    coded = np.zeros(256, dtype=bool)
    coded[[*_CODED, 0xFF]] = True
    for begin in range(start, len(data) - 1, _STRETCH):
        stretch = np.frombuffer(data, np.uint8, min(_STRETCH + 1, len(data) - begin), begin)
        marks = np.flatnonzero(stretch[:-1] == 0xFF)  # noqa: PLR2004  what markers begin with
        ends = marks[~coded[stretch[marks + 1]]]
        if ends.size:
            return begin + int(ends[0])
    return -1


def _segment(data: bytes, marker: int, at: int, end: int, walk: _Walk) -> None:
    if marker in _FRAMES:
        _frame(data, marker, at, end, walk)
    elif marker == _DHT:
        _huffman(data, at + 2, end, walk)
    elif marker == _APP14 and data[at + 2 : at + 7] == b"Adobe" and end - at - 2 < _ADOBE_LENGTH:
        raise broken(data, at, Reason.CUT, "the segment that names the colours is cut")


def _frame(data: bytes, marker: int, at: int, end: int, walk: _Walk) -> None:
    """T.81 B.2.2: precision, lines, samples a line, components."""
    if walk.frame:
        raise broken(data, at, Reason.STRUCTURE, "second frame header")
    if marker not in _DECODABLE or data[at + 2] != _EIGHT_BITS:
        raise ItemRejected(Reason.UNSUPPORTED, "JPEG process that is hardly ever used")
    count = data[at + 7] if end - at > 7 else 0  # noqa: PLR2004  fixed part of the header
    if not count or end - at != 8 + 3 * count:
        raise broken(data, at, Reason.STRUCTURE, "frame header of wrong length")
    walk.frame = marker
    walk.height = int.from_bytes(data[at + 3 : at + 5], "big")
    walk.width = int.from_bytes(data[at + 5 : at + 7], "big")
    positive_size(walk.width, walk.height)
    for part in range(at + 8, end, 3):
        sampling = data[part + 1]
        if not (sampling >> 4 and sampling & 15):
            raise broken(data, at, Reason.VALUE, "component without samples")
        walk.components[data[part]] = _Component(sampling >> 4, sampling & 15)


def _huffman(data: bytes, at: int, end: int, walk: _Walk) -> None:
    """T.81 B.2.4.2: class and number, sixteen counts, symbols in the order of their codes."""
    while at < end:
        symbols = at + 17
        count = sum(data[at + 1 : symbols])
        if symbols + count > end:
            raise broken(data, at, Reason.STRUCTURE, "Huffman table goes beyond its segment")
        if count:
            walk.shortest[data[at]] = data[symbols]
        at = symbols + count


def _scan(data: bytes, at: int, end: int, walk: _Walk) -> bool:
    """Note a scan header; the answer is whether zero runs can be natural in it (T.81 B.2.3)."""
    if not walk.frame:
        raise broken(data, at, Reason.STRUCTURE, "scan before the frame header")
    walk.scans += 1
    if walk.scans > _MOST_SCANS:
        raise ItemRejected(Reason.TOO_LARGE, f"more than {_MOST_SCANS} scans")
    count = data[at + 2] if end - at > 2 else 0  # noqa: PLR2004  the length field
    if not count or end - at != 6 + 2 * count:
        raise broken(data, at, Reason.STRUCTURE, "scan header of wrong length")
    walk.interleaved = walk.interleaved and count == len(walk.components)
    first, last, approximation = data[end - 3], data[end - 2], data[end - 1]
    selectors = data[at + 4 : end - 3 : 2]
    flat_dc = all(walk.shortest.get(tables >> 4) == 0 for tables in selectors)
    if walk.frame not in _PROGRESSIVE:
        flat_ac = all(walk.shortest.get(0x10 | tables & 15) == 0 for tables in selectors)
        return flat_dc and flat_ac
    if first or last:
        return False
    return bool(approximation >> 4) or flat_dc
