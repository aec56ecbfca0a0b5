import base64
import hashlib
import json
from datetime import UTC, datetime

import pytest

from orchestrator.items import Attachment, Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from tests.conformance.category_examples.notes import ENEX_HEAD, PICTURE, enml, keep
from workers.categories.notes import Notes, attachment_name

ANNA = UserId("anna")
LOSS = datetime(2024, 1, 1, tzinfo=UTC)
RULES = Rules(repairs=frozenset(), loss=LOSS, service_start=datetime(2008, 1, 1, tzinfo=UTC))


def read(files, rules=RULES, owner=ANNA, **options):
    folder = Folder(
        owner=owner,
        files=tuple(
            File(name=name, size=len(data), read=lambda data=data: data)
            for name, data in files.items()
        ),
    )
    return list(Notes(**options).read(folder, rules))


def only_copy(files, rules=RULES, **options):
    (copy,) = (each for each in read(files, rules, **options) if isinstance(each, Copy))
    return copy


def only_damage(files, rules=RULES):
    (damaged,) = read(files, rules)
    assert isinstance(damaged, Damaged)
    return damaged


def test_a_keep_note_stays_verbatim():
    data = keep(labels=[{"name": "home"}])
    copy = only_copy({"Shopping.json": data})
    assert copy.item.content == data
    assert copy.item.media.suffix == "json"
    assert copy.item.revised == datetime(2023, 8, 1, 5, 5, 17, 287000, tzinfo=UTC)


def test_the_same_note_in_keep_and_in_a_table_has_one_digest():
    row = {
        "id": "n-17",
        "title": "Shopping",
        "body": "milk, eggs; bread\r\nand \\ tea",
        "created": "2023-07-28",
        "revised": 1690866317,
        "labels": "food, home",
        "owner": "anna",
        "trashed": 0,
    }
    in_keep = only_copy({"a.json": keep(labels=[{"name": "home"}, {"name": "food"}])})
    in_table = only_copy({"1": json.dumps(row).encode()})
    assert in_keep.item.digest == in_table.item.digest
    assert in_table.item.ident == "n-17"


def test_the_same_text_as_markdown_in_keep_and_as_plain_text_has_one_digest():
    digests = {
        only_copy({"a.txt": b"\xef\xbb\xbfa\r\nb"}).item.digest,
        only_copy({"a.md": b"a\nb"}).item.digest,
        only_copy({"a.json": keep(title="", textContent="a\nb")}).item.digest,
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Other"},
        {"textContent": "other"},
        {"isTrashed": True},
        {"isPinned": True},
        {"isArchived": True},
        {"color": "RED"},
        {"labels": [{"name": "x"}]},
        {"annotations": [{"url": "https://example.org"}]},
        {"listContent": [{"text": "milk, eggs", "isChecked": False}]},
    ],
)
def test_whatever_a_user_changes_changes_the_digest(changed):
    plain = only_copy({"a.json": keep()})
    assert only_copy({"a.json": keep(**changed)}).item.digest != plain.item.digest


@pytest.mark.parametrize(
    "changed",
    [
        {"userEditedTimestampUsec": "1690866317287001"},
        {"createdTimestampUsec": 1690514858197001},
        {"sharees": []},
        {"color": ""},
    ],
)
def test_bookkeeping_does_not_change_the_digest(changed):
    plain = only_copy({"a.json": keep()})
    assert only_copy({"a.json": keep(**changed)}).item.digest == plain.item.digest


def test_a_trashed_note_is_restored_as_it_is():
    copy = only_copy({"a.json": keep(isTrashed=True)})
    assert json.loads(copy.item.content)["isTrashed"] is True


def test_a_note_of_a_title_only_is_a_note():
    assert only_copy({"a.json": keep(textContent="")}).item.content


def test_a_note_of_nothing_is_empty():
    assert only_damage({"a.json": keep(title="", textContent="")}).reason is Reason.EMPTY


# Attachments -----------------------------------------------------------------------------------

