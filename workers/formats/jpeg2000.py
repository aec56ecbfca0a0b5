"""The size and the end of a JPEG 2000 picture (ITU-T T.800), read without decoding."""

from typing import Final

from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind
from workers.formats.image_layout import Layout, broken, positive_size
from workers.formats.iso_boxes import boxes

_PIXEL_BYTES: Final = 32  # the decoder computes in 32 bits, twice, for up to four components
_END: Final = b"\xff\xd9"


def lay_out(data: bytes) -> Layout:
    """The layout of a complete JP2 file.

    Raises:
        ItemRejected: it is cut, zeroed, or holds no codestream.
    """
    end, layout = 0, None
    for box in boxes(data, 0, len(data)):
        if box.end > len(data):
            raise broken(data, box.start, Reason.CUT, "box goes beyond the end")
        end = box.end
        if box.kind == b"jp2c" and layout is None:
            layout = _codestream(data, box.content, box.end, ImageKind.JPEG2000)
    if layout is None:
        raise broken(data, end, Reason.STRUCTURE, "no codestream")
    return Layout(
        kind=layout.kind,
        width=layout.width,
        height=layout.height,
        end=end,
        memory=layout.memory,
        work=layout.work,
    )


def lay_out_stream(data: bytes) -> Layout:
    """The layout of a complete bare codestream.

    Raises:
        ItemRejected: it is cut, zeroed, or has no area.
    """
    end = data.rfind(_END)
    return _codestream(data, 0, end + 2 if end >= 0 else len(data), ImageKind.JPEG2000_STREAM)


def _codestream(data: bytes, at: int, end: int, kind: ImageKind) -> Layout:
    """T.800 A.5.1: SOC, then SIZ with the far corner and the offset of the picture."""
    if data[at : at + 4] != b"\xff\x4f\xff\x51" or end - at < 42:  # noqa: PLR2004  SIZ's length
        raise broken(data, at, Reason.STRUCTURE, "codestream without its header")
    right, bottom, left, top = (
        int.from_bytes(data[at + i : at + i + 4], "big") for i in (8, 12, 16, 20)
    )
    positive_size(right - left, bottom - top)
    if data[end - 2 : end] != _END:
        raise broken(data, at, Reason.CUT, "no end marker")
    area = (right - left) * (bottom - top)
    return Layout(
        kind=kind,
        width=right - left,
        height=bottom - top,
        end=end,
        memory=area * _PIXEL_BYTES + len(data),
        work=area,
    )
