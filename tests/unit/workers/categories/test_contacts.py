import base64
import io
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Copy, Damaged, File, Folder, Framing, Ident, UserId
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.categories.contacts import KIND
from workers.formats.content_lines import escape, fold

OWNER = UserId("ada")
LOSS = datetime(2009, 10, 1, tzinfo=UTC)
ALL = frozenset(KIND.repairs)
USUAL = ALL - KIND.lossy


def file(data, name="cards", beside=()):
    return File(name=name, size=len(data), read=lambda: data, beside=beside)


def read(data, repairs=USUAL, **limits):
    """What one file holds; every byte of it is in exactly one place."""
    rules = Rules(repairs=frozenset(repairs), loss=LOSS, **limits)
    found = list(KIND().read(Folder(owner=OWNER, files=[file(data)]), rules))
    position = 0
    for each in found:
        for span in [each.span] if isinstance(each, Framing) else each.spans:
            assert span.offset == position
            position += span.length
        if isinstance(each, Damaged):
            (span,) = each.spans
            assert each.data == data[span.offset : span.offset + span.length]
        if isinstance(each, Copy):
            live = KIND().recognise(OWNER, each.item.content)
            assert live is not None
            assert live.digest == each.item.digest
            assert live.ident == each.item.ident
            assert live.revised == each.item.revised
    assert position == len(data)
    return found


def copies(data, repairs=USUAL, **limits):
    return [each for each in read(data, repairs, **limits) if isinstance(each, Copy)]


def one(data, repairs=USUAL, **limits):
    (copy,) = copies(data, repairs, **limits)
    return copy


def damaged(data, repairs=USUAL, **limits):
    (found,) = [each for each in read(data, repairs, **limits) if isinstance(each, Damaged)]
    return found


def card(*lines, version="3.0", base=("UID:1", "FN:Ada Lovelace", "N:Lovelace;Ada;;;")):
    text = "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *base, *lines, "END:VCARD", ""])
    return text.encode()


def old(*lines):
    return card(*lines, version="2.1", base=())


def lines_of(copy):
    return copy.item.content.replace(b"\r\n ", b"").decode().split("\r\n")[1:-2]


def digest(*lines, **how):
    return one(card(*lines, **how)).item.digest


def picture(kind="JPEG"):
    buffer = io.BytesIO()
    Image.effect_noise((24, 24), 60).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


# What stays as it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.0", "4.0"])
def test_a_sound_card_is_kept_to_the_byte(version):
    data = card("X-Odd_not:1".replace("_", "-"), "TEL;TYPE=home,CELL:+1 555", version=version)
    copy = one(data)
    assert copy.item.content == data
    assert copy.repairs == ()
    assert copy.item.ident == "1"
    assert copy.item.media.mime == "text/vcard"


def test_only_line_endings_and_blank_lines_of_a_tolerable_card_change():
    data = card("note;LANGUAGE=en:a", "X-Foo:b").replace(b"\r\n", b"\n").replace(b"X-", b"\n\nX-")
    copy = one(b"\xef\xbb\xbf\n" + data)
    assert copy.item.content == card("note;LANGUAGE=en:a", "X-Foo:b")
    assert copy.repairs == ()


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\r\n"])
def test_every_line_ending_gives_the_same_item(ending):
    data = card("NOTE:one\r\n  two")
    assert one(data.replace(b"\r\n", ending.encode())).item == one(data).item


def test_a_remote_photo_is_left_as_it_is():
    data = card("PHOTO;VALUE=uri:https://example.org/a.jpg", "LOGO:https://example.org/b.jpg")
    assert one(data).item.content == data


def test_the_last_change_is_taken_from_rev():
    copy = one(card("REV:2009-03-05T13:32:54Z"))
    assert copy.item.revised == datetime(2009, 3, 5, 13, 32, 54, tzinfo=UTC)
    assert one(card("REV:20090305T133254+0100")).item.revised == datetime(
        2009, 3, 5, 12, 32, 54, tzinfo=UTC
    )
    assert one(card()).item.revised is None


# Many cards ------------------------------------------------------------------------------------


