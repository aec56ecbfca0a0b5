from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import Copy, File, Folder, Ident, Side, UserId
from orchestrator.ports import Entry, Live, Rules
from workers.categories.contacts import Contacts
from workers.formats.content_lines import fields, unescape
from workers.formats.merging_cards import card_of

ANN = UserId("ann")
CONTACTS = Contacts()
LATE = datetime(9999, 1, 1, tzinfo=UTC)


def card(*lines: str, uid: str = "u1", version: str = "3.0") -> bytes:
    head = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}"]
    return "\r\n".join([*head, *lines, "END:VCARD", ""]).encode()


def person(*lines: str, name: str = "Ann Bee", **more: str) -> bytes:
    family = " ".join(reversed(name.split(" ", 1))).replace(" ", ";")
    return card(f"FN:{name}", f"N:{family};;;", *lines, **more)


def item(content: bytes):
    file = File(name="a.vcf", size=len(content), read=lambda: content)
    (found,) = CONTACTS.read(
        Folder(owner=ANN, files=(file,)), Rules(repairs=frozenset(), loss=LATE)
    )
    assert isinstance(found, Copy), found
    return found.item


def live(content: bytes) -> Live:
    return Live(entry=Entry(owner=ANN, ref="r", version="1"), content=content)


def combined(mine: bytes, theirs: bytes, *, wins=Side.LIVE, base: bytes | None = None):
    older = None if base is None else item(base)
    found = CONTACTS.merge(ANN, live(mine), item(theirs), wins=wins, base=older)
    assert found is not None
    return found


def lines(mine: bytes, theirs: bytes, **how):
    return combined(mine, theirs, **how).item.content.decode().split("\r\n")


def test_numbers_and_addresses_of_both_stay_and_the_same_one_stays_once():
    merged = lines(
        person("TEL;TYPE=home:+49 (30) 1234567", "EMAIL:Ann@Example.org"),
        person("TEL;TYPE=cell:+49301234567", "TEL:110", "EMAIL:ann@example.org"),
    )
    assert "TEL;TYPE=home;TYPE=cell:+49 (30) 1234567" in merged
    assert "TEL:110" in merged
    assert sum(line.startswith("EMAIL") for line in merged) == 1


@pytest.mark.parametrize(
    ("wins", "stands", "aside"),
    [(Side.LIVE, "19800101", "19800202"), (Side.RECOVERED, "19800202", "19800101")],
)
def test_what_can_stand_once_is_the_winners_and_the_losers_is_kept_aside(wins, stands, aside):
    merged = lines(person("BDAY:19800101"), person("BDAY:19800202"), wins=wins)
    assert f"BDAY:{stands}" in merged
    assert f"X-BDAY:{aside}" in merged


def test_a_merged_card_says_what_came_from_where_by_the_names_of_fields_alone():
    found = combined(
        person("BDAY:19800101", "TEL:110"), person("BDAY:19800202", "NOTE:likes tea", "TEL:112")
    )
    assert str(found.origins) == "added: NOTE, TEL; live one stands: BDAY"


def test_notes_become_one_text_that_holds_both():
    mine, theirs = person("NOTE:met at sea"), person("NOTE:allergic to nuts\\, beware")
    assert "NOTE:met at sea\\n\\nallergic to nuts\\, beware" in lines(mine, theirs)
    longer = person("NOTE:met at sea\\, in June")
    assert "NOTE:met at sea\\, in June" in lines(mine, longer)
    assert "NOTE:met at sea\\, in June" in lines(longer, mine, wins=Side.RECOVERED)


def test_labels_stay_with_their_numbers():
    merged = lines(
        person("item1.TEL:110", "item1.X-ABLabel:office"),
        person("item1.TEL:112", "item1.X-ABLabel:boat", "item2.TEL:110", "item2.X-ABLabel:night"),
    )
    assert {"item1.TEL:110", "item1.X-ABLabel:office", "item1.X-ABLabel:night"} <= set(merged)
    (boat,) = [line for line in merged if line.endswith("TEL:112")]
    group = boat.partition(".")[0]
    assert group != "item1"
    assert f"{group}.X-ABLabel:boat" in merged


