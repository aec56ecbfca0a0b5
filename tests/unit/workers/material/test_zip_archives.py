import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.material.archive_members import ArchiveFile
from workers.material.file_trees import Tree
from workers.material.zip_archives import ZipArchive

FILES = {
    "Takeout/Contacts/a.vcf": b"BEGIN:VCARD\r\n" * 40,
    "Takeout/Keep/caf\u00e9.json": b'{"title": "one"}',
    "Takeout/Google Photos/IMG.jpg": bytes(range(256)) * 40,
}
LIMIT = 1 << 20


def zipped(files=FILES, method=zipfile.ZIP_DEFLATED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def streamed(files=FILES):
    """As written by who cannot seek: sizes follow the data."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return pipe.data


@pytest.fixture
def opened(tmp_path):
    def opened(data):
        path = tmp_path / "x.zip"
        path.write_bytes(data)
        tree = Tree(tmp_path, called="x")
        return ZipArchive(ArchiveFile(tree, str(path).encode(), len(data)))

    return opened


def readable(archive):
    found = {}
    for member in archive.contents().members:
        try:
            found[member.name] = archive.read(member, LIMIT)
        except ItemRejected as rejected:
            found[member.name] = rejected.reason
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_every_member_comes_back(opened, method):
    archive = opened(zipped(method=method))
    assert readable(archive) == FILES
    assert archive.contents().damage == ""


def test_an_archive_with_something_before_it_or_a_comment_is_read(opened):
    target = io.BytesIO(zipped())
    with zipfile.ZipFile(target, "a") as archive:
        archive.comment = b"a comment"
    assert readable(opened(b"#!/bin/sh\n" + target.getvalue())) == FILES


def test_folders_are_no_members(opened):
    assert readable(opened(zipped({"Takeout/": b"", **FILES}))) == FILES


@pytest.mark.parametrize("data", [zipped(), streamed()], ids=["sizes before", "sizes after"])
def test_a_cut_archive_gives_what_lies_before_the_cut(opened, data):
    names = list(FILES)
    third = data.index(names[2].encode())
    archive = opened(data[: third + 60])
    found = readable(archive)
    assert {name: found[name] for name in names[:2]} == {name: FILES[name] for name in names[:2]}
    assert found[names[2]] is Reason.CUT
    assert "cut" in archive.contents().damage
    without_directory = opened(data[: data.index(b"PK\x01\x02")])
    assert readable(without_directory) == FILES


def test_a_hole_in_an_archive_costs_the_members_in_it(opened):
    data = zipped()
    start = data.index(b"BEGIN") if b"BEGIN" in data else 30 + len("Takeout/Contacts/a.vcf")
    broken = data[:start] + bytes(20) + data[start + 20 :]
    found = readable(opened(broken))
    assert found["Takeout/Contacts/a.vcf"] is Reason.CHECKSUM
    assert found["Takeout/Google Photos/IMG.jpg"] == FILES["Takeout/Google Photos/IMG.jpg"]


def test_what_could_be_unpacked_before_the_damage_is_kept(opened):
    content = b"".join(b"%d," % number for number in range(20_000))
    data = bytearray(zipped({"a": content}))
    data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
    archive = opened(bytes(data))
    (member,) = archive.contents().members
    with pytest.raises(ItemRejected) as raised:
        archive.read(member, LIMIT)
    assert raised.value.reason is Reason.CHECKSUM
    assert raised.value.data[:2000] == content[:2000]


def changed_directory(data, **fields):
    """One entry's fields overwritten in the central directory, and the local header too."""
    places = {"flags": (8, 6, "<H"), "method": (10, 8, "<H"), "crc": (16, 14, "<I")}
    places |= {"packed": (20, 18, "<I"), "size": (24, 22, "<I"), "external": (38, None, "<I")}
    found = bytearray(data)
    central, local = data.index(b"PK\x01\x02"), data.index(b"PK\x03\x04")
    for name, value in fields.items():
        in_central, in_local, form = places[name]
        struct.pack_into(form, found, central + in_central, value)
        if in_local is not None:
            struct.pack_into(form, found, local + in_local, value)
    return bytes(found)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"flags": 1}, Reason.ENCRYPTED),
        ({"method": 99}, Reason.UNSUPPORTED),
        ({"crc": 7}, Reason.CHECKSUM),
        ({"size": 519}, Reason.STRUCTURE),
        ({"size": 521}, Reason.CUT),
        ({"size": 0x7FFFFFFF}, Reason.STRUCTURE),
        ({"packed": 0x7FFFFFFF}, Reason.CUT),
        ({"external": 0o120777 << 16}, Reason.UNREADABLE),
        ({"external": 0o020666 << 16}, Reason.UNREADABLE),
    ],
)
@pytest.mark.guarantee(16)
def test_an_evil_member_harms_only_itself(opened, fields, reason):
    found = readable(opened(changed_directory(zipped(), **fields)))
    assert found.pop("Takeout/Contacts/a.vcf") is reason
    assert found == {name: data for name, data in FILES.items() if "Contacts" not in name}


