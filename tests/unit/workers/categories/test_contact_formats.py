"""Contacts that come in other formats than vCard."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.categories.contacts import KIND

OWNER = UserId("ada")
RULES = Rules(repairs=frozenset(KIND.repairs) - KIND.lossy, loss=datetime(2009, 10, 1, tzinfo=UTC))


def read(data):
    """What one file holds; every byte of it is in exactly one place."""
    file = File(name="f", size=len(data), read=lambda: data)
    found = list(KIND().read(Folder(owner=OWNER, files=[file]), RULES))
    position = 0
    for each in found:
        (span,) = [each.span] if isinstance(each, Framing) else each.spans
        assert span.offset == position
        position += span.length
        if isinstance(each, Damaged):
            assert each.data == data[span.offset : span.offset + span.length]
        if isinstance(each, Copy):
            live = KIND().recognise(OWNER, each.item.content)
            assert (live.ident, live.digest) == (each.item.ident, each.item.digest)
    assert position == len(data)
    return found


def copies(data):
    return [each for each in read(data) if isinstance(each, Copy)]


def lines_of(copy):
    return copy.item.content.replace(b"\r\n ", b"").decode().split("\r\n")[1:-2]


def row(**fields):
    (copy,) = copies(json.dumps(fields).encode())
    return lines_of(copy)


def kinds(data):
    return [type(each) for each in read(data) if not isinstance(each, Framing)]


# jCard -----------------------------------------------------------------------------------------

JCARD = [
    "vcard",
    [
        ["version", {}, "text", "4.0"],
        ["uid", {}, "uri", "urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1"],
        ["fn", {}, "text", "Ada Lovelace, Countess"],
        ["n", {}, "text", ["Lovelace", "Ada", ["King", "Noel"], "", "PhD; hon."]],
        ["bday", {}, "date-and-or-time", "--12-10"],
        ["anniversary", {}, "date-time", "1835-07-08T10:00:00-05:00"],
        ["org", {"type": "work"}, "text", ["Analytical", "Engines"]],
        ["categories", {}, "text", "maths", "poets, kings"],
        ["tel", {"type": ["work", "voice"], "group": "item1"}, "uri", "tel:+1-418;ext=1"],
        ["x-ablabel", {"group": "item1"}, "unknown", "desk"],
        ["tz", {}, "utc-offset", "-05:00"],
        ["rev", {}, "timestamp", "2009-03-05T13:32:54Z"],
        ["x-rank", {}, "integer", 7],
        ["x-done", {}, "boolean", True],
        ["note", {}, "text", "two\nlines"],
    ],
]


def test_a_jcard_becomes_a_card_of_its_version():
    (copy,) = copies(json.dumps(JCARD).encode())
    assert lines_of(copy) == [
        "VERSION:4.0",
        "UID:urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1",
        r"FN:Ada Lovelace\, Countess",
        r"N:Lovelace;Ada;King,Noel;;PhD\; hon.",
        "BDAY:--1210",
        "ANNIVERSARY:18350708T100000-0500",
        "ORG;TYPE=work:Analytical;Engines",
        r"CATEGORIES:maths,poets\, kings",
        "item1.TEL;TYPE=work,voice;VALUE=uri:tel:+1-418;ext=1",
        "item1.X-ABLABEL:desk",
        "TZ;VALUE=utc-offset:-0500",
        "REV:20090305T133254Z",
        "X-RANK;VALUE=integer:7",
        "X-DONE;VALUE=boolean:TRUE",
        r"NOTE:two\nlines",
    ]
    assert copy.item.ident == "4fbe8971-0bc3-424c-9c26-36c3e1eff6b1"
    assert copy.item.revised == datetime(2009, 3, 5, 13, 32, 54, tzinfo=UTC)
    assert copy.repairs == ()


def test_many_jcards_stand_in_one_array():
    data = json.dumps([JCARD, JCARD], indent=1).encode()
    assert kinds(b"\xef\xbb\xbf" + data + b"\n") == [Copy, Copy]


@pytest.mark.parametrize("kept", [20, 200, 600])
def test_a_cut_array_loses_only_its_cut_card(kept):
    one = json.dumps(JCARD).encode()
    assert kinds(b"[" + one + b"," + one[:kept]) == [Copy, Damaged]


@pytest.mark.parametrize(
    "broken",
    [
        ["vcard", {}],
        ["vcard", [["fn", {}, "text"]]],
        ["vcard", [["fn", {}, "text", None]]],
        ["vcard", [[1, {}, "text", "a"]]],
        ["vcard", [["fn", [], "text", "a"]]],
        ["vcard", [["fn", {}, "text", "a"], ["end", {}, "text", "vcard"]]],
        ["vcard", [["fn", {"a;b": "c"}, "text", "a"]]],
        ["vcard", [["fn", {"group": "a;b"}, "text", "a"]]],
        ["vcard", [["version", {}, "text", "9"], ["fn", {}, "text", "a"]]],
    ],
)
def test_what_has_not_the_shape_of_a_jcard_is_damage(broken):
    data = json.dumps([JCARD, broken, JCARD]).encode()
    assert kinds(data) == [Copy, Damaged, Copy]


# Rows ------------------------------------------------------------------------------------------


def test_a_row_becomes_a_card_and_nothing_of_it_is_lost():
    fields = {
        "uid": "c-1",
        "name": "Ada Lovelace",
        "given": "Ada",
        "family": "Lovelace",
        "org": "Analytical, Ltd",
        "emails": ["ada@example.org", {"type": "work", "value": "a@work.example"}],
        "phones": [{"label": "mobile", "number": "1"}, {"label": "Boat", "number": "2"}],
        "mobile": "3",
        "addresses": [{"street": "Main St; 1", "city": "London", "type": "home"}],
        "note": "two\r\nlines",
        "birthday": "1815-12-10",
        "categories": ["maths", "poets"],
        "photo": "https://example.org/a.jpg",
        "revised": "2009-03-05 13:32:54",
        "shoe_size": 38.5,
        "starred": True,
        "more": {"a": [1]},
        "empty": None,
        "owner": "ada",
    }
    assert row(**fields) == [
        "VERSION:3.0",
        "FN:Ada Lovelace",
        "N:Lovelace;Ada;;;",
        r"ORG:Analytical\, Ltd",
        "UID:c-1",
        r"NOTE:two\nlines",
        "BDAY:1815-12-10",
        "EMAIL:ada@example.org",
        "EMAIL;TYPE=WORK:a@work.example",
        "TEL;TYPE=CELL:1",
        "item1.TEL:2",
        "item1.X-ABLABEL:Boat",
        "TEL;TYPE=CELL:3",
        r"ADR;TYPE=HOME:;;Main St\; 1;London;;;",
        "CATEGORIES:maths,poets",
        "PHOTO;VALUE=uri:https://example.org/a.jpg",
        "REV:2009-03-05T13:32:54Z",
        "X-SHOE-SIZE:38.5",
        "X-STARRED:true",
        r'X-MORE:{"a": [1]}',
    ]


def test_a_row_with_a_mail_address_only_is_a_contact():
    assert "FN:a@b.org" in row(email="a@b.org")


def test_the_name_of_a_row_may_be_in_parts():
    lines = row(uid="1", name={"first_name": "Ada", "last_name": "Lovelace"})
    assert "FN:Ada Lovelace" in lines
    assert "N:Lovelace;Ada;;;" in lines


def test_times_of_rows_are_told_by_their_size():
    assert "REV:2009-03-05T13:32:54Z" in row(fn="A", revised=1236259974)
    assert "REV:2009-03-05T13:32:54Z" in row(fn="A", revised=1236259974000)
    assert "X-REV:soon" in row(fn="A", revised="soon")


def test_a_row_of_another_user_is_quarantined():
    (found,) = read(json.dumps({"fn": "Ada", "user_id": "bob"}).encode())
    assert found.reason is Reason.WRONG_OWNER


def test_rows_stand_alone_in_arrays_or_in_lines():
    one = json.dumps({"fn": "Ada"}).encode()
    assert kinds(one) == [Copy]
    assert kinds(b"[" + one + b", " + one + b"]") == [Copy, Copy]
    assert kinds(one + b"\n" + one + b"\n") == [Copy, Copy]
    assert kinds(b"[" + one + b', {"fn": "B') == [Copy, Damaged]


@pytest.mark.parametrize("fields", [{"fn": ["a"]}, {"fn": True}, {"fn": "", "note": "x"}])
def test_a_row_that_makes_no_contact_is_damage(fields):
    assert kinds(json.dumps(fields).encode()) == [Damaged]


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=10)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        "uid",
        "fn",
        "name",
        "given",
        "emails",
        "phone",
        "addresses",
        "org",
        "note",
        "birthday",
        "revised",
        "photo",
        "labels",
        "user",
        "x",
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(keys, values))
def test_any_object_is_a_contact_or_damage(fields):
    read(json.dumps(fields).encode())


# Tables ----------------------------------------------------------------------------------------

GOOGLE = (
    "Name,Given Name,Family Name,Notes,Group Membership,E-mail 1 - Type,E-mail 1 - Value,"
    "Phone 1 - Type,Phone 1 - Value,Address 1 - Type,Address 1 - Street,Address 1 - City,"
    "Custom Field 1 - Type,Custom Field 1 - Value,Short Name\r\n"
    'Ada Lovelace,Ada,Lovelace,"two\nlines, one ""quote""",* My Contacts ::: Poets,* Home,'
    "a@b.org ::: c@d.org,Mobile,1,Home,Main St,London,Shoe,38,Al\r\n"
)
OUTLOOK = (
    "Title,First Name,Last Name,Company,Job Title,Business Street,Business City,Home Street,"
    "E-mail Address,Mobile Phone,Business Fax,Birthday,Notes,Gender\r\n"
    "Dr,Ada,Lovelace,Analytical,Countess,Main St,London,Side St,a@b.org,1,2,"
    "12/31/1980,Hi,Female\r\n"
    ",Bob,,,,,,,b@b.org,,,3/4/1980,,\r\n"
)