def test_lists_are_joined_word_by_word():
    merged = lines(person("CATEGORIES:a,b"), person("CATEGORIES:b,c\\,d"))
    assert "CATEGORIES:a,b,c\\,d" in merged


def test_the_first_of_several_is_the_winners():
    merged = lines(person("ORG:New"), person("ORG:Old"), wins=Side.RECOVERED)
    assert merged.index("ORG:Old") < merged.index("ORG:New")


def test_pictures_come_along_in_the_live_cards_version():
    png = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    )
    old, new = f"PHOTO;ENCODING=b;TYPE=PNG:{png}", f"PHOTO:data:image/png;base64\\,{png}"
    assert "PHOTO;ENCODING=b;TYPE=PNG:" in "".join(
        lines(person(), card("FN:Ann Bee", new, version="4.0"))
    )
    four = card("FN:Ann Bee", version="4.0")
    assert "PHOTO:data:image/png;base64," in "".join(lines(four, person(old))).replace(" ", "")


# A base ---------------------------------------------------------------------------------------


def test_what_the_live_side_let_go_of_stays_away():
    base = person("REV:20090101T000000Z", "TEL:110", "TEL:112", "BDAY:19800101")
    found = combined(
        person("TEL:110"),
        person("REV:20090201T000000Z", "TEL:110", "TEL:112", "BDAY:19800101", "TEL:115"),
        base=base,
    )
    text = found.item.content.decode()
    assert "TEL:112" not in text
    assert "BDAY" not in text
    assert "TEL:115" in text
    assert found.origins.left_out == ("BDAY", "TEL")


def test_what_only_one_side_changed_is_that_sides():
    base = person("BDAY:19800101", "NOTE:old")
    merged = lines(
        person("BDAY:19800101", "NOTE:mine"), person("BDAY:19800303", "NOTE:old"), base=base
    )
    assert "BDAY:19800303" in merged
    assert "NOTE:mine" in merged
    assert not [line for line in merged if line.startswith("X-")]


def test_what_a_newer_recovered_side_let_go_of_is_left_out():
    base = person("TEL:110", "TEL:112")
    merged = lines(person("TEL:110", "TEL:112"), person("TEL:112"), base=base, wins=Side.RECOVERED)
    assert "TEL:110" not in merged


# Laws -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "c", "a\\, b", "sea", "café", "sea view"])
NUMBERS = st.sampled_from(["110", "1 10", "+49 30 1", "112", "tel-less"])
KINDS = st.sampled_from(["", ";TYPE=home", ";TYPE=cell,pref", ";TYPE=HOME;TYPE=work", ";X-A=b"])
LINE = st.one_of(
    st.builds("TEL{}:{}".format, KINDS, NUMBERS),
    st.builds("EMAIL{}:{}".format, KINDS, st.sampled_from(["a@b.c", "A@b.c", "d@e.f"])),
    st.builds("ADR{}:;;{};;;;".format, KINDS, WORDS),
    st.builds("NOTE:{}".format, WORDS),
    st.builds("ORG:{}".format, WORDS),
    st.builds("NICKNAME:{},{}".format, WORDS, WORDS),
    st.builds("CATEGORIES:{}".format, WORDS),
    st.builds("{}:{}".format, st.sampled_from(["X-A", "X-B", "TITLE", "URL"]), WORDS),
    st.builds(
        "{0}.TEL:{1}\r\n{0}.X-ABLabel:{2}".format,
        st.sampled_from(["item1", "Item2", "g"]),
        NUMBERS,
        WORDS,
    ),
    st.builds("{0}.TEL:{1}\r\n{0}.EMAIL:a@b.c".format, st.sampled_from(["home", "item1"]), NUMBERS),
)
ONCE = st.builds(
    lambda bday, anniversary, gender: [
        line
        for line, there in (
            (f"BDAY:{bday}", bday),
            (f"ANNIVERSARY:{anniversary}", anniversary),
            (f"GENDER:{gender}", gender),
        )
        if there
    ],
    st.sampled_from(["", "19800101", "1980-02-02"]),
    st.sampled_from(["", "20000101", "20000202"]),
    st.sampled_from(["", "F", "M;they"]),
)


