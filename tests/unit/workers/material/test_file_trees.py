import os
import socket
import subprocess

import pytest

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.reasons import Reason
from workers.material.file_trees import Tree, moment, text_of


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def tree(root):
    return Tree(root, called="root", file_bytes=1000)


def names(tree, *parts):
    return [entry.name for entry in tree.walk(*parts)]


def rejection(tree, name):
    (entry,) = [entry for entry in tree.walk() if entry.name == name]
    with pytest.raises(ItemRejected) as raised:
        tree.read(entry)
    return raised.value


def test_files_come_in_the_order_of_the_bytes_of_their_names_at_any_depth(root, tree):
    for name in ("b", "a/2", "a/1/x", "a.txt", "Z", "é", "a/10"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    assert names(tree) == [b"Z", b"a/1/x", b"a/10", b"a/2", b"a.txt", b"b", "é".encode()]
    assert names(tree, b"a", b"1") == [b"x"]


def test_folders_deeper_than_a_path_can_say_are_reported_and_harm_no_other(root, tree):
    here = os.open(root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (root / "e").write_bytes(b"sibling")
    deep, sibling = tree.walk()
    assert "ENAMETOOLONG" in deep.fault
    assert tree.read(sibling) == b"sibling"
    subprocess.run(["rm", "-rf", root / "d"], check=True)  # too deep for pytest's own cleaning


def test_links_and_devices_are_seen_and_never_opened(root, tree, tmp_path):
    (tmp_path / "secret").write_bytes(b"not ours")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root)
    (root / "folder link").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(root / "socket"))
    listening.close()
    assert names(tree) == [b"folder link", b"link", b"loop", b"pipe", b"socket"]
    for entry in tree.walk():
        error = rejection(tree, entry.name)
        assert (error.reason, error.data, entry.size) == (Reason.UNREADABLE, b"", 0)


def test_a_file_that_became_a_link_or_pipe_since_its_listing_is_not_followed(root, tree, tmp_path):
    (tmp_path / "secret").write_bytes(b"ours")
    for name in ("first", "second"):
        (root / name).write_bytes(b"ours")
    listed = list(tree.walk())
    for name in ("first", "second"):
        (root / name).unlink()
    (root / "first").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "second")
    for entry in listed:
        with pytest.raises(ItemRejected) as raised:
            tree.read(entry)
        assert raised.value.reason is Reason.UNREADABLE


def test_a_folder_that_is_a_link_is_no_folder(root, tree):
    (root / "real").mkdir()
    (root / "link").symlink_to(root / "real")
    assert tree.is_folder(b"real")
    assert not tree.is_folder(b"link")
    assert not tree.is_folder(b"real", b"absent")


def test_a_file_that_shrank_grew_or_vanished_is_unreadable_with_what_is_left(root, tree):
    for name in ("gone", "grown", "shrunk", "whole"):
        (root / name).write_bytes(b"12345")
    listed = {entry.name: entry for entry in tree.walk()}
    (root / "gone").unlink()
    (root / "grown").write_bytes(b"1234567")
    (root / "shrunk").write_bytes(b"123")
    expected = {b"gone": b"", b"grown": b"12345", b"shrunk": b"123"}
    for name, data in expected.items():
        with pytest.raises(ItemRejected) as raised:
            tree.read(listed[name])
        assert (raised.value.reason, raised.value.data) == (Reason.UNREADABLE, data)
        assert str(root) not in str(raised.value)
    assert tree.read(listed[b"whole"]) == b"12345"


def test_a_file_over_the_limit_is_never_read(root, tree):
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert rejection(tree, b"sparse").reason is Reason.TOO_LARGE


def test_names_that_are_not_utf_8_become_texts_that_differ(root, tree):
    for raw in (b"caf\xe9", b"caf\xe8", b"caf\\xe9"):
        (root / os.fsdecode(raw)).write_bytes(raw)
    files = [tree.file(entry) for entry in tree.walk()]
    assert len({file.name for file in files}) == 3
    assert sorted(file.read() for file in files) == [b"caf\\xe9", b"caf\xe8", b"caf\xe9"]
    assert all(file.name.encode() for file in files)
    assert text_of("é".encode()) == "é"


@pytest.mark.parametrize("state", ["missing", "empty", "a file"])
def test_a_root_that_cannot_hold_anything_is_unavailable(root, tree, state):
    if state != "empty":
        root.rmdir()
    if state == "a file":
        root.write_bytes(b"x")
    with pytest.raises(Unavailable) as raised:
        tree.check()
    assert raised.value.hint


def test_another_folder_in_the_roots_place_is_unavailable(root, tree):
    (root / "x").write_bytes(b"x")
    tree.check()
    root.rename(root.with_name("unmounted"))
    root.mkdir()
    (root / "y").write_bytes(b"y")
    with pytest.raises(Unavailable, match="not the one"):
        tree.check()


def test_losing_the_root_while_reading_is_not_the_files_fault(root, tree):
    (root / "x").write_bytes(b"x")
    tree.check()
    (entry,) = tree.walk()
    (root / "x").unlink()
    with pytest.raises(Unavailable):
        tree.read(entry)


def test_times_outside_the_calendar_are_unknown():
    assert moment(0).year == 1970
    assert moment(10**30) is None
