"""What every category promises, claim by claim, on each category's example material."""

import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import catalogue
from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Copy, Damaged, File, Folder, Framing, Item
from orchestrator.reasons import Reason
from tests.conformance.category_example import OWNER, folder_of, rules_of

ROOT = Path(__file__).parents[2]
EXAMPLES = "tests.conformance.category_examples"
MARK = "restored"
NAMES = catalogue.installed().categories.names()
KNOWN = tuple(name for name in NAMES if importlib.util.find_spec(f"{EXAMPLES}.{name}"))


@cache
def example(name):
    return importlib.import_module(f"{EXAMPLES}.{name}").EXAMPLE


@cache
def category(name):
    return catalogue.installed().categories.kind(name)(**example(name).options)


def on_by_default(name):
    kind = category(name)
    return set(kind.repairs) - kind.lossy


def read_whole(name, title, **how):
    """A folder as its example says that it can be read."""
    repairs = on_by_default(name) if title in example(name).converted else ()
    return read(name, example(name).whole[title], repairs, **how)


def read(name, contents, repairs=(), **how):
    return list(category(name).read(folder_of(contents, **how), rules_of(repairs)))


def copies(found):
    return [each for each in found if isinstance(each, Copy)]


def said(found):
    """What matters of a stream to compare it with another."""
    return msgspec.json.encode(found)


def check_tiling(found, contents):
    """Every byte of every file exactly once, and damage holds its own bytes."""
    spans = {name: [] for name in contents}
    for each in found:
        for span in (each.span,) if isinstance(each, Framing) else each.spans:
            spans[span.file].append((span.offset, span.length))
        if isinstance(each, Damaged):
            taken = (contents[s.file][s.offset : s.offset + s.length] for s in each.spans)
            assert each.data == b"".join(taken)
    for name, data in contents.items():
        offset = 0
        for start, length in sorted(spans[name]):
            assert start == offset, f"a gap or an overlap at {offset} of {name}"
            assert length > 0 or not data
            offset += length
        assert offset == len(data), f"{name} is not covered to its end"
        assert spans[name]


def check_recognised(name, item):
    live = category(name).recognise(OWNER, item.content, item.attachments)
    assert live is not None
    assert (live.ident, live.digest) == (item.ident, item.digest)


def as_restored(item: Item):
    """The files that a target of files makes of an item."""
    content = f"item.{item.media.suffix}"
    parts = {f"{content}.{part.name}": part.data for part in item.attachments}
    return {content: item.content, **parts}


whole = pytest.mark.parametrize(
    ("name", "title"), [(name, title) for name in KNOWN for title in example(name).whole]
)
series = pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name in KNOWN for number in range(len(example(name).series))],
)
repairable = pytest.mark.parametrize(
    ("name", "repair"), [(name, repair) for name in KNOWN for repair in example(name).repairable]
)
every = pytest.mark.parametrize("name", KNOWN)


def test_every_installed_category_has_an_example():
    assert NAMES == KNOWN
    assert {"notes", "high_scores"} <= set(NAMES)


# Whole material --------------------------------------------------------------------------------


@whole
def test_whole_material_is_accepted_without_repairs(name, title):
    found = read_whole(name, title)
    assert [each for each in found if isinstance(each, Damaged)] == []
    assert copies(found)
    converted = title in example(name).converted
    assert all(converted or copy.repairs == () for copy in copies(found))
    assert not any(copy.lossy for copy in copies(found))


@whole
def test_every_byte_is_accounted_for_exactly_once(name, title):
    contents = example(name).whole[title]
    check_tiling(read_whole(name, title), contents)


@whole
def test_files_that_a_source_ties_together_are_accounted_for_each(name, title):
    contents = example(name).whole[title]
    check_tiling(read_whole(name, title, beside=True), contents)


@whole
def test_reading_twice_gives_the_same(name, title):
    assert said(read_whole(name, title)) == said(read_whole(name, title))


@whole
def test_what_is_read_is_recognised_where_it_was_written(name, title):
    for copy in copies(read_whole(name, title)):
        check_recognised(name, copy.item)


@whole
def test_reading_what_was_restored_gives_the_same_item(name, title):
    for copy in copies(read_whole(name, title)):
        restored = as_restored(copy.item)
        for beside in (False, True):
            found = read(name, restored, beside=beside)
            check_tiling(found, restored)
            (again,) = copies(found)
            assert (again.item.ident, again.item.digest) == (copy.item.ident, copy.item.digest)
            assert again.repairs == ()


@whole
def test_a_restored_item_is_as_large_as_it_says(name, title):
    for copy in copies(read_whole(name, title)):
        assert copy.item.content
        assert len(copy.item.digest) == 32
        assert copy.item.revised is None or copy.item.revised.tzinfo is not None
        names = [part.name for part in copy.item.attachments]
        assert len(set(names)) == len(names)
        assert all("/" not in part and not part.startswith(".") for part in names)


