"""What phones put after a JPEG's end on purpose, and what is junk there.

A second picture (MPF: stereo, depth, the gain map of Ultra HDR), the film of a motion photo, and
Samsung's trailer are parts of the photo: cutting them off would lose what the user took. Where
one of them is damaged itself, it is junk: the photo before it is whole.
"""

from typing import Final

from orchestrator.errors import ItemRejected
from workers.formats import iso_boxes, jpeg
from workers.formats.image_layout import zeroed_extent

_PADDING: Final = 64 * 1024
"""Zeros allowed between two pictures of one file: they are aligned."""


def end_of_photo(data: bytes, end: int) -> int:
    """The offset after the last whole part of the photo whose first picture ends at `end`."""
    while end < len(data):
        start = end
        while start < min(len(data), end + _PADDING) and not data[start]:
            start += 1
        if data[start : start + 3] == b"\xff\xd8\xff":
            length = _length_of_picture(data[start:])
        elif data[end + 4 : end + 8] == b"ftyp":
            start, length = end, iso_boxes.complete_length(data[end:])
        elif data.endswith(b"SEFT") and b"SEFH" in data[end:]:
            return len(data)
        else:
            return end
        if not length:
            return end
        end = start + length
    return end


def _length_of_picture(data: bytes) -> int:
    try:
        layout = jpeg.lay_out(data)
    except (ItemRejected, IndexError):  # the latter: a field would lie beyond the last byte
        return 0
    if any(zeroed_extent(data, extent) >= 0 for extent in layout.coded):
        return 0
    return layout.end
