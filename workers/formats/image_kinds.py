"""Which picture format some bytes are: an own table of magic bytes, right where libraries guess.

Knows names and first bytes only; whether the rest is whole is for `images`.
"""

from enum import StrEnum
from typing import Final

from orchestrator.items import Media


class ImageKind(StrEnum):
    """A picture format. The value is the suffix that a picture of it is stored under."""

    JPEG = "jpg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    HEIF = "heic"
    AVIF = "avif"
    TIFF = "tif"
    BMP = "bmp"
    JPEG2000 = "jp2"
    JPEG2000_STREAM = "j2k"


MEDIA: Final = {
    ImageKind.JPEG: Media("jpg", "image/jpeg"),
    ImageKind.PNG: Media("png", "image/png"),
    ImageKind.GIF: Media("gif", "image/gif"),
    ImageKind.WEBP: Media("webp", "image/webp"),
    ImageKind.HEIF: Media("heic", "image/heic"),
    ImageKind.AVIF: Media("avif", "image/avif"),
    ImageKind.TIFF: Media("tif", "image/tiff"),
    ImageKind.BMP: Media("bmp", "image/bmp"),
    ImageKind.JPEG2000: Media("jp2", "image/jp2"),
    ImageKind.JPEG2000_STREAM: Media("j2k", "image/x-jp2-codestream"),
}

SUFFIXES: Final = {
    ImageKind.JPEG: frozenset({"jpg", "jpeg", "jpe", "jfif", "jif", "mpo", "mp"}),
    ImageKind.PNG: frozenset({"png", "apng"}),
    ImageKind.GIF: frozenset({"gif"}),
    ImageKind.WEBP: frozenset({"webp"}),
    ImageKind.HEIF: frozenset({"heic", "heif", "hif", "heics", "heifs"}),
    ImageKind.AVIF: frozenset({"avif", "avifs", "heif"}),
    ImageKind.TIFF: frozenset({"tif", "tiff"}),
    ImageKind.BMP: frozenset({"bmp", "dib"}),
    ImageKind.JPEG2000: frozenset({"jp2", "jpx", "jpf", "jpm", "j2k"}),
    ImageKind.JPEG2000_STREAM: frozenset({"j2k", "j2c", "jpc", "jp2"}),
}
"""Suffixes that tell the truth about a kind ('mp' is a Pixel phone's motion photo)."""

CLAIMS: Final = frozenset().union(*SUFFIXES.values()) | {
    *("mp4", "mov", "m4v", "3gp", "avi", "mkv", "webm", "mp3", "wav"),
    *("pdf", "txt", "html", "xml", "json", "csv", "zip", "ico", "icns", "dds", "psd", "svg"),
}
"""Suffixes that say something about what is in a file."""

RAW_SUFFIXES: Final = frozenset(
    {"dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "orf", "rw2", "raf", "pef"}
    | {"srw", "3fr", "erf", "kdc", "mrw", "raw", "rwl", "iiq", "gpr"}
)
"""Cameras' own formats: many begin like a TIFF and hold only a thumbnail that we could check."""

_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
    | {b"mif2", b"MiHE", b"MiHB", b"MiHA"}
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_MOST_BRANDS: Final = 32


def image_kind(head: bytes) -> ImageKind | None:
    """The format that these first bytes (12 suffice, more help ISO files) are of, or None."""
    match head[:4]:
        case b"\x89PNG" if head[4:8] == b"\r\n\x1a\n":
            return ImageKind.PNG
        case b"GIF8" if head[4:6] in {b"7a", b"9a"}:
            return ImageKind.GIF
        case b"RIFF" if head[8:12] == b"WEBP":
            return ImageKind.WEBP
        case b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+":
            return ImageKind.TIFF
        case b"\0\0\0\x0c" if head[4:12] == b"jP  \r\n\x87\n":
            return ImageKind.JPEG2000
        case b"\xff\x4f\xff\x51":
            return ImageKind.JPEG2000_STREAM
        case _:
            pass
    if head[:3] == b"\xff\xd8\xff":
        return ImageKind.JPEG
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return ImageKind.BMP
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    return None


def _by_brand(head: bytes) -> ImageKind | None:
    """ISO/IEC 14496-12 § 4.3: a major brand, a version, then compatible brands."""
    major = head[8:12]
    if major in _AVIF_BRANDS:
        return ImageKind.AVIF
    length = min(int.from_bytes(head[:4], "big"), len(head), 16 + 4 * _MOST_BRANDS)
    others = {head[at : at + 4] for at in range(16, length - 3, 4)}
    if major in _HEIF_BRANDS:
        generic = major in {b"mif1", b"msf1", b"mif2"}
        coded_av1 = bool(others & _AVIF_BRANDS) and b"heic" not in others
        return ImageKind.AVIF if generic and coded_av1 else ImageKind.HEIF
    return None


def suffix_of(name: str) -> str:
    """The lower-case suffix of a file's name without its dot; "" where it has none."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot and stem else ""


def is_wrong_suffix(kind: ImageKind, name: str) -> bool:
    """Whether the name claims another format; no suffix, or an unknown one, claims nothing."""
    suffix = suffix_of(name)
    return suffix in CLAIMS and suffix not in SUFFIXES[kind]
