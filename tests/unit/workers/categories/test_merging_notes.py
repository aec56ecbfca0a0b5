import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.items import Attachment, Ident, Item, Media, Side, UserId
from orchestrator.ports import Entry, Live
from workers.categories.notes import Notes
from workers.formats.merging import with_changes_of_both
from workers.formats.note_formats import interpreted
from workers.formats.shaping_notes import shaped_journal

ANN = UserId("ann")
NOTES = Notes()


def item(content: bytes, *files: Attachment) -> Item:
    seen = NOTES.recognise(ANN, content, files)
    assert seen is not None
    return Item(
        ident=seen.ident,
        digest=seen.digest,
        media=Media("json", "application/json"),
        content=content,
        attachments=files,
        revised=seen.revised,
    )


def merged(mine: Item, theirs: Item, *, wins=Side.LIVE, base: Item | None = None):
    entry = Entry(owner=ANN, ref="r", version="1")
    live = Live(entry=entry, content=mine.content, attachments=mine.attachments)
    return NOTES.merge(ANN, live, theirs, wins=wins, base=base)


def row(body: str = "", **fields: object) -> Item:
    return item(json.dumps({"id": "n1", "body": body, **fields}).encode())


def keep(entries: dict[str, bool], **fields: object) -> Item:
    shown = [{"text": text, "isChecked": ticked} for text, ticked in entries.items()]
    note = {"id": "n1", "listContent": shown, "userEditedTimestampUsec": 1, **fields}
    return item(json.dumps(note).encode())


def text(body: str, *front: str) -> Item:
    return item("\n".join(["---", 'uid: "n1"', *front, "---", body]).encode())


def note(found):
    assert found is not None
    return interpreted(found.item.content)


BOTH_FORMS = pytest.mark.parametrize("written", [row, text])


@BOTH_FORMS
def test_the_text_that_holds_the_other_stands(written):
    short, long = written("milk"), written("milk, eggs\nbread")
    assert note(merged(short, long)).body == "milk, eggs\nbread"
    kept = merged(long, short)
    assert kept is not None
    assert kept.item.digest == long.digest


@BOTH_FORMS
def test_two_texts_that_were_written_apart_stay_two_notes(written):
    assert merged(written("milk"), written("a poem")) is None


@BOTH_FORMS
def test_a_base_shows_who_changed_which_lines(written):
    base, mine, theirs = map(written, ("a\nx\nb\n", "a\nx\n", "A\nx\nb\n"))
    assert note(merged(mine, theirs, base=base)).body == "A\nx\n"
    assert merged(written("B\nx\nb\n"), theirs, base=base) is None


def test_lists_labels_and_titles_of_both_stay():
    found = merged(
        keep({"milk": True, "eggs": False}, labels=[{"name": "home"}], title="buy"),
        keep({"eggs": True, "bread": False}, labels=[{"name": "work"}], title="shop"),
    )
    assert set(note(found).entries) == {("milk", True), ("eggs", False), ("bread", False)}
    assert note(found).labels == ("home", "work")
    assert (note(found).title, note(found).more) == ("buy", {"x_title": "shop"})


def test_front_matter_of_both_stays():
    found = merged(
        text("same", "title: mine", "tags: [a]", "mood: calm"),
        text("same", "title: theirs", "tags: [b]", "mood: wild", "weather: fine"),
    )
    assert (note(found).title, note(found).labels) == ("mine", ("a", "b"))
    said = found.item.content.decode()
    assert {"x_mood: wild", "weather: fine", "mood: calm", 'x_title: "theirs"'} <= set(
        said.split("\n")
    )


def test_what_its_user_took_out_of_the_trash_stays_out():
    taken_out, trashed = row("x", trashed=False), row("x", trashed=True)
    assert note(merged(taken_out, trashed)).state == ()
    assert note(merged(taken_out, trashed, wins=Side.RECOVERED)).state == ("trashed",)


def test_files_of_both_come_along_unless_one_name_means_two():
    def file(data: bytes, name: str = "a.jpg"):
        return Attachment(name=name, data=data)

    content = row("x").content
    found = merged(item(content, file(b"1")), item(content, file(b"1"), file(b"2", "b.jpg")))
    assert found is not None
    assert [part.name for part in found.item.attachments] == ["a.jpg", "b.jpg"]
    assert merged(item(content, file(b"1")), item(content, file(b"2"))) is None


