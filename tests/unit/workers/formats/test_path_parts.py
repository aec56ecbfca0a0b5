import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.path_parts import LONGEST, escape, unescape

any_text = st.text(st.characters(exclude_categories=()), max_size=60)


@settings(deadline=None)
@given(any_text)
def test_every_text_can_be_had_back(text):
    part = escape(text)
    assert "%~" in part or unescape(part) == text


@settings(deadline=None)
@given(any_text | st.text(min_size=60, max_size=400))
def test_a_part_is_safe_in_any_path(text):
    part = escape(text)
    assert re.fullmatch(r"[A-Za-z0-9_@+%~-]+", part)
    assert len(part) <= LONGEST


def test_plain_names_stay_as_they_are():
    assert escape("Ada_Lovelace+1@host") == "Ada_Lovelace+1@host"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "%"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("é", "%C3%A9"),
        ("%", "%25"),
        ("a\x00", "a%00"),
        ("~", "%7E"),
    ],
)
def test_everything_else_is_percent_escaped(text, part):
    assert escape(text) == part


def test_a_long_name_is_cut_and_told_apart_by_its_hash():
    first, second = escape("é" * 100 + "a"), escape("é" * 100 + "b")
    assert first != second
    assert re.fullmatch(r"(?:%C3%A9|%C3)+%~[0-9a-f]{32}", first)
    with pytest.raises(ValueError, match="cut"):
        unescape(first)


@pytest.mark.parametrize("length", [165, 166, 167, 168, 199, 200, 201])
def test_cutting_never_splits_an_escape(length):
    part = escape("x" * length + "é" * 30)
    assert re.fullmatch(r"x+(?:%[0-9A-F]{2})*%~[0-9a-f]{32}", part)


@pytest.mark.parametrize(
    "part", ["", "a.b", "%2e", "%41", "a%", "%4", "%FF", "a b", "é", "..", "%~", "a%~0"]
)
def test_what_escape_never_writes_is_refused(part):
    with pytest.raises(ValueError):
        unescape(part)
