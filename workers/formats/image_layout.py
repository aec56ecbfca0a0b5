"""What a walk over a picture's container finds, before anything is decoded.

Knows no format. Each format has one module with `lay_out(data) -> Layout`.
"""

from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.image_kinds import ImageKind

ZERO_RUN: Final = 512
"""So many zeros in a row are a lost disk sector, not coded picture."""

_ZEROS: Final = bytes(ZERO_RUN)


class Extent(Struct, frozen=True, gc=False):
    """Entropy-coded bytes from `start` up to `end`.

    `quiet`: long zero runs can be natural here (a flat area under a table whose shortest code
    says "as before"), so that only a run that begins or ends at a sector counts as damage.
    """

    start: int
    end: int
    quiet: bool = False


class Layout(Struct, frozen=True, kw_only=True):
    """A container that is complete."""

    kind: ImageKind
    width: int
    height: int
    end: int
    """Offset after the picture's last byte; what follows is junk."""
    memory: int
    """Bytes that a full decode takes, about, and rather more than less."""
    work: int
    """Pixels that a full decode computes: area times frames or scans."""
    coded: tuple[Extent, ...] = ()
    stream: bytes | None = None
    """What to decode where it is not the content up to `end` as it is."""
    decoded: bool = False
    """The walk was a full decode already."""
    metadata_damaged: bool = False
    """EXIF, XMP or text is damaged; the picture is not."""


def zero_run(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the first run of at least 512 zeros begins, or -1."""
    return data.find(_ZEROS, start, len(data) if end is None else end)


def zeroed_extent(data: bytes, extent: Extent) -> int:
    """Where zeros overwrote an extent, or -1."""
    start = extent.start
    while (found := zero_run(data, start, extent.end)) >= 0:
        if not extent.quiet:
            return found
        after = found + ZERO_RUN
        while after < extent.end and not data[after]:
            after += 1
        if found % ZERO_RUN == 0 or after % ZERO_RUN == 0:
            return found
        start = after
    return -1


def broken(data: bytes, at: int, reason: Reason, detail: str) -> ItemRejected:
    """The error for a container that is wrong from `at` on; ZEROED where zeros explain it."""
    found = zero_run(data, at)
    if found >= 0:
        return ItemRejected(Reason.ZEROED, f"zeros at {found}")
    return ItemRejected(reason, f"{detail} at {at}")


def positive_size(width: int, height: int) -> None:
    """Refuse pictures without area.

    Raises:
        ItemRejected: one of both is zero.
    """
    if width <= 0 or height <= 0:
        raise ItemRejected(Reason.VALUE, "width or height is zero")
