import hashlib

import bagit
import pytest

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.ports import Surroundings
from orchestrator.reasons import Reason
from tests.conformance.source_example import CATEGORIES
from tests.conformance.source_examples.bag import seal
from workers.sources.bag import Bag

CARD = "data/anna/contacts/a.vcf"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "bag"


@pytest.fixture
def source(tmp_path):
    surroundings = Surroundings(
        folder=tmp_path, secret=str, clock=lambda: None, categories=frozenset(CATEGORIES)
    )
    opened = Bag(path="bag").open(surroundings)
    yield opened
    opened.close()


def write(path, data=b"12345"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def files_of(source, owner="anna", category="contacts"):
    (folder,) = source.folders(category, [owner])
    return {file.name: file for file in folder.files}


def rejection(file):
    with pytest.raises(ItemRejected) as raised:
        file.read()
    return raised.value


def manifest(root, *lines, algorithm="sha256"):
    """A bag with exactly these lines in its manifest."""
    write(root / "bagit.txt", b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
    write(root / f"manifest-{algorithm}.txt", b"".join(lines))


def line(name, data=b"12345", algorithm="sha256", end=b"\n"):
    name = name if isinstance(name, bytes) else name.encode()
    return hashlib.new(algorithm, data).hexdigest().encode() + b"  " + name + end


@pytest.mark.parametrize("change", [b"12355", b"1234", b"", b"123456"])
def test_bytes_that_are_not_those_of_the_manifest_are_never_trusted(root, source, change):
    write(root / CARD)
    seal(root)
    write(root / CARD, change)
    error = rejection(files_of(source)["a.vcf"])
    assert (error.reason, error.data) == (Reason.CHECKSUM, change)


def test_a_file_that_no_manifest_lists_is_not_trusted(root, source):
    write(root / CARD)
    seal(root)
    write(root / "data/anna/contacts/b.vcf")
    files = files_of(source)
    assert files["a.vcf"].read() == b"12345"
    assert rejection(files["b.vcf"]).reason is Reason.CHECKSUM
    assert rejection(files["b.vcf"]).data == b"12345"
    assert any("1 files are in no manifest" in note for note in source.inspect().notes)


def test_a_listed_file_that_is_gone_is_an_unreadable_copy(root, source):
    for name in (CARD, "data/bert/contacts/b.vcf", "data/carl/contacts/c.vcf"):
        write(root / name)
    seal(root)
    (root / CARD).unlink()
    (root / "data/bert/contacts/b.vcf").unlink()
    (root / "data/bert/contacts").rmdir()
    (root / "data/bert").rmdir()
    assert list(source.users()) == ["anna", "bert", "carl"]
    for owner, name in (("anna", "a.vcf"), ("bert", "b.vcf")):
        file = files_of(source, owner)[name]
        assert file.size == 0
        assert rejection(file).reason is Reason.UNREADABLE
    assert any("2 files are in a manifest and are gone" in note for note in source.inspect().notes)


def test_the_strongest_manifest_counts(root, source):
    write(root / CARD)
    manifest(root, line(CARD, b"other", "md5"), algorithm="md5")
    manifest(root, line(CARD, algorithm="sha512"), algorithm="sha512")
    assert files_of(source)["a.vcf"].read() == b"12345"
    assert any("sha512" in note for note in source.inspect().notes)


def test_what_the_library_makes_it_also_finds_valid(root, source):
    for name in ("anna/contacts/a.vcf", "b%2Fc/notes/ünï.json", "%0A/contacts/d.vcf"):
        write(root / name, name.encode())
    bagit.make_bag(str(root), checksums=["sha256"])
    assert list(source.users()) == ["\n", "anna", "b/c"]
    assert files_of(source, "b/c", "notes")["ünï.json"].read() == "b%2Fc/notes/ünï.json".encode()
    assert files_of(source, "\n")["d.vcf"].read() == b"%0A/contacts/d.vcf"
    notes = source.inspect().notes
    assert notes == ("files are checked when they are read, by sha256",)


@pytest.mark.parametrize(
    ("folder", "spelled"),
    [
        ("a%25b", "a%25b"),  # user a%b, written by a tool that leaves % as it is
        ("a%25b", "a%2525b"),  # the same, as RFC 8493 writes it
        ("a%0Ab", "a%0Ab"),
        ("a%0Ab", "a%250Ab"),
    ],
)
def test_both_ways_to_spell_a_percent_sign_are_understood(root, source, folder, spelled):
    write(root / "data" / folder / "contacts" / "a.vcf")
    manifest(root, line(f"data/{spelled}/contacts/a.vcf"))
    (user,) = source.users()
    assert files_of(source, user)["a.vcf"].read() == b"12345"


def test_lines_in_any_order_and_with_any_ending_are_understood(root, source):
    names = [f"data/{user}/contacts/{number}" for number in range(5) for user in ("x", "y", "z")]
    for name in names:
        write(root / name, name.encode())
    ends = [b"\n", b"\r\n", b"\r"]
    lines = [line(name, name.encode(), end=ends[at % 3]) for at, name in enumerate(names)]
    manifest(root, *lines, b"\n", b"# remark\n")
    for user in ("x", "y", "z"):
        assert [file.read().decode() for file in files_of(source, user).values()] == [
            name for name in names if f"/{user}/" in name
        ]


def test_an_asterisk_before_the_name_is_no_part_of_it(root, source):
    write(root / CARD)
    digest = hashlib.sha256(b"12345").hexdigest().upper().encode()
    manifest(root, digest + b" *./" + CARD.encode() + b"\n")
    assert files_of(source)["a.vcf"].read() == b"12345"


def test_a_file_that_is_listed_twice_with_different_digests_is_not_trusted(root, source):
    write(root / CARD)
    manifest(root, line(CARD), line(CARD, b"other"))
    assert rejection(files_of(source)["a.vcf"]).reason is Reason.CHECKSUM


def test_names_that_differ_only_in_how_accents_are_composed_are_the_same_file(root, source):
    write(root / "data/anna/contacts/cafe\u0301.vcf")
    manifest(root, line("data/anna/contacts/caf\u00e9.vcf"))
    (file,) = files_of(source).values()
    assert file.read() == b"12345"


def test_accents_are_not_confused_where_both_spellings_exist(root, source):
    for name, data in (("cafe\u0301", b"one"), ("caf\u00e9", b"two")):
        write(root / f"data/anna/contacts/{name}", data)
    manifest(
        root,
        line("data/anna/contacts/cafe\u0301", b"one"),
        line("data/anna/contacts/caf\u00e9", b"two"),
    )
    assert sorted(file.read() for file in files_of(source).values()) == [b"one", b"two"]


@pytest.mark.guarantee(16)
def test_hostile_lines_harm_no_other_file(root, source, tmp_path):
    write(tmp_path / "secret", b"secret")
    write(root / CARD)
    manifest(
        root,
        line("data/anna/contacts/../../../../secret", b"secret"),
        line("../secret", b"secret"),
        line("/etc/passwd"),
        b"nonsense\n",
        b"\0" * 100_000 + b"\n",
        line(b"data/anna/contacts/\xff"),
        line(CARD),
    )
    files = files_of(source)
    assert files.pop("a.vcf").read() == b"12345"
    for file in files.values():
        assert rejection(file).reason is Reason.UNREADABLE
        assert rejection(file).data == b""
    assert source.inspect().notes


def test_nothing_is_fetched_and_that_is_said(root, source):
    write(root / CARD)
    seal(root)
    write(root / "fetch.txt", b"http://127.0.0.1:9/x 5 data/anna/contacts/x\n")
    assert any("1 files are named by fetch.txt" in note for note in source.inspect().notes)


def test_altered_manifests_and_sizes_are_noted(root, source):
    write(root / CARD)
    seal(root)
    write(root / "bag-info.txt", b"Payload-Oxum: 6.2\n")
    with (root / "manifest-sha512.txt").open("ab") as file:
        file.write(b"\n")
    notes = " ".join(source.inspect().notes)
    assert "manifest-sha512.txt is not what the tag manifest lists" in notes
    assert "says 2 files of 6 bytes, found are 1 of 5" in notes


def test_strays_count_as_payload_but_belong_to_nobody(root, source):
    write(root / CARD)
    write(root / "data/readme")
    write(root / "data/anna/bookmarks/b")
    seal(root)
    write(root / "bag-info.txt", b"Payload-Oxum: 15.3\n")
    inventory = source.inspect()
    whys = {unowned.why: unowned.files for unowned in inventory.unowned}
    assert whys == {"not in a user's folder": 1, "no such category": 1, "the bags' own files": 4}
    assert not any("Oxum" in note for note in inventory.notes)


@pytest.mark.parametrize(
    "declaration",
    [
        None,
        b"",
        b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n",
        b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-16\n",
        b"\0" * 100,
    ],
)
def test_what_is_no_bag_is_unavailable_and_why(root, source, declaration):
    write(root / CARD)
    manifest(root, line(CARD))
    if declaration is None:
        (root / "bagit.txt").unlink()
    else:
        write(root / "bagit.txt", declaration)
    with pytest.raises(Unavailable) as raised:
        source.inspect()
    assert raised.value.hint


def test_a_bag_without_a_manifest_is_unavailable(root, source):
    write(root / CARD)
    manifest(root, line(CARD))
    (root / "manifest-sha256.txt").unlink()
    with pytest.raises(Unavailable, match="no manifest"):
        list(source.users())


def test_a_users_folder_that_is_no_bag_is_not_trusted_and_harms_no_other(tmp_path, root):
    write(root / "anna" / "data" / "contacts" / "a.vcf")
    write(root / "bert" / "data" / "contacts" / "b.vcf")
    seal(root / "bert")
    surroundings = Surroundings(folder=tmp_path, secret=str, clock=lambda: None)
    source = Bag(path="bag", each_user=True).open(surroundings)
    assert list(source.users()) == ["anna", "bert"]
    assert rejection(files_of(source, "anna")["a.vcf"]).reason is Reason.CHECKSUM
    assert files_of(source, "bert")["b.vcf"].read() == b"12345"
    assert any("1 users' folders are not bags" in note for note in source.inspect().notes)
