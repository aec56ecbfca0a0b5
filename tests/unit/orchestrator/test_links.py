"""Links of users: only what we wrote is read, and nobody's name is in it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.public.links import LONGEST, Link, read, written
from orchestrator.sealing import Sealer

OURS, OTHER = Sealer(bytes(range(32))), Sealer(bytes(32))
LINKS = st.builds(
    Link,
    run=st.binary(min_size=2, max_size=8).map(bytes.hex),
    user=st.integers(0, 2**32 - 1),
    expires=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**16 - 1),
)
ONE = Link(run="7f3a01c2", user=17, expires=1_300_000_000, generation=0)


@given(LINKS)
def test_what_was_written_is_read_again_and_fits_into_a_line(link):
    text = written(OURS, link)
    assert read(OURS, text) == link
    assert len(text) <= 60 <= LONGEST


@given(LINKS)
def test_nobody_writes_links_with_another_key(link):
    assert read(OURS, written(OTHER, link)) is None


@given(st.integers(0, len(written(OURS, ONE)) - 1), st.sampled_from("ABCxyz019-_"))
def test_a_link_that_was_changed_anywhere_is_none(place, letter):
    text = written(OURS, ONE)
    changed = text[:place] + letter + text[place + 1 :]
    same = base64.urlsafe_b64decode(changed + "==") == base64.urlsafe_b64decode(text + "==")
    assert (read(OURS, changed) == ONE) if same else (read(OURS, changed) is None)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text):
    assert read(OURS, text) is None


@pytest.mark.parametrize("text", ["", "A", "=", "A" * 5000, written(OURS, ONE) + "A"])
def test_what_is_no_link_is_none(text):
    assert read(OURS, text) is None
