import pytest

from workers.material.takeout_products import OTHER, Products, is_data

PRODUCTS = Products({})


def no_head(path):
    raise AssertionError(path)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Contacts", "contacts"),
        ("Kontakte", "contacts"),
        ("連絡先", "contacts"),
        ("Kalender", "calendar"),
        ("Google Agenda", "calendar"),
        ("Keep", "notes"),
        ("Google Notizen", "notes"),
        ("Tâches", "tasks"),
        ("Ta\u0302ches", "tasks"),
        ("google fotos", "photos"),
        ("Google Фото", "photos"),
        ("Drive", OTHER),
        ("YouTube und YouTube Music", OTHER),
        ("Quelque chose", None),
    ],
)
def test_product_folders_are_known_by_name_in_many_languages(name, category):
    assert PRODUCTS.by_name(name) == category


def test_an_operator_can_add_names():
    assert Products({"Kontaktuak": "contacts"}).by_name("kontaktuak") == "contacts"


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("Takeout/Contacts/a.vcf", ("Contacts", "Contacts/a.vcf")),
        ("Contacts/a.vcf", ("Contacts", "Contacts/a.vcf")),
        ("takeout-20250101T000000Z-001/Unknown/a.vcf", ("Unknown", "Unknown/a.vcf")),
        ("Mein Export/Kontakte/a.vcf", ("Kontakte", "Kontakte/a.vcf")),
        ("Takeout/archive_browser.html", ("", "archive_browser.html")),
        ("readme.txt", ("", "readme.txt")),
        ("Takeout/Keep/Contacts/x.json", ("Keep", "Keep/Contacts/x.json")),
    ],
)
def test_the_product_is_the_first_folder_below_the_exports_own(path, split):
    assert PRODUCTS.split(path) == split


@pytest.mark.parametrize(
    ("files", "category"),
    [
        ({"X/a.vcf": b"", "X/a.jpg": b""}, "contacts"),
        ({"X/a.ics": b"BEGIN:VCALENDAR\nBEGIN:VEVENT"}, "calendar"),
        ({"X/a.ics": b"BEGIN:VCALENDAR\nBEGIN:VTODO"}, "tasks"),
        ({"X/a.json": b'{"isTrashed":false,"textContent":"a"}', "X/a.html": b""}, "notes"),
        ({"X/T.json": b'{"kind": "tasks#taskLists"}'}, "tasks"),
        ({"X/2009/a.jpg": b"", "X/2009/a.jpg.json": b'{"photoTakenTime": {}}'}, "photos"),
        ({"X/2009/a.jpg": b"", "X/2009/b.png": b""}, "photos"),
        ({"X/a.jpg": b"", "X/b.docx": b""}, OTHER),
        ({"X/a.json": b"{}"}, OTHER),
        ({"X/a.mbox": b""}, OTHER),
    ],
)
def test_an_unknown_product_is_judged_by_what_lies_in_it(files, category):
    assert PRODUCTS.by_content(list(files), lambda path: files[path]) == category


def test_names_alone_suffice_where_suffixes_tell():
    assert PRODUCTS.by_content(["X/a.vcf"], no_head) == "contacts"


def test_a_rendering_of_a_note_is_not_a_second_note():
    paths = frozenset({"Keep/a.json", "Keep/a.html", "Keep/b.html", "Keep/Labels.txt"})
    taken = {path for path in paths if is_data("notes", path, paths)}
    assert taken == {"Keep/a.json", "Keep/b.html"}


def test_a_contacts_picture_and_a_calendars_page_are_packing():
    assert is_data("contacts", "Contacts/All/All.vcf", frozenset())
    assert not is_data("contacts", "Contacts/All/a.jpg", frozenset())
    assert not is_data("calendar", "Calendar/a.html", frozenset())
    assert is_data("photos", "Google Photos/a/film.mp4", frozenset())
