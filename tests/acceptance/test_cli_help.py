"""Every command explains itself, at once."""

import inspect
import json
import subprocess
import sys

import pytest

from orchestrator.cli.help import overview, page
from orchestrator.cli.main import COMMANDS, GROUPS
from tests.command_line import shell

__all__ = ["shell"]

DEAR = ("rich", "sqlalchemy", "celery", "kombu", "pydantic", "yaml", "structlog", "cryptography")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_does_and_takes(shell, name):
    said = shell(name, "--help")
    assert said.status == 0
    assert said.err == ""
    assert said.out.startswith(f"Usage: reinstate {name}")
    assert inspect.getdoc(COMMANDS[name]).split("\n")[0].rstrip(".") in said.out.replace("\n", " ")
    assert "--no-" not in said.out
    assert "--empty-" not in said.out
    assert max(map(len, said.out.splitlines())) <= 96


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_sentence(name):
    text = page(name, COMMANDS[name], width=300)
    for line in text.splitlines():
        if line.startswith(("  --", "  -o")):
            option, _, sentence = line.strip().partition("  ")
            assert sentence.strip().endswith((".", "…")), option


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_the_overview_names_every_command(shell, words):
    said = shell(*words)
    assert said.status == 0
    for group, commands in GROUPS.items():
        assert f"{group}:\n" in said.out
        for name in commands:
            assert f"  {name} " in said.out


def test_help_can_be_asked_for_in_three_ways(shell):
    assert shell("help", "users").out == shell("users", "-h").out == shell("users", "--help").out


def test_help_fits_a_narrow_terminal():
    for name, command in COMMANDS.items():
        assert max(map(len, page(name, command, width=60).splitlines())) <= 80
    assert max(map(len, overview(GROUPS, width=60).splitlines())) <= 60


@pytest.mark.parametrize("words", [("--help",), ("submit", "--help"), ("version",)])
def test_help_does_not_pay_for_what_a_command_needs(words):
    program = (
        "import json, sys\n"
        "from orchestrator.cli.main import run\n"
        f"run({list(words)!r})\n"
        "json.dump(sorted({name.partition('.')[0] for name in sys.modules}), sys.stderr)"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, check=True)
    assert set(DEAR) & set(json.loads(done.stderr)) == set()


def test_the_release_is_said_in_two_ways(shell):
    assert shell("version").out == shell("--version").out
    assert shell("version").out.startswith("reinstate 0.")
