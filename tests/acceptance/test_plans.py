"""Every plan that is shipped is accepted, described by its schema, and explained."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from orchestrator.catalogue import categories, installed
from orchestrator.plan_text.diagnostics import render
from orchestrator.plan_text.document import plan_from_document
from orchestrator.plan_text.kind_options import option_names
from orchestrator.plan_text.language import (
    DefaultsText,
    GateText,
    IncidentText,
    LimitsText,
    PhaseText,
    PlanText,
    UsersText,
    WaveText,
)
from orchestrator.plan_text.yaml_values import plain, read_yaml
from orchestrator.planner import diagnose

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
README = (ROOT / "plans" / "README.md").read_text()
SCHEMA = json.loads((ROOT / "plans" / "plan.schema.json").read_text())


def values(text: str):
    root = read_yaml(text).root
    assert root is not None
    return plain(root)


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_shipped_plan_is_accepted_without_an_error(path: Path):
    text = path.read_bytes()
    plan, problems = diagnose(text, path.name)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert plan is not None, render(errors, text, path.name)
    assert plan.name == path.stem
    assert plan_from_document(json.loads(json.dumps(plan.document))) == plan


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_shipped_plan_fits_the_schema_that_it_names(path: Path):
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=plan.schema.json\n")
    assert [error.message for error in validator().iter_errors(values(text))] == []


def test_the_sidekick_plan_restores_everything_contacts_first():
    plan, problems = diagnose((ROOT / "plans" / "sidekick-2009.yaml").read_bytes(), "plan.yaml")
    assert plan is not None
    assert problems == []
    assert plan.phases[0].restore == "contacts"
    assert {phase.restore for phase in plan.phases} == set(categories())
    assert list(plan.sources) == ["core", "backup", "devices"]
    assert plan.incident.as_of == datetime(2009, 10, 1, 7, tzinfo=UTC)


def test_the_schema_is_the_one_that_the_installed_kinds_give():
    command = [sys.executable, "-m", "orchestrator.plan_text.schema"]
    made = subprocess.run(command, capture_output=True, cwd=ROOT, check=True, text=True).stdout
    hint = "python -m orchestrator.plan_text.schema > plans/plan.schema.json"
    assert (ROOT / "plans" / "plan.schema.json").read_text() == made, hint


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_describes_every_installed_kind_and_each_of_its_options():
    families = {
        "category": installed().categories,
        "source": installed().sources,
        "target": installed().targets,
    }
    for sort, family in families.items():
        for name in family.names():
            described = SCHEMA["$defs"][f"{sort}-{name}"]["properties"]
            for option in option_names(family.kind(name)):
                assert described[option].get("description"), f"{sort} {name}: {option}"


BASE = values((ROOT / "plans" / "contacts-only.yaml").read_text())
CHANGES = {
    "an unknown key": {"aprovals": 1},
    "a number for a name": {"name": 5},
    "a duration without unit": {"defaults": {"backoff": "30"}},
    "a share without %": {"waves": [{"name": "a", "share": 0.1}]},
    "merging what has no fields": {
        "phases": [{"restore": "high_scores", "to": "pim", "on_conflict": "merge"}]
    },
    "too many approvals": {"approvals": 10},
    "no phases": {"phases": []},
    "an unknown category": {"phases": [{"restore": "photo", "to": "pim"}]},
    "a repair of another category": {
        "phases": [{"restore": "high_scores", "to": "pim", "repairs": ["derive-fn"]}]
    },
    "an option of another category": {
        "phases": [{"restore": "contacts", "to": "pim", "pixels": 5}]
    },
    "an unknown kind": {"sources": {"devices": {"kind": "tape", "path": "x"}}},
    "a kind without its options": {"sources": {"devices": {"kind": "vdir"}}},
    "an unknown option": {"sources": {"devices": {"kind": "vdir", "path": "x", "pat": "y"}}},
    "a name with a slash": {"sources": {"a/b": {"kind": "vdir", "path": "x"}}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_editor_sees_what_the_planner_refuses(change):
    assert not list(validator().iter_errors(BASE))
    wrong = {**BASE, **change}
    assert list(validator().iter_errors(wrong))
    plan, _ = diagnose(json.dumps(wrong).encode(), "plan.yaml")
    assert plan is None


# The README --------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", README)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_every_example_of_the_readme_is_accepted(number: int):
    shown = values(blocks("yaml")[number])
    base = values((ROOT / "plans" / "sidekick-2009.yaml").read_text())
    text = json.dumps({**base, **shown}).encode()
    plan, problems = diagnose(text, "plan.yaml")
    errors = [problem for problem in problems if problem.severity == "error"]
    assert plan is not None, render(errors, text, "plan.yaml")


def test_the_readme_shows_a_diagnosis_as_it_is():
    (wrong,) = blocks("yaml-with-an-error")
    (shown,) = blocks("text")
    base = (ROOT / "plans" / "contacts-only.yaml").read_text()
    text = (base[: base.index("phases:")] + wrong).encode()
    _, problems = diagnose(text, "plan.yaml")
    assert re.sub(r"\d+", "N", render(problems, text, "plan.yaml")) == re.sub(r"\d+", "N", shown)


@pytest.mark.parametrize(
    "section",
    [
        PlanText,
        IncidentText,
        UsersText,
        WaveText,
        GateText,
        LimitsText,
        DefaultsText,
        PhaseText,
    ],
)
def test_the_readme_explains_every_field(section):
    for name in option_names(section):
        assert re.search(rf"`{name}[`:]", README), name


def test_the_readme_names_every_code_and_no_other():
    orchestrator = ROOT / "orchestrator"
    sources = [orchestrator / "planner.py", orchestrator / "user_lists.py"]
    sources += [*orchestrator.glob("plan_text/*.py"), *orchestrator.glob("options/*.py")]
    used: set[str] = set()
    for path in sources:
        text = path.read_text()
        used |= set(re.findall(r'(?:Misspelt|add|report|_later)\(\s*"([a-z0-9-]+)"', text))
        used |= set(re.findall(r'code="([a-z0-9-]+)"', text))
        used |= set(re.findall(r'code, what(?:, hint)? = "([a-z0-9-]+)"', text))
        used |= set(re.findall(r'return "([a-z0-9]+-[a-z0-9-]+)", ', text))
        used |= set(re.findall(r'_text\(\w+, "([a-z-]+)"', text))
    used |= {"unknown-kind", "unknown-category"}
    named = set(re.findall(r"(?m)^\| `([a-z0-9-]+)` \|", README[README.index("## Codes") :]))
    assert named == used
