"""The headers of a BMP file, read without decoding."""

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Layout, broken, positive_size

_PLAIN = frozenset({0, 3, 6})
"""Compressions that are none: RGB and two forms of bit fields."""


def lay_out(data: bytes) -> Layout:
    """The layout of a BMP file whose rows are all there.

    Raises:
        ItemRejected: it is cut, or its headers make no sense.
    """
    start = int.from_bytes(data[10:14], "little")
    header = int.from_bytes(data[14:18], "little")
    if len(data) < 26 or start < 14 + header:  # noqa: PLR2004  the shortest headers
        raise broken(data, 2, Reason.CUT, "headers are cut")
    if header == 12:  # noqa: PLR2004  the oldest header
        width, height = int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
        bits, compression = int.from_bytes(data[24:26], "little"), 0
    else:
        width = int.from_bytes(data[18:22], "little", signed=True)
        height = abs(int.from_bytes(data[22:26], "little", signed=True))
        bits = int.from_bytes(data[28:30], "little")
        compression = int.from_bytes(data[30:34], "little")
    positive_size(width, height)
    end = max(int.from_bytes(data[2:6], "little"), start)
    if compression in _PLAIN:
        end = max(end, start + (width * bits + 31) // 32 * 4 * height)
        if not bits:
            raise ItemRejected(Reason.VALUE, "no bits a pixel")
    if end > len(data):
        raise broken(data, start, Reason.CUT, "fewer rows than the header says")
    return Layout(
        kind=ImageKind.BMP,
        width=width,
        height=height,
        end=end,
        memory=width * height * 4 + len(data),
        work=width * height,
    )
