"""Small real pictures: clouds of colour that a seed decides, each with its canary inside."""

from io import BytesIO
from random import Random
from typing import Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

SIZES: Final = {"jpg": (128, 96), "png": (64, 48)}


def draw(form: str, seed: int, canary: str) -> bytes:
    """A JPEG with the canary as its comment, or a PNG with the canary as a text."""
    rng = Random(seed)
    clouds = Image.frombytes("RGB", (12, 9), rng.randbytes(12 * 9 * 3))
    picture = clouds.resize(SIZES[form], Image.Resampling.BICUBIC)
    out = BytesIO()
    if form == "png":
        about = PngInfo()
        about.add_text("Comment", canary)
        picture.save(out, "PNG", pnginfo=about, compress_level=1)
    else:
        picture.save(out, "JPEG", quality=90, comment=canary)
    return out.getvalue()
