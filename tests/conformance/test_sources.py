"""What every kind of source promises, claim by claim, on each kind's example material."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from orchestrator import catalogue
from orchestrator.errors import ItemRejected, Unavailable
from tests.conformance.source_example import CATEGORIES

KINDS = catalogue.installed().sources.names()

ANNA = "anna"
BERT = "bert"
MATERIAL = {
    ANNA: {
        "contacts": {
            f"{number}.vcf": b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:%d\r\nFN:A%d\r\nEND:VCARD\r\n"
            % (number, number)
            for number in range(5)
        },
        "notes": {"one.json": b'{"title":"one","textContent":"first"}'},
    },
    BERT: {
        "contacts": {
            "0.vcf": b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:b\r\nFN:B\r\nEND:VCARD\r\n",
        },
    },
}

HOSTILE_USERS = (
    "../climbs",
    "a/b",
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
    "␀",
    "tab\there",
    "line\nbreak",
    "quote'\"`;--",
    "star*?[x]",
    "CON",
    "-rf",
    "~root",
    "$(id)",
    "a" * 300,
    "é" * 300,
    "12",
    "012",
)


def has_example(kind):
    return importlib.util.find_spec(f"tests.conformance.source_examples.{kind}") is not None


def variants():
    for kind in KINDS:
        if has_example(kind):
            module = importlib.import_module(f"tests.conformance.source_examples.{kind}")
            for name, example in module.EXAMPLES.items():
                yield pytest.param(example, id=name)


@pytest.fixture(params=variants())
def example(request, tmp_path):
    return request.param(tmp_path, request)


@pytest.fixture
def source(example):
    example.hold(MATERIAL)
    opened = example.open()
    yield opened
    opened.close()


def everything(source, category, owners):
    return [
        (folder.owner, [(file.name, file.size, outcome(file)) for file in folder.files])
        for folder in source.folders(category, owners)
    ]


def outcome(file):
    try:
        return file.read()
    except ItemRejected as error:
        return error.reason


def contents_of(source, category, owner):
    (folder,) = source.folders(category, [owner])
    return sorted(file.read() for file in folder.files)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_has_an_example(kind):
    assert has_example(kind), f"add tests/conformance/source_examples/{kind}.py"


@pytest.mark.parametrize("kind", KINDS)
def test_planning_does_not_load_what_only_reading_needs(kind):
    heavy = ("sqlalchemy", "psycopg", "PIL", "lxml", "pydantic", "celery")
    program = (
        f"import sys; from orchestrator.catalogue import source_kind; source_kind({kind!r});"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_every_byte_is_given_to_its_owner_and_category(source):
    for owner, categories in MATERIAL.items():
        for category in CATEGORIES:
            expected = sorted(categories.get(category, {}).values())
            assert contents_of(source, category, owner) == expected


def test_every_reading_gives_the_same_bytes_in_the_same_order(source, example):
    once = everything(source, "contacts", [ANNA, BERT])
    assert everything(source, "contacts", [ANNA, BERT]) == once
    other_process = example.open()
    assert everything(other_process, "contacts", [ANNA, BERT]) == once
    other_process.close()


def test_a_folder_can_be_iterated_again(source):
    (folder,) = source.folders("contacts", [ANNA])
    once = [(file.name, file.read()) for file in folder.files]
    again = [(file.name, file.read()) for file in folder.files]
    assert once == again
    assert len(once) == 5


def test_a_file_can_be_read_again(source):
    (folder,) = source.folders("contacts", [ANNA])
    for file in folder.files:
        assert file.read() == file.read()


def test_files_may_be_read_after_the_whole_listing(source):
    listed = [list(folder.files) for folder in source.folders("contacts", [ANNA, BERT])]
    expected = [sorted(MATERIAL[owner]["contacts"].values()) for owner in (ANNA, BERT)]
    assert [sorted(file.read() for file in files) for files in listed] == expected


def test_a_files_size_is_the_number_of_its_bytes(source):
    for folder in source.folders("contacts", [ANNA, BERT]):
        for file in folder.files:
            assert file.size == len(file.read())


def test_names_are_unique_within_a_folder(source):
    for folder in source.folders("contacts", [ANNA, BERT]):
        names = [file.name for file in folder.files]
        assert len(names) == len(set(names))


def test_every_owner_gets_exactly_one_folder_in_the_order_asked_for(source):
    asked = [BERT, "nobody", ANNA, "nobody else"]
    assert [folder.owner for folder in source.folders("contacts", asked)] == asked


def test_users_and_categories_that_it_does_not_hold_have_empty_folders(source):
    for owner in ("nobody", "Anna", "anna ", "ANNA", "ann", "anna%", "a/nna", "", "\0", "1" * 40):
        assert everything(source, "contacts", [owner]) == [(owner, [])]
    assert everything(source, "photos", [ANNA]) == [(ANNA, [])]


def test_asking_for_nobody_gives_nothing(source):
    assert list(source.folders("contacts", [])) == []


def test_users_are_each_given_once_in_a_stable_order(source, example):
    users = list(source.users())
    assert sorted(users) == [ANNA, BERT]
    assert list(source.users()) == users
    other_process = example.open()
    assert list(other_process.users()) == users
    other_process.close()


def test_hostile_user_ids_come_back_exactly(example):
    users = [*HOSTILE_USERS, *example.extra_users()]
    example.hold(
        {user: {"contacts": {"0.vcf": b"card %d" % number}} for number, user in enumerate(users)}
    )
    source = example.open()
    assert sorted(source.users()) == sorted(users)
    for number, folder in enumerate(source.folders("contacts", users)):
        assert folder.owner == users[number]
        assert [file.read() for file in folder.files] == [b"card %d" % number]
    source.close()


def test_reading_writes_nothing_to_the_source(example):
    example.hold(MATERIAL)
    before = example.trace()
    source = example.open()
    source.inspect()
    everything(source, "contacts", list(source.users()))
    source.close()
    assert example.trace() == before


@pytest.mark.guarantee(16)
def test_a_damaged_file_harms_no_other(source, example):
    before = everything(source, "contacts", [ANNA, BERT])
    example.damage(ANNA, "contacts", "2.vcf")
    fresh = example.open()
    after = everything(fresh, "contacts", [ANNA, BERT])
    fresh.close()
    assert after[1] == before[1]
    intact = sorted(file[2] for file in after[0][1] if isinstance(file[2], bytes))
    expected = MATERIAL[ANNA]["contacts"]
    assert intact == sorted(data for name, data in expected.items() if name != "2.vcf")
    assert len(after[0][1]) >= len(before[0][1]), "the damaged file is not silently left out"


def test_the_manifest_stays_while_nothing_changes(source, example):
    manifest = source.inspect().manifest
    assert source.inspect().manifest == manifest
    other_process = example.open()
    assert other_process.inspect().manifest == manifest
    other_process.close()


def test_the_manifest_changes_with_the_material(source, example):
    manifest = source.inspect().manifest
    example.change(BERT, "contacts", "0.vcf")
    fresh = example.open()
    assert fresh.inspect().manifest != manifest
    fresh.close()


def test_inspection_dates_are_aware(source):
    newest = source.inspect().newest
    assert newest is None or newest.tzinfo is not None


def test_inspection_names_no_user(source):
    inventory = source.inspect()
    said = " ".join((*inventory.notes, *(unowned.why for unowned in inventory.unowned)))
    assert ANNA not in said
    assert BERT not in said


def test_a_source_that_is_away_says_so_and_what_to_do(example):
    example.hold(MATERIAL)
    example.take_away()
    for use in (
        lambda source: source.inspect(),
        lambda source: list(source.users()),
        lambda source: list(source.folders("contacts", [ANNA])),
    ):
        source = example.open()
        with pytest.raises(Unavailable) as raised:
            use(source)
        assert raised.value.hint
        assert ANNA not in str(raised.value)
        source.close()


def test_a_source_that_goes_away_is_never_taken_for_an_empty_one(source, example):
    before = everything(source, "contacts", [ANNA, "nobody"])
    assert before[0][1]
    example.take_away()
    try:
        after = everything(source, "contacts", [ANNA, "nobody"])
    except Unavailable:
        return
    assert after == before, "what is still open may still be read, all of it"


def test_opening_touches_nothing(example):
    example.hold(MATERIAL)
    example.take_away()
    example.open().close()