@whole
def test_an_item_put_beside_has_an_ident_of_its_own_and_carries_it(name, title):
    kind = category(name)
    for copy in copies(read_whole(name, title)):
        beside = kind.beside(copy.item, MARK)
        assert beside == kind.beside(copy.item, MARK)
        assert beside.ident != copy.item.ident
        assert MARK.encode() in beside.content + b"".join(p.data for p in beside.attachments)
        check_recognised(name, beside)
        restored = as_restored(beside)
        (again,) = copies(read(name, restored))
        assert (again.item.ident, again.item.digest) == (beside.ident, beside.digest)


@every
def test_the_ident_beside_depends_on_the_old_ident_only(name):
    kind = category(name)
    idents = {}
    for title in example(name).whole:
        for copy in copies(read_whole(name, title)):
            other = kind.beside(copy.item, MARK).ident
            assert idents.setdefault(copy.item.ident, other) == other


# Damage ----------------------------------------------------------------------------------------


def cuts(size):
    """Every place where a small file can be cut, and some of a large one."""
    return sorted({*range(min(size, 40)), *range(0, size, max(1, size // 60)), max(0, size - 1)})


@whole
def test_wherever_a_file_is_cut_every_byte_is_accounted_for(name, title):
    contents = example(name).whole[title]
    for file, data in contents.items():
        for size in cuts(len(data)):
            cut = {**contents, file: data[:size]}
            found = read(name, cut, on_by_default(name))
            check_tiling(found, cut)
            for copy in copies(found):
                check_recognised(name, copy.item)


@series
def test_a_cut_leaves_the_records_before_it(name, number):
    one = example(name).series[number]
    repairs = on_by_default(name) if one.converted else ()
    data = one.file()
    idents = [copy.item.ident for copy in copies(read(name, {one.name: data}, repairs))]
    ends = len(one.head)
    for index, record in enumerate(one.records):
        ends += len(record) + len(one.between)
        found = read(name, {one.name: data[: ends + 1]}, repairs)
        assert [copy.item.ident for copy in copies(found)][: index + 1] == idents[: index + 1]


@series
def test_a_damaged_record_leaves_its_siblings(name, number):
    one = example(name).series[number]
    repairs = on_by_default(name) if one.converted else ()
    before = [copy.item for copy in copies(read(name, {one.name: one.file()}, repairs))]
    assert len(before) == len(one.records)
    for index in range(len(before)):
        contents = {one.name: one.file(without=index)}
        found = read(name, contents, repairs)
        check_tiling(found, contents)
        assert [copy.item for copy in copies(found)] == before[:index] + before[index + 1 :]
        assert any(isinstance(each, Damaged) for each in found)


@st.composite
def altered(draw, contents):
    """A folder one of whose files was altered somewhere, as failing storage does."""
    file = draw(st.sampled_from(sorted(contents)))
    data = bytearray(contents[file])
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["flip", "zero", "drop", "repeat", "move"])):
            case "flip" if data:
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "zero":
                length = draw(st.integers(1, 600))
                data[start : start + length] = bytes(len(data[start : start + length]))
            case "drop":
                del data[start : start + draw(st.integers(1, 40))]
            case "repeat":
                data[start:start] = data[start : start + draw(st.integers(1, 200))]
            case _:
                cut = draw(st.integers(0, max(0, len(data) - 1)))
                data = data[cut:] + data[:cut]
    return {**contents, file: bytes(data)}


@every
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_altered_every_byte_is_accounted_for(name, data):
    shown = example(name)
    folders = [*shown.whole.values(), *({one.name: one.file()} for one in shown.series)]
    contents = data.draw(altered(data.draw(st.sampled_from(folders))))
    repairs = data.draw(st.sampled_from([(), tuple(sorted(category(name).repairs))]))
    found = read(name, contents, repairs)
    check_tiling(found, contents)
    assert said(found) == said(read(name, contents, repairs))
    for copy in copies(found):
        check_recognised(name, copy.item)


@every
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_arbitrary_bytes_are_accounted_for(name, data):
    shown = example(name)
    file = data.draw(st.sampled_from(sorted({n for c in shown.whole.values() for n in c})))
    content = data.draw(st.binary(max_size=200))
    contents = {file: content}
    check_tiling(read(name, contents, on_by_default(name)), contents)
    category(name).recognise(OWNER, content)


@every
def test_a_file_without_bytes_is_empty(name):
    for file in sorted({n for contents in example(name).whole.values() for n in contents}):
        (found,) = read(name, {file: b""})
        assert isinstance(found, Damaged)
        assert found.reason is Reason.EMPTY
        assert (found.spans[0].length, found.data) == (0, b"")


@every
def test_a_file_of_white_space_is_framing(name):
    file = next(iter(next(iter(example(name).whole.values()))))
    (found,) = read(name, {file: b" \r\n\t\n"})
    assert isinstance(found, Framing)


@every
def test_a_file_of_another_format_is_unsupported(name):
    file, data = example(name).foreign
    (found,) = read(name, {file: data})
    assert isinstance(found, Damaged)
    assert (found.reason, found.data, found.ident) == (Reason.UNSUPPORTED, data, None)


@whole
def test_a_file_that_cannot_be_read_harms_itself_only(name, title):
    contents = example(name).whole[title]
    files = list(folder_of(contents).files)

    def refuse():
        raise ItemRejected(Reason.CHECKSUM, "altered", data=b"what is left")

    broken = File(name="broken" + Path(files[0].name).suffix, size=123, read=refuse)
    for position in (0, len(files)):
        folder = Folder(owner=OWNER, files=(*files[:position], broken, *files[position:]))
        found = list(category(name).read(folder, rules_of(on_by_default(name))))
        (damaged,) = [each for each in found if isinstance(each, Damaged)]
        assert damaged.reason is Reason.CHECKSUM
        assert damaged.data == b"what is left"
        assert [(s.file, s.offset, s.length) for s in damaged.spans] == [(broken.name, 0, 123)]
        assert len(copies(found)) == len(copies(read_whole(name, title)))


@every
def test_a_source_that_is_away_is_not_taken_for_damage(name):
    def away():
        raise Unavailable("the disk is gone")

    contents = next(iter(example(name).whole.values()))
    first = next(iter(contents))
    folder = Folder(owner=OWNER, files=(File(name=first, size=9, read=away),))
    with pytest.raises(Unavailable):
        list(category(name).read(folder, rules_of()))


@whole
def test_an_item_over_the_limit_is_quarantined(name, title):
    contents = example(name).whole[title]
    rules = rules_of(on_by_default(name), item_bytes=3)
    found = list(category(name).read(folder_of(contents), rules))
    assert copies(found) == []
    check_tiling(found, contents)
    assert any(isinstance(each, Damaged) and each.reason is Reason.TOO_LARGE for each in found)


@every
def test_what_is_no_item_is_not_recognised(name):
    assert category(name).recognise(OWNER, b"") is None
    assert category(name).recognise(OWNER, bytes(100)) is None


# Repairs ---------------------------------------------------------------------------------------


@every
def test_each_repair_is_described_in_a_sentence(name):
    kind = category(name)
    assert kind.lossy <= set(kind.repairs)
    for repair, sentence in kind.repairs.items():
        assert repair == repair.lower()
        assert " " not in repair
        assert len(sentence.split()) > 2
    assert set(example(name).repairable) <= set(kind.repairs)


@repairable
def test_a_repair_that_is_off_quarantines_and_is_named(name, repair):
    contents = example(name).repairable[repair]
    everything_else = set(category(name).repairs) - {repair}
    for repairs in ((), everything_else):
        found = read(name, contents, repairs)
        check_tiling(found, contents)
        assert copies(found) == []
        assert any(repair in each.detail for each in found if isinstance(each, Damaged))


@repairable
def test_a_repair_that_is_on_restores_and_is_listed(name, repair):
    contents = example(name).repairable[repair]
    found = read(name, contents, {repair})
    check_tiling(found, contents)
    (copy,) = copies(found)
    assert copy.repairs == (repair,)
    assert copy.lossy == (repair in category(name).lossy)
    check_recognised(name, copy.item)
    (again,) = copies(read(name, as_restored(copy.item)))
    assert (again.item.ident, again.item.digest) == (copy.item.ident, copy.item.digest)
    assert again.repairs == ()


# Surroundings ----------------------------------------------------------------------------------


def fingerprint():
    """A hash of everything that every category reads of its examples."""
    total = hashlib.sha256()
    for name in KNOWN:
        shown = example(name)
        folders = [
            *shown.whole.values(),
            *shown.repairable.values(),
            *({one.name: one.file(without=1)} for one in shown.series),
        ]
        for contents in folders:
            total.update(said(read(name, contents, sorted(category(name).repairs))))
            for copy in copies(read(name, contents, on_by_default(name))):
                total.update(said(category(name).beside(copy.item, MARK)))
    return total.hexdigest()


@pytest.mark.guarantee(15)
def test_locale_zone_and_hash_seed_change_nothing():
    code = "from tests.conformance.test_categories import fingerprint; print(fingerprint())"
    surroundings = [
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONUTF8": "0"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns"},
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", ""), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        for variables in surroundings
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert printed == [fingerprint()] * len(surroundings)