def test_one_damaged_card_harms_no_other():
    data = card() + card("TEL") + card(base=("UID:2", "FN:B", "N:B;;;;"))
    assert [type(each) for each in read(data)] == [Copy, Damaged, Copy]


@pytest.mark.parametrize("kept", [3, 12, 30, 60, 75])
def test_a_cut_file_loses_only_its_cut_card(kept):
    found = read(card() + card()[:kept])
    assert [type(each) for each in found] == [Copy, Damaged]
    assert found[1].reason in {Reason.CUT, Reason.SYNTAX, Reason.STRUCTURE}
    assert found[1].ident is None


def test_reading_goes_on_after_a_card_without_end():
    data = card() + card()[:40] + b"\r\n" + card(base=("UID:3", "FN:C", "N:C;;;;"))
    assert [type(each) for each in read(data)] == [Copy, Damaged, Copy]


def test_a_zeroed_block_costs_the_cards_that_it_touches():
    data = card() + card("NOTE:" + "x" * 200) + card()
    at = len(card()) + 120
    found = read(data[:at] + bytes(100) + data[at + 100 :])
    assert [type(each) for each in found] == [Copy, Damaged, Copy]
    assert found[1].reason is Reason.ZEROED


def test_the_same_uid_twice_gives_two_copies():
    first, second = copies(card() + card("NOTE:other"))
    assert first.item.ident == second.item.ident
    assert first.item.digest != second.item.digest


def test_any_spelling_of_begin_and_end_is_understood():
    data = card().replace(b"BEGIN:VCARD", b"begin:vCard").replace(b"END:VCARD", b"End:vCard ")
    assert len(copies(data * 3)) == 3


def test_files_beside_a_file_are_read_too():
    folder = Folder(owner=OWNER, files=[file(card(), beside=(file(card(), "other"),))])
    found = list(KIND().read(folder, Rules(repairs=USUAL, loss=LOSS)))
    assert [each.spans[0].file for each in found] == ["cards", "other"]


def test_what_a_source_rejects_is_damage_and_what_is_away_is_not():
    def rejected():
        raise ItemRejected(Reason.CHECKSUM, "wrong", data=b"BEGIN")

    def away():
        raise Unavailable("later")

    rules = Rules(repairs=USUAL, loss=LOSS)
    folder = Folder(owner=OWNER, files=[File(name="a", size=9, read=rejected)])
    (found,) = KIND().read(folder, rules)
    assert (found.reason, found.data, found.spans[0].length) == (Reason.CHECKSUM, b"BEGIN", 9)
    with pytest.raises(Unavailable):
        list(KIND().read(Folder(owner=OWNER, files=[File(name="a", size=9, read=away)]), rules))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"just text\n", Reason.UNSUPPORTED),
        (bytes(4096), Reason.ZEROED),
        (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", Reason.UNSUPPORTED),
        (b"FN:tail\nEND:VCARD\n", Reason.CUT),
        (b"\xff\xfeB\x00E", Reason.ENCODING),
    ],
)
def test_what_is_no_contact_is_damage(data, reason):
    assert damaged(data).reason is reason


def test_white_space_around_a_uid_is_none_of_it():
    assert one(card(base=("UID: 1\t", "FN:A", "N:A"))).item.ident == "1"
    assert one(card(base=("UID: ", "FN:A", "N:A"))).repairs == ("derive-uid",)


def test_blank_names_are_none():
    assert one(card(base=("UID:1", "FN: ", "N:A"))).repairs == ("derive-fn",)


def test_white_space_is_framing():
    assert [type(each) for each in read(b"\r\n \n")] == [Framing]


# Validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (card("NOTE:bell \x07"), Reason.CONTROL_CHARACTER),
        (card("NOTE:nul \x00"), Reason.CONTROL_CHARACTER),
        (card("NOTE:caf\xe9").decode().encode("latin-1"), Reason.ENCODING),
        (card("TEL;TYPE=\xe9:1").decode().encode("latin-1"), Reason.ENCODING),
        (card(base=("UID:1", "NOTE:x")), Reason.STRUCTURE),
        (card("VERSION:4.0"), Reason.STRUCTURE),
        (card("UID:2"), Reason.STRUCTURE),
        (card("N:Other;Name;;;"), Reason.STRUCTURE),
        (card().replace(b"VERSION:3.0\r\n", b""), Reason.STRUCTURE),
        (card(version="5.0"), Reason.UNSUPPORTED),
        (card("ADR:1;2;3;4;5;6;7;8"), Reason.VALUE),
        (card(base=("UID:1", "FN:A", "N:1;2;3;4;5;6")), Reason.VALUE),
        (card("PHOTO;ENCODING=b:AAA"), Reason.VALUE),
        (card("PHOTO;ENCODING=b:!!!!"), Reason.VALUE),
        (card("PHOTO:some text"), Reason.VALUE),
        (card("X-ANY;ENCODING=b:A"), Reason.VALUE),
        (card("PHOTO;ENCODING=b;TYPE=JPEG:" + "bm8gcGljdHVyZSBhdCBhbGwh" * 20), Reason.UNSUPPORTED),
        (card("no colon at all"), Reason.SYNTAX),
        (card("BEGIN:VEVENT", "END:VEVENT"), Reason.STRUCTURE),
        (card("NOTE:" + "x" * 5_000_000), Reason.TOO_LARGE),
        (card("NOTE:" + "x" * 20_000_000), Reason.TOO_LARGE),
        (card(*["TEL:1"] * 200_000), Reason.TOO_LARGE),
    ],
)
def test_a_damaged_card_is_quarantined_with_its_reason(data, reason):
    assert damaged(data).reason is reason


def test_a_card_over_the_size_of_the_plan_is_not_even_parsed():
    assert damaged(card("NOTE:" + "x" * 2000), item_bytes=1000).reason is Reason.TOO_LARGE


def test_five_thousand_nested_cards_harm_no_other():
    nested = b"BEGIN:VCARD\r\nVERSION:2.1\r\nAGENT:\r\n" * 5000 + b"END:VCARD\r\n" * 5000
    found = read(card() + nested + card())
    assert isinstance(found[0], Copy)
    assert isinstance(found[-1], Copy)
    assert all(isinstance(each, Damaged) for each in found[1:-1])


def test_a_damaged_card_whose_lines_are_in_order_names_its_item():
    assert damaged(card("NOTE:bell \x07")).ident == Ident("1")
    assert damaged(card("PHOTO;ENCODING=b:AAA")).ident == Ident("1")
    assert damaged(card("no colon")).ident is None
    assert damaged(card()[:-20]).ident is None


def test_details_name_the_place_and_never_the_content():
    found = damaged(card("NOTE:secret \x07"))
    assert "NOTE" in found.detail
    assert "secret" not in found.detail


def test_a_cut_photo_is_found():
    photo = base64.b64decode(picture())[:-40]
    assert damaged(card("PHOTO;ENCODING=b:" + base64.b64encode(photo).decode())).reason in {
        Reason.CUT,
        Reason.STRUCTURE,
    }


def test_a_whole_photo_passes():
    data = card("PHOTO;ENCODING=b;TYPE=JPEG:" + picture())
    assert one(data).item.content == data
    uri = card("PHOTO:data:image/png;base64," + picture("PNG"), version="4.0")
    assert one(uri).item.content == uri


# Repairs ---------------------------------------------------------------------------------------

