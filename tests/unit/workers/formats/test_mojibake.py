import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.mojibake import looks_like_mojibake, unmixed


@pytest.mark.parametrize(
    ("text", "meant", "count"),
    [
        ("JosÃ© MuÃ±oz", "José Muñoz", 2),
        ("itâ€™s â€œtrueâ€\x9d", "it\u2019s \u201ctrue\u201d", 3),
        ("MÃ¼ller, GrÃ¶ÃŸe", "Müller, Größe", 3),
    ],
)
def test_text_read_in_the_wrong_charset_is_set_right(text, meant, count):
    assert unmixed(text.encode()) == (meant.encode(), count)


@pytest.mark.parametrize(
    "text", ["", "plain", "José Muñoz", "São João", "Ångström", "Ünïcödé", "日本", "Â", "naïve Ã"]
)
def test_text_that_is_right_stays(text):
    assert unmixed(text.encode()) == (text.encode(), 0)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0xA0, max_codepoint=0x24F), min_size=1, max_size=20))
def test_every_mixed_up_text_is_looked_at(text):
    mixed = text.encode().decode("latin-1").encode()
    assert looks_like_mojibake(mixed) or not any(0xC2 <= byte <= 0xF4 for byte in text.encode())