SHOWN = [{"filePath": "pictures/1.PNG", "mimetype": "image/png"}]


def test_an_attachment_is_named_by_us_and_found_by_the_note():
    copy = only_copy({"k/a.json": keep(attachments=SHOWN), "k/pictures/1.PNG": PICTURE})
    expected = hashlib.sha256(b"pictures/1.PNG").hexdigest()[:32] + ".png"
    assert copy.item.attachments == (Attachment(name=expected, data=PICTURE),)
    assert [span.file for span in copy.spans] == ["k/a.json", "k/pictures/1.PNG"]
    assert copy.degraded == ()


def test_takeouts_two_spellings_of_jpeg_are_one():
    shown = [{"filePath": "1.jpeg", "mimetype": "image/jpeg"}]
    copy = only_copy({"a.json": keep(attachments=shown), "1.jpg": PICTURE})
    assert copy.item.attachments[0].name == attachment_name("1.jpeg")


def test_a_note_whose_attachment_is_missing_is_restored_without_it():
    copy = only_copy({"a.json": keep(attachments=SHOWN)})
    assert (copy.item.attachments, copy.degraded) == ((), ("attachments",))


def test_a_note_of_which_only_the_missing_attachment_is_left_is_quarantined():
    damaged = only_damage({"a.json": keep(title="", textContent="", attachments=SHOWN)})
    assert damaged.reason is Reason.EMPTY


def test_a_note_of_a_picture_only_is_a_note():
    data = keep(title="", textContent="", attachments=SHOWN)
    assert only_copy({"a.json": data, "pictures/1.PNG": PICTURE}).item.attachments


def test_an_attachment_without_bytes_is_damage_and_missing():
    found = read({"a.json": keep(attachments=SHOWN), "pictures/1.PNG": b""})
    assert [type(each) for each in found] == [Damaged, Copy]
    assert found[0].reason is Reason.EMPTY
    assert found[1].degraded == ("attachments",)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a.json", "x" * 5000 + ".png"])
def test_a_path_in_a_note_leads_to_files_of_its_folder_only(path):
    shown = [{"filePath": path, "mimetype": "image/png"}]
    assert only_copy({"a.json": keep(attachments=shown)}).item.attachments == ()


def test_a_picture_that_no_note_shows_is_not_passed_over():
    damaged = only_damage({"1.png": PICTURE})
    assert (damaged.reason, damaged.data) == (Reason.UNSUPPORTED, PICTURE)


def test_keeps_page_of_a_note_is_part_of_the_note():
    page = b'<html><body><div class="note DEFAULT">x</div></body></html>'
    copy = only_copy({"a.html": page, "a.json": keep()})
    assert [span.file for span in copy.spans] == ["a.json", "a.html"]


def test_keeps_page_stands_in_for_a_note_that_is_damaged():
    page = b'<html><body><div class="note DEFAULT">x</div></body></html>'
    found = read({"a.html": page, "a.json": keep()[:-9]})
    assert [type(each) for each in found] == [Damaged, Copy]
    assert found[0].reason is Reason.CUT
    assert found[1].item.media.suffix == "html"


# Rows, owners, times ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["owner", "user_id", "userId", "owner-id", "account"])
def test_a_row_of_another_user_is_quarantined(field):
    damaged = only_damage({"1": json.dumps({"id": 1, "body": "x", field: "Anna"}).encode()})
    assert (damaged.reason, damaged.ident) == (Reason.WRONG_OWNER, None)


def test_an_author_is_no_owner():
    assert only_copy({"1": b'{"id":1,"body":"x","author":"bert"}'}).item.ident == "1"


@pytest.mark.parametrize(
    ("micros", "revised"),
    [(0, None), (-11644473600000000, None), (4102444800000000, None), (10**30, None)],
)
def test_an_impossible_time_is_left_empty_and_noted(micros, revised):
    fields = {"userEditedTimestampUsec": micros} if micros >= 0 else {}
    data = keep(**fields) if fields else keep().replace(b"1690866317287000", b"-11644473600000000")
    copy = only_copy({"a.json": data})
    assert copy.item.revised is revised


