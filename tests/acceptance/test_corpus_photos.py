"""Real pictures, whole and damaged, go through the photos category."""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.photos import Photos

RULES = Rules(repairs=frozenset(Photos.repairs), loss=datetime(2026, 1, 1, tzinfo=UTC))

EXCEPTIONS = {
    "broken_exif_dpi.jpg": "only its EXIF is broken, which is never fatal; the picture is whole",
    "truncated_exif_dpi.jpg": "only its EXIF is cut, which is never fatal; the picture is whole",
    "zero_dpi.jp2": "only its resolution is zero; every pixel decodes",
    "invalid_id.heic": "only a reference names an item that is not there; the picture decodes",
    "README": "not a picture: it is the text beside the pictures of a bag",
}
"""Files whose label does not tell what the category has to do with them, each with the reason."""


def read(path, data):
    file = File(name=PurePosixPath(path).name, size=len(data), read=lambda: data)
    folder = Folder(owner=UserId("a user"), files=(file,))
    return list(Photos().read(folder, RULES))


def found_in(path):
    data = corpus_bytes(path)
    return data, read(path, data)


@pytest.mark.parametrize(("path", "label"), corpus_files("photos"))
def test_every_real_file_is_accounted_for_to_the_byte(path, label):
    data, found = found_in(path)
    spans = sorted(
        (span.offset, span.length)
        for each in found
        for span in ([each.span] if isinstance(each, Framing) else each.spans)
    )
    assert sum(length for _, length in spans) == len(data)
    assert spans == [(0, len(data))]
    name = PurePosixPath(path).name
    if label == "edge":
        return
    taken = isinstance(found[0], Copy)
    assert taken == ((label == "valid") != (name in EXCEPTIONS))


@pytest.mark.parametrize("path", [path for path, _ in corpus_files("photos")])
def test_a_picture_that_is_taken_is_recognised_where_it_was_written(path):
    data, found = found_in(path)
    for copy in found:
        if isinstance(copy, Copy):
            live = Photos().recognise(UserId("a user"), copy.item.content, copy.item.attachments)
            assert live is not None
            assert (live.ident, live.digest) == (copy.item.ident, copy.item.digest)
            assert data.startswith(copy.item.content)


def test_bombs_are_refused_by_their_size_alone():
    reasons = {
        PurePosixPath(path).name: found_in(path)[1][0].reason
        for path, _ in corpus_files("photos")
        if "bomb_extents" in path or "zero_width" in path or "oom-" in path
    }
    assert reasons["decompression_bomb_extents.gif"] is Reason.TOO_LARGE
    assert reasons["zero_width.gif"] is Reason.VALUE
    assert set(reasons.values()) <= {
        Reason.TOO_LARGE,
        Reason.VALUE,
        Reason.CUT,
        Reason.UNSUPPORTED,
    }


def zeroed(data, start, length=4096):
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def large_pictures(*suffixes):
    return [
        path
        for path, label in corpus_files("photos")
        if label == "valid" and path.endswith(suffixes) and len(corpus_bytes(path)) > 100_000
    ]


@pytest.mark.parametrize("path", large_pictures(".jpg", ".heic"))
def test_a_lost_block_of_a_disk_is_seen_in_every_picture(path):
    data = corpus_bytes(path)
    first_coded = len(data) // 4  # behind any metadata of these files
    for start in range(first_coded, len(data) - 4096, max(4096, len(data) // 6)):
        (found,) = read(path, zeroed(data, start))
        assert isinstance(found, Damaged)


@pytest.mark.parametrize("path", large_pictures(".jpg", ".heic", ".png", ".webp"))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_picture_is_never_taken(path, share):
    data = corpus_bytes(path)
    cut = data[: int(len(data) * share)]
    (found,) = read(path, cut)
    assert isinstance(found, Damaged)
    assert found.data == cut
