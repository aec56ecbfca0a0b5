"""What has to hold of the files that are committed."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("build", "lint", "lock", "run", "test", "tools")
GUARANTEES = range(1, 19)


@cache
def committed() -> dict[str, str]:
    """Every text file that is or would be committed, by its path."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.fail("these files are looked at in a git checkout", pytrace=False)
    texts: dict[str, str] = {}
    for name in filter(None, listed.stdout.decode().split("\0")):
        try:
            texts[name] = (ROOT / name).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return texts


def mentions(pattern: str) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{name}:{number}"
        for name, text in committed().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if found.search(line) and name != "tests/acceptance/test_repository.py"
    ]


def test_no_file_names_an_index_host():
    assert (
        mentions(r"(?i)\bpypi\.(org|python)|pythonhosted|--(extra-)?index-url[ =]|--find-links")
        == []
    )


def test_no_file_names_a_folder_of_someones_machine():
    homes = r"home/(?!ann\b|you\b|user\b)\w+"
    places = rf"(?<![\w.%])/(root|opt(?!/reinstate\b)|Users|{homes}|work|workspace)/[\w.]"
    assert mentions(places) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_file_has_a_version_and_hashes_and_no_address(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==\d", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert " @ " not in text


def test_the_same_library_is_locked_to_one_version_everywhere():
    versions: dict[tuple[str, str], set[str]] = {}
    for name in LOCKS:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        pinned = re.findall(r"(?m)^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)(?: ; (.*?))? \\$", text)
        for library, version, _ in pinned:
            versions.setdefault((library, ""), set()).add(version)
    several = {library for (library, _), found in versions.items() if len(found) > 1}
    allowed = {
        library
        for library in several
        if re.search(rf"(?m)^{library}==.* ; python_full_version", _locks())
    }
    assert several == allowed


def _locks() -> str:
    return "\n".join((ROOT / "requirements" / f"{name}.txt").read_text() for name in LOCKS)


def test_everything_that_is_asked_for_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {"run": project["project"]["dependencies"], **project["dependency-groups"]}
    assert set(asked) == set(LOCKS)
    for name, wanted in asked.items():
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        locked = set(re.findall(r"(?m)^([a-z0-9._-]+)", text))
        for requirement in wanted:
            library = re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")
            assert library in locked, f"{library}: make lock"


def marks() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, text in committed().items():
        if name.startswith("tests/") and name.endswith(".py"):
            for number in re.findall(r"mark\.guarantee\((\d+)\)", text):
                found.setdefault(int(number), []).append(name)
    return found


def test_every_guarantee_that_a_test_claims_exists():
    assert set(marks()) <= set(GUARANTEES)


def promised() -> dict[int, str]:
    """What docs/guarantees.md says of each: `holds` or `later`."""
    table = (ROOT / "docs" / "guarantees.md").read_text()
    rows = re.findall(r"(?m)^\| G(\d+) \| .*? \| (holds|later) \|", table)
    return {int(number): state for number, state in rows}


def test_every_guarantee_is_documented():
    assert list(promised()) == list(GUARANTEES)


@pytest.mark.parametrize("number", GUARANTEES)
def test_a_guarantee_that_holds_is_shown_by_a_test_and_a_later_one_by_none(number):
    assert bool(marks().get(number)) == (promised()[number] == "holds")


def test_every_make_target_is_explained():
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"(?m)^\.PHONY: (.*)$", text)
    explained = set(re.findall(r"(?m)^# make (\w+) ", text))
    assert explained == set(phony.split()) - {"format"}
