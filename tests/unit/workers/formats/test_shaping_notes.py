"""Notes of every format as journal entries, and back."""

import json
from base64 import b64encode
from datetime import UTC, datetime

import icalendar
import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from orchestrator.errors import ItemRejected
from orchestrator.items import Attachment, Copy, File, Folder, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.categories.notes import KIND
from workers.formats.enex import as_file
from workers.formats.note_formats import interpreted
from workers.formats.notes import note_digest
from workers.formats.shaping import shaped

OWNER = UserId("ada")
RULES = Rules(repairs=frozenset(KIND.repairs), loss=datetime(2026, 11, 22, tzinfo=UTC))
EDITED = 1_600_000_000_000_000


def note(name, data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    file = File(name=name, size=len(data), read=lambda: data)
    (found,) = [
        each.item
        for each in KIND().read(Folder(owner=OWNER, files=[file]), RULES)
        if isinstance(each, Copy)
    ]
    return found


def keep(**fields):
    return note("a.json", {"userEditedTimestampUsec": EDITED, **fields})


def written(found):
    return shaped("notes", found).decode().replace("\r\n ", "").split("\r\n")


def meant(resource):
    """The note that a resource is."""
    return interpreted(resource)


def test_a_note_is_shown_by_what_every_program_reads():
    lines = written(
        keep(title="Milk", textContent="two, three", labels=[{"name": "home"}], isTrashed=True)
    )
    for line in (
        "SUMMARY:Milk",
        "DESCRIPTION:two\\, three",
        "CATEGORIES:home",
        "STATUS:CANCELLED",
        "LAST-MODIFIED:20200913T122640Z",
    ):
        assert line in lines
    assert not any(line.startswith("DTSTART") for line in lines)


def test_a_list_is_shown_with_boxes_and_stays_a_list():
    entries = [{"text": "milk", "isChecked": True}, {"text": "eggs", "isChecked": False}]
    found = keep(title="Shop", listContent=entries)
    assert "DESCRIPTION:[x] milk\\n[ ] eggs" in written(found)
    assert meant(shaped("notes", found)).entries == (("milk", True), ("eggs", False))


def test_html_is_shown_as_text_and_stays_html():
    page = (
        b"<html><head><title>Plan</title></head><body><p>One &amp; two</p><ul><li>three</ul></html>"
    )
    found = note("a.html", page)
    assert "DESCRIPTION:One & two\\n- three" in written(found)
    assert meant(shaped("notes", found)).body == page.decode()


@pytest.mark.parametrize("before", ["DESCRIPTION:[x] milk", "SUMMARY:Shop"])
def test_what_its_user_changes_later_is_another_note(before):
    found = keep(title="Shop", listContent=[{"text": "milk", "isChecked": True}])
    changed = shaped("notes", found).replace(before.encode(), before.encode() + b" and tea")
    live = KIND().recognise(OWNER, changed)
    assert live.ident == found.ident
    assert live.digest != found.digest


def test_a_list_whose_text_was_changed_is_what_it_says_now():
    found = keep(title="Shop", listContent=[{"text": "milk", "isChecked": True}])
    changed = meant(shaped("notes", found).replace(b"[x] milk", b"[x] tea"))
    assert (changed.form, changed.body, changed.entries) == ("text", "[x] tea", ())


def test_what_others_add_to_an_entry_counts():
    found = keep(title="Shop", textContent="milk")
    added = shaped("notes", found).replace(b"SUMMARY", b"LOCATION:Paris\r\nSUMMARY")
    assert KIND().recognise(OWNER, added).digest != found.digest


def test_a_foreign_value_in_our_property_leaves_the_entry_what_it_says():
    found = keep(title="Shop", textContent="milk")
    lines = [
        "X-REINSTATE-NOTE:not json" if line.startswith("X-REINSTATE-NOTE") else line
        for line in written(found)
    ]
    seen = meant("\r\n".join(lines).encode())
    assert (seen.form, seen.body) == ("journal", "milk")


def test_files_come_along_inside():
    picture = Attachment(name="0" * 32 + ".png", data=b"\x89PNG and more")
    plain = keep(title="Shop", textContent="milk")
    digest = note_digest(interpreted(plain.content), [picture])
    found = structs.replace(plain, attachments=(picture,), digest=digest)
    resource = shaped("notes", found)
    assert b"FMTTYPE=image/png" in resource
    assert KIND().recognise(OWNER, resource).digest == digest


def test_files_that_are_too_large_for_one_resource_are_rejected():
    plain = keep(title="Shop", textContent="milk")
    found = structs.replace(plain, attachments=(Attachment(name="a.png", data=bytes(2_000)),))
    with pytest.raises(ItemRejected) as refused:
        shaped("notes", found, largest=2_000)
    assert refused.value.reason is Reason.TOO_LARGE


def test_the_files_of_an_evernote_export_come_along_inside():
    resource = b"<resource><data>%s</data><mime>image/png</mime></resource>" % b64encode(b"png")
    body = b"<content><![CDATA[<en-note><en-todo checked='true'/>Milk</en-note>]]></content>"
    found = note("a.enex", as_file(b"<note><title>T</title>" + body + resource + b"</note>"))
    lines = written(found)
    assert "DESCRIPTION:[x] Milk" in lines
    assert any("FMTTYPE=image/png" in line and line.endswith(":cG5n") for line in lines)


def test_several_descriptions_become_one():
    entry = b"BEGIN:VJOURNAL\r\nUID:j\r\nDTSTAMP:20200101T000000Z\r\n%sEND:VJOURNAL\r\n"
    told = b"DESCRIPTION:One\r\nDESCRIPTION:Two\r\n"
    data = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + entry % told + b"END:VCALENDAR\r\n"
    assert "DESCRIPTION:One\\n\\nTwo" in written(note("a.ics", data))


_TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"))
    | st.sampled_from("\\,;:\"'=^ \n\t\r\u2028<>&"),
    max_size=120,
)
_KEEP = st.fixed_dictionaries(
    {"title": _TEXT, "userEditedTimestampUsec": st.just(EDITED)},
    optional={
        "textContent": _TEXT,
        "listContent": st.lists(
            st.fixed_dictionaries({"text": _TEXT, "isChecked": st.booleans()}), max_size=3
        ),
        "labels": st.lists(st.fixed_dictionaries({"name": _TEXT}), max_size=3),
        "isTrashed": st.booleans(),
        "isPinned": st.booleans(),
        "color": st.sampled_from(["DEFAULT", "RED"]),
        "annotations": st.lists(_TEXT, max_size=2),
    },
)
_HTML = _TEXT.map(lambda text: f"<html><title>x</title><body><p>{text}</p></body></html>".encode())
_MARKDOWN = st.builds("---\ntitle: {}\ntags: [a, b]\nkind: {}\n---\n{}".format, *[_TEXT] * 3).map(
    str.encode
)


@settings(deadline=None, max_examples=150)
@given(
    sample=st.tuples(st.just("a.json"), _KEEP)
    | st.tuples(st.just("a.html"), _HTML)
    | st.tuples(st.just("a.md"), _MARKDOWN)
)
def test_a_shaped_note_means_the_same_and_servers_keep_it(sample):
    name, data = sample
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    file = File(name=name, size=len(data), read=lambda: data)
    for each in KIND().read(Folder(owner=OWNER, files=[file]), RULES):
        if not isinstance(each, Copy):
            continue
        found = each.item
        resource = shaped("notes", found)
        seen = KIND().recognise(OWNER, resource)
        assert (seen.ident, seen.digest) == (found.ident, found.digest)
        assert shaped("notes", structs.replace(found, content=resource)) == resource
        (whole,) = vobject.readComponents(resource.decode())
        calendar = icalendar.Calendar.from_ical(resource)
        for stored in (whole.serialize().encode(), calendar.to_ical()):
            assert KIND().recognise(OWNER, stored).digest == found.digest