@pytest.mark.guarantee(16)
def test_bombs_are_refused_without_unpacking(opened):
    assert readable(opened(zipped({"zeros": bytes(LIMIT + 1)}))) == {"zeros": Reason.TOO_LARGE}
    archive = opened(zipped({"zeros": bytes(40 << 20)}))
    (member,) = archive.contents().members
    with pytest.raises(ItemRejected) as raised:
        archive.read(member, 1 << 30)
    assert raised.value.reason is Reason.TOO_LARGE


@pytest.mark.guarantee(16)
def test_members_that_share_bytes_are_a_bomb(opened):
    data = bytearray(zipped({"a": b"1" * 5000, "b": b"2" * 5000}))
    first = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, first + 20, 100)
    assert readable(opened(bytes(data))) == {"a": Reason.STRUCTURE, "b": b"2" * 5000}
    data = bytearray(zipped({"a": b"1" * 5000, "b": b"2" * 5000}))
    second = data.index(b"PK\x01\x02", first + 4)
    struct.pack_into("<I", data, second + 42, 0)
    assert readable(opened(bytes(data))) == {"a": b"1" * 5000, "b": Reason.STRUCTURE}


def test_two_headers_that_name_different_files_are_not_believed(opened):
    data = bytearray(zipped({"a.txt": b"text"}))
    data[30] = ord("b")
    assert readable(opened(bytes(data))) == {"a.txt": Reason.STRUCTURE}


def test_zip64_sizes_are_understood(opened):
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w") as archive,
        archive.open("a", "w", force_zip64=True) as member,
    ):
        member.write(b"content")
    data = target.getvalue()
    assert readable(opened(data)) == {"a": b"content"}
    assert readable(opened(data[: data.index(b"PK\x01\x02")])) == {"a": b"content"}


def test_checksums_are_those_of_the_contents(opened):
    for member in opened(zipped()).contents().members:
        assert member.checksum == zlib.crc32(FILES[member.name])
        assert member.modified.tzinfo is not None


@pytest.mark.parametrize("data", [b"", b"PK", b"no archive at all" * 100, bytes(5000)])
def test_what_is_no_archive_has_no_members_and_says_so(opened, data):
    contents = opened(data).contents()
    assert contents.members == ()
    assert contents.damage
    assert contents.unclaimed == len(data)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_whatever_is_altered_reading_gives_values(tmp_path_factory, data):
    whole = bytearray(data.draw(st.sampled_from([zipped(), streamed()])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    whole = bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    path.write_bytes(whole)
    tree = Tree(path.parent, called="x")
    archive = ZipArchive(ArchiveFile(tree, str(path).encode(), len(whole)))
    for found in readable(archive).values():
        assert isinstance(found, bytes | Reason)