REPAIRED = [
    ("convert-2.1", old("FN:A", "N:A;B", "UID:1"), []),
    ("name-parameters", card("TEL;WORK:1"), ["TEL;TYPE=WORK:1"]),
    (
        "decode-quoted-printable",
        card("NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab=\r\n c"),
        [r"NOTE:a\nb c"],
    ),
    (
        "decode-charset",
        card("NOTE;CHARSET=ISO-8859-1:caf\xe9").decode().encode("latin-1"),
        ["NOTE:café"],
    ),
    ("join-continuations", card("KEY;ENCODING=b:AAAA\r\nBBBB"), ["KEY;ENCODING=b:AAAABBBB"]),
    ("rename-properties", card("X-My Field:1"), ["X-MY-FIELD:1"]),
    ("fix-mojibake", card("NOTE:JosÃ© MuÃ±oz"), ["NOTE:José Muñoz"]),
    ("keep-one", card("REV:20080101", "REV:20090101"), ["REV:20090101", "X-REV:20080101"]),
    ("keep-one", card("BDAY:19800101", "BDAY:19810101"), ["BDAY:19800101", "X-BDAY:19810101"]),
    ("keep-one", card("UID:1", "GENDER:F", "GENDER:F"), ["UID:1", "GENDER:F"]),
    ("keep-one", card("VERSION:3.0"), []),
    ("escape-text", card(r"NOTE:milk, eggs\, bread; tea"), [r"NOTE:milk\, eggs\, bread\; tea"]),
    (
        "drop-needless-escapes",
        card(r"URL:http\://x", r"NOTE:\"a\\:"),
        ["URL:http://x", r'NOTE:"a\\:'],
    ),
    ("set-dates-aside", card("BDAY:May 1980"), ["X-BDAY:May 1980"]),
    ("set-dates-aside", card("BDAY:2001-02-31T99"), ["X-BDAY:2001-02-31T99"]),
    ("set-dates-aside", card("REV:yesterday"), ["X-REV:yesterday"]),
    ("set-dates-aside", card("BDAY:May, 1980", version="4.0"), [r"BDAY;VALUE=text:May\, 1980"]),
    ("empty-impossible-time", card("REV:19700101T000000Z"), []),
    ("empty-impossible-time", card("REV:20300101T000000Z"), []),
    ("derive-fn", card(base=("UID:1", "N:Lovelace;Ada;King,Noel;Countess;PhD")), [
        "FN:Countess Ada King Noel Lovelace PhD"]),
    ("derive-fn", card(base=("UID:1", "FN:", "N:;;;;", r"ORG:Analytical\, Ltd;Engines")), [
        r"FN:Analytical\, Ltd"]),
    ("derive-fn", card(base=("UID:1", "N:;;;;", "EMAIL:a@b.org")), ["FN:a@b.org"]),
    ("derive-n", card(base=("UID:1", r"FN:Ada\; Countess")), [r"N:Ada\; Countess;;;;"]),
    ("drop-damaged-media", card("PHOTO;ENCODING=b:AAA"), []),
    ("drop-control-characters", card("NOTE:a\x07b"), ["NOTE:ab"]),
]  # fmt: skip


@pytest.mark.parametrize(("repair", "data", "expected"), REPAIRED)
def test_each_repair_does_what_it_says_and_its_result_is_sound(repair, data, expected):
    copy = one(data, {repair})
    assert copy.repairs == (repair,)
    assert copy.lossy == (repair in KIND.lossy)
    lines = lines_of(copy)
    assert [line for line in lines if line in expected] == expected
    again = one(copy.item.content, ())
    assert again.item == copy.item


@pytest.mark.parametrize(("repair", "data", "expected"), REPAIRED)
def test_a_repair_that_is_switched_off_is_not_done(repair, data, expected):
    del expected
    (found,) = read(data, ALL - {repair})
    if repair == "drop-needless-escapes":  # no damage, only what servers stumble over
        assert found.repairs == ()
        assert found.item.content == data
        return
    assert isinstance(found, Damaged)
    assert repair not in found.repairs
    assert repair in found.detail or found.reason is Reason.STRUCTURE


def test_every_repair_is_shown_by_an_example():
    assert {repair for repair, _, _ in REPAIRED} | {"derive-uid"} == set(KIND.repairs)


@pytest.mark.parametrize(("data", "field"), [
    (card("REV:16010101T000000Z"), "REV"),
    (card("PHOTO;ENCODING=b:AAA"), "PHOTO"),
    (card("NOTE:\x01"), "NOTE"),
])  # fmt: skip
def test_fields_that_a_repair_leaves_empty_are_named(data, field):
    assert one(data, ALL).degraded == (field,)


def test_a_missing_uid_is_made_of_owner_and_content():
    data = card(base=("FN:Ada", "N:Ada;;;;"))
    written, kept = one(data), one(data, ())
    assert written.repairs == ("derive-uid",)
    assert kept.repairs == ()
    assert kept.item.content == data
    assert written.item.ident == kept.item.ident
    assert f"UID:{written.item.ident}" in lines_of(written)
    assert one(data + b"\r\n").item == written.item


