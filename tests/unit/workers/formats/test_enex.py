import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident
from tests.conformance.category_examples.notes import ENEX_HEAD, enml
from workers.formats.enex import as_file, looks_like_enex, marked_enex, read_enex_note, stretches

TOKENS = ["<note>", "</note>", "<![CDATA[", "]]>", "<content>", "</content>", "x", "<note ", "\n"]


def notes(data):
    return [data[part.start : part.end] for part in stretches(data) if part.note and part.closed]


def test_each_note_has_its_exact_bytes():
    first, second = enml(b"A", b"t"), enml(b"B", b"t")
    data = ENEX_HEAD + first + b"\n " + second + b"\n</en-export>\n"
    assert looks_like_enex(data)
    assert notes(data) == [first, second]
    assert len(list(stretches(data))) == 2


def test_a_note_in_the_text_of_another_is_no_tag():
    note = enml(b"A", b"t").replace(b"<tag>", b"<x><![CDATA[ <not a note> ]]></x><tag>")
    assert notes(ENEX_HEAD + note) == [note]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join).map(str.encode))
def test_stretches_never_overlap(data):
    end = 0
    for part in stretches(data):
        assert part.start >= end
        assert part.end > part.start
        end = part.end
    assert end <= len(data)


def test_junk_between_notes_is_told():
    data = ENEX_HEAD + enml(b"A", b"t") + b" junk \n</en-export>"
    (junk,) = (part for part in stretches(data) if not part.note)
    assert data[junk.start : junk.end] == b"junk \n</en-export>"


@pytest.mark.parametrize(
    "note",
    [
        enml(b"A &lt; b", b"t"),
        enml(b"A", b"t").replace(b"<title>A</title>", b""),
        enml(b"A", b"t").replace(b"<title>A</title>", b"<title/>"),
        enml(b"A", b"t", b"<note-attributes/>"),
        enml(b"A", b"t", b"<note-attributes><author>me</author></note-attributes>"),
    ],
)
def test_a_marked_note_carries_ident_and_mark_and_the_rest_of_itself(note):
    before = read_enex_note(note)
    marked = marked_enex(as_file(note), Ident("n<1>"), "restored")
    (written,) = notes(marked)
    after = read_enex_note(written)
    assert after.ident == "n<1>"
    assert after.title.endswith("(restored)")
    assert (after.body, after.more, after.labels) == (before.body, before.more, before.labels)


def test_text_without_cdata_is_read_too():
    note = b"<note><title>A</title><content>&lt;en-note&gt;x&lt;/en-note&gt;</content></note>"
    assert read_enex_note(note).body == "x"


@pytest.mark.parametrize(
    "content",
    [
        b"<content><![CDATA[<en-note>x</content>",
        b"<content><![CDATA[<en-note>x]]></content>",
        b"<content><![CDATA[<en-note>x</en-note>]]>",
    ],
)
def test_a_text_without_its_end_is_cut(content):
    with pytest.raises(ItemRejected):
        read_enex_note(b"<note><title>A</title>" + content + b"</note>")


def test_more_than_one_note_cannot_be_marked():
    with pytest.raises(ValueError, match="one note"):
        marked_enex(as_file(enml(b"A", b"t") * 2), Ident("x"), "m")
