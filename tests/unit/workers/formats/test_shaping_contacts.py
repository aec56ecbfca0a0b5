"""Contacts in the form that address book servers take, and what vobject makes of it."""

import contextlib
from datetime import UTC, datetime

import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from orchestrator.errors import ItemRejected
from orchestrator.items import Copy, File, Folder, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.categories.contacts import KIND
from workers.formats.shaping import shaped

OWNER = UserId("ada")
RULES = Rules(repairs=frozenset(KIND.repairs) - KIND.lossy, loss=datetime(2026, 11, 22, tzinfo=UTC))
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def items(*lines, version="3.0"):
    data = "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""]).encode()
    file = File(name="a.vcf", size=len(data), read=lambda: data)
    found = KIND().read(Folder(owner=OWNER, files=[file]), RULES)
    return [each.item for each in found if isinstance(each, Copy)]


def item(*lines, version="3.0"):
    (found,) = items("UID:u1", *lines, version=version)
    return found


def written(*lines, version="3.0"):
    """The lines of the shaped card, unfolded, but for its frame."""
    whole = shaped("contacts", item(*lines, version=version)).decode()
    return whole.replace("\r\n ", "").split("\r\n")[1:-2]


def by_vobject(card):
    """The card as a server built on vobject stores it."""
    return "".join(each.serialize() for each in vobject.readComponents(card.decode())).encode()


def test_a_card_is_written_as_3_0_under_its_ident():
    assert written("FN:Ada", "TEL:1", version="4.0") == [
        "VERSION:3.0",
        "UID:u1",
        "FN:Ada",
        "TEL:1",
        "N:Ada;;;;",
    ]


def test_what_4_0_says_by_uri_is_said_as_3_0_does():
    lines = written(
        "FN:Ada",
        "N:Byron;Ada;;;",
        "TEL;VALUE=uri;TYPE=home:tel:+33-01",
        "GEO:geo:12.5,-7.25",
        f"PHOTO:data:image/png;base64,{PICTURE}",
        "EMAIL;PREF=1:a@example.org",
        version="4.0",
    )
    assert lines[4:] == [
        "TEL;TYPE=home:+33-01",
        "GEO:12.5;-7.25",
        f"PHOTO;TYPE=PNG;ENCODING=b:{PICTURE}",
        "EMAIL;TYPE=pref:a@example.org",
    ]


def test_bare_commas_are_escaped_and_needless_escapes_undone():
    lines = written(r"FN:Ada", "N:B;A;;;", r"X-PLACE:1,2\:3\,4", "URL:http://a/b,c", r"NOTE:a\"b")
    assert lines[4:] == [r"X-PLACE:1\,2:3\,4", r"URL:http://a/b\,c", 'NOTE:a"b']


def test_a_list_that_servers_do_not_know_is_written_in_several_lines():
    lines = written("FN:Ada", "N:B;A;;;", "NICKNAME:Addy,Al", "CATEGORIES:friends,family")
    assert lines[4:] == ["NICKNAME:Addy", "NICKNAME:Al", "CATEGORIES:friends,family"]


def test_a_profile_is_left_out_because_it_says_nothing():
    assert "PROFILE:VCARD" not in written("FN:Ada", "N:B;A;;;", "PROFILE:VCARD")


def test_a_card_that_says_one_thing_in_two_ways_stays_4_0():
    lines = written(
        "FN:Ada", "BDAY;ALTID=1:18151210", "BDAY;ALTID=1;VALUE=text:long ago", version="4.0"
    )
    assert lines[0] == "VERSION:4.0"


def test_gender_is_understood_as_servers_write_it():
    card = item("FN:Ada", "GENDER:F;queen\\, of numbers", version="4.0")
    stored = by_vobject(shaped("contacts", card))
    assert b"GENDER:F\\;" in stored
    assert KIND().recognise(OWNER, stored).digest == card.digest


def test_no_other_category_has_a_form():
    with pytest.raises(ItemRejected) as refused:
        shaped("photos", item("FN:Ada"))
    assert refused.value.reason is Reason.UNSUPPORTED


def test_what_is_larger_than_the_server_takes_is_rejected():
    with pytest.raises(ItemRejected) as refused:
        shaped("contacts", item("FN:Ada", "NOTE:" + "x" * 500), largest=400)
    assert refused.value.reason is Reason.TOO_LARGE


_LETTERS = st.characters(blacklist_categories=("Cs", "Cc"))
_CHARACTERS = _LETTERS | st.sampled_from("\\,;:\"'=^nN\u2028")
_VALUES = st.text(_CHARACTERS, max_size=90)
_NAMES = st.sampled_from(
    [
        "NOTE",
        "NICKNAME",
        "CATEGORIES",
        "ADR",
        "ORG",
        "TITLE",
        "URL",
        "X-FOO",
        "X-ABLabel",
        "GENDER",
        "IMPP",
        "RELATED",
        "TEL",
        "EMAIL",
        "BDAY",
        "GEO",
        "SOURCE",
        "KEY",
        "N",
        "item1.TEL",
        "item1.X-ABLABEL",
        "RELATED;VALUE=text",
        "PHOTO",
        "TEL;VALUE=uri",
        "PROFILE",
        "LANG",
        "TZ",
        "CLIENTPIDMAP",
    ]
)
_LINES = st.lists(st.builds("{}:{}".format, _NAMES, _VALUES), max_size=6)


@settings(deadline=None, max_examples=200)
@given(version=st.sampled_from(["2.1", "3.0", "4.0"]), name=_VALUES, lines=_LINES)
def test_a_shaped_card_means_the_same_and_vobject_keeps_it(version, name, lines):
    for found in items(f"FN:{name}", "UID:u1", *lines, version=version):
        with contextlib.suppress(ItemRejected):  # a backslash in a KIND, and the like
            card = shaped("contacts", found)
            check_kept(found, card)


def check_kept(found, card):
    meant = KIND().recognise(OWNER, card)
    assert (meant.ident, meant.digest) == (found.ident, found.digest)
    assert shaped("contacts", structs.replace(found, content=card)) == card
    assert KIND().recognise(OWNER, by_vobject(card)).digest == found.digest
