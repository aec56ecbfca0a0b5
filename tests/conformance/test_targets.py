"""What every kind of target promises, claim by claim, on each kind's example system."""

import contextlib
import importlib
import importlib.util
import multiprocessing
import os
import random
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import catalogue
from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, Ident
from orchestrator.ports import Fate, Place, Removal
from tests.conformance.target_example import CARD, create, removal, replace

KINDS = catalogue.installed().targets.names()
CATEGORIES = ["contacts", "notes"]
ANNA = "anna"
BERT = "bert"

HOSTILE = (
    "../climbs",
    "../../../../etc/passwd",
    "/absolute",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".hidden",
    "trailing ",
    " leading",
    "Case",
    "case",
    "caf\u00e9",
    "cafe\u0301",
    "zero\u200bwidth",
    "\u202egnirts",
    "שלום",
    "😀🏳️‍🌈",
    "%00",
    "%2F",
    "%",
    "%s",
    "{}",
    "tab\there",
    "line\nbreak",
    "nul\0nul",
    "quote'\"`;-- DROP TABLE contacts",
    "star*?[x]",
    "CON",
    "-rf",
    "~root",
    "$(id)",
    "a" * 300,
    "a" * 299 + "b",
    "é" * 300,
    "😀" * 300,
    "12",
    "012",
    "",
    "raw:00",
    "x.vcf",
    "x.vcf.tmp",
)

CONTENTS = (
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:x\r\nFN:Anna\r\nEND:VCARD\r\n",
    b"",
    bytes(range(256)),
    '{"fn": "Zoë 😀 %s {} \'; --"}'.encode(),
    b"\0" * 5000,
    os.urandom(1_000_000),
)


def has_example(kind):
    return importlib.util.find_spec(f"tests.conformance.target_examples.{kind}") is not None


def variants():
    for kind in KINDS:
        if has_example(kind):
            module = importlib.import_module(f"tests.conformance.target_examples.{kind}")
            for name, example in module.EXAMPLES.items():
                yield pytest.param(example, id=name)


@pytest.fixture(params=variants())
def example(request, tmp_path):
    return request.param(tmp_path, request)


@pytest.fixture
def target(example):
    opened = example.open()
    if example.prepared_by_inspection:
        opened.inspect(CATEGORIES)
    return opened


def one(target, write, category="contacts"):
    [answer] = target.write(category, [write])
    return answer


def only_where_thorough(example):
    if not example.thorough:
        pytest.skip("shown on another variant")


def survey(target, *owners, category="contacts"):
    return list(target.survey(category, list(owners)))


def fetch(target, owner, ref, category="contacts"):
    [live] = target.fetch(category, [Place(owner=owner, ref=ref)])
    return live


