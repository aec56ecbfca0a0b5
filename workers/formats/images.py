"""Whether some bytes are one whole picture, by every check that finds real damage.

In this order, each cheaper than the next: magic bytes, container from start to end, size, zero
runs in coded data, full decode. Decoders alone miss the commonest damage: they show a picture.
"""

from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Media
from orchestrator.reasons import Reason
from workers.formats import bmp, gif, heif, jpeg, jpeg2000, jpeg_trailers, png, tiff, webp
from workers.formats.image_decoding import decode
from workers.formats.image_kinds import MEDIA, ImageKind, image_kind
from workers.formats.image_layout import ZERO_RUN, Layout, zero_run, zeroed_extent

HEAD: Final = 144
"""So many first bytes tell the format."""

_WORK_FACTOR: Final = 10
"""All frames of an animation together may have so many times the pixels of the largest picture."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one picture may take."""

    pixels: int = 300_000_000
    """Width times height. Phones of today take 200 megapixels."""
    memory: int = 2 * 1024**3
    """Bytes while it is decoded; large pictures are decoded in a child process."""


class Picture(Struct, frozen=True, kw_only=True):
    """A picture that passed every check."""

    kind: ImageKind
    width: int
    height: int
    end: int
    """Offset after its last byte: what follows is junk."""
    metadata_damaged: bool = False
    """EXIF, XMP or text is damaged; the picture is not."""

    @property
    def media(self) -> Media:
        """How it is written down."""
        return MEDIA[self.kind]


DEFAULT: Final = Limits()


def examine(data: bytes, limits: Limits = DEFAULT) -> Picture:
    """The picture that `data` begins with.

    Raises:
        ItemRejected: it is none, or not whole, or larger than `limits` allow.
    """
    kind = image_kind(data[:HEAD])
    if kind is None:
        raise _no_picture(data)
    try:
        layout = _lay_out(data, kind, limits)
        end = layout.end
        if kind is ImageKind.JPEG and end < len(data):
            end = jpeg_trailers.end_of_photo(data, end)
    except IndexError:  # a header field would lie beyond the last byte
        raise ItemRejected(Reason.CUT, "header is cut") from None
    _refuse_huge(layout, limits)
    for extent in layout.coded:
        at = zeroed_extent(data, extent)
        if at >= 0:
            raise ItemRejected(Reason.ZEROED, f"zeros at {at}")
    if not layout.decoded:
        whole = layout.end == len(data)
        content = layout.stream or (data if whole else data[: layout.end])
        budget = limits.memory
        decode(layout.kind, content, memory=layout.memory, budget=budget, work=layout.work)
    return Picture(
        kind=layout.kind,
        width=layout.width,
        height=layout.height,
        end=end,
        metadata_damaged=layout.metadata_damaged,
    )


def _lay_out(data: bytes, kind: ImageKind, limits: Limits) -> Layout:
    match kind:
        case ImageKind.JPEG:
            return jpeg.lay_out(data)
        case ImageKind.PNG:
            return png.lay_out(data, pixel_limit=limits.pixels)
        case ImageKind.GIF:
            return gif.lay_out(data)
        case ImageKind.WEBP:
            return webp.lay_out(data)
        case ImageKind.HEIF | ImageKind.AVIF:
            return heif.lay_out(data, kind)
        case ImageKind.TIFF:
            return tiff.lay_out(data)
        case ImageKind.BMP:
            return bmp.lay_out(data)
        case ImageKind.JPEG2000:
            return jpeg2000.lay_out(data)
        case ImageKind.JPEG2000_STREAM:
            return jpeg2000.lay_out_stream(data)


def _refuse_huge(layout: Layout, limits: Limits) -> None:
    if layout.width * layout.height > limits.pixels:
        raise ItemRejected(Reason.TOO_LARGE, f"{layout.width} by {layout.height} pixels")
    if layout.work > limits.pixels * _WORK_FACTOR:
        raise ItemRejected(Reason.TOO_LARGE, f"{layout.work} pixels over all frames or scans")
    if layout.memory > limits.memory:
        raise ItemRejected(Reason.TOO_LARGE, f"decoding takes {layout.memory} bytes")


def _no_picture(data: bytes) -> ItemRejected:
    """Why these bytes begin like no picture."""
    if not data:
        return ItemRejected(Reason.EMPTY)
    if not data.strip(b"\0") or zero_run(data, 0, ZERO_RUN) == 0:
        return ItemRejected(Reason.ZEROED, "begins with zeros")
    block = data[:ZERO_RUN]
    if len(data) >= 2 * ZERO_RUN and data == (block * (len(data) // ZERO_RUN + 1))[: len(data)]:
        return ItemRejected(Reason.ZEROED, "one block over and over")
    return ItemRejected(Reason.UNSUPPORTED, "not a picture in a format that is known here")
