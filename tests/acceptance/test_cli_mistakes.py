"""A mistake is answered with a sentence, a hint and a status; never with a traceback."""

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.cli.exits import Exit
from tests.command_line import CARD, KEY, Shell, plan, put, shell
from tests.in_process import Service

__all__ = ["shell"]

OTHER_KEY = "A" * 43 + "="
SECRET = "hunter2-canary"


class Mistake(NamedTuple):
    """A command line, how it ends, and what is said."""

    words: str
    status: Exit
    said: str
    hint: str = ""


@pytest.fixture(scope="module")
def made_once(tmp_path_factory) -> Path:
    """A home with a run that awaits approval, `aa11`, and one that has finished, `aa12`."""
    folder = tmp_path_factory.mktemp("made")
    put(folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    service = Service(folder)
    service.ledger.prepare(key_check=service.sealer.check)
    ids = iter(["aa11", "aa12"])
    service.runs._new_id = lambda: next(ids)
    service.submit(plan(approvals=1), author="mia")
    service.run(plan())
    service.work.close()
    service.ledger.close()
    (folder / "plan.yaml").write_text(plan())
    return folder


@pytest.fixture
def ready(shell: Shell, made_once: Path) -> Shell:
    shutil.copytree(made_once, shell.folder, dirs_exist_ok=True)
    return shell


MISTAKES = [
    Mistake("nonsense", Exit.USAGE, "there is no command 'nonsense'", "reinstate --help"),
    Mistake("watchh", Exit.USAGE, "there is no command", "did you mean watch?"),
    Mistake("--output json", Exit.USAGE, "a command comes first"),
    Mistake("status --limt 3", Exit.USAGE, "unknown option: --limt", "reinstate status --help"),
    Mistake("status aa12 extra", Exit.USAGE, "extra", "reinstate status --help"),
    Mistake("user", Exit.USAGE, "requires an argument", "reinstate user --help"),
    Mistake("runs --limit x", Exit.USAGE, "--limit"),
    Mistake("runs --limit -1", Exit.USAGE, "0 or more"),
    Mistake("report -o pdf", Exit.USAGE, "pdf", "reinstate report --help"),
    Mistake("status zz", Exit.USAGE, "there is no such run", "reinstate runs"),
    Mistake("status aa1", Exit.USAGE, "several runs begin like that", "more of the run's id"),
    Mistake("status %", Exit.USAGE, "there is no such run"),
    Mistake("user aa12 nobody", Exit.USAGE, "no such user in this run", "#number"),
    Mistake("user aa12 #99", Exit.USAGE, "no such user in this run"),
    Mistake("user aa12 u_0123456789", Exit.USAGE, "no such user in this run"),
    Mistake("users aa12 photos", Exit.USAGE, "word:value", "state:failed"),
    Mistake("users aa12 colour:red", Exit.USAGE, "word:value", "category"),
    Mistake("users aa12 state:bad", Exit.USAGE, "no such state", "settled"),
    Mistake("users aa12 category:photos", Exit.USAGE, "no such category", "contacts, notes"),
    Mistake("users aa12 attempts:many", Exit.USAGE, "attempts take a number"),
    Mistake("users aa12 --after x", Exit.USAGE, "was not given out for this list", "first page"),
    Mistake("users aa12 --reveal", Exit.USAGE, "say why you have to know", "--reason"),
    Mistake("reveal aa12 #0", Exit.USAGE, "say why you have to know", "--reason"),
    Mistake("quarantine aa12 export here", Exit.USAGE, "say why you need", "--reason"),
    Mistake("verify aa12 --sample 3/2", Exit.USAGE, "a number, or a share", "--sample 1/100"),
    Mistake("verify aa12 --sample x", Exit.USAGE, "a number, or a share", "--sample 1/100"),
    Mistake("verify aa11", Exit.REFUSED, "the run is awaiting_approval", "until it runs"),
    Mistake("undo aa12", Exit.USAGE, "say why it shall be taken back", "--reason"),
    Mistake("undo aa11 --reason wrong", Exit.REFUSED, "the run is awaiting", "cancel it first"),
    Mistake("undo aa12 --reason wrong --as jo --approve Jo", Exit.REFUSED, "of their own"),
    Mistake("close aa12", Exit.USAGE, "say why nobody", "--reason"),
    Mistake("close aa11 --reason done", Exit.REFUSED, "is still awaiting_approval", "watch aa11"),
    Mistake("forget aa12 #0", Exit.USAGE, "say why they shall be forgotten", "--reason"),
    Mistake("bulletin aa12 --promise 4h", Exit.USAGE, "goes with a bulletin", "--text FILE"),
    Mistake("bulletin aa12 --text none.txt", Exit.USAGE, "cannot be read"),
    Mistake("bulletin aa12 --text plan.yaml --promise soon", Exit.USAGE, "not a duration", "30s"),
    Mistake("operation zz", Exit.USAGE, "does not fit this address"),
    Mistake("operation 0123456789ab", Exit.USAGE, "there is no such operation"),
    Mistake("audit-log list x.jsonl", Exit.USAGE, "list takes no file"),
    Mistake("audit-log verify missing.jsonl", Exit.USAGE, "cannot be read"),
    Mistake("audit-log verify plan.yaml", Exit.USAGE, "is not a row of an audit log"),
    Mistake("cancel aa11", Exit.USAGE, "say why", "--reason"),
    Mistake("runs --server nowhere", Exit.USAGE, "named by its address", "https://"),
    Mistake("runs --server http://127.0.0.1:9", Exit.REFUSED, "no token", "REINSTATE_TOKEN"),
    Mistake("runs --token-file x", Exit.USAGE, "no server is named", "REINSTATE_SERVER"),
    Mistake("runs --server", Exit.USAGE, "--server needs URL"),
    Mistake("--server http://127.0.0.1:9 up", Exit.USAGE, "about this machine", "leave --server"),
    Mistake("retry aa12 state:settled", Exit.USAGE, "only failed units", "leave state: out"),
    Mistake("quarantine aa12 export", Exit.USAGE, "export needs a folder", "DIR"),
    Mistake("quarantine export", Exit.USAGE, "a run comes first", "quarantine last export DIR"),
    Mistake("quarantine aa12 export . --reason mending", Exit.USAGE, "exists", "new folder"),
    Mistake("quarantine aa12 export plan.yaml/x --reason mending", Exit.USAGE, "cannot be made"),
    Mistake("quarantine aa12 release .", Exit.USAGE, "quarantine export", "reasons.jsonl"),
    Mistake("quarantine aa12 burn", Exit.USAGE, "burn"),
    Mistake("losses aa12 --accept", Exit.USAGE, "say why", "--reason"),
    Mistake("decline aa12 missing.csv", Exit.USAGE, "cannot be read"),
    Mistake("decline aa12 .", Exit.USAGE, "this is not a file"),
    Mistake("approve aa12", Exit.REFUSED, "does not await approval"),
    Mistake("approve aa11 --as mia", Exit.REFUSED, "nobody approves a plan of their own", "--as"),
    Mistake("approve aa11 --as MIA", Exit.REFUSED, "nobody approves a plan of their own"),
    Mistake("approve aa11 --as jo --digest 00", Exit.REFUSED, "not what was inspected"),
    Mistake("pause aa12", Exit.REFUSED, "finished"),
    Mistake("resume aa12", Exit.REFUSED, "finished, not paused"),
    Mistake("cancel aa12 --reason over", Exit.REFUSED, "finished"),
    Mistake("losses aa11 --accept --reason looked", Exit.REFUSED, "still", "when it has finished"),
    Mistake("submit plan.yaml --author jo --approve Jo", Exit.REFUSED, "nothing was submitted"),
    Mistake("preview plan.yaml --sample 0", Exit.USAGE, "one user or more"),
    Mistake("check missing.yaml", Exit.USAGE, "cannot be read (No such file"),
    Mistake("check .", Exit.USAGE, "cannot be read (Is a directory)"),
    Mistake("check plan.yaml/x", Exit.USAGE, "cannot be read (Not a directory)"),
    Mistake(f"status --token={SECRET}", Exit.USAGE, "never goes on a command line", "env:NAME"),
    Mistake(f"status --token {SECRET}", Exit.USAGE, "never goes on a command line"),
    Mistake(f"--api-key={SECRET} status", Exit.USAGE, "never goes on a command line"),
    Mistake(f"submit https://mia:{SECRET}@h/p", Exit.USAGE, "never goes on a command line"),
]


def explained(said, mistake) -> None:
    assert said.status == mistake.status
    assert said.out == ""
    assert "Traceback" not in said.err
    assert SECRET not in said.err
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    hints = [line for line in said.err.splitlines() if line.startswith("hint: ")]
    assert any(mistake.said in line for line in errors), said.err
    assert any(mistake.hint in line for line in hints) or not mistake.hint, said.err


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.words)
def test_a_mistake_is_explained(ready, mistake):
    explained(ready(*mistake.words.split(" ")), mistake)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--as", "a\nb"),
        ("--as", " "),
        ("--as", "\x1b[31mroot"),
        ("--as", "x" * 101),
        ("--reason", "two\nlines"),
        ("--reason", "x" * 1001),
    ],
)
def test_names_and_reasons_are_one_line(ready, option, value):
    said = ready("cancel", "aa11", option, value)
    assert said.status == Exit.USAGE
    assert "expected here" in said.err
    assert "\x1b" not in said.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "error[empty]"),
        (b"\x7fELF\x00\xff\xfe", "error[not-utf-8]"),
        (b"a: [1", "error[syntax]"),
        (b"- 1\n- 2\n", "error[not-a-plan]"),
        (b"x" * (1 << 20) + b"y", "error[too-large]"),
        (plan(more="users: {from: users.csv}").encode(), "users.csv:1: cannot be read"),
        (plan(more="users: {decline: empty.csv}").encode(), "empty.csv"),
    ],
)
@pytest.mark.parametrize("command", ["check", "preview", "submit"])
def test_a_plan_that_cannot_be_is_shown_with_its_problems(ready, command, text, said):
    (ready.folder / "bad.yaml").write_bytes(text)
    (ready.folder / "empty.csv").write_bytes(b"")
    before = ready("runs", "-o", "json").document
    answer = ready(command, "bad.yaml")
    assert answer.status == Exit.USAGE
    assert answer.out == ""
    assert said in answer.err
    assert ready("runs", "-o", "json").document == before