def test_a_google_table_becomes_cards():
    (copy,) = copies(GOOGLE.encode())
    assert lines_of(copy)[:-1] == [
        "VERSION:3.0",
        "FN:Ada Lovelace",
        "N:Lovelace;Ada;;;",
        r'NOTE:two\nlines\, one "quote"',
        "EMAIL;TYPE=HOME,PREF:a@b.org",
        "EMAIL;TYPE=HOME,PREF:c@d.org",
        "TEL;TYPE=CELL:1",
        "ADR;TYPE=HOME:;;Main St;London;;;",
        "item1.X-CUSTOM:38",
        "item1.X-ABLABEL:Shoe",
        "CATEGORIES:* My Contacts,Poets",
        "X-SHORT-NAME:Al",
    ]
    assert copy.repairs == ("derive-uid",)


def test_an_outlook_table_becomes_cards():
    first, second = copies(OUTLOOK.encode())
    assert lines_of(first)[:-1] == [
        "VERSION:3.0",
        "FN:Dr Ada Lovelace",
        "N:Lovelace;Ada;;Dr;",
        "ORG:Analytical",
        "NOTE:Hi",
        "TITLE:Countess",
        "EMAIL:a@b.org",
        "TEL;TYPE=CELL:1",
        "TEL;TYPE=WORK,FAX:2",
        "ADR;TYPE=WORK:;;Main St;London;;;",
        "ADR;TYPE=HOME:;;Side St;;;;",
        "BDAY:1980-12-31",
        "X-GENDER:Female",
    ]
    assert "X-BDAY:3/4/1980" in lines_of(second)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_understood(separator):
    table = f"First Name{separator}Last Name\r\nAda{separator}Lovelace\r\n"
    assert "N:Lovelace;Ada;;;" in lines_of(copies(table.encode())[0])