def holds(target, *owners, category="contacts"):
    """Owner and ref → content, of all that is alive."""
    entries = [e for e in survey(target, *owners, category=category) if not e.deleted]
    places = [Place(owner=e.owner, ref=e.ref) for e in entries]
    return {
        (live.entry.owner, live.entry.ref): live.content
        for live in target.fetch(category, places)
        if live is not None
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target_has_an_example(kind):
    assert has_example(kind), f"add tests/conformance/target_examples/{kind}.py"


def test_inspection_finds_what_the_target_promises(example, target):
    found = target.inspect(CATEGORIES)
    assert found.create_only == example.promises.create_only
    assert found.compare_and_set == example.promises.compare_and_set
    assert found.tombstones == example.promises.tombstones
    assert found.can_remove == example.can_remove()


def test_the_probe_leaves_nothing_behind(example, target):
    one(target, create(target, ANNA, "a", b"hers"))
    target.inspect(CATEGORIES)  # the probe's account is there from now on
    before = example.trace()
    target.inspect(CATEGORIES)
    assert example.trace() == before


def test_a_killed_probe_neither_harms_the_next_nor_stays(example, target):
    if not example.processes:
        pytest.skip("lives and dies with its process")
    target.inspect(CATEGORIES)
    before = example.trace()
    for pause in (0.0, 0.001, 0.003, 0.01, 0.02, 0.05):
        prober = multiprocessing.get_context("fork").Process(target=probe_for_ever, args=(target,))
        prober.start()
        time.sleep(0.02 + pause)
        os.kill(prober.pid, signal.SIGKILL)
        prober.join()
        target.inspect(CATEGORIES)
        assert example.trace() == before


def probe_for_ever(target):
    while True:
        target.inspect(CATEGORIES)


def test_two_probes_at_once_do_not_disturb_each_other(example):
    targets = [example.open() for _ in range(2)]
    answers = together([lambda t=t: [t.inspect(CATEGORIES) for _ in range(5)] for t in targets])
    for found in answers:
        assert {each.create_only for each in found} == {example.promises.create_only}


def test_two_openings_are_one_system(example, target):
    target.inspect(CATEGORIES)
    assert target.identity("notes") == example.open().identity("notes")
    one(target, create(target, ANNA, "a", b"x"))
    assert holds(example.open(), ANNA) == holds(target, ANNA)


def test_what_was_made_anew_is_another_system(example, target):
    target.inspect(CATEGORIES)
    before = target.identity("notes")
    one(target, create(target, ANNA, "a", b"x"))
    assert target.identity("notes") == before
    if not example.make_anew():
        pytest.skip("cannot be told apart")
    anew = example.open()
    anew.inspect(CATEGORIES)
    assert anew.identity("notes") != before


def test_where_an_item_goes_depends_on_its_ident_only(example, target):
    refs = [target.ref("contacts", Ident(ident), CARD) for ident in HOSTILE]
    assert refs == [example.open().ref("contacts", Ident(ident), CARD) for ident in HOSTILE]
    assert len(set(refs)) == len(HOSTILE)


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_content_reads_back_byte_for_byte(target, content):
    write = create(target, ANNA, "a", content)
    assert one(target, write).fate is Fate.DONE
    live = fetch(target, ANNA, write.ref)
    assert live.content == content
    assert live.entry.owner == ANNA
    assert live.entry.ref == write.ref
    assert live.attachments == ()


def test_attachments_read_back_with_their_item(example, target):
    parts = [
        Attachment(name="sidecar.json", data=b'{"a":1}'),
        Attachment(name="6f1ed002ab5595859014ebf0951522d9.png", data=bytes(range(256))),
        Attachment(name="empty", data=b""),
    ]
    write = create(target, ANNA, "a", b"with", attachments=parts)
    if not example.attachments:
        assert one(target, write).fate is Fate.REFUSED
        assert survey(target, ANNA) == []
        return
    other = create(target, ANNA, "b", b"without")
    assert [a.fate for a in target.write("contacts", [write, other])] == [Fate.DONE] * 2
    assert sorted(fetch(target, ANNA, write.ref).attachments, key=lambda p: p.name) == sorted(
        parts, key=lambda p: p.name
    )
    assert fetch(target, ANNA, other.ref).attachments == ()
    assert len(survey(target, ANNA)) == 2


def test_hostile_idents_stay_inside_and_come_back(example, target):
    only_where_thorough(example)
    writes = [create(target, ANNA, ident, ident.encode()) for ident in HOSTILE]
    answers = target.write("contacts", writes)
    kept = [w for w, a in zip(writes, answers, strict=True) if a.fate is Fate.DONE]
    assert all(answer.fate in {Fate.DONE, Fate.REFUSED} for answer in answers)
    assert len(kept) >= len(HOSTILE) - 1
    assert holds(target, ANNA) == {(ANNA, w.ref): w.item.content for w in kept}
    for entry in survey(target, ANNA):
        if entry.ident is not None:
            assert target.ref("contacts", entry.ident, CARD) == entry.ref


def test_hostile_users_stay_inside_and_get_their_own(example, target):
    only_where_thorough(example)
    users = example.accounts(HOSTILE)
    writes = [create(target, owner, "same", owner.encode()) for owner in users]
    answers = target.write("contacts", writes)
    kept = [w for w, a in zip(writes, answers, strict=True) if a.fate is Fate.DONE]
    assert all(answer.fate in {Fate.DONE, Fate.REFUSED} for answer in answers)
    assert len(kept) >= len(users) - 1
    assert holds(target, *users) == {(w.owner, w.ref): w.item.content for w in kept}
    for write in kept:
        assert holds(target, write.owner) == {(write.owner, write.ref): write.item.content}


def test_hostile_names_touch_nothing_outside(example, tmp_path):
    only_where_thorough(example)
    outside = tmp_path / "outside.vcf"
    outside.write_bytes(b"untouched")
    target = example.open()
    target.inspect(CATEGORIES)
    before = sorted(path.name for path in tmp_path.iterdir())
    users = example.accounts(HOSTILE)
    names = HOSTILE[: 1 + 6 // example.slowness]
    target.write("contacts", [create(target, x, y, b"") for x in users for y in names])
    target.fetch("contacts", [Place(owner=x, ref=y) for x in users for y in names])
    target.fetch("contacts", [Place(owner=users[0], ref=y) for y in HOSTILE])
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert outside.read_bytes() == b"untouched"


def test_creating_twice_creates_once(target):
    first = create(target, ANNA, "a", b"first")
    again = create(target, ANNA, "a", b"again")
    assert one(target, first).fate is Fate.DONE
    assert one(target, again).fate is Fate.CONFLICT
    assert holds(target, ANNA) == {(ANNA, first.ref): b"first"}


def test_creating_twice_in_one_call_creates_once(target):
    writes = [create(target, ANNA, "a", b"%d" % n) for n in range(3)]
    answers = target.write("contacts", writes)
    assert [a.fate for a in answers] == [Fate.DONE, Fate.CONFLICT, Fate.CONFLICT]
    assert holds(target, ANNA) == {(ANNA, writes[0].ref): b"0"}


def test_what_others_put_in_its_place_is_never_overwritten(example, target):
    write = create(target, ANNA, "a", b"ours")
    example.put("contacts", Place(owner=ANNA, ref=write.ref), b"hers")
    assert one(target, write).fate is Fate.CONFLICT
    assert holds(target, ANNA) == {(ANNA, write.ref): b"hers"}


def test_the_right_version_is_replaced(example, target):
    old = create(target, ANNA, "a", b"old")
    one(target, old)
    [entry] = survey(target, ANNA)
    answer = one(target, replace(entry, b"new"))
    if not example.promises.compare_and_set:
        assert answer.fate is Fate.CONFLICT
        assert holds(target, ANNA) == {(ANNA, old.ref): b"old"}
        return
    assert answer.fate is Fate.DONE
    assert holds(target, ANNA) == {(ANNA, old.ref): b"new"}
    [after] = survey(target, ANNA)
    assert after.version == answer.version != entry.version


def test_what_others_put_there_can_be_replaced_under_its_own_name(example, target):
    if not example.promises.compare_and_set:
        pytest.skip("replaces nothing")
    ref = example.foreign()
    example.put("contacts", Place(owner=ANNA, ref=ref), b"hers")
    [entry] = survey(target, ANNA)
    assert one(target, replace(entry, b"recovered", ident="uid-1")).fate is Fate.DONE
    assert holds(target, ANNA) == {(ANNA, ref): b"recovered"}


def test_a_stale_version_never_overwrites(example, target):
    write = create(target, ANNA, "a", b"old!")
    one(target, write)
    [entry] = survey(target, ANNA)
    example.put("contacts", Place(owner=ANNA, ref=write.ref), b"hers")  # of the same length
    assert one(target, replace(entry, b"ours")).fate is Fate.CONFLICT
    assert holds(target, ANNA) == {(ANNA, write.ref): b"hers"}


def test_a_version_of_something_else_never_overwrites(target):
    writes = [create(target, ANNA, "a", b"a"), create(target, BERT, "a", b"b")]
    for write in writes:
        one(target, write)
    [entry] = survey(target, ANNA)
    for wrong in ("", "0", "stale", entry.version + "0"):
        stale = create(target, ANNA, "a", b"overwritten")
        answer = one(target, type(stale)(**fields(stale) | {"expected": wrong}))
        assert answer.fate is Fate.CONFLICT
    assert holds(target, ANNA, BERT) == {(w.owner, w.ref): w.item.content for w in writes}


def fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_replacing_what_is_gone_changes_nothing(example, target):
    write = create(target, ANNA, "a", b"old")
    one(target, write)
    [entry] = survey(target, ANNA)
    example.delete("contacts", Place(owner=ANNA, ref=write.ref))
    assert one(target, replace(entry, b"new")).fate is Fate.CONFLICT
    assert holds(target, ANNA) == {}


def test_replacing_changes_attachments_with_the_item(example, target):
    if not (example.promises.compare_and_set and example.attachments):
        pytest.skip("has no attachments or replaces nothing")
    kept = Attachment(name="kept", data=b"1")
    added = Attachment(name="added", data=b"2")
    one(target, create(target, ANNA, "a", b"old", attachments=[kept]))
    [entry] = survey(target, ANNA)
    answer = one(target, replace(entry, b"new", attachments=[kept, added]))
    assert answer.fate is Fate.DONE
    [after] = survey(target, ANNA)
    assert after.version == answer.version
    live = fetch(target, ANNA, entry.ref)
    assert (live.content, set(live.attachments)) == (b"new", {kept, added})


def test_answers_come_in_the_order_of_the_writes(example, target):
    only_where_thorough(example)
    writes, expected = [], []
    order = list(range(300 // example.slowness))
    for number in order.copy():
        owner = f"user{number % 7}"
        write = create(target, owner, f"ident-{number:03}", b"%d" % number)
        if number % 3 == 0:
            example.put("contacts", Place(owner=owner, ref=write.ref), b"hers")
        writes.append(write)
        expected.append(Fate.CONFLICT if number % 3 == 0 else Fate.DONE)
    random.Random(1).shuffle(order)
    answers = target.write("contacts", [writes[n] for n in order])
    assert [answer.fate for answer in answers] == [expected[n] for n in order]
    versions = {(e.owner, e.ref): e.version for e in survey(target, *{w.owner for w in writes})}
    for number, answer in zip(order, answers, strict=True):
        if answer.fate is Fate.DONE:
            assert answer.version == versions[writes[number].owner, writes[number].ref]


def test_one_refusal_harms_no_other(example, target):
    number, odd = 50 // example.slowness, 17 // example.slowness
    writes = [create(target, ANNA, f"i{n}", b"%d" % n) for n in range(number)]
    writes[odd] = example.unwelcome(writes[odd])
    answers = target.write("contacts", writes)
    assert answers[odd].fate is Fate.REFUSED
    assert {a.fate for n, a in enumerate(answers) if n != odd} == {Fate.DONE}
    assert holds(target, ANNA) == {
        (ANNA, w.ref): w.item.content for n, w in enumerate(writes) if n != odd
    }


def test_a_refusal_tells_no_content(example, target):
    write = example.unwelcome(create(target, "canary-user", "canary-ident", b"canary-content"))
    answer = one(target, write)
    assert answer.fate is Fate.REFUSED
    assert "canary" not in answer.detail


def test_a_survey_tells_all_there_is_whoever_made_it(example, target):
    ours = create(target, ANNA, "ours", b"1")
    one(target, ours)
    theirs = Place(owner=ANNA, ref=example.foreign())
    example.put("contacts", theirs, b"hers")
    entries = {entry.ref: entry for entry in survey(target, ANNA)}
    assert entries.keys() == {ours.ref, theirs.ref}
    assert fetch(target, ANNA, theirs.ref).content == b"hers"
    assert entries[ours.ref].ident in {"ours", None}
    assert all(
        entry.size == len(holds(target, ANNA)[ANNA, entry.ref]) for entry in entries.values()
    )


def test_a_survey_of_many_owners_gives_each_their_own(example, target):
    only_where_thorough(example)
    asked, before = 100 // example.slowness, 10 // example.slowness
    owners = [f"user{number}" for number in range(2 * before + asked)]
    writes = [create(target, o, f"{o}-{n}", o.encode()) for o in owners for n in range(3)]
    assert {a.fate for a in target.write("contacts", writes)} == {Fate.DONE}
    entries = survey(target, *owners[before : before + asked])
    assert {e.owner for e in entries} == set(owners[before : before + asked])
    assert len(entries) == 3 * asked
    assert holds(target, *owners) == {(w.owner, w.ref): w.owner.encode() for w in writes}


def test_nothing_is_known_of_whom_the_target_does_not_know(example, target):
    assert survey(target, "nobody", *example.accounts(HOSTILE)) == []
    assert survey(target) == []
    places = [Place(owner="nobody", ref="x.vcf"), Place(owner=ANNA, ref="x.vcf")]
    assert target.fetch("contacts", places) == [None, None]
    assert target.fetch("contacts", []) == []
    assert target.write("contacts", []) == []


def test_contents_come_in_the_order_of_their_places(target):
    writes = [create(target, f"user{n % 3}", f"i{n}", b"%d" % n) for n in range(30)]
    target.write("contacts", writes)
    places = [Place(owner=w.owner, ref=w.ref) for w in reversed(writes)]
    places.insert(10, Place(owner="user0", ref="missing.vcf"))
    contents = [live and live.content for live in target.fetch("contacts", [*places, places[0]])]
    expected = [w.item.content for w in reversed(writes)]
    assert contents == [*expected[:10], None, *expected[10:], expected[0]]


def test_versions_tell_every_change(example, target):
    write = create(target, ANNA, "a", b"0")
    versions = [one(target, write).version]
    for content in (b"1", b"2", b"2"):
        versions.append(survey(target, ANNA)[0].version)
        example.put("contacts", Place(owner=ANNA, ref=write.ref), content)
    versions.append(survey(target, ANNA)[0].version)
    assert versions[0] == versions[1]
    assert len(set(versions)) == (3 if example.equal_is_unchanged else 4)
    assert fetch(target, ANNA, write.ref).entry.version == versions[-1]


def test_changes_tell_their_time(example, target):
    before = datetime.now(UTC) - timedelta(seconds=3)
    write = create(target, ANNA, "a", b"0")
    one(target, write)
    example.put("contacts", Place(owner=BERT, ref=write.ref), b"1")
    if not example.dated:
        assert {entry.modified for entry in survey(target, ANNA, BERT)} == {None}
        return
    for entry in survey(target, ANNA, BERT):
        assert before < entry.modified < datetime.now(UTC) + timedelta(seconds=3)
        assert entry.modified.utcoffset() == timedelta(0)


def test_what_a_user_deleted_is_remembered_where_promised(example, target):
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    before = datetime.now(UTC) - timedelta(seconds=3)
    example.delete("contacts", Place(owner=ANNA, ref=write.ref))
    assert fetch(target, ANNA, write.ref) is None
    if not example.promises.tombstones:
        assert survey(target, ANNA) == []
        return
    [entry] = survey(target, ANNA)
    assert entry.deleted
    assert entry.ref == write.ref
    assert before < entry.modified < datetime.now(UTC) + timedelta(seconds=3)


def test_a_create_never_revives_what_a_user_deleted(example, target):
    if not example.promises.tombstones:
        pytest.skip("remembers no deletions")
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    example.delete("contacts", Place(owner=ANNA, ref=write.ref))
    assert one(target, write).fate is Fate.CONFLICT
    assert holds(target, ANNA) == {}


def test_a_tombstone_is_replaced_by_its_version_only(example, target):
    if not example.promises.tombstones:
        pytest.skip("remembers no deletions")
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    [alive] = survey(target, ANNA)
    example.delete("contacts", Place(owner=ANNA, ref=write.ref))
    [tombstone] = survey(target, ANNA)
    assert one(target, replace(alive, b"back")).fate is Fate.CONFLICT
    assert one(target, replace(tombstone, b"back")).fate is Fate.DONE
    assert holds(target, ANNA) == {(ANNA, write.ref): b"back"}


def take(target, *entries, category="contacts"):
    return target.remove(category, [removal(entry) for entry in entries])


def test_the_right_version_is_removed_with_its_attachments_and_no_other(example, target):
    parts = [Attachment(name="sidecar.json", data=b"{}")] if example.attachments else []
    kept, going = create(target, ANNA, "a", b"kept"), create(target, ANNA, "b", b"going")
    target.write("contacts", [kept, create(target, ANNA, "b", b"going", attachments=parts)])
    target.write("notes", [create(target, ANNA, "b", b"other"), create(target, BERT, "b", b"his")])
    before = survey(target, ANNA, BERT, category="notes")
    entries = {entry.ref: entry for entry in survey(target, ANNA)}
    [answer] = take(target, entries[going.ref])
    if not example.can_remove():
        assert answer.fate is Fate.REFUSED
        assert answer.detail
        assert len(holds(target, ANNA)) == 2
        return
    assert answer.fate is Fate.DONE
    assert holds(target, ANNA) == {(ANNA, kept.ref): b"kept"}
    assert [e.ref for e in survey(target, ANNA) if not e.deleted] == [kept.ref]
    assert fetch(target, ANNA, going.ref) is None
    assert survey(target, ANNA, BERT, category="notes") == before


def test_a_stale_version_is_never_removed(example, target):
    write = create(target, ANNA, "a", b"old!")
    one(target, write)
    [entry] = survey(target, ANNA)
    example.put("contacts", Place(owner=ANNA, ref=write.ref), b"hers")  # of the same length
    wrong = ["", "0", "stale", entry.version, entry.version + "0"]
    answers = [
        target.remove("contacts", [Removal(owner=ANNA, ref=write.ref, expected=version)])[0]
        for version in wrong
    ]
    fate = Fate.CONFLICT if example.can_remove() else Fate.REFUSED
    assert {answer.fate for answer in answers} == {fate}
    assert holds(target, ANNA) == {(ANNA, write.ref): b"hers"}


def test_what_is_not_there_is_not_removed(example, target):
    if not example.can_remove():
        pytest.skip("removes nothing")
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    [entry] = survey(target, ANNA)
    other = Removal(owner=ANNA, ref=example.foreign(), expected=entry.version)
    users = example.accounts(HOSTILE)
    strangers = [Removal(owner=name, ref=name, expected="1") for name in users]
    answers = target.remove("contacts", [removal(entry), removal(entry), other, *strangers])
    fates = [answer.fate for answer in answers]
    assert sorted(fates[:2]) == [Fate.CONFLICT, Fate.DONE]
    assert set(fates[2:]) == {Fate.CONFLICT}
    assert take(target, entry)[0].fate is Fate.CONFLICT
    assert target.remove("contacts", []) == []


def test_a_removal_is_told_as_a_user_s_deletion_is(example, target):
    if not example.can_remove():
        pytest.skip("removes nothing")
    parts = [Attachment(name="old.json", data=b"{}")] if example.attachments else []
    write = create(target, ANNA, "a", b"x", attachments=parts)
    one(target, write)
    before = datetime.now(UTC) - timedelta(seconds=3)
    [answer] = take(target, *survey(target, ANNA))
    again = create(target, ANNA, "a", b"again")
    if not example.promises.tombstones:
        assert answer.version == ""
        assert survey(target, ANNA) == []
        assert one(target, again).fate is Fate.DONE
    else:
        [entry] = survey(target, ANNA)
        assert entry.deleted
        assert entry.version == answer.version
        assert before < entry.modified < datetime.now(UTC) + timedelta(seconds=3)
        assert take(target, entry)[0].fate is Fate.CONFLICT
        assert one(target, again).fate is Fate.CONFLICT
        assert one(target, replace(entry, b"again")).fate is Fate.DONE
    live = fetch(target, ANNA, write.ref)
    assert (live.content, live.attachments) == (b"again", ())


def test_of_many_who_remove_or_replace_the_same_version_one_succeeds(example, target):
    if not example.promises.compare_and_set:
        pytest.skip("replaces nothing")
    target.write("contacts", [create(target, ANNA, f"i{n}", b"old") for n in range(20)])
    entries = survey(target, ANNA)

    def worker(number):
        def work():
            mixed = random.Random(number).sample(entries, len(entries))
            content = None if number % 2 else b"by %d" % number
            return [
                (entry.ref, answer.fate.value, content)
                for entry in mixed
                for answer in (
                    take(target, entry)
                    if content is None
                    else target.write("contacts", [replace(entry, content)])
                )
            ]

        return work

    found = [each for part in apart(example, [worker(n) for n in range(4)]) for each in part]
    one_won(example, target, found, before=b"old")


def test_no_other_owner_or_category_is_touched(example, target):
    for owner in (ANNA, BERT):
        for category in CATEGORIES:
            one(target, create(target, owner, "same", f"{owner} {category}".encode()), category)
            place = Place(owner=owner, ref=example.foreign())
            example.put(category, place, b"put by hand")
    untouched = [(ANNA, "notes"), (BERT, "contacts"), (BERT, "notes")]
    before = [survey(target, owner, category=category) for owner, category in untouched]
    target.write("contacts", [create(target, ANNA, f"new{n}", b"") for n in range(10)])
    one(target, create(target, ANNA, "same", b"overwritten?"))
    for entry in survey(target, ANNA):
        one(target, replace(entry, b"replaced"))
    after = [survey(target, owner, category=category) for owner, category in untouched]
    assert after == before
    for owner, category in untouched:
        contents = sorted(holds(target, owner, category=category).values())
        assert contents == sorted([f"{owner} {category}".encode(), b"put by hand"])


def test_a_target_that_is_away_says_so_with_a_hint(example, target):
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    example.take_away()
    for call in (
        lambda: target.inspect(CATEGORIES),
        lambda: survey(target, ANNA),
        lambda: fetch(target, ANNA, write.ref),
        lambda: one(target, write),
        lambda: example.open().inspect(CATEGORIES),
        lambda: survey(example.open(), ANNA),
    ):
        with pytest.raises(Unavailable) as error:
            call()
        assert error.value.hint
        assert ANNA not in str(error.value)
        assert str(example.folder) not in str(error.value)


def test_of_many_who_create_the_same_one_succeeds(example, target):
    """Each from its own process, all through what was opened before it began."""
    if not example.promises.create_only:
        pytest.skip("promises no create-only")
    idents = [f"ident-{number}" for number in range(60)]

    def creator(number):
        def work():
            mixed = random.Random(number).sample(idents, len(idents))
            writes = [create(target, ANNA, ident, b"by %d" % number) for ident in mixed]
            answers = []
            for start in range(0, len(writes), 7):
                answers += target.write("contacts", writes[start : start + 7])
            return [
                (w.ref, a.fate.value, w.item.content) for w, a in zip(writes, answers, strict=True)
            ]

        return work

    found = [each for part in apart(example, [creator(n) for n in range(4)]) for each in part]
    one_won(example, target, found)


def test_of_many_who_replace_the_same_version_one_succeeds(example, target):
    if not example.promises.compare_and_set:
        pytest.skip("replaces nothing")
    target.write("contacts", [create(target, ANNA, f"i{n}", b"old") for n in range(30)])
    entries = survey(target, ANNA)

    def replacer(number):
        def work():
            mixed = random.Random(number).sample(entries, len(entries))
            content = b"by %d" % number
            return [
                (entry.ref, one(target, replace(entry, content)).fate.value, content)
                for entry in mixed
            ]

        return work

    found = [each for part in apart(example, [replacer(n) for n in range(4)]) for each in part]
    one_won(example, target, found, before=b"old")


def one_won(example, target, found, *, before=None):
    """Of those who tried the same at once, by ref, fate and content; None: nothing is there.

    A server that fails on somebody, or loses an answer, may have done it for just them.
    """
    done, unsure = {}, {}
    for ref, fate, content in found:
        assert fate in {"done", "conflict", *example.besides}
        if fate != "conflict":
            (done if fate == "done" else unsure).setdefault(ref, []).append(content)
    doubled = [ref for ref, winners in done.items() if len(winners) > 1]
    assert len(doubled) <= (0 if example.exact or before is None else len(done) // 5)
    there = holds(target, ANNA)
    tried = {ref for ref, _, _ in found}
    assert {ref for _, ref in there} <= tried
    for ref in tried:
        assert there.get((ANNA, ref)) in (done.get(ref) or [*unsure[ref], before])


def test_threads_share_one_opened_target(example, target):
    only_where_thorough(example)
    each = 30 // example.slowness
    works = [
        lambda n=n: target.write(
            "contacts", [create(target, f"user{n}", f"i{m}", b"x") for m in range(each)]
        )
        for n in range(6)
    ]
    for answers in together(works):
        assert {answer.fate for answer in answers} == {Fate.DONE}
    assert len(survey(target, *(f"user{n}" for n in range(6)))) == 6 * each


def test_a_closed_target_can_be_used_again(target):
    write = create(target, ANNA, "a", b"x")
    one(target, write)
    target.close()
    assert fetch(target, ANNA, write.ref).content == b"x"
    target.close()
    target.close()


def together(works):
    """What each gives, run at once in threads."""
    results = [None] * len(works)
    errors = []

    def run(number, work):
        try:
            results[number] = work()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def apart(example, works):
    """What each gives, run at once in processes where the target can cross them."""
    if not example.processes:
        return together(works)
    context = multiprocessing.get_context("fork")
    pipes, children = [], []
    for work in works:
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=report, args=(sending, work))
        child.start()
        sending.close()
        pipes.append(receiving)
        children.append(child)
    try:
        return [pipe.recv() for pipe in pipes]
    finally:
        for child in children:
            with contextlib.suppress(Exception):
                child.join(30)


def report(pipe, work):
    pipe.send(work())