def test_a_note_that_a_server_keeps_as_a_journal_entry_is_merged_as_one():
    ours = row("milk", title="buy", labels=["home"])
    live = item(
        shaped_journal(ours, 1_000).replace(b"DESCRIPTION:milk", b"DESCRIPTION:milk\\, eggs")
    )
    theirs = row("milk", title="buy", labels=["home", "work"])
    found = merged(live, theirs)
    assert note(found).body == "milk, eggs"
    assert sorted(note(found).labels) == ["home", "work"]
    assert merged(live, row("a poem", title="buy")) is None


def enex(title: str, *tags: str) -> Item:
    tagged = "".join(f"<tag>{tag}</tag>" for tag in tags)
    attributes = '<application-data key="reinstate-ident">n1</application-data>'
    content = "<![CDATA[<en-note>x</en-note>]]>"
    return item(
        f"<en-export><note><title>{title}</title><content>{content}</content>{tagged}"
        f"<note-attributes>{attributes}</note-attributes></note></en-export>".encode()
    )


def test_of_formats_that_are_not_taken_apart_the_one_that_says_all_of_the_other_stands():
    mine, theirs = enex("tea", "a"), enex("tea", "a", "b")
    found = merged(mine, theirs)
    assert found is not None
    assert found.item.digest == theirs.digest
    assert merged(enex("coffee", "a"), theirs) is None


# Laws -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "sea", "sea view", ""])
LABELS = st.lists(st.sampled_from("xyz"), max_size=2, unique=True)
ROWS = st.builds(
    lambda body, title, labels, pinned, more: row(
        body, title=title, labels=labels, pinned=pinned, **more
    ),
    WORDS.filter(bool),
    WORDS,
    LABELS,
    st.booleans(),
    st.dictionaries(st.sampled_from(["mood", "place"]), WORDS, max_size=2),
)
LISTS = st.builds(
    lambda entries, title: keep(entries, title=title),
    st.dictionaries(st.sampled_from("abc"), st.booleans(), min_size=1),
    WORDS,
)
TEXTS = st.builds(
    lambda body, title, labels: text(body, f"title: {title}", f"tags: [{', '.join(labels)}]"),
    WORDS.filter(bool),
    WORDS,
    LABELS,
)
PAIRS = st.one_of(*(st.tuples(kind, kind, st.none() | kind) for kind in (ROWS, LISTS, TEXTS)))


def said(found: Item) -> set[tuple[str, str]]:
    read = interpreted(found.content)
    told = {("title", read.title), *(("label", label) for label in read.labels)}
    told |= {("word", word) for word in read.body.split()} | {
        ("entry", one) for one, _ in read.entries
    }
    more = (
        read.more
        if isinstance(read.more, dict)
        else dict(line.partition(":")[::2] for line in read.more or ())
    )
    return {
        (name, word)
        for name, word in told
        | {(key.removeprefix("x_"), str(word).strip('" ')) for key, word in more.items()}
        if word
    }


@settings(deadline=None, max_examples=150)
@given(PAIRS, st.sampled_from(list(Side)))
def test_nothing_of_either_side_is_lost(pair, wins):
    mine, theirs, _ = pair
    found = merged(mine, theirs, wins=wins)
    if found is not None:
        assert said(mine) | said(theirs) <= said(found.item)
        assert found.item.ident == Ident("n1")


@settings(deadline=None, max_examples=150)
@given(PAIRS, st.sampled_from(list(Side)))
def test_merging_once_more_changes_nothing(pair, wins):
    mine, theirs, base = pair
    once = merged(mine, theirs, wins=wins, base=base)
    if once is not None:
        again = merged(once.item, theirs, base=base)
        assert again is not None
        assert again.item.digest == once.item.digest


@settings(deadline=None, max_examples=80)
@given(PAIRS, st.sampled_from(list(Side)))
def test_merging_equal_notes_changes_nothing(pair, wins):
    found = merged(pair[0], pair[0], wins=wins)
    assert found is not None
    assert found.item.digest == pair[0].digest


LINES = st.lists(st.sampled_from("abc"), max_size=6).map("\n".join)


@settings(deadline=None, max_examples=200)
@given(LINES, LINES, LINES)
def test_changes_of_one_side_alone_are_all_taken(base, mine, theirs):
    assert with_changes_of_both(base, mine, base) == mine
    assert with_changes_of_both(base, base, theirs) == theirs
    both = with_changes_of_both(base, mine, theirs)
    if both is not None:
        assert with_changes_of_both(base, both, theirs) == both
