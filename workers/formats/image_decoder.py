"""Decodes one picture completely, to prove that it can be; also a program of its own.

As a program (`python image_decoder.py KIND MEMORY SECONDS < picture`) it gives itself limits of
address space and processor time first, so that a hostile or huge picture harms nobody else. It
imports nothing of this package: it has to run wherever the interpreter does.

Exit status: 0 decoded, 3 damaged (the error's class on stdout), 4 out of memory.
"""

import io
import os
import re
import struct
import sys
import warnings
import zlib
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


def _limit(memory: int, seconds: int) -> None:
    import resource  # noqa: PLC0415  heavy: only who decodes pays

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_REPORT_BYTES, _REPORT_BYTES))
    try:
        with open("/proc/self/statm", "rb") as numbers:  # noqa: PTH123  pathlib costs 10 ms here
            held = int(numbers.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # not Linux: address space is not limited there
    most = held + memory + _SLACK
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _import_decoder(kind: str) -> None:
    """Before limits are set, so that libraries do not count."""
    match kind:
        case "jpg":
            pass
        case "heic":
            import pillow_heif  # noqa: PLC0415  heavy: only who decodes pays

            pillow_heif.options.DECODE_THREADS = 1
        case _:
            from PIL import Image  # noqa: PLC0415  heavy: only who decodes pays

            Image.init()


def _main() -> int:
    kind, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data = sys.stdin.buffer.read()
    _import_decoder(kind)
    report = os.memfd_create("report") if hasattr(os, "memfd_create") else -1
    if report >= 0:
        os.dup2(report, 2)  # libtiff tells of damage nowhere else
    _limit(memory, seconds)
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