def test_every_line_that_is_wrong_in_a_list_is_named(ready):
    (ready.folder / "erased.csv").write_text("user\nann\n ann\n\u200bann\n")
    said = ready("decline", "aa12", "erased.csv")
    assert said.status == Exit.USAGE
    assert "erased.csv:3: white space" in said.err
    assert "erased.csv:4: an invisible character" in said.err


@contextlib.contextmanager
def no_rights(shell: Shell) -> Iterator[None]:
    """Go on as somebody who owns nothing here: root may read and write everything."""
    assert shell("check", "plan.yaml").status == 0
    assert shell("runs").status == 0  # what these commands import, they have imported
    opened = [at for at in (shell.folder, *shell.folder.parents) if at.owner() == "root"]
    modes = {at: at.stat().st_mode for at in opened}
    root = os.getuid() == 0
    for folder, mode in modes.items():
        if root:
            folder.chmod(mode | stat.S_IXOTH | stat.S_IXGRP)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
            for folder, mode in modes.items():
                folder.chmod(mode)


def test_a_file_that_may_not_be_read_is_a_sentence(ready):
    (ready.folder / "secret.yaml").write_text(plan())
    (ready.folder / "secret.yaml").chmod(0)
    with no_rights(ready):
        said = ready("check", "secret.yaml")
    explained(said, Mistake("", Exit.USAGE, "secret.yaml cannot be read (Permission denied)"))


