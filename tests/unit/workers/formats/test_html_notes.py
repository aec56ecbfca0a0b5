import pytest

from orchestrator.items import Ident
from workers.formats.html_notes import (
    local_path,
    looks_like_html,
    marked_html,
    read_html_note,
)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html>\n<html></html>",
        b"\xef\xbb\xbf\n<!-- saved --><HTML></HTML>",
        b'<?xml version="1.0"?><html></html>',
        b"<p>piece</p>",
    ],
)
def test_html_is_known_by_its_start(data):
    assert looks_like_html(data)


@pytest.mark.parametrize("data", [b"text <p>", b"<3 you", b"<pre", b"", b"<en-note>"])
def test_what_starts_otherwise_is_no_html(data):
    assert not looks_like_html(data)


@pytest.mark.parametrize(
    "document",
    [
        b"<html><head><title>A &amp; b</title></head><body>x</body></html>",
        b"<html><head></head><body>x</body></html>",
        b"<p>x</p>",
    ],
)
def test_a_marked_document_carries_ident_and_mark(document):
    marked = marked_html(document, Ident('n"<1>'), "restored")
    note = read_html_note(marked)
    assert note.ident == 'n"<1>'
    assert note.title.endswith("(restored)")
    again = read_html_note(marked_html(marked, Ident("other"), "restored"))
    assert again.ident == "other"


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("a%20b.png", "a b.png"),
        ("../x/y.png?size=1", "../x/y.png"),
        ("/etc/passwd", ""),
        ("https://example.org/a.png", ""),
        ("//example.org/a.png", ""),
        ("data:image/png;base64,xx", ""),
        ("http://[bad", ""),
        ("#top", ""),
    ],
)
def test_only_files_beside_a_note_are_referred_to(reference, path):
    assert local_path(reference) == path


def test_pictures_and_recordings_are_referred_to():
    note = read_html_note(b"<p><img alt='x' src='a.png'><audio src=\"b.mp3\"></audio></p>")
    assert note.references == ("a.png", "b.mp3")
