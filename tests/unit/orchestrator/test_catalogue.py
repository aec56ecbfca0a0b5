import sys
from pathlib import Path

import pytest

from orchestrator import catalogue
from orchestrator.catalogue import Family, closest, suggest
from orchestrator.errors import NotFound, Unavailable


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed distribution with a package of kinds, as pip would leave it."""

    def install(name: str, modules: dict[str, str]) -> str:
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text('"""Kinds."""\n')
        for module, text in modules.items():
            (package / f"{module}.py").write_text(text)
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[reinstate.sources]\nmine = {name}\n")
        catalogue.installed.cache_clear()
        return name

    monkeypatch.syspath_prepend(tmp_path)
    catalogue.installed.cache_clear()
    yield install
    catalogue.installed.cache_clear()
    for module in [name for name in sys.modules if name.startswith("plug_in")]:
        del sys.modules[module]


KIND = "class Tape:\n    pass\nKIND = Tape\n"


def test_a_module_with_kind_in_a_named_package_is_a_kind(plug_in):
    plug_in("plug_in_tape", {"tape": KIND, "notes": "", "_private": KIND})
    names = catalogue.installed().sources.names()
    assert "tape" in names
    assert "notes" not in names
    assert "_private" not in names
    assert catalogue.source_kind("tape").__name__ == "Tape"


def test_looking_one_up_imports_no_other(plug_in):
    plug_in("plug_in_two", {"tape": KIND, "punched": "raise SystemExit('imported')"})
    assert catalogue.source_kind("tape").__name__ == "Tape"
    assert "plug_in_two.punched" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest(plug_in):
    plug_in("plug_in_near", {"tapes": KIND})
    with pytest.raises(NotFound) as caught:
        catalogue.source_kind("tapess")
    assert caught.value.message == "'tapess' is not an installed source kind"
    assert caught.value.hint == "did you mean 'tapes'?"


def test_a_kind_whose_library_is_missing_says_so_and_harms_no_other(plug_in):
    plug_in("plug_in_poor", {"tape": KIND, "wax": "import a_library_nobody_has\n" + KIND})
    names = catalogue.installed().sources.names()
    assert "tape" in names
    assert "wax" not in names
    with pytest.raises(Unavailable, match="a_library_nobody_has"):
        catalogue.source_kind("wax")


def test_a_name_that_two_packages_claim_is_nobodys(plug_in):
    plug_in("plug_in_one", {"tape": KIND})
    plug_in("plug_in_other", {"tape": KIND})
    assert "tape" not in catalogue.installed().sources.names()
    with pytest.raises(Unavailable, match="more than once"):
        catalogue.source_kind("tape")


def test_every_installed_kind_can_be_had_by_its_name():
    for family in (
        catalogue.installed().categories,
        catalogue.installed().sources,
        catalogue.installed().targets,
    ):
        for name in family.names():
            assert isinstance(family.kind(name), type)
    assert catalogue.categories() == catalogue.installed().categories.names()


def test_a_module_without_kind_is_not_found_though_it_is_there():
    family = Family("category", {"helpers": lambda: None})
    assert family.names() == ()
    with pytest.raises(NotFound):
        family.kind("helpers")


def test_the_nearest_word_ignores_case_and_dashes():
    assert closest("Keep_Live", ("newest", "keep-live")) == "keep-live"
    assert closest("photo", ("photos", "notes")) == "photos"
    assert closest("xyzzy", ("photos", "notes")) is None
    assert suggest("xyzzy", ("notes", "photos")) == "one of: notes, photos"
    assert suggest("xyzzy", ()) == "none is installed"
