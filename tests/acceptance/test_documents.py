"""What is written is true: blocks run, tables match the code, links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import yaml

from orchestrator.books import Outcome
from orchestrator.catalogue import installed
from orchestrator.cli.exits import Exit
from orchestrator.cli.main import COMMANDS
from orchestrator.cli.reference import reference
from orchestrator.lifecycle import BatchState, CellState, RunState, UnitState
from orchestrator.metrics.families import FAMILIES
from orchestrator.notices import DeliveryEnd, NoticeKind
from orchestrator.reasons import Reason
from orchestrator.settings import KNOWN
from tests.command_line import COMMAND, Shell, shell

__all__ = ["shell"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plans/*.md"))
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text_of(name))


def rows_of(name: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = text_of(name).partition(f"{heading}\n")[2]
    table = re.search(r"(?m)^\|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", below)
    assert table is not None, f"no table below {heading!r} of {name}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table[1].splitlines()]


# README -------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_blocks_of_the_readme_do_what_they_say(shell: Shell):
    script = "set -euo pipefail\n" + "\n".join(blocks("README.md", "bash"))
    done = subprocess.run(
        ("bash", "-c", script),
        cwd=shell.folder,
        env={
            **shell.environ,
            "PATH": f"{COMMAND.parent}:{shell.environ['PATH']}",
            "REINSTATE_HOME": str(shell.folder / "home"),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "exit status 4" in done.stdout  # as the text below the block says
    assert "1 damaged copy" in done.stdout
    assert len(list(shell.folder.glob("restored/*/contacts/*.vcf"))) == 1
    assert len(list(shell.folder.glob("restored/*/notes/*.md"))) == 1


def test_the_readme_shows_every_command_that_make_has_for_users():
    text = text_of("README.md")
    assert "make demo" in text
    assert "make test" in text


def test_what_is_said_to_be_missing_is_missing():
    known = installed()
    missing = text_of("plans/README.md").partition("## Not available yet")[2].partition("##")[0]
    assert not set(re.findall(r"`(\w+)`", missing)) & set(known.targets.names())


# Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if "://" in target or target.startswith("#"):
            continue
        path = (ROOT / name).parent / target.partition("#")[0]
        assert path.exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_is_shown_exists(name):
    shown = re.findall(r"(?m)(?:^|[`( ])reinstate ([a-z]+)(?=[ `\n.,;:)]|$)", text_of(name))
    assert set(shown) <= set(COMMANDS), name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_variable_that_is_named_exists(name):
    named = set(re.findall(r"\bREINSTATE_[A-Z_]*[A-Z]\b", text_of(name)))
    assert named <= set(KNOWN) | {"REINSTATE_CORPUS"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_is_named_exists(name):
    roots = "orchestrator|workers|tests|plans|docs|benchmarks|deploy"
    for named in re.findall(rf"`((?:{roots})/[\w./{{}},-]*)`", text_of(name)):
        if "mailbox" in named:  # the example of how a source is added
            continue
        for path in expanded(named):
            assert (ROOT / path).exists(), f"{name}: {path}"


def expanded(path: str) -> list[str]:
    """`a/{b,c}.py` as a shell takes it."""
    braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", path)
    if braces is None:
        return [path]
    return [f"{braces[1]}{word}{braces[3]}" for word in braces[2].split(",")]


def test_every_state_and_outcome_is_described():
    text = text_of("docs/architecture.md")
    words = {str(word) for kind in (RunState, CellState, UnitState, Outcome) for word in kind}
    words |= {str(word) for word in BatchState}
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()


# The command line ---------------------------------------------------------------------------------


def test_the_reference_of_commands_is_current():
    made = reference().rstrip() + "\n"
    assert text_of("docs/cli.md") == made, "python -m orchestrator.cli.reference > docs/cli.md"


def test_every_exit_status_is_explained():
    assert [int(row[0]) for row in rows_of("docs/cli.md", "## Exit statuses")] == list(Exit)


# Operations ---------------------------------------------------------------------------------------


def test_every_setting_is_explained():
    named = [row[0].strip("`") for row in rows_of("docs/operations.md", "## Settings")]
    assert named == list(KNOWN)


def test_every_log_event_that_is_explained_exists():
    code = "\n".join(
        path.read_text("utf-8")
        for package in ("orchestrator", "workers")
        for path in (ROOT / package).rglob("*.py")
    )
    for row in rows_of("docs/operations.md", "## Logs"):
        for event in re.findall(r"`([a-z_]+)`", row[0]):
            assert f'"{event}"' in code, event


def test_every_metric_is_listed_as_it_is_exported():
    rows = rows_of("docs/operations.md", "## Metrics")
    assert [tuple(row) for row in rows] == [
        (
            f"`{family.name}`",
            ", ".join(f"`{label}`" for label in family.labels) or "–",  # noqa: RUF001  as the tables spell it
            family.kind.value,
            family.of.value,
            family.says,
        )
        for family in FAMILIES.values()
    ]


def test_every_notice_and_every_end_of_an_attempt_is_explained():
    kinds = [row[0].strip("`") for row in rows_of("docs/webhooks.md", "## What is told")]
    assert kinds == list(NoticeKind)
    ends = [row[0].strip("`") for row in rows_of("docs/webhooks.md", "## What came of it")]
    assert ends == list(DeliveryEnd)


def test_every_alert_says_what_to_do():
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert [row[0].strip("`") for row in rows_of("docs/operations.md", "## Alerts")] == alerts


# Data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", installed().categories.names())
def test_every_repair_is_listed_with_what_it_does(name):
    kind = installed().categories.kind(name)
    rows = {row[0].strip("`"): row[1:] for row in rows_of("docs/data.md", f"## {name}")}
    assert list(rows) == list(kind.repairs)
    for repair, sentence in kind.repairs.items():
        said, on = rows[repair]
        assert said.rstrip(".").lower() == sentence.rstrip(".").lower()
        assert (on == "yes") == (repair not in kind.lossy)


def test_every_reason_is_listed():
    rows = rows_of("docs/data.md", "## Reasons")
    assert [tuple(row) for row in rows] == [
        (f"`{reason.value}`", reason.for_operator, reason.for_user) for reason in Reason
    ]


def test_every_source_is_listed():
    named = {row[0].strip("`") for row in rows_of("docs/data.md", "## Sources")}
    assert named == set(installed().sources.names())


# Taking part --------------------------------------------------------------------------------------


def test_the_source_that_is_shown_as_an_example_is_a_kind(tmp_path):
    (example,) = blocks("CONTRIBUTING.md", "python")
    path = tmp_path / "mailbox.py"
    path.write_text(example)
    spec = importlib.util.spec_from_file_location("mailbox", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mailbox"] = module
    try:
        spec.loader.exec_module(module)
        assert is_dataclass(module.KIND)
        assert [field.name for field in fields(module.KIND)] == ["path"]
        assert callable(module.KIND(path="x").open)
    finally:
        del sys.modules["mailbox"]


def test_the_picture_of_a_run_is_self_contained():
    picture = text_of("docs/pictures/watch.svg")
    addresses = set(re.findall(r"(?:https?:)?//[^\"'\s<)]+", picture))
    assert {address for address in addresses if "www.w3.org" not in address} <= {
        "https://www.textualize.io"  # said in a comment of whoever draws it
    }
    assert "reinstate" in picture