def _apart(found: list[str]) -> list[str]:
    """Groups of one card have names of their own."""
    kept, seen = [], set()
    for line in found:
        group = line.partition(".")[0] if "." in line.partition(":")[0] else ""
        if group and group.lower() in seen:
            continue
        seen.add(group.lower())
        kept.append(line)
    return kept


CARDS = st.builds(
    lambda name, several, once, version: person(
        *_apart(several), *once, name=name, version=version
    ),
    st.sampled_from(["Ann Bee", "Ann", "Bo Cee"]),
    st.lists(LINE, max_size=7),
    ONCE,
    st.sampled_from(["3.0", "4.0"]),
)
SIDES = st.sampled_from(list(Side))


def said(content: bytes) -> set[tuple[str, bytes]]:
    """Every name and value of a card, words of notes and lists one by one; what is aside too."""
    found: set[tuple[str, bytes]] = set()
    read = card_of(content)
    assert read is not None
    for fact, value in read.properties:
        name = fact.name.removeprefix("X-")
        match fact.name:
            case "VERSION" | "UID" | "REV":
                continue
            case "NICKNAME" | "CATEGORIES":
                found |= {(name, unescape(part)) for part in fields(value, b",")}
            case "NOTE":
                found |= {(name, word) for word in unescape(value).replace(b",", b" ").split()}
            case "TEL":
                found.add((name, value.replace(b" ", b"")))
            case "EMAIL":
                found.add((name, value.lower()))
            case "BDAY" | "X-BDAY":
                found.add((name, value.replace(b"-", b"")))
            case _:
                found.add((name, unescape(value)))
    return found


@settings(deadline=None, max_examples=150)
@given(CARDS, CARDS, SIDES)
def test_nothing_of_either_side_is_lost(mine, theirs, wins):
    merged = said(combined(mine, theirs, wins=wins).item.content)
    missing = (said(mine) | said(theirs)) - merged
    assert {one for one in missing if one[0] != "N"} == set()


@settings(deadline=None, max_examples=150)
@given(CARDS, CARDS, SIDES, st.none() | CARDS)
def test_merging_once_more_changes_nothing(mine, theirs, wins, base):
    once = combined(mine, theirs, wins=wins, base=base).item
    again = combined(once.content, theirs, wins=Side.LIVE, base=base)  # it is the newer one now
    assert again.item.digest == once.digest


@settings(deadline=None, max_examples=80)
@given(CARDS, SIDES)
def test_merging_equal_cards_changes_nothing(mine, wins):
    assert combined(mine, mine, wins=wins).item.digest == item(mine).digest


@settings(deadline=None, max_examples=150)
@given(CARDS, CARDS, SIDES)
def test_a_merged_card_is_valid_and_is_read_back_as_what_it_is(mine, theirs, wins):
    merged = combined(mine, theirs, wins=wins).item
    assert item(merged.content).digest == merged.digest
    assert item(merged.content).ident == merged.ident == Ident("u1")


DISJOINT = st.tuples(
    st.lists(st.builds("TEL:11{}".format, st.sampled_from("123")), max_size=3, unique=True),
    st.lists(st.builds("EMAIL:{}@b.c".format, st.sampled_from("abc")), max_size=3, unique=True),
)


@settings(deadline=None, max_examples=50)
@given(DISJOINT)
def test_fields_that_only_one_side_has_come_out_the_same_whoever_is_live(sides):
    one, other = person(*sides[0]), person(*sides[1])
    assert combined(one, other).item.digest == combined(other, one).item.digest
