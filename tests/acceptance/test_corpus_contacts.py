"""Contacts against real files of other projects: exports of phones and programs, test suites.

Labels come from names and places upstream, so some are about a server's state or about fragments:
each exception says why.
"""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest

from orchestrator.items import Copy, Damaged, File, Folder, Framing, UserId
from orchestrator.ports import Rules
from tests.corpus import corpus_bytes, corpus_files
from workers.categories.contacts import KIND

OWNER = UserId("ada")
FILES = corpus_files("contacts")
RULES = Rules(repairs=frozenset(KIND.repairs) - KIND.lossy, loss=datetime(2026, 11, 22, tzinfo=UTC))

STATE = "refused for what the server held already (the same UID), not for what it says"
REQUEST = "refused for the request's Content-Type, not for what it says"
FRAGMENT = "a fragment to test a parser with: no contact"

NOT_ACCEPTED = {
    "ez-vcard/.../John_Doe_ANDROID.vcf": "two of six cards, which were shortened by hand",
    "ez-vcard/.../John_Doe_BLACK_BERRY.vcf": "the photo was shortened by hand: no JPEG any more",
    "ez-vcard/.../vcard-samples-license.txt": "a text about the samples",
    "ez-vcard/.../rfc6351-example.xml": "xCard is not read",
    "ical.js/.../vcard3.vcf": "every example of RFC 2426 in one card: two different N",
    "ical.js/.../vcard3.json": "the same as jCard",
    "ical.js/.../vcard_grouped.vcf": FRAGMENT,
    "ical.js/.../vcard_grouped.json": FRAGMENT,
}
"""Labelled valid, and yet not restored, or not all of it."""

ACCEPTED_AS_IT_IS = {
    "caldavtester/.../vcarderrors/2.vcf": STATE,
    "caldavtester/.../vcarderrors/3.vcf": STATE,
    "caldavtester/.../vcarderrors/5.vcf": STATE,
    "caldavtester/.../vcardput/18.vcf": STATE,
    "caldavtester/.../verrors/1.vcf": REQUEST,
    "caldavtester/.../verrors/4.vcf": "METHOD is no property of cards, but unknown ones are kept"
    " (RFC 6350 §6.10)",
}
"""Labelled malformed, and yet restored without repair."""


def short(path):
    parts = PurePosixPath(path).parts
    tail = parts[-2:] if parts[1] == "caldavtester" else parts[-1:]
    return "/".join((parts[1], "...", *tail))


def read(path, label):
    data = corpus_bytes(path, label)
    file = File(name="f", size=len(data), read=lambda: data)
    return data, list(KIND().read(Folder(owner=OWNER, files=[file]), RULES))


def params(*labels):
    return [pytest.param(path, label, id=short(path)) for path, label in FILES if label in labels]


@pytest.mark.parametrize(("path", "label"), params(*{label for _, label in FILES}))
def test_every_byte_of_every_file_is_accounted_for(path, label):
    data, found = read(path, label)
    position = 0
    for each in found:
        (span,) = [each.span] if isinstance(each, Framing) else each.spans
        assert span.offset == position
        position += span.length
        if isinstance(each, Damaged):
            assert each.data == data[span.offset : span.offset + span.length]
    assert position == len(data)


@pytest.mark.parametrize(("path", "label"), params(*{label for _, label in FILES}))
def test_what_is_written_is_recognised_and_needs_no_more_repair(path, label):
    for copy in read(path, label)[1]:
        if not isinstance(copy, Copy):
            continue
        item = copy.item
        live = KIND().recognise(OWNER, item.content)
        assert (live.ident, live.digest, live.revised) == (item.ident, item.digest, item.revised)
        file = File(name="f", size=item.size, read=lambda content=item.content: content)
        nothing = Rules(repairs=frozenset(), loss=RULES.loss)
        (again,) = KIND().read(Folder(owner=OWNER, files=[file]), nothing)
        assert again.item == item


@pytest.mark.parametrize(("path", "label"), params("valid"))
def test_valid_files_are_restored_whole(path, label):
    damaged = [each for each in read(path, label)[1] if isinstance(each, Damaged)]
    assert bool(damaged) == (short(path) in NOT_ACCEPTED)


@pytest.mark.parametrize(("path", "label"), params("malformed", "template:malformed"))
def test_malformed_files_are_quarantined_or_repaired_by_name(path, label):
    found = read(path, label)[1]
    as_it_is = all(isinstance(each, Copy) and not each.repairs for each in found)
    assert as_it_is == (short(path) in ACCEPTED_AS_IT_IS)


def test_every_exception_is_about_a_file_that_exists():
    there = {short(path) for path, _ in FILES}
    assert there >= NOT_ACCEPTED.keys() | ACCEPTED_AS_IT_IS.keys()


@pytest.mark.parametrize("name", ["vcard", "vcard_author", "escape_semicolon"])
def test_the_same_contact_as_vcard_and_as_jcard_has_one_digest(name):
    path = f"contacts/ical.js/test/parser/{name}"
    (vcard,), (jcard,) = (read(path + suffix, "valid")[1][:1] for suffix in (".vcf", ".json"))
    assert vcard.item.digest == jcard.item.digest