def test_a_damaged_row_harms_no_other():
    head = "First Name,Last Name\n"
    assert kinds(f"{head}A,B\nC\nD,E\n,\n".encode()) == [Copy, Damaged, Copy]
    (bad,) = [f for f in read(head.encode() + b"A,\xe9\nB,C\n") if isinstance(f, Damaged)]
    assert bad.reason is Reason.ENCODING
    assert kinds(head.encode() + b'A,"B\n') == [Damaged]


def test_a_table_of_something_else_is_not_supported():
    (found,) = read(b"Song,Artist\nA,B\n")
    assert found.reason is Reason.UNSUPPORTED


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from([b'"', b",", b"\r\n", b"\n", b"A", b"\xff", b'""', b"\r"])))
def test_every_byte_of_a_table_is_in_exactly_one_place(scraps):
    read(b"First Name,Last Name\r\n" + b"".join(scraps))


# UTF-16 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_read_where_it_stands(charset):
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:Jörg 😀\r\nN:Jörg;;;;\r\nEND:VCARD\r\n"
    data = f"\ufeff{card}\r\n???\r\n{card}".encode(charset)
    first, _, bad, second = read(data)
    assert first.item == second.item
    assert first.item.content == card.encode()
    assert bad.data.decode(charset) == "???\r\n"
    table = ("\ufeff" + GOOGLE).encode(charset)
    assert copies(table)[0].item == copies(GOOGLE.encode())[0].item
