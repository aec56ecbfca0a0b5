"""What phones put after a JPEG's end on purpose, and what is junk there.

A second picture (MPF: stereo, depth, the gain map of Ultra HDR), the film of a motion photo, and
Samsung's trailer are parts of the photo: cutting them off would lose what the user took, and
where one of them is cut, the photo is.
"""

from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats import iso_boxes, jpeg
from workers.formats.image_layout import broken, zeroed_extent

_PADDING: Final = 64 * 1024
"""Zeros allowed between two pictures of one file: they are aligned."""


def end_of_photo(data: bytes, end: int) -> int:
    """The offset after the last part of the photo whose first picture ends at `end`.

    Raises:
        ItemRejected: a further part is cut, zeroed or damaged.
    """
    while end < len(data):
        start = end
        while start < min(len(data), end + _PADDING) and not data[start]:
            start += 1
        if data[start : start + 3] == b"\xff\xd8\xff":
            end = start + _length_of_picture(data[start:])
        elif data[end + 4 : end + 8] == b"ftyp":
            length = iso_boxes.complete_length(data[end:])
            if not length:
                raise broken(data, end, Reason.CUT, "the film beside the picture is cut")
            end += length
        elif data.endswith(b"SEFT") and b"SEFH" in data[end:]:
            return len(data)
        else:
            return end
    return end


def _length_of_picture(data: bytes) -> int:
    try:
        layout = jpeg.lay_out(data)
    except ItemRejected as rejected:
        raise ItemRejected(rejected.reason, f"in a further picture: {rejected.detail}") from None
    for extent in layout.coded:
        at = zeroed_extent(data, extent)
        if at >= 0:
            raise ItemRejected(Reason.ZEROED, f"zeros at {at} of a further picture")
    return layout.end
