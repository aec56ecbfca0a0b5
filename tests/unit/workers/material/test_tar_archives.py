import gzip
import io
import os
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.material import gzip_stretches
from workers.material.archive_members import ArchiveFile
from workers.material.file_trees import Tree
from workers.material.tar_archives import TarArchive

FILES = {
    "Takeout/Contacts/a.vcf": b"BEGIN:VCARD\r\n" * 40,
    "Takeout/Google Photos/" + "long/" * 30 + "IMG.jpg": bytes(range(256)) * 40,
    "Takeout/Keep/caf\u00e9.json": b'{"title": "one"}',
    "Takeout/Keep/empty": b"",
}
LIMIT = 1 << 26


def tarred(files=FILES, form=tarfile.PAX_FORMAT, types=()):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in files.items():
            described = tarfile.TarInfo(name)
            described.size, described.mtime = len(data), 1_200_000_000
            described.type = dict(types).get(name, tarfile.REGTYPE)
            described.linkname = "/etc/passwd"
            archive.addfile(described, io.BytesIO(data))
    return target.getvalue()


def opened(folder, data, *, packed=False):
    path = folder / "x.tar"
    path.write_bytes(data)
    file = ArchiveFile(Tree(folder, called="x"), str(path).encode(), len(data))
    return TarArchive(file, packed=packed)


def readable(archive):
    found = {}
    for member in archive.contents().members:
        try:
            found[member.name] = archive.read(member, LIMIT)
        except ItemRejected as rejected:
            found[member.name] = rejected.reason
    return found


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_every_member_comes_back(tmp_path, form, packed):
    data = tarred(form=form)
    archive = opened(tmp_path, gzip.compress(data) if packed else data, packed=packed)
    assert readable(archive) == FILES
    assert archive.contents().damage == ""
    assert {member.modified.year for member in archive.contents().members} == {2008}


def test_short_names_in_the_oldest_form_come_back(tmp_path):
    files = {"Takeout/Keep/a": b"x", "p" * 90 + "/" + "n" * 90: b"y"}
    assert readable(opened(tmp_path, tarred(files, tarfile.USTAR_FORMAT))) == files


@pytest.mark.guarantee(16)
def test_links_and_devices_are_files_that_cannot_be_read(tmp_path):
    name = "Takeout/Keep/empty"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        found = readable(opened(tmp_path, tarred(types={name: kind}.items())))
        assert found.pop(name) is Reason.UNREADABLE
        assert len(found) == 3


def test_members_can_be_read_in_any_order_of_a_large_packed_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_stretches, "_STEP", 200_000)
    monkeypatch.setattr(gzip_stretches, "_PIECE", 50_000)
    files = {f"{number}": random.Random(number).randbytes(90_000) for number in range(30)}
    archive = opened(tmp_path, gzip.compress(tarred(files), 1), packed=True)
    members = list(archive.contents().members)
    random.Random(1).shuffle(members)
    for member in members:
        assert archive.read(member, LIMIT) == files[member.name]


def test_gzip_files_one_after_the_other_are_one(tmp_path):
    data = tarred()
    halves = gzip.compress(data[:3000]) + gzip.compress(data[3000:]) + bytes(100)
    assert readable(opened(tmp_path, halves, packed=True)) == FILES


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_archive_gives_what_lies_before_the_cut(tmp_path, packed):
    files = {f"{number}": os.urandom(3000) for number in range(9)}
    data = tarred(files)
    data = gzip.compress(data) if packed else data
    archive = opened(tmp_path, data[: len(data) // 2], packed=packed)
    found = readable(archive)
    assert archive.contents().damage
    whole = [name for name, content in found.items() if content == files[name]]
    assert len(whole) >= 3
    assert all(content is Reason.CUT for name, content in found.items() if name not in whole)


def test_a_damaged_header_costs_its_own_member(tmp_path):
    data = bytearray(tarred({"a": b"1" * 600, "b": b"2", "c": b"3"}))
    place = data.index(b"b\0\0\0\0")
    data[place : place + 200] = bytes(200)
    archive = opened(tmp_path, bytes(data))
    assert readable(archive) == {"a": b"1" * 600, "c": b"3"}
    assert archive.contents().damage
    assert archive.contents().unclaimed >= 512


@pytest.mark.guarantee(16)
def test_a_packed_bomb_ends_where_no_one_packs_further(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_stretches, "_ALWAYS", 100_000)
    monkeypatch.setattr(gzip_stretches, "_PIECE", 50_000)
    files = {"small": b"x", "bomb": bytes(30_000_000), "behind": b"y"}
    archive = opened(tmp_path, gzip.compress(tarred(files)), packed=True)
    found = readable(archive)
    assert found["small"] == b"x"
    assert found["bomb"] in {Reason.CUT, Reason.TOO_LARGE}
    assert "behind" not in found
    assert "far more" in archive.contents().damage


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_archive_has_no_members_and_says_so(tmp_path, packed):
    contents = opened(tmp_path, b"\x1f\x8b no archive" * 99, packed=packed).contents()
    assert contents.members == ()
    assert contents.damage


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_whatever_is_altered_reading_gives_values(tmp_path_factory, data):
    packed = data.draw(st.booleans())
    whole = bytearray(gzip.compress(tarred(), mtime=0) if packed else tarred())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    archive = opened(tmp_path_factory.mktemp("tar"), whole, packed=packed)
    for found in readable(archive).values():
        assert isinstance(found, bytes | Reason)
