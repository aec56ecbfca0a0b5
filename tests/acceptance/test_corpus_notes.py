"""Real notes of several programs, whole and broken, go through the notes category."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.notes import Notes

OWNER = UserId("a user")
LOSS = datetime(2026, 6, 1, tzinfo=UTC)
STRICT = Rules(repairs=frozenset(), loss=LOSS)
MENDING = Rules(repairs=frozenset(Notes.repairs) - Notes.lossy, loss=LOSS)
FILES = corpus_files("notes")

BROKEN = {
    "broken-json-note.json": Reason.SYNTAX,
    "invalid-keep-json-note.json": Reason.STRUCTURE,
    "empty.enex": Reason.EMPTY,
}
"""What is wrong with each file that a strict reader has to refuse."""

MENDED = {"invalid-keep-json-note.json": "accept-undated"}
"""Those that a repair makes whole, and its name."""


def found_in(path, label, rules=STRICT):
    data = corpus_bytes(path, label)
    file = File(name=PurePosixPath(path).name, size=len(data), read=lambda: data)
    return data, list(Notes().read(Folder(owner=OWNER, files=(file,)), rules))


@pytest.mark.parametrize(("path", "label"), FILES)
def test_every_byte_of_a_real_file_is_accounted_for(path, label):
    data, found = found_in(path, label)
    spans = sorted(
        (span.offset, span.length)
        for each in found
        for span in ([each.span] if isinstance(each, Framing) else each.spans)
    )
    offset = 0
    for start, length in spans:
        assert start == offset
        offset += length
    assert offset == len(data)


@pytest.mark.parametrize(("path", "label"), FILES)
def test_real_notes_are_accepted_and_broken_ones_quarantined(path, label):
    _, found = found_in(path, label)
    damaged = [each for each in found if isinstance(each, Damaged)]
    name = PurePosixPath(path).name
    assert (label == "malformed") == (name in BROKEN)
    if name in BROKEN:
        assert [each.reason for each in damaged] == [BROKEN[name]]
        assert not any(isinstance(each, Copy) for each in found)
    else:
        assert damaged == []
        # A file of one line break is a note without anything in it.
        assert any(isinstance(each, Copy) for each in found) or not _stripped(path, label)


def _stripped(path, label):
    return corpus_bytes(path, label).strip()


@pytest.mark.parametrize(("name", "repair"), MENDED.items())
def test_a_repair_makes_a_broken_note_whole(name, repair):
    (path,) = (path for path, _ in FILES if PurePosixPath(path).name == name)
    _, found = found_in(path, "malformed", MENDING)
    (copy,) = (each for each in found if isinstance(each, Copy))
    assert copy.repairs == (repair,)


@pytest.mark.parametrize(("path", "label"), FILES)
def test_a_real_note_is_recognised_where_it_was_written_and_where_it_was_put_beside(path, label):
    _, found = found_in(path, label, MENDING)
    for copy in found:
        if isinstance(copy, Copy):
            for item in (copy.item, Notes().beside(copy.item, "restored")):
                live = Notes().recognise(OWNER, item.content, item.attachments)
                assert live is not None
                assert (live.ident, live.digest) == (item.ident, item.digest)


def test_the_text_of_a_real_note_stays_verbatim():
    for path, label in FILES:
        data, found = found_in(path, label)
        for copy in found:
            if isinstance(copy, Copy):
                span = copy.spans[0]
                assert data[span.offset : span.offset + span.length] in copy.item.content


def test_every_cut_of_a_real_export_keeps_the_notes_before_it():
    path = next(path for path, _ in FILES if path.endswith("two-untitled-notes-with-toc.enex"))
    data, found = found_in(path, "valid")
    copies = [each for each in found if isinstance(each, Copy)]
    assert len(copies) == 3
    for size in range(0, len(data), 7):
        file = File(name="cut.enex", size=size, read=lambda size=size: data[:size])
        cut = list(Notes().read(Folder(owner=OWNER, files=(file,)), STRICT))
        whole = [each.item.digest for each in cut if isinstance(each, Copy)]
        ends = [copy.spans[0].offset + copy.spans[0].length for copy in copies]
        assert whole == [
            copy.item.digest for copy, end in zip(copies, ends, strict=True) if end <= size
        ]


def test_a_real_folder_of_keep_is_read_as_a_whole():
    files = []
    for path, label in FILES:
        if "/tests/keep/" in path and "/expected/" not in path:
            data = corpus_bytes(path, label)
            files.append(File(name=path, size=len(data), read=lambda data=data: data))
    picture = "notes/obsidian-keep/tests/keep/notes/1690514572032.76900194.png"
    files.append(File(name=picture, size=3, read=lambda: b"png"))
    found = list(Notes().read(Folder(owner=OWNER, files=tuple(files)), STRICT))
    copies = [each for each in found if isinstance(each, Copy)]
    assert len(copies) == 13
    assert sum(bool(copy.item.attachments) for copy in copies) == 1
    assert sum("attachments" in copy.degraded for copy in copies) == 3
    assert sum(isinstance(each, Damaged) for each in found) == 2
