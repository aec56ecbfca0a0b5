import gzip
import io
import tarfile
import zipfile
from datetime import UTC, datetime

import pytest

from orchestrator.errors import ItemRejected
from orchestrator.ports import Surroundings
from orchestrator.reasons import Reason
from workers.sources.takeout import KIND, Takeout

CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nEND:VCARD\r\n"
FILES = {
    "Takeout/Kontakte/Freunde.vcf": CARD,
    "Takeout/Kontakte/a.jpg": b"picture",
    "Takeout/Google Fotos/Fotos von 2008/IMG.jpg": b"jpeg",
    "Takeout/Google Fotos/Fotos von 2008/IMG.jpg.json": b"{}",
    "Takeout/Drive/thesis.docx": b"thesis",
    "Takeout/Notizen/a.json": b'{"textContent": "a"}',
    "Takeout/Notizen/a.html": b"<html>",
    "Takeout/archive_browser.html": b"<html>",
}


def write_zip(path, files, **how):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name) if how else name, data)


def write_tgz(path, files):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            described = tarfile.TarInfo(name)
            described.size = len(data)
            archive.addfile(described, io.BytesIO(data))
    path.write_bytes(gzip.compress(target.getvalue()))


def write_tree(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def source(folder, **options):
    surroundings = Surroundings(
        folder=folder, secret=lambda text: text, clock=lambda: datetime.now(UTC)
    )
    return Takeout(path=".", **options).open(surroundings)


def held(opened, category, owner):
    (folder,) = opened.folders(category, [owner])
    found = {}
    for file in folder.files:
        try:
            found[file.name] = file.read()
        except ItemRejected as rejected:
            found[file.name] = rejected.reason
    return found


def unowned(opened):
    return {each.why: (each.files, each.size) for each in opened.inspect().unowned}


@pytest.mark.parametrize("form", ["zip", "tgz", "folder", "zip in folder", "extracted flat"])
def test_products_become_categories_and_the_rest_is_counted(tmp_path, form):
    match form:
        case "zip":
            write_zip(tmp_path / "anna.zip", FILES)
        case "tgz":
            write_tgz(tmp_path / "anna.tgz", FILES)
        case "folder":
            write_tree(tmp_path / "anna", FILES)
        case "zip in folder":
            (tmp_path / "anna").mkdir()
            write_zip(tmp_path / "anna" / "takeout-20250101T000000Z-001.zip", FILES)
        case _:
            short = {name.removeprefix("Takeout/"): data for name, data in FILES.items()}
            write_tree(tmp_path / "anna", short)
    opened = source(tmp_path)
    assert list(opened.users()) == ["anna"]
    assert held(opened, "contacts", "anna") == {"Kontakte/Freunde.vcf": CARD}
    assert held(opened, "notes", "anna") == {"Notizen/a.json": b'{"textContent": "a"}'}
    assert len(held(opened, "photos", "anna")) == 2
    assert held(opened, "tasks", "anna") == {}
    strays = unowned(opened)
    assert strays["not a category"] == (2, len(b"thesis<html>"))
    assert sum(size for _, size in strays.values()) == len(b"thesis<html>picture<html>")


def test_a_photo_and_its_sidecar_in_two_parts_lie_in_one_folder(tmp_path):
    photo, sidecar = list(FILES)[2:4]
    write_zip(tmp_path / "anna-001.zip", {photo: b"jpeg"})
    write_zip(tmp_path / "anna-002.zip", {sidecar: b"{}"})
    opened = source(tmp_path)
    assert [name.rpartition("/")[0] for name in held(opened, "photos", "anna")] == [
        "Google Fotos/Fotos von 2008"
    ] * 2
    assert any("numbered" in note for note in opened.inspect().notes)


def test_the_same_file_in_two_parts_is_given_twice_under_two_names(tmp_path):
    for number in (1, 2):
        write_zip(tmp_path / f"anna-00{number}.zip", {"Takeout/Contacts/a.vcf": b"%d" % number})
    found = held(source(tmp_path), "contacts", "anna")
    assert sorted(found.values()) == [b"1", b"2"]


def test_numbers_can_be_part_of_user_ids(tmp_path):
    write_zip(tmp_path / "user-001.zip", FILES)
    assert list(source(tmp_path, numbered_parts=False).users()) == ["user-001"]
    assert list(source(tmp_path).users()) == ["user"]


@pytest.mark.guarantee(1)
def test_an_archive_that_could_be_two_users_is_nobodys(tmp_path):
    write_zip(tmp_path / "user-001.zip", FILES)
    write_zip(tmp_path / "user.zip", {"Takeout/Contacts/a.vcf": CARD})
    write_tree(tmp_path / "user-001", {"Takeout/Contacts/b.vcf": CARD})
    opened = source(tmp_path)
    assert list(held(opened, "contacts", "user-001")) == ["Contacts/b.vcf"]
    assert list(held(opened, "contacts", "user")) == ["Contacts/a.vcf"]
    assert any("part of another" in why for why in unowned(opened))


@pytest.mark.guarantee(16)
@pytest.mark.parametrize(
    "name",
    [
        "../../Takeout/Contacts/evil.vcf",
        "/Takeout/Contacts/evil.vcf",
        "Takeout/Contacts/../../../evil/Contacts/evil.vcf",
        "C:\\Takeout\\Contacts\\evil.vcf",
        "Takeout/Contacts/ev\nil.vcf",
    ],
)
def test_a_name_that_leads_out_of_an_archive_harms_only_its_member(tmp_path, name):
    write_zip(tmp_path / "anna.zip", {"Takeout/Contacts/a.vcf": CARD, name: b"evil"}, raw=True)
    before = sorted(tmp_path.rglob("*"))
    found = held(source(tmp_path), "contacts", "anna")
    assert found.pop("Contacts/a.vcf") == CARD
    assert set(found.values()) <= {Reason.STRUCTURE}
    assert not any(".." in each or each.startswith("/") for each in found)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_member_over_the_limit_is_not_unpacked(tmp_path):
    write_zip(
        tmp_path / "anna.zip", {"Takeout/Contacts/a.vcf": CARD, "Takeout/Contacts/b.vcf": b"x"}
    )
    found = held(source(tmp_path, member_bytes=10), "contacts", "anna")
    assert found == {"Contacts/a.vcf": Reason.TOO_LARGE, "Contacts/b.vcf": b"x"}


def test_a_cut_archive_gives_what_is_left_and_says_so(tmp_path):
    write_zip(
        tmp_path / "anna.zip", {f"Takeout/Contacts/{n}.vcf": CARD + b"%d" % n for n in range(9)}
    )
    data = (tmp_path / "anna.zip").read_bytes()
    (tmp_path / "anna.zip").write_bytes(data[: len(data) // 2])
    opened = source(tmp_path)
    found = held(opened, "contacts", "anna")
    assert CARD + b"0" in found.values()
    assert any("cut" in note for note in opened.inspect().notes)
    assert list(held(opened, "notes", "anna").values()) == [Reason.UNREADABLE]


def test_a_file_that_is_no_archive_is_reported_whole(tmp_path):
    (tmp_path / "anna.zip").write_bytes(b"nonsense" * 100)
    (tmp_path / "notes.txt").write_bytes(b"who put this here")
    (tmp_path / "link.zip").symlink_to("/etc/passwd")
    opened = source(tmp_path)
    assert list(opened.users()) == ["anna"]
    assert list(held(opened, "contacts", "anna").values()) == [Reason.UNREADABLE]
    strays = unowned(opened)
    assert strays["neither an archive nor a user's folder"] == (1, 17)
    assert strays["links and devices"] == (1, 0)
    assert (1, 800) in strays.values()
    assert any("damaged" in note for note in opened.inspect().notes)


def test_an_archive_under_the_wrong_suffix_is_read_by_what_it_is(tmp_path):
    write_tgz(tmp_path / "anna.zip", FILES)
    write_zip(tmp_path / "bert.tgz", FILES)
    opened = source(tmp_path)
    assert held(opened, "contacts", "anna") == held(opened, "contacts", "bert") != {}


def test_an_archive_in_an_archive_is_a_file_like_any_other(tmp_path):
    inner = io.BytesIO()
    write_zip(inner, FILES)
    write_zip(tmp_path / "anna.zip", {"Takeout/Drive/old.zip": inner.getvalue()})
    opened = source(tmp_path)
    assert list(opened.users()) == []
    assert unowned(opened)["not a category"] == (1, len(inner.getvalue()))


def test_names_of_products_can_be_given_in_the_plan(tmp_path):
    write_zip(tmp_path / "anna.zip", {"Takeout/Kontaktuak/a.csv": b"Name\nA\n"})
    assert held(source(tmp_path), "contacts", "anna") == {}
    named = source(tmp_path, products={"Kontaktuak": "contacts"})
    assert list(held(named, "contacts", "anna")) == ["Kontaktuak/a.csv"]


def test_the_newest_change_is_when_the_youngest_archive_was_written(tmp_path):
    write_zip(tmp_path / "anna.zip", FILES)
    written = datetime.fromtimestamp((tmp_path / "anna.zip").stat().st_mtime, UTC)
    assert abs(source(tmp_path).inspect().newest - written).total_seconds() < 1


def test_the_kind_is_takeout():
    assert KIND is Takeout