# The installation ---------------------------------------------------------------------------------


def open_key(home: Path) -> None:
    (home / "key").write_text(OTHER_KEY)
    (home / "key").chmod(0o644)


def ledger_of_another_release(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE schema_version SET version = 999")


def no_ledger(home: Path) -> None:
    (home / "ledger.db").write_bytes(b"this is no database" * 100)


BROKEN: dict[str, tuple[dict[str, str] | Callable[[Path], None], Exit, str]] = {
    "another key": (
        {"REINSTATE_KEY": OTHER_KEY},
        Exit.REFUSED,
        "the key is not the one that this ledger was made with",
    ),
    "a short key": (
        {"REINSTATE_KEY": "c2hvcnQ="},
        Exit.REFUSED,
        "REINSTATE_KEY does not hold 32 bytes",
    ),
    "a key for everybody": (open_key, Exit.REFUSED, "the key file may be read by others"),
    "another release": (ledger_of_another_release, Exit.REFUSED, "ledger"),
    "no ledger": (no_ledger, Exit.UNREACHABLE, "the ledger's file is damaged"),
    "a ledger nowhere": (
        {"REINSTATE_LEDGER_URL": "sqlite:////nowhere/at/all/ledger.db"},
        Exit.UNREACHABLE,
        "the ledger did not answer",
    ),
    "no PostgreSQL": (
        {"REINSTATE_LEDGER_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/none"},
        Exit.UNREACHABLE,
        "the ledger did not answer",
    ),
    "another database": (
        {"REINSTATE_LEDGER_URL": f"mysql://u:{SECRET}@h/db"},
        Exit.REFUSED,
        "REINSTATE_LEDGER_URL begins with neither",
    ),
    "a home below a file": (
        {"REINSTATE_HOME": "/dev/null/home"},
        Exit.REFUSED,
        "/dev/null/home cannot be made",
    ),
    "many workers": (
        {"REINSTATE_WORKERS": "many"},
        Exit.REFUSED,
        "REINSTATE_WORKERS is not a whole number",
    ),
}


@pytest.mark.guarantee(18)
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("words", [("runs",), ("user", "last", "ann"), ("submit", "plan.yaml")])
def test_an_installation_that_cannot_work_refuses(ready, monkeypatch, words, broken):
    breaks, status, said = BROKEN[broken]
    if isinstance(breaks, dict):
        for name, value in breaks.items():
            monkeypatch.setenv(name, value)
    else:
        monkeypatch.delenv("REINSTATE_KEY")
        (ready.folder / "key").write_text(KEY)
        (ready.folder / "key").chmod(0o600)
        breaks(ready.folder)
    explained(ready(*words), Mistake("", status, said))


def test_a_home_that_may_not_be_made_is_a_sentence(ready, monkeypatch):
    closed = ready.folder / "closed"
    closed.mkdir(mode=0o555)
    with no_rights(ready):
        monkeypatch.setenv("REINSTATE_HOME", str(closed / "home"))
        said = ready("runs")
    explained(said, Mistake("", Exit.REFUSED, "cannot be made (Permission denied)", "may write"))


def test_a_ledger_that_may_not_be_written_is_a_sentence(ready):
    for path in (ready.folder, *ready.folder.glob("ledger.db*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with no_rights(ready):
        said = ready("pause", "aa11")
    explained(said, Mistake("", Exit.UNREACHABLE, "the ledger did not answer"))


def test_without_a_run_the_last_one_is_asked_for_politely(shell):
    said = shell("status")
    assert said.status == Exit.USAGE
    assert "there are no runs yet" in said.err
    assert "hint: submit a plan: reinstate submit PLAN" in said.err


def test_what_nobody_foresaw_is_one_line_without_its_values():
    program = (
        "import sys\n"
        "from orchestrator.cli import main, views\n"
        f"def runs(): raise KeyError({SECRET!r})\n"
        "main.COMMANDS['runs'] = runs\n"
        "sys.argv = ['reinstate', 'runs', *sys.argv[1:]]\n"
        "main.main()\n"
    )
    quiet = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, check=False
    )
    assert quiet.returncode == Exit.UNEXPECTED
    assert "error: this was not foreseen: KeyError at <string>:3" in quiet.stderr
    assert SECRET not in quiet.stderr
    assert "Traceback" not in quiet.stderr
    loud = subprocess.run(
        (sys.executable, "-c", program, "--debug"), capture_output=True, text=True, check=False
    )
    assert "Traceback" in loud.stderr
