import hashlib
from datetime import UTC, datetime

import bagit
import pytest

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.ports import Surroundings
from orchestrator.reasons import Reason
from tests.conformance.source_example import CATEGORIES
from tests.conformance.source_examples.bag import seal
from workers.material.vouching import Digests
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


# Digests from before the loss ------------------------------------------------------------------

PICTURE = "data/anna/photos/a.jpg"
LOSS = datetime(2009, 10, 1, 7, tzinfo=UTC)


def vouching(tmp_path, **options):
    surroundings = Surroundings(
        folder=tmp_path,
        secret=str,
        clock=lambda: None,
        categories=frozenset(CATEGORIES),
        loss=LOSS,
    )
    return Bag(path="bag", digests=Digests.BEFORE_LOSS, **options).open(surroundings)


@pytest.mark.parametrize("algorithm", ["sha224", "sha256", "sha384", "sha512"])
def test_a_strong_digest_from_before_the_loss_vouches_for_what_matches_it(
    root, tmp_path, algorithm
):
    data = bytes(range(256)) * 3
    write(root / PICTURE, data)
    seal(root, algorithm)
    source = vouching(tmp_path)
    known = files_of(source, category="photos")["a.jpg"].vouched()
    assert (known.head, known.length, known.content) == (data[:256], len(data), data)
    assert known.sha256 == hashlib.sha256(data).digest()
    assert any(note.startswith("1 files are vouched for") for note in source.inspect().notes)


@pytest.mark.guarantee(13)
def test_one_flipped_bit_and_what_no_line_lists_is_vouched_for_by_nobody(root, tmp_path):
    write(root / PICTURE, b"12345")
    seal(root)
    write(root / PICTURE, b"12355")
    write(root / "data/anna/photos/b.jpg")
    files = files_of(vouching(tmp_path), category="photos")
    for get in (files["a.jpg"].read, files["a.jpg"].vouched, files["b.jpg"].read):
        with pytest.raises(ItemRejected) as raised:
            get()
        assert raised.value.reason is Reason.CHECKSUM
        assert raised.value.data
    assert files["b.jpg"].vouched is None


def test_without_the_operators_word_no_manifest_vouches_for_anything(root, source):
    write(root / CARD)
    seal(root)
    assert files_of(source)["a.vcf"].vouched is None
    assert not any("vouched" in note for note in source.inspect().notes)


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_digests_that_can_be_forged_prove_nothing_and_that_is_said(root, tmp_path, algorithm):
    write(root / CARD)
    seal(root, algorithm)
    source = vouching(tmp_path)
    file = files_of(source)["a.vcf"]
    assert file.vouched is None
    assert file.read() == b"12345"
    notes = source.inspect().notes
    assert "1 bags have digests that can be forged (MD5, SHA-1): they prove nothing" in notes
    assert not any("vouched" in note for note in notes)


@pytest.mark.parametrize(
    ("day", "believed"),
    [("2009-09-30", True), ("2009-10-01", True), ("2009-10-02", False), ("2009-13-45", True)],
)
def test_a_bag_that_says_it_was_made_after_the_loss_is_not_believed(root, tmp_path, day, believed):
    write(root / CARD)
    seal(root)
    write(root / "bag-info.txt", f"Bagging-Date: {day}\n".encode())
    source = vouching(tmp_path)
    assert (files_of(source)["a.vcf"].vouched is not None) is believed
    later = "1 bags say that they were made after the loss: they prove nothing"
    assert (later in source.inspect().notes) is not believed


def test_of_users_with_bags_of_their_own_each_bag_speaks_for_itself(root, tmp_path):
    for user, algorithm in (("anna", "sha256"), ("bert", "md5"), ("carl", "")):
        write(root / user / "data" / "photos" / "a.jpg")
        if algorithm:
            seal(root / user, algorithm)
    source = vouching(tmp_path, each_user=True)
    by_user = {user: files_of(source, user, "photos")["a.jpg"] for user in ("anna", "bert", "carl")}
    assert [user for user, file in by_user.items() if file.vouched] == ["anna"]
    assert rejection(by_user["carl"]).reason is Reason.CHECKSUM
    assert any(note.startswith("1 files are vouched for") for note in source.inspect().notes)
