"""Decodes one picture completely, to prove that it can be; also a program of its own.

As a program (`python image_decoder.py KIND MEMORY SECONDS CONFINEMENT < picture`) it gives up
everything but computing first, by the module of which it is told the path, so that a hostile or
huge picture harms nobody else. It imports nothing of this package: it has to run wherever the
interpreter does.

Exit status: 0 decoded, 3 damaged (the error's class on stdout), 4 out of memory.
"""

import io
import os
import re
import struct
import sys
import warnings
import zlib
from importlib import import_module
from typing import Final

DAMAGED: Final = 3
OUT_OF_MEMORY: Final = 4

_SLACK: Final = 64 * 1024 * 1024
_REPORT_BYTES: Final = 1024 * 1024
_TIFF_ERROR: Final = re.compile(
    rb"^(?:Fax|LZW|ZIP|JPEG|PackBits|ZSTD|LZMA|WebP|TIFFFill|_tiffReadProc|TIFFReadScanline"
    rb"|TIFFReadEncoded|TIFFReadRGBA)\w*:",
    re.MULTILINE,
)
"""Lines in which libtiff reports damaged picture data; Pillow shows half a picture instead."""


class Undecodable(ValueError):
    """The picture's data is damaged; the text is the class of the decoder's error."""


def decode(kind: str, data: bytes) -> None:
    """Decode every frame of a picture of which the size was checked before.

    Raises:
        Undecodable: its data is damaged.
        MemoryError: there is not enough memory for it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            match kind:
                case "jpg":
                    _decode_jpeg(data)
                case "heic":
                    _decode_heif(data)
                case _:
                    _decode_with_pillow(data)
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, ArithmeticError) as error:
        raise Undecodable(type(error).__name__) from None
    except (LookupError, AttributeError, RuntimeError, struct.error, zlib.error) as error:
        raise Undecodable(type(error).__name__) from None


def _decode_jpeg(data: bytes) -> None:
    """At 1/8 scale: every coded bit is read, no pixel is computed for nothing."""
    import simplejpeg  # noqa: PLC0415  heavy: only who decodes pays

    colours = simplejpeg.decode_jpeg_header(data)[2]
    simplejpeg.decode_jpeg(
        data,
        colorspace="CMYK" if colours in {"CMYK", "YCCK"} else "GRAY",
        min_height=1,
        min_width=1,
        min_factor=8,
        strict=True,
    )


def _decode_heif(data: bytes) -> None:
    import pillow_heif  # noqa: PLC0415  heavy: only who decodes pays

    for picture in pillow_heif.open_heif(data, convert_hdr_to_8bit=False):
        if not picture.data:  # reading it decodes
            raise Undecodable("NoPixels")


def _decode_with_pillow(data: bytes) -> None:
    from PIL import Image  # noqa: PLC0415  heavy: only who decodes pays

    Image.MAX_IMAGE_PIXELS = None  # the caller checked the size before, by its own limit
    with Image.open(io.BytesIO(data)) as picture:
        while True:
            picture.load()
            try:
                picture.seek(picture.tell() + 1)
            except EOFError:
                return


def _confine(path: str, memory: int, seconds: int) -> None:
    """By the module at `path`: of packages this program knows nothing."""
    import resource  # noqa: PLC0415  heavy: only who decodes pays
    from importlib.util import module_from_spec, spec_from_file_location  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    spec = spec_from_file_location("confinement", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    confinement = sys.modules["confinement"] = module_from_spec(spec)
    spec.loader.exec_module(confinement)
    readable = confinement.own_code()
    confinement.confine(memory=memory, readable=readable, file_bytes=_REPORT_BYTES)


def import_decoders() -> None:
    """All of them, each made to work in the one thread that asks."""
    for kind in ("jpg", "heic", "other"):
        _import_decoder(kind)


def _import_decoder(kind: str) -> None:
    """Before limits are set, so that libraries do not count."""
    match kind:
        case "jpg":
            import_module("simplejpeg")
        case "heic":
            import pillow_heif  # noqa: PLC0415  heavy: only who decodes pays

            pillow_heif.options.DECODE_THREADS = 1
        case _:
            from PIL import AvifImagePlugin, Image  # noqa: PLC0415  heavy: only who decodes pays

            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
            Image.init()


def _main() -> int:
    kind, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data = sys.stdin.buffer.read()
    _import_decoder(kind)
    report = os.memfd_create("report") if hasattr(os, "memfd_create") else -1
    if report >= 0:
        os.dup2(report, 2)  # libtiff tells of damage nowhere else
    _confine(sys.argv[4], memory, seconds)
    try:
        decode(kind, data)
    except Undecodable as error:
        sys.stdout.write(str(error))
        return DAMAGED
    except MemoryError:
        return OUT_OF_MEMORY
    if report >= 0 and kind == "tif" and _TIFF_ERROR.search(os.pread(report, _REPORT_BYTES, 0)):
        sys.stdout.write("TiffError")
        return DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