def test_a_note_made_before_the_service_began_is_degraded():
    assert only_copy({"a.json": keep(createdTimestampUsec=1)}).degraded == ("created",)


def test_a_note_changed_after_the_loss_is_undated():
    copy = only_copy({"a.json": keep(userEditedTimestampUsec=1735689600000000)})
    assert (copy.item.revised, copy.degraded) == (None, ("revised",))


@pytest.mark.parametrize(
    "fields",
    [
        {"textContent": 5},
        {"listContent": [{"text": 1}]},
        {"labels": ["x"]},
        {"isTrashed": "no"},
        {"createdTimestampUsec": "yesterday"},
        {"id": "a\nb"},
    ],
)
def test_a_field_of_another_type_is_refused(fields):
    assert only_damage({"a.json": keep(**fields)}).reason in (Reason.STRUCTURE, Reason.VALUE)


# Other formats ---------------------------------------------------------------------------------


def test_a_note_of_an_export_becomes_an_export_of_its_own():
    export = ENEX_HEAD + enml(b"A", b"text") + enml(b"B", b"other") + b"</en-export>"
    first, second = (each for each in read({"n.enex": export}) if isinstance(each, Copy))
    assert enml(b"A", b"text") in first.item.content
    assert b"other" not in first.item.content
    assert second.item.revised == datetime(2023, 1, 21, 23, 56, 25, tzinfo=UTC)


def test_a_file_inside_of_a_note_that_does_not_match_its_hash_is_noted():
    media = b'<en-media type="image/png" hash="' + b"0" * 32 + b'"/>'
    resource = b"<resource><data>" + base64.b64encode(PICTURE) + b"</data></resource>"
    export = ENEX_HEAD + enml(b"A", media, resource) + b"</en-export>"
    assert only_copy({"n.enex": export}).degraded == ("attachments",)


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (enml(b"A", b"t", b"<resource><data>?</data></resource>"), Reason.VALUE),
        (enml(b"A", b"t").replace(b"<title>", b"<title>&xxe;"), Reason.SYNTAX),
        (enml(b"A", b"t").replace(b"en-note", b"div"), Reason.EMPTY),
        (enml(b"A\x00", b"t"), Reason.CONTROL_CHARACTER),
        (enml(b"A\xff", b"t"), Reason.ENCODING),
        (enml(b"A", b"t")[:-8], Reason.CUT),
        (b"<note><title>A</title></note>", Reason.STRUCTURE),
        (b"<note><title>A</title><title>B</title><content/></note>", Reason.STRUCTURE),
    ],
)
def test_a_damaged_note_of_an_export_says_why(note, reason):
    found = read({"n.enex": ENEX_HEAD + note})
    assert [each.reason for each in found if isinstance(each, Damaged)] == [reason]
    assert not any(isinstance(each, Copy) for each in found)


def test_entities_and_files_of_a_hostile_export_are_never_resolved():
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE en-export [<!ENTITY a "aaaaaaaaaa">'
        b'<!ENTITY b "&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]><en-export>'
    )
    export = bomb + enml(b"&b;", b"t") + enml(b"Good", b"t") + b"</en-export>"
    found = read({"n.enex": export})
    assert sum(isinstance(each, Copy) for each in found) == 1
    assert [each.reason for each in found if isinstance(each, Damaged)] == [Reason.SYNTAX] * 2


def test_broken_cdata_costs_its_own_note_only():
    broken = enml(b"A", b"t").replace(b"]]>", b"")
    export = ENEX_HEAD + enml(b"1", b"t") + broken + enml(b"2", b"t") + b"</en-export>"
    found = read({"n.enex": export})
    assert sum(isinstance(each, Copy) for each in found) == 2
    assert sum(isinstance(each, Damaged) for each in found) == 1


