import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from tests.unit.workers.formats import pictures
from tests.unit.workers.formats.pictures import ALL, GIF, HEIC, JPEG, PNG, PROGRESSIVE, WEBP, saved
from workers.formats import jpeg
from workers.formats.image_kinds import ImageKind, is_wrong_suffix
from workers.formats.images import Limits, examine


def reason_for(data, limits=None):
    with pytest.raises(ItemRejected) as raised:
        examine(data, limits or Limits())
    return raised.value.reason


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, rows, depth=8, colour=2):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ALL)
def test_a_whole_picture_of_every_format_is_taken_with_its_size(suffix):
    found = examine(ALL[suffix])
    assert found.kind == suffix
    assert found.media.suffix == suffix
    assert found.end == len(ALL[suffix])
    assert (found.width, found.height) in {(320, 240), (64, 48), (64, 64)}


@pytest.mark.parametrize("stretch", [16, 1000, 10**6])
def test_a_long_picture_ends_where_a_short_one_would(monkeypatch, stretch):
    monkeypatch.setattr(jpeg, "_LONG", 0)
    monkeypatch.setattr(jpeg, "_STRETCH", stretch)
    for data in (JPEG, PROGRESSIVE):
        assert examine(data).end == len(data)
        assert reason_for(data[: len(data) * 3 // 4]) is Reason.CUT


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "heic", "avif", "jp2", "bmp"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_cut_picture_is_refused(suffix, share):
    data = ALL[suffix]
    assert reason_for(data[: int(len(data) * share)]) in {Reason.CUT, Reason.STRUCTURE}


@pytest.mark.parametrize(
    "data", [JPEG, PROGRESSIVE, WEBP, HEIC], ids=["jpg", "prog", "webp", "heic"]
)
def test_zeros_in_coded_data_are_seen(data):
    for place in (len(data) // 2, len(data) * 3 // 4 - 600):
        assert reason_for(data[:place] + bytes(560) + data[place + 560 :]) is Reason.ZEROED


def test_a_tail_of_zeros_instead_of_the_rest_is_named_so():
    for data in (JPEG, PNG, WEBP, GIF):
        half = len(data) // 2
        assert reason_for(data[:half] + bytes(len(data) - half)) is Reason.ZEROED


@pytest.mark.parametrize(
    "data", [b"\0" * 100, b"\0" * 9000, b"\0" * 512 + JPEG[512:], b"ab" * 4096]
)
def test_files_of_zeros_or_of_one_block_are_named_so(data):
    assert reason_for(data) is Reason.ZEROED


def test_what_is_no_picture_is_unsupported():
    for data in (
        b"hello",
        b"%PDF-1.7",
        b"PK\x03\x04" + b"x" * 40,
        b"\0\0\0\x18ftypmp42" + b"x" * 30,
    ):
        assert reason_for(data) is Reason.UNSUPPORTED
    assert reason_for(b"") is Reason.EMPTY


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("colour", ["white", "black"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_flat_picture_is_not_taken_for_zeroed(mode, colour, optimize, progressive):
    image = Image.new("RGB", (3000, 2000), colour)
    ImageDraw.Draw(image).ellipse((2500, 1500, 2900, 1900), fill="red")
    data = saved(image.convert(mode), "JPEG", optimize=optimize, progressive=progressive)
    assert examine(data).width == 3000


def test_a_flat_screenshot_in_webp_is_not_taken_for_zeroed():
    image = Image.new("RGB", (4000, 3000), "white")
    ImageDraw.Draw(image).ellipse((3000, 2000, 3900, 2900), fill="red")
    data = saved(image, "WEBP")
    assert bytes(512) in data
    assert examine(data).width == 4000


def test_junk_after_the_end_is_told_apart_from_the_picture():
    for suffix in ("jpg", "png", "webp", "gif", "heic", "avif"):
        data = ALL[suffix]
        assert examine(data + b"\r\n<html>junk</html>").end == len(data)
        assert examine(data + bytes(3000)).end == len(data)


def test_what_phones_append_to_a_jpeg_belongs_to_it():
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x10mdat" + b"film" * 2
    samsung = b"\0\0\x01\x0aImage_UTC_Data" + b"SEFH" + b"x" * 20 + b"SEFT"
    for tail in (JPEG, bytes(40) + PROGRESSIVE, film, samsung, JPEG + film):
        assert examine(JPEG + tail).end == len(JPEG + tail)


def test_a_cut_second_picture_or_film_makes_the_photo_cut():
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\x10\0mdat" + b"film"
    assert reason_for(JPEG + PROGRESSIVE[:-40]) is Reason.CUT
    assert reason_for(JPEG + film) is Reason.CUT


def test_broken_exif_never_costs_a_picture():
    exif = b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0" + b"\xde\xad" * 16
    assert examine(JPEG[:2] + exif + JPEG[2:]).kind is ImageKind.JPEG
    short = b"\xff\xe1" + struct.pack(">H", 12) + b"Exif\0\0" + b"\x01\x02" * 20
    found = examine(JPEG[:2] + short + JPEG[2:])
    assert found.metadata_damaged
    text = bytearray(png_chunk(b"tEXt", b"Comment\0something"))
    text[-1] ^= 1
    found = examine(PNG[:33] + bytes(text) + PNG[33:])
    assert found.metadata_damaged


def test_every_flipped_bit_in_the_data_of_a_png_is_seen():
    start = PNG.index(b"IDAT") + 4
    for place in range(start, len(PNG) - 16, 97):
        flipped = bytearray(PNG)
        flipped[place] ^= 1
        assert reason_for(bytes(flipped)) is Reason.CHECKSUM


def test_a_png_with_sound_checksums_but_wrong_rows_is_refused():
    assert examine(png_of(2, 2, bytes(14))).width == 2
    assert reason_for(png_of(2, 2, bytes(13))) is Reason.CUT
    assert reason_for(png_of(2, 2, b"\x09" * 14)) is Reason.VALUE
    assert reason_for(png_of(2, 2, bytes(14), depth=3)) is Reason.VALUE
    assert reason_for(png_of(2, 2, bytes(6), colour=3)) is Reason.STRUCTURE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_every_colour_type_is_decoded_to_the_last_row(mode):
    data = saved(Image.new("L", (37, 29), 9).convert(mode), "PNG")
    assert (examine(data).width, examine(data).height) == (37, 29)


def test_animations_are_taken_frame_by_frame():
    frames = [Image.new("RGB", (40, 30), (value, 0, 0)) for value in range(0, 200, 20)]
    for form in ("GIF", "WEBP", "PNG", "AVIF"):
        data = saved(frames[0], form, save_all=True, append_images=frames[1:])
        assert examine(data).end == len(data)


@pytest.mark.guarantee(16)
def test_bombs_are_refused_before_anything_is_decoded():
    huge_png = png_of(100_000, 100_000, b"\0" * 100)
    huge_jpeg = bytearray(JPEG)
    frame = JPEG.index(b"\xff\xc0")
    huge_jpeg[frame + 5 : frame + 9] = b"\xff\xf0\xff\xf0"
    huge_gif = bytearray(GIF)
    huge_gif[6:10] = b"\xff\xff\xff\xff"
    for data in (huge_png, bytes(huge_jpeg), bytes(huge_gif)):
        assert reason_for(data) is Reason.TOO_LARGE


def test_a_picture_of_250_megapixels_is_taken():
    data = saved(Image.new("L", (16_000, 15_700), 90), "JPEG")
    assert examine(data).width == 16_000


def test_limits_are_those_of_the_plan():
    assert reason_for(JPEG, Limits(pixels=1000)) is Reason.TOO_LARGE
    assert reason_for(HEIC, Limits(memory=1000)) is Reason.TOO_LARGE


def test_a_large_picture_is_decoded_in_a_child_and_damage_is_seen_there():
    image = Image.effect_noise((5000, 4000), 20).convert("RGB")
    data = saved(image, "JPEG", progressive=True, quality=30, subsampling=0)
    assert examine(data).width == 5000
    scan = data.index(b"\xff\xda") + 4000
    assert reason_for(data[:scan] + data[scan + 9000 :]) is Reason.SYNTAX


def test_damage_that_libtiff_only_mumbles_about_is_seen():
    data = saved(pictures.picture().convert("1"), "TIFF", compression="group4")
    assert examine(data).width == 320
    broken = bytearray(data)
    broken[200:230] = b"\0\xff\0" * 10
    assert reason_for(bytes(broken)) is Reason.SYNTAX


def test_damage_that_only_a_decoder_sees_is_seen():
    frame = JPEG.index(b"\xff\xda") + 14
    swapped = JPEG[: frame + 3000] + JPEG[frame + 5000 : frame + 7000] + JPEG[frame + 5000 :]
    assert reason_for(swapped) is Reason.SYNTAX


def test_suffixes_that_lie_are_known_and_unknown_ones_claim_nothing():
    assert is_wrong_suffix(ImageKind.PNG, "a/IMG.JPG")
    assert is_wrong_suffix(ImageKind.JPEG, "IMG.HEIC")
    for name in ("IMG.jpg", "IMG.JPEG", "IMG", "IMG.2009", ".jpg", "x.bin"):
        assert not is_wrong_suffix(ImageKind.JPEG, name)


@given(st.sampled_from(sorted(ALL)), st.integers(0, 10**6), st.binary(max_size=40))
@settings(deadline=None, max_examples=150)
def test_whatever_is_written_over_a_header_is_a_value_not_an_error(suffix, place, junk):
    data = ALL[suffix]
    if suffix in {"tif", "jp2"}:
        data = data[:40]  # their decoder runs in a child, too slow for a property
    place %= min(len(data), 700)
    try:
        found = examine(data[:place] + junk + data[place + len(junk) :], Limits(memory=1 << 26))
    except ItemRejected:
        return
    assert 0 < found.end <= len(data) + len(junk)


@given(st.binary(max_size=200), st.sampled_from([data[:16] for data in ALL.values()]))
@settings(deadline=None, max_examples=300)
def test_anything_behind_magic_bytes_is_a_value_not_an_error(tail, magic):
    with pytest.raises(ItemRejected):
        examine(magic + tail)


def test_test_pictures_are_real():
    for data in ALL.values():
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    assert pictures.picture().size == (320, 240)
