"""Small pictures for tests, made on the spot."""

import io

from PIL import Image, ImageDraw


def picture(width=320, height=240, seed=7):
    """A picture with something in it everywhere, so that no format makes it tiny."""
    image = Image.effect_noise((width, height), 40).convert("RGB")
    ImageDraw.Draw(image).ellipse((seed, seed, width - seed, height - seed), outline="red")
    return image


def saved(image, form, **options):
    """The picture's bytes in a format as Pillow names it."""
    if form == "HEIF":
        import pillow_heif  # noqa: PLC0415  heavy

        pillow_heif.register_heif_opener()
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


JPEG = saved(picture(), "JPEG", quality=90)
PROGRESSIVE = saved(picture(), "JPEG", quality=90, progressive=True)
PNG = saved(picture(64, 48), "PNG")
WEBP = saved(picture(), "WEBP", quality=90)
GIF = saved(picture(), "GIF")
TIFF = saved(picture(64, 48), "TIFF")
BMP = saved(picture(64, 48), "BMP")
JPEG2000 = saved(picture(64, 48), "JPEG2000")
AVIF = saved(picture(64, 48), "AVIF", speed=10)
HEIC = saved(picture(64, 48), "HEIF")

ALL = {
    "jpg": JPEG,
    "png": PNG,
    "webp": WEBP,
    "gif": GIF,
    "tif": TIFF,
    "bmp": BMP,
    "jp2": JPEG2000,
    "avif": AVIF,
    "heic": HEIC,
}