def test_front_matter_tells_title_labels_ident_and_time():
    data = b"---\ntitle: 'It''s'\ntags:\n  - a\n  - '#b'\nuid: n1\nupdated: 2023-05-01\n---\ntext\n"
    copy = only_copy({"n.md": data})
    assert copy.item.ident == "n1"
    assert copy.item.revised == datetime(2023, 5, 1, tzinfo=UTC)
    assert copy.item.content == data


def test_a_files_name_becomes_a_title_where_the_plan_says_so():
    copy = only_copy({"d/Shopping list.txt": b"milk"}, title_from_name=True)
    assert copy.item.content == b'---\ntitle: "Shopping list"\n---\nmilk'
    assert copy.item.media.suffix == "md"
    same = only_copy({"a.json": keep(title="Shopping list", textContent="milk")})
    assert copy.item.digest == same.item.digest


def test_html_stays_raw_with_its_scripts():
    data = b"<html><head><title>T</title></head><script>alert(1)</script></html>"
    assert only_copy({"n.html": data}).item.content == data


def test_html_without_its_end_is_cut():
    assert only_damage({"n.html": b"<html><body><p>text"}).reason is Reason.CUT


def test_remote_pictures_are_no_attachments():
    data = b'<p><img src="https://example.org/a.png"><img src="//x/y"><img src="data:,x"></p>'
    assert only_copy({"n.html": data}).degraded == ()


def test_a_text_that_looks_like_json_is_a_text():
    assert only_copy({"n.txt": b"{not JSON"}).item.content == b"{not JSON"
    assert only_damage({"n.json": b"{not JSON"}).reason is Reason.CUT


@pytest.mark.parametrize("component", ["VEVENT", "VTODO"])
def test_what_is_no_journal_entry_is_unsupported(component):
    data = f"BEGIN:VCALENDAR\r\nBEGIN:{component}\r\nUID:1\r\nEND:{component}\r\nEND:VCALENDAR\r\n"
    found = read({"n.ics": data.encode()})
    assert [each.reason for each in found if isinstance(each, Damaged)] == [Reason.UNSUPPORTED]


def test_what_other_phases_read_is_left_to_them():
    data = b"BEGIN:VCALENDAR\nBEGIN:VTODO\nUID:1\nEND:VTODO\nEND:VCALENDAR\n"
    (framing,) = read({"n.ics": data}, others="leave")
    assert isinstance(framing, Framing)


def test_a_journal_entry_takes_the_time_zone_that_it_names_along():
    zones = "".join(
        f"BEGIN:VTIMEZONE\r\nTZID:{zone}\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
        "TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        for zone in ("Here", "There")
    )
    entry = (
        "BEGIN:VJOURNAL\r\nUID:1\r\nDTSTAMP:20230101T000000Z\r\nSEQUENCE:3\r\n"
        "DTSTART;TZID=Here:20230101T000000\r\nSUMMARY:x\r\nEND:VJOURNAL\r\n"
    )
    copy = only_copy({"n.ics": f"BEGIN:VCALENDAR\r\n{zones}{entry}END:VCALENDAR\r\n".encode()})
    assert b"TZID:Here" in copy.item.content
    assert b"There" not in copy.item.content
    assert copy.sequence == 3


def test_damage_never_quotes_what_it_found():
    secret = b"my secret"
    files = {
        "a.json": b'{"title":"' + secret + b'","textContent":5}',
        "b.enex": ENEX_HEAD + b"<note><title>" + secret + b"</title>",
        "c.md": secret + b"\x00",
        "d.ics": b"BEGIN:VJOURNAL\r\nSUMMARY:" + secret + b"\r\nUID\r\nEND:VJOURNAL\r\n",
    }
    for each in read(files):
        if isinstance(each, Damaged):
            assert "secret" not in each.detail


def test_many_notes_beside_each_other_are_framed_once():
    found = read({"n.jsonl": keep(title="a") + b"\n" + keep(title="b") + b"\n"})
    assert sum(isinstance(each, Copy) for each in found) == 2
    assert sum(isinstance(each, Framing) for each in found) == 2