def test_an_empty_uid_is_none():
    copy = one(card(base=("UID:", "FN:Ada", "N:Ada;;;;")))
    assert copy.repairs == ("derive-uid",)
    assert sum(line.startswith("UID") for line in lines_of(copy)) == 1


def test_one_strange_character_is_no_mojibake():
    assert one(card("NOTE:Ã©")).repairs == ()
    assert one(card("NOTE:São João, è così".replace(",", ""))).repairs == ()


def test_a_rev_within_the_skew_of_clocks_is_possible():
    late = LOSS + timedelta(hours=5)
    assert one(card(f"REV:{late:%Y%m%dT%H%M%SZ}")).repairs == ()


def test_a_rev_before_the_service_began_is_impossible():
    data = card("REV:20050101T000000Z")
    assert one(data).repairs == ()
    begun = datetime(2006, 1, 1, tzinfo=UTC)
    assert one(data, service_start=begun).repairs == ("empty-impossible-time",)


def test_alternative_representations_are_no_doubles():
    data = card("BDAY;ALTID=1:19800101", "BDAY;ALTID=1;VALUE=text:new year 1980", version="4.0")
    assert one(data).item.content == data


# vCard 2.1 -------------------------------------------------------------------------------------


def test_an_old_card_becomes_a_card_of_version_3():
    copy = one(
        old(
            "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg, Dr;;;",
            "FN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:J=F6rg M=FCller",
            "TEL;WORK;VOICE:1,2",
            "TEL;TYPE=CELL;TYPE=PREF:3",
            r"ADR;HOME:;;Main St\; 1, rear;Town",
            "NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo=3B =\r\n three\\n",
            "URL;VALUE=URL:http://x/a,b",
            "GEO:37.24,-17.87",
            "BDAY:19800322",
            "KEY;X509;ENCODING=BASE64:\r\n  AAAA\r\n  BBBB\r\n",
            "EMAIL;INTERNET;PREF:a@b.org",
            "X-THING;HOME:C:\\dir;a,b",
        )
    )
    assert lines_of(copy)[:-1] == [
        "VERSION:3.0",
        r"N:Müller;Jörg\, Dr;;;",
        "FN:Jörg Müller",
        r"TEL;TYPE=WORK,VOICE:1\,2",
        "TEL;TYPE=CELL,PREF:3",
        r"ADR;TYPE=HOME:;;Main St\; 1\, rear;Town",
        r"NOTE:one\ntwo\;  three\\n",
        "URL;VALUE=uri:http://x/a,b",
        "GEO:37.24;-17.87",
        "BDAY:19800322",
        "KEY;TYPE=X509;ENCODING=b:AAAABBBB",
        "EMAIL;TYPE=INTERNET,PREF:a@b.org",
        r"X-THING;TYPE=HOME:C:\\dir;a,b",
    ]
    assert copy.repairs == ("convert-2.1", "derive-uid")


def test_the_folds_of_old_cards_keep_their_white_space():
    assert "NOTE:one two" in lines_of(one(old("FN:A", "N:A", "NOTE:one\r\n two")))


def test_text_in_an_undeclared_charset_is_never_guessed():
    data = old("FN:J\xf6rg", "N:J\xf6rg").decode().encode("latin-1")
    assert damaged(data).reason is Reason.ENCODING
    wrong = old("FN;CHARSET=x-unknown:A", "N:A")
    assert damaged(wrong).reason is Reason.ENCODING


def test_texts_of_old_cards_may_be_in_base64():
    lines = lines_of(
        one(old("FN:A", "N;BASE64:TG92ZWxhY2U7QWRh", "NOTE;ENCODING=BASE64:\r\n SGk="))
    )
    assert "N:Lovelace;Ada" in lines
    assert "NOTE:Hi" in lines
    assert damaged(old("FN:A", "N:A", "NOTE;BASE64:SGk")).reason is Reason.VALUE


def test_an_agent_stays_inside_of_its_card():
    data = old(
        "FN:A", "N:A", "AGENT:", "BEGIN:VCARD", "VERSION:2.1", "FN:B", "N:B", "END:VCARD", "TEL:1"
    )
    copy = one(data)
    (agent,) = [line for line in lines_of(copy) if line.startswith("AGENT")]
    assert agent.startswith(r"AGENT:BEGIN:VCARD\nVERSION:3.0\nFN:B")
    assert "TEL:1" in lines_of(copy)


