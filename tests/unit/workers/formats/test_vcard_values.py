import pytest

from workers.formats import vcard_values
from workers.formats.vcard_values import DATE, TEXT, fields_meaning, fields_pattern


@pytest.mark.parametrize(
    "date",
    [
        b"", b"19800322", b"1980-03-22", b"1980", b"1980-03", b"--0322", b"--03-22", b"--03",
        b"---22", b"20090808T1430-0500", b"1987-09-27T08:30:00-06:00", b"T102200",
        b"2009-08-08T14:30:00.123Z", b"19961022T140000",
    ],
)  # fmt: skip
def test_dates_of_every_version_are_dates(date):
    assert DATE.fullmatch(date)


@pytest.mark.parametrize(
    "text",
    [b"0000-00-00", b"19801301", b"1980-02-32", b"22.3.1980", b"May", b"1980-3-22", b"T25", b"80"],
)
def test_other_texts_are_none(text):
    assert DATE.fullmatch(text) is None


@pytest.mark.parametrize(
    ("text", "sound"),
    [(b"", True), (rb"a\,b\;c\\", True), (b"a,b", False), (b"a;", False), (rb"a\\,b", False)],
)
def test_a_bare_comma_or_semicolon_is_seen(text, sound):
    assert (TEXT.fullmatch(text) is not None) == sound


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        (b"a;b;c;d;e", True), (b"a", True), (b"", True), (rb"a\;b;c;d;e;f", True),
        (b"a;b;c;d;e;f", False), (b"a;b;c;d;e;f;g", True), (b"1;2;3;4;5;6;7;8", False),
    ],
)  # fmt: skip
def test_structured_values_have_as_many_fields_as_allowed(value, sound):
    assert (fields_pattern(5, 7).fullmatch(value) is not None) == sound


@pytest.mark.parametrize(
    "same",
    [
        (b"a;b", b"a;b;;;", b"a,;,b;"),
        (rb"a\,x;b", rb"a\,x;b;;"),
        (b"a,b;c", b"a,,b;c", b",a,b,;c"),
        (rb"a\\;b", rb"a\\;b;"),
    ],
)
def test_empty_fields_at_the_end_and_empty_parts_say_nothing(same):
    assert len(set(map(fields_meaning, same))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"a;b", rb"a\;b"),
        (b"a,b", rb"a\,b"),
        (b";a", b"a"),
        (rb"a\\;b", rb"a\;b"),
        (b"a,b", b"a;b"),
    ],
)
def test_fields_parts_and_escapes_are_told_apart(one, other):
    assert fields_meaning(one) != fields_meaning(other)


@pytest.mark.parametrize("broken", [b"AAA", b"A===", b"AAAA!", b"=", b"AA==AA"])
def test_broken_base64_is_refused(broken):
    with pytest.raises(ValueError):
        vcard_values.from_base64(broken)


def test_base64_may_hold_white_space():
    assert vcard_values.from_base64(b" AAAA\r\n BB==") == b"\0\0\0\4"
