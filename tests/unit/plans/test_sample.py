"""The sample population: the same for a seed, damaged in every way, and true to its own truth."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plans.sample import calendars, cards, fates
from plans.sample.belongings import CATEGORIES
from plans.sample.population import is_population, make_population, remove_population
from plans.sample.recount import everything_held, recount
from plans.sample.truth import GroundTruth, hash_of_tree

DAMAGES = {
    *fates.STORED,
    *fates.MENDS,
    *(damage for damages in fates.FATAL.values() for damage in damages),
    "wrong-owner",
    "picture-gone",
}
LIVE = {"", "newer", "equal", "stale", "worse", "elsewhere", "deleted", "own"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def truth(folder: Path) -> GroundTruth:
    return make_population(folder, users=120, seed=7)


def everything(folder: Path) -> str:
    return hash_of_tree(folder)


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path):
    make_population(tmp_path / "one", users=12, seed=5)
    make_population(tmp_path / "two", users=12, seed=5)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_another_seed_makes_another_population(tmp_path: Path):
    make_population(tmp_path / "one", users=12, seed=5)
    make_population(tmp_path / "two", users=12, seed=6)
    assert everything(tmp_path / "one") != everything(tmp_path / "two")


@pytest.mark.guarantee(15)
def test_hash_seed_zone_and_locale_change_nothing(tmp_path: Path):
    make_population(tmp_path / "here", users=12, seed=5)
    script = (
        "from pathlib import Path; from plans.sample.population import make_population; "
        f"make_population(Path({str(tmp_path / 'there')!r}), users=12, seed=5)"
    )
    there = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", script], env=there, check=True, cwd=Path(__file__).parents[3]
    )
    assert everything(tmp_path / "here") == everything(tmp_path / "there")


def test_every_kind_of_damage_is_there(truth: GroundTruth):
    assert set(truth.damages()) == DAMAGES


def test_every_category_has_every_fate(truth: GroundTruth):
    fates_of = {category: set[str]() for category in CATEGORIES}
    for item in truth.items:
        fates_of[item.category].add(item.fate)
    assert all({"restored", "stays", "declined", "lost"} <= found for found in fates_of.values())


def test_the_live_system_holds_something_of_every_sort(truth: GroundTruth):
    assert {item.live for item in truth.items} == LIVE


def test_every_flaw_that_can_be_written_is_told_of():
    told = {flaw for flaws in fates.FLAWS.values() for flaw in flaws}
    assert {*cards.FLAWS, *calendars.EVENT_FLAWS, *calendars.TASK_FLAWS} <= told


def test_what_must_come_back_is_the_newest_version_of_which_a_copy_is_whole(truth: GroundTruth):
    for item in truth.items:
        best = max((copy.version for copy in item.copies if copy.whole), default=None)
        if item.fate == "restored":
            assert best is not None
            assert item.after == best
        if best is None:
            assert item.fate in {"lost", "own"} or item.user in truth.erased


def test_users_are_told_apart_but_for_one_pair(truth: GroundTruth):
    folded = [user.casefold() for user in truth.users]
    assert len(set(truth.users)) == len(truth.users)
    assert len(set(folded)) == len(folded) - 1
    one, other = truth.ambiguous
    assert one != other
    assert one.casefold() == other.casefold()


def test_nothing_that_bears_a_mark_bears_two_owners(truth: GroundTruth):
    assert len(set(truth.tokens.values())) == len(truth.users)


def test_before_any_restoration_everything_is_lost_and_nothing_else_is_wrong(
    folder: Path, truth: GroundTruth
):
    found = recount(folder, truth)
    counts = found.counts()
    missing = sum(1 for item in truth.items if item.fate == "restored" and not item.live)
    stale = sum(1 for item in truth.items if item.live in {"stale", "worse"})
    assert counts.pop("lost") == missing
    assert counts.pop("altered") == stale
    assert set(counts.values()) == {0}
    assert not found.changed_sources


def test_the_truth_can_be_read_back(folder: Path, truth: GroundTruth):
    assert GroundTruth.load(folder) == truth


def test_a_change_of_any_source_is_noticed(tmp_path: Path):
    truth = make_population(tmp_path, users=6, seed=3)
    victim = next((tmp_path / "material" / "devices").rglob("*.json"))
    victim.write_bytes(victim.read_bytes() + b" ")
    assert recount(tmp_path, truth).changed_sources == ("devices",)


def test_removing_a_population_leaves_what_is_not_part_of_it(tmp_path: Path):
    make_population(tmp_path, users=6, seed=3)
    (tmp_path / "mine.txt").write_text("keep me")
    assert is_population(tmp_path)
    remove_population(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert not is_population(tmp_path)


def test_the_live_items_are_those_that_the_truth_knows(folder: Path, truth: GroundTruth):
    held = list(everything_held(folder / "restored"))
    assert len(held) == sum(1 for item in truth.items if item.live not in {"", "deleted"})
