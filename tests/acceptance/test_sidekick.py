"""The Sidekick's plan on a sample population: recounted from files, tables and the truth alone."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
import pytest

from orchestrator.audit import audit
from orchestrator.lifecycle import RunState, UnitState
from orchestrator.user_lists import read_census, read_declined, read_users
from plans.sample.population import PLAN, make_population
from plans.sample.recount import everything_held, recount, state_of_targets
from plans.sample.truth import GroundTruth, TrueItem
from tests.in_process import Service

USERS = 40
SEEDS = (1, 2, 3)


class Done(NamedTuple):
    """A population after its restoration."""

    folder: Path
    truth: GroundTruth
    service: Service
    run: str


def carry_out(service: Service, folder: Path) -> str:
    """Submit the plan, approve it, promote its gates; the run's id."""
    service.folder = folder
    material = folder / "material"
    run = service.submit(
        (folder / PLAN).read_text(),
        users=read_users(material / "affected.csv"),
        declined=read_declined(material / "erased.csv"),
        census=[(c.user, c.category, c.items) for c in read_census(material / "census.csv")],
    )
    service.go_on()
    for who in ("jo", "kim"):
        service.runs.approve(run, who=who, reason="looked at it")
    service.go_on()
    while service.progress.state(run) is not RunState.FINISHED:
        assert service.runs.promote(run, who="jo", reason="looked at the wave")
        service.go_on()
    return run