# What makes contents equal ---------------------------------------------------------------------

SAME = [
    (["TEL;TYPE=HOME,CELL:1"], ["TEL;type=cell;TYPE=home:1"]),
    (["TEL;TYPE=HOME;X-A=1:1"], ["tel;x-a=1;type=home:1"]),
    (["TEL;TYPE=pref:1"], ["TEL;PREF=1:1"]),
    (["TEL;TYPE=voice:1"], ["TEL;VALUE=uri:tel:1"]),
    (["EMAIL;TYPE=INTERNET:a@b"], ["EMAIL:a@b"]),
    (["NOTE:a,b"], [r"NOTE:a\,b"]),
    (["X-A:a,b"], [r"X-A:a\,b"]),
    (["ORG:A;"], ["ORG:A"]),
    (["ADR:;;A,;B"], ["ADR:;;A;B;;;"]),
    (["BDAY:1980-03-22"], ["BDAY:19800322"]),
    (["GEO:37.1;-17.2"], ["GEO:geo:37.1,-17.2"]),
    (["item1.TEL:1", "item1.X-ABLabel:x"], ["g.X-ABLABEL:x", "G.TEL:1"]),
    (["item1.TEL:1"], ["TEL:1"]),
    (["NOTE:"], []),
    (["KIND:individual"], []),
    (["REV:20090101", "PRODID:x"], []),
    (["KEY;ENCODING=b:AAAA"], ["KEY:data:application/x;base64,AAAA"]),
    (["TEL:1", "TEL:2"], ["TEL:2", "TEL:1"]),
]


@pytest.mark.parametrize(("one_way", "other_way"), SAME)
def test_spelling_makes_no_difference(one_way, other_way):
    assert digest(*one_way) == digest(*other_way)
    assert digest(*one_way) == digest(*other_way, version="4.0")


@pytest.mark.parametrize(
    ("one_way", "other_way"),
    [
        (["TEL:1"], ["TEL:2"]),
        (["TEL;TYPE=HOME:1"], ["TEL;TYPE=WORK:1"]),
        (["TEL:1"], ["TEL:1", "TEL:1"]),
        (["ADR:a;b"], [r"ADR:a\;b"]),
        (["NICKNAME:a,b"], [r"NICKNAME:a\,b"]),
        (["X-A:x"], ["X-A:x;"]),
        (["item1.TEL:1", "item1.X-ABLabel:x", "item2.TEL:2"], [
            "item1.TEL:1", "item2.X-ABLabel:x", "item2.TEL:2"]),
        (["KEY;ENCODING=b:AAAA"], ["KEY;ENCODING=b:AAAB"]),
        (["NOTE:a\r\n  b"], ["NOTE:ab"]),
    ],
)  # fmt: skip
def test_meaning_makes_a_difference(one_way, other_way):
    assert digest(*one_way) != digest(*other_way)


def test_the_same_contact_in_any_version_has_one_digest():
    first = one(old("FN:Ada Lovelace", "N:Lovelace;Ada", "TEL;CELL;PREF:1", "ORG:A, B", "UID:1"))
    second = one(card("TEL;TYPE=cell;PREF=1:1", r"ORG:A\, B", version="4.0"))
    assert first.item.digest == second.item.digest


def test_a_name_that_repeats_fn_alone_says_nothing():
    with_name = one(card(base=("UID:1", "FN:Ada")))
    without = one(card(base=("UID:1", "FN:Ada"), version="4.0"))
    assert with_name.item.digest == without.item.digest


def test_a_uid_is_the_same_with_and_without_its_urn():
    uid = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    assert one(card(base=(f"UID:urn:uuid:{uid}", "FN:A", "N:A"))).item.ident == uid


values = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30).map(
    lambda text: escape(text.encode()).decode()
)
some_lines = st.lists(
    st.one_of(
        values.map(lambda text: f"NOTE:{text}"),
        values.map(lambda text: f"TEL;TYPE=WORK;TYPE=FAX:{text}"),
        values.map(lambda text: f"item1.X-ABLabel:{text}"),
        values.map(lambda text: f"ORG:{text};{text}"),
        values.map(lambda text: f"NICKNAME:{text},{text}"),
        values.map(lambda text: f"URL:{text}"),
        values.map(lambda text: f"X-ANY:{text}"),
        st.dates().map(lambda day: f"X-ABDATE:{day}"),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(some_lines, st.randoms(use_true_random=False))
def test_folding_order_and_case_never_change_the_digest(lines, random):
    plain = one(card(*lines), ())
    shuffled = ["UID:1", "FN:Ada Lovelace", "N:Lovelace;Ada;;;", *lines]
    random.shuffle(shuffled)
    recased = [f"{line.partition(':')[0].swapcase()}:{line.partition(':')[2]}" for line in shuffled]
    body = b"".join(fold(line.encode()) for line in [*recased, "PRODID:x", "REV:20010101"])
    other = b"BEGIN:VCARD\r\nVERSION:3.0\r\n" + body + b"END:VCARD\r\n"
    live = KIND().recognise(OWNER, other)
    assert live.digest == plain.item.digest
    assert live.ident == plain.item.ident


@settings(deadline=None, max_examples=60)
@given(some_lines)
def test_reading_at_once_and_line_by_line_come_to_the_same(lines):
    data = card(*lines)
    quick = one(data, ())
    # A blank line takes the card through the careful reading.
    careful = one(data.replace(b"VERSION", b"\r\nVERSION", 1), ())
    assert careful.item == quick.item


@settings(deadline=None, max_examples=60)
@given(some_lines)
def test_what_vobject_makes_of_a_card_is_recognised(lines):
    # vobject cuts these two: lists, and texts of no known type (data.md, fact 1).
    kept = [line for line in lines if not line.startswith(("NICKNAME", "X-", "URL", "item1"))]
    copy = one(card(*kept))
    written = vobject.readOne(copy.item.content.decode()).serialize().encode()
    assert KIND().recognise(OWNER, written).digest == copy.item.digest


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 40))
def test_any_damage_is_contained(noise, at, gone):
    data = card("NOTE:x") + card(base=("UID:2", "FN:B", "N:B;;;;"))
    read(data[:at] + noise + data[at + gone :], ALL)


# Live items ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"text", card() * 2, card()[:-15], card("no colon"), b"BEGIN:VCALENDAR\n"]
)
def test_what_is_not_one_card_is_not_recognised(content):
    assert KIND().recognise(OWNER, content) is None


def test_a_live_card_is_recognised_whatever_is_wrong_with_it():
    assert KIND().recognise(OWNER, card("ADR:1;2;3;4;5;6;7;8")) is not None
    assert KIND().recognise(OWNER, old("FN:A")) is not None


def test_an_item_put_beside_has_a_name_of_its_own_and_says_so():
    copy = one(card("REV:20090101T000000Z", r"NOTE:a\,b"))
    beside = KIND().beside(copy.item, "restored 2009")
    assert beside.ident != copy.item.ident
    assert b"FN:Ada Lovelace (restored 2009)\r\n" in beside.content
    assert KIND().beside(copy.item, "restored again").ident == beside.ident
    live = KIND().recognise(OWNER, beside.content)
    assert (live.ident, live.digest) == (beside.ident, beside.digest)
    assert live.digest != copy.item.digest
    assert one(beside.content, ()).item == msgspec.structs.replace(beside, attachments=())


def test_reading_twice_gives_the_same():
    data = card() + old("FN:A", "N:A") + b"junk\r\n" + card("BDAY:x")
    assert read(data) == read(data)


@pytest.mark.parametrize("kept", [0, 1, 20, 47])
def test_zeros_cost_what_they_cover_and_not_the_card_after_them(kept):
    one_card = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a\r\nFN:A\r\nN:A;;;;\r\nEND:VCARD\r\n"
    other = one_card.replace(b"UID:a", b"UID:b")
    found = read(one_card[:kept] + bytes(4096) + other + one_card)
    assert [each.item.ident for each in found if isinstance(each, Copy)] == ["b", "a"]
    assert [each.reason for each in found if isinstance(each, Damaged)] == [Reason.ZEROED]
