"""Where the parts of a JSON text lie, whole or not."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.json_outline import outline

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(VALUES, max_size=5), st.booleans())
def test_the_parts_of_an_array_are_its_elements(values, plain):
    data = json.dumps(values, ensure_ascii=plain, indent=None if plain else 2).encode()
    found = outline(b" " + data + b" ")
    assert found.whole
    assert (found.start, found.end) == (1, 1 + len(data))
    assert [json.loads(data[part.start - 1 : part.end - 1]) for part in found.parts] == values


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_the_parts_of_an_object_are_its_members(members):
    data = json.dumps(members).encode()
    found = outline(data)
    assert found.whole
    assert not found.doubled
    read = {json.loads(part.key): json.loads(data[part.start : part.end]) for part in found.parts}
    assert read == members


@settings(deadline=None, max_examples=150)
@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_a_cut_leaves_the_parts_before_it(values, data):
    text = json.dumps(values).encode()
    whole = outline(text)
    size = data.draw(st.integers(1, len(text) - 1))
    found = outline(text[:size])
    assert not found.whole
    kept = [part for part in found.parts if part.whole]
    assert kept == list(whole.parts[: len(kept)])
    assert len(kept) >= sum(part.end < size for part in whole.parts) - 1


@pytest.mark.parametrize(
    "text", [b"[1,]", b"[1 2]", b'{"a" 1}', b"[1}", b'["a', b"{1:2}", b"7", b""]
)
def test_what_breaks_the_grammar_is_not_whole(text):
    assert not outline(text).whole


def test_a_key_that_is_there_twice_shows():
    found = outline(b'{"a":1,"a":2}')
    assert found.doubled
    last = found.named(b"a")
    assert last is not None
    assert (last.start, last.end) == (11, 12)


def test_deep_nesting_costs_no_more_than_its_length():
    began = time.perf_counter()
    found = outline(b"[" * 200_000 + b"]" * 200_000)
    assert found.parts[0].deepest == 199_999
    assert time.perf_counter() - began < 5
