import os

import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.ports import Surroundings
from tests.conformance.source_example import CATEGORIES
from workers.sources.vdir import Vdir


@pytest.fixture
def root(tmp_path):
    (tmp_path / "recovered").mkdir()
    return tmp_path / "recovered"


@pytest.fixture
def source(tmp_path):
    surroundings = Surroundings(
        folder=tmp_path, secret=str, clock=lambda: None, categories=frozenset(CATEGORIES)
    )
    return Vdir(path="recovered").open(surroundings)


def write(path, data=b"12345"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def names(source, owner, category="contacts"):
    (folder,) = source.folders(category, [owner])
    return [file.name for file in folder.files]


def unowned(source):
    return {one.why: (one.files, one.size) for one in source.inspect().unowned}


def test_files_lie_at_any_depth(root, source):
    for name in ("a.vcf", "work/b.vcf", "work/old/c.vcf"):
        write(root / "anna" / "contacts" / name)
    assert names(source, "anna") == ["a.vcf", "work/b.vcf", "work/old/c.vcf"]


def test_every_byte_outside_of_users_and_categories_is_accounted_for(root, source):
    write(root / "anna" / "contacts" / "a.vcf")
    write(root / "readme")
    write(root / "anna" / "settings")
    write(root / "anna" / "bookmarks" / "deep" / "b")
    write(root / "100%" / "contacts" / "c.vcf")
    write(root / ".trash" / "d")
    write(root / os.fsdecode(b"caf\xe9") / "contacts" / "e.vcf")
    write(root / "a.b" / "contacts" / "f.vcf")
    write(root / "a%2Eb" / "contacts" / "g.vcf")
    (root / "link").symlink_to(root / "anna")
    assert unowned(source) == {
        "not in a user's folder": (2, 5),
        "not in a category's folder": (1, 5),
        "no such category": (1, 5),
        "a folder's name is neither an escaped user id nor a plain one": (1, 5),
        "a hidden folder": (1, 5),
        "a folder's name is not UTF-8": (1, 5),
        "two folders are the same user's: one escaped, one not": (1, 5),
    }
    assert list(source.users()) == ["a.b", "anna"]
    assert names(source, "a.b") == ["g.vcf"]


def test_users_without_files_are_not_users(root, source):
    write(root / "anna" / "contacts" / "a.vcf")
    write(root / "bert" / "bookmarks" / "a")
    (root / "carl" / "contacts").mkdir(parents=True)
    (root / "lost+found").mkdir()
    assert list(source.users()) == ["anna"]


def test_a_category_that_is_a_link_to_another_users_is_not_followed(root, source):
    write(root / "anna" / "contacts" / "a.vcf")
    (root / "bert").mkdir()
    (root / "bert" / "contacts").symlink_to(root / "anna" / "contacts")
    (root / "carl").symlink_to(root / "anna")
    assert names(source, "bert") == []
    assert names(source, "carl") == []
    assert list(source.users()) == ["anna"]


def test_links_among_the_files_are_quarantined_and_noted(root, source):
    write(root / "anna" / "contacts" / "a.vcf")
    (root / "anna" / "contacts" / "b.vcf").symlink_to("/etc/passwd")
    (folder,) = source.folders("contacts", ["anna"])
    _, link = folder.files
    with pytest.raises(ItemRejected):
        link.read()
    assert any(note.startswith("1 links") for note in source.inspect().notes)


@pytest.mark.guarantee(1)
def test_a_file_system_that_folds_case_gives_nobody_anothers_files(root, source):
    write(root / "Anna" / "contacts" / "a.vcf")
    assert names(source, "Anna") == ["a.vcf"]
    users = source._users
    assert users._folds is False
    (root / "anna").symlink_to("Anna")  # as much of a folding file system as can be had here
    users._folds, users._spellings = True, frozenset({b"Anna"})
    assert names(source, "Anna") == ["a.vcf"]
    assert names(source, "anna") == []


def test_a_suddenly_empty_root_is_not_believed(root, source):
    with pytest.raises(Unavailable, match="empty"):
        source.inspect()
    with pytest.raises(Unavailable, match="empty"):
        list(source.users())
    with pytest.raises(Unavailable, match="empty"):
        names(source, "anna")
    assert root.exists()


def test_newest_is_the_youngest_file(root, source):
    for number, name in enumerate(("a", "b", "c")):
        write(root / "anna" / "contacts" / name)
        os.utime(root / "anna" / "contacts" / name, (0, 1_000_000 + number % 2))
    assert source.inspect().newest.timestamp() == 1_000_001


def test_options_are_checked():
    with pytest.raises(ValidationError):
        TypeAdapter(Vdir).validate_python({"path": 3})
