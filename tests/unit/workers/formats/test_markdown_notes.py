import pytest

from orchestrator.items import Ident
from workers.formats.markdown_notes import (
    marked_markdown,
    read_markdown_note,
    titled_markdown,
)


def test_text_without_front_matter_is_all_body():
    note = read_markdown_note(b"# A\n---\ntext")
    assert (note.title, note.body) == ("", "# A\n---\ntext")


def test_front_matter_without_an_end_is_text():
    assert read_markdown_note(b"---\ntitle: A\n").body == "---\ntitle: A\n"


@pytest.mark.parametrize(
    ("front", "labels"),
    [
        (b"tags: [a, 'b c']", ("a", "b c")),
        (b"tags: a", ("a",)),
        (b"labels:\n- a\n-  b", ("a", "b")),
        (b"keywords: []", ()),
    ],
)
def test_labels_are_read_however_they_are_listed(front, labels):
    assert read_markdown_note(b"---\n" + front + b"\n---\n").labels == labels


def test_what_is_not_known_of_front_matter_is_kept_as_meaning():
    note = read_markdown_note(b"---\nmood: good\nlist:\n  - x\ncreated: one day\n---\ntext")
    assert note.more == ["mood: good", "list:", "  - x", "created: one day"]


def test_files_in_the_text_are_referred_to():
    text = b"![[a b.png|100]] ![alt](x/y%20z.png) ![r](https://example.org/q.png) ![[A note]]"
    assert read_markdown_note(text).references == ("a b.png", "x/y z.png")


def test_a_marked_text_keeps_its_front_matter():
    data = b'---\r\ntitle: "A \\"b\\""\r\nmood: good\r\nuid: old\r\n---\r\ntext\r\n'
    marked = read_markdown_note(marked_markdown(data, Ident("new"), "restored"))
    assert marked.title == 'A "b" (restored)'
    assert marked.ident == "new"
    assert marked.more == ["mood: good"]
    assert marked.body == "text\r\n"


def test_a_marked_text_without_a_title_takes_its_heading():
    marked = marked_markdown(b"\n# Shopping \nmilk", Ident("n"), "m")
    assert read_markdown_note(marked).title == "Shopping (m)"


def test_a_title_is_added_to_front_matter_that_has_none():
    titled = titled_markdown(b"---\nmood: good\n---\ntext", "A: b")
    note = read_markdown_note(titled)
    assert (note.title, note.more, note.body) == ("A: b", ["mood: good"], "text")