@pytest.fixture(scope="module", params=SEEDS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp(f"seed{request.param}")
    truth = make_population(folder, users=USERS, seed=request.param)
    home = tmp_path_factory.mktemp("home")
    service = Service(home)
    return Done(folder, truth, service, carry_out(service, folder))


def books_of(done: Done) -> dict[str, dict[str, int]]:
    status = done.service.status(done.run)
    return {phase.category: msgspec.to_builtins(phase.books) for phase in status.phases}


@pytest.mark.guarantee(3)
def test_everything_that_can_be_had_is_there_once_and_says_what_it_said(done: Done):
    found = recount(done.folder, done.truth)
    assert found.wrongs == ()
    assert found.held == sum(1 for item in done.truth.items if item.after is not None)


@pytest.mark.guarantee(2)
def test_the_books_say_what_the_recount_says(done: Done):
    assert recount(done.folder, done.truth).compare(books_of(done)) == []
    assert audit(done.service.ledger, done.run) == []


@pytest.mark.guarantee(1)
def test_no_mark_of_anybody_lies_in_another_users_hands(done: Done):
    assert recount(done.folder, done.truth).counts()["wrong_hands"] == 0
    restored = {held.user for held in everything_held(done.folder / "restored")}
    assert not restored & set(done.truth.ambiguous)


@pytest.mark.guarantee(8)
def test_nothing_of_the_erased_is_there_though_every_source_holds_it(done: Done):
    sources = {
        copy.source
        for item in done.truth.items
        if item.user in done.truth.erased
        for copy in item.copies
    }
    assert sources == {"core", "backup", "devices"}
    assert recount(done.folder, done.truth).counts()["erased"] == 0
    for user in done.truth.erased:
        assert not (done.folder / "restored" / "pim" / quote(user)).exists()


def test_every_unit_is_settled_and_the_sources_are_as_they_were(done: Done):
    status = done.service.status(done.run)
    assert [phase.settled for phase in status.phases] == [USERS] * 6
    assert status.causes == ()
    assert recount(done.folder, done.truth).changed_sources == ()


@pytest.mark.guarantee(17)
def test_a_user_is_told_of_every_item_that_was_lost(done: Done):
    lost: dict[tuple[str, str], int] = {}
    for item in done.truth.items:
        if item.fate == "lost":
            lost[item.user, item.category] = lost.get((item.user, item.category), 0) + 1
    for user in done.truth.users:
        answer = done.service.progress.user(done.run, user)
        for unit in answer.categories:
            assert unit.state is UnitState.SETTLED
            told = unit.books.lost + unit.books.quarantined
            assert told == lost.get((user, unit.category), 0) or answer.declined


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("done", SEEDS[:1], indirect=True)
def test_the_same_plan_again_changes_nothing(done: Done, tmp_path: Path):
    folder = tmp_path / "again"
    shutil.copytree(done.folder, folder)
    service = Service(tmp_path)
    first = carry_out(service, folder)
    before = state_of_targets(folder)
    second = carry_out(service, folder)
    assert state_of_targets(folder) == before
    for run in (first, second):  # a ledger that knows nothing of it does no harm either
        books = service.status(run).books
        assert (books.restored, books.merged) == (0, 0)
    assert recount(folder, done.truth).sound


# A recount that cannot fail would prove nothing --------------------------------------------------


def files_of(folder: Path, truth: GroundTruth, wanted: Callable[[TrueItem], bool]) -> list[Path]:
    """Restored files of the items that are wanted."""
    numbers = {item.number for item in truth.items if wanted(item)}
    found = [
        path
        for path in sorted((folder / "restored" / "pim").rglob("*.*"))
        if any(f"-{number:06x}-v".encode() in path.read_bytes() for number in numbers)
    ]
    assert found
    return found


def delete_one(folder: Path, truth: GroundTruth) -> str:
    files_of(folder, truth, lambda item: item.category == "notes" and item.fate == "restored")[
        0
    ].unlink()
    return "lost"


def duplicate_one(folder: Path, truth: GroundTruth) -> str:
    card = files_of(folder, truth, lambda item: item.category == "contacts")[0]
    shutil.copy(card, card.with_name("once-more.vcf"))
    return "duplicated"


def give_one_to_a_stranger(folder: Path, truth: GroundTruth) -> str:
    photo = files_of(
        folder, truth, lambda item: item.category == "photos" and item.fate == "restored"
    )[0]
    stranger = next(
        path
        for path in sorted(photo.parents[2].iterdir())
        if (path / "photos").is_dir() and path != photo.parents[1] and path.name[0] != "."
    )
    shutil.copy(photo, stranger / "photos" / "a-gift.jpg")
    return "wrong_hands"


def restore_an_erased_one(folder: Path, truth: GroundTruth) -> str:
    place = folder / "restored" / "pim" / quote(truth.erased[0]) / "contacts"
    place.mkdir(parents=True)
    (place / "back.vcf").write_text("BEGIN:VCARD\nVERSION:3.0\nFN:x\nEND:VCARD\n")
    return "erased"


def overwrite_what_is_newer(folder: Path, truth: GroundTruth) -> str:
    note = files_of(folder, truth, lambda item: item.live == "newer" and item.category == "tasks")[
        0
    ]
    note.write_bytes(note.read_bytes().replace(b"-v2", b"-v1"))
    return "overwritten"


def alter_a_telephone_number(folder: Path, truth: GroundTruth) -> str:
    card = files_of(folder, truth, lambda item: item.category == "contacts")[0]
    card.write_bytes(card.read_bytes().replace(b"+1503555", b"+1503556"))
    return "altered"


def drop_a_recurrence_rule(folder: Path, truth: GroundTruth) -> str:
    event = files_of(
        folder,
        truth,
        lambda item: item.category == "calendar" and bool(item.expected.get("rule")),
    )[0]
    lines = event.read_bytes().split(b"\r\n")
    kept = [
        line
        for line in lines
        if not line.startswith(b"RRULE") or b"YEARLY;BYMONTH=" in line  # of time zones
    ]
    assert len(kept) < len(lines)
    event.write_bytes(b"\r\n".join(kept))
    return "altered"


def add_something_nobody_had(folder: Path, truth: GroundTruth) -> str:
    card = files_of(folder, truth, lambda item: item.category == "contacts")[0]
    card.with_name("nobody.vcf").write_text("BEGIN:VCARD\nVERSION:3.0\nFN:x\nEND:VCARD\n")
    return "unexpected"


def raise_a_score(folder: Path, truth: GroundTruth) -> str:
    item = next(
        item for item in truth.items if item.category == "high_scores" and item.fate == "restored"
    )
    with sqlite3.connect(folder / "restored" / "scores.db") as connection:
        where = "player_id = ? AND board = ?"
        key = (item.user, item.expected["board"])
        (record,) = connection.execute(
            f"SELECT record FROM leaderboard WHERE {where}", key
        ).fetchone()
        better = json.dumps({**json.loads(record), "value": int(item.expected["value"]) + 1})
        connection.execute(f"UPDATE leaderboard SET record = ? WHERE {where}", (better, *key))
    connection.close()
    return "altered"


@pytest.mark.parametrize(
    "spoil",
    [
        delete_one,
        duplicate_one,
        give_one_to_a_stranger,
        restore_an_erased_one,
        overwrite_what_is_newer,
        alter_a_telephone_number,
        drop_a_recurrence_rule,
        add_something_nobody_had,
        raise_a_score,
    ],
)
@pytest.mark.parametrize("done", SEEDS[:1], indirect=True)
def test_the_recount_finds_what_was_spoilt(
    spoil: Callable[[Path, GroundTruth], str], done: Done, tmp_path: Path
):
    folder = tmp_path / "spoilt"
    shutil.copytree(done.folder, folder)
    what = spoil(folder, done.truth)
    found = recount(folder, done.truth)
    assert [wrong.what for wrong in found.wrongs] == [what]


@pytest.mark.parametrize("done", SEEDS[:1], indirect=True)
def test_books_that_are_off_by_one_are_found(done: Done):
    books = books_of(done)
    books["photos"]["restored"] += 1
    differences = recount(done.folder, done.truth).compare(books)
    assert len(differences) == 1
    assert differences[0].startswith("photos:")
