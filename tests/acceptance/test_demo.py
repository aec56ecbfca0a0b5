"""`reinstate demo` as a user runs it: a process of its own, with real workers on a real broker."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from plans.sample.recount import main as recount_again
from plans.sample.truth import GroundTruth

COMMAND = (sys.executable, "-m", "orchestrator.cli.main", "demo")


def run(*words: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if "REINSTATE" not in name}
    return subprocess.run(
        [*COMMAND, *words, "--folder", str(folder / "demo")],
        cwd=Path(__file__).parents[2],
        env={**environ, "REINSTATE_WORKERS": "2", **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def told(folder: Path) -> subprocess.CompletedProcess[str]:
    return run("--users", "30", folder=folder)


def processes_of(folder: Path) -> list[str]:
    """Processes of the demo in that folder, by the environment that they were given."""
    home = f"REINSTATE_HOME={folder / 'demo' / 'home'}".encode()
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def proofs(told: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in told.stdout.splitlines() if line[:1] in "✔✘" and "━" not in line]


def test_the_demo_ends_well_and_proves_it(told: subprocess.CompletedProcess[str]):
    assert told.returncode == Exit.DONE, told.stderr
    shown = proofs(told)
    assert not [line for line in shown if line.startswith("✘")]
    assert any("counted again" in line and " 0 lost, 0 duplicated" in line for line in shown)
    assert any("second time" in line and "changed nothing: 0 writes" in line for line in shown)


def test_the_author_is_refused_and_others_approve(told: subprocess.CompletedProcess[str]):
    assert "mia, its author, may not approve it" in told.stdout
    assert "jo approves" in told.stdout
    assert "kim approves" in told.stdout


def test_nothing_on_stderr_but_progress(told: subprocess.CompletedProcess[str]):
    assert "Traceback" not in told.stderr
    assert not re.search(r"(?i)warning|error", told.stderr)


def test_the_recount_can_be_had_again_by_its_own_command(
    told: subprocess.CompletedProcess[str], folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert told.returncode == Exit.DONE
    assert recount_again([str(folder / "demo")]) == 0
    assert " 0 lost, " in capsys.readouterr().out


def test_every_command_that_it_names_works(
    told: subprocess.CompletedProcess[str], folder: Path, tmp_path: Path
):
    lines = told.stdout[told.stdout.index("Look around") :].splitlines()
    home = next(line for line in lines if "export " in line).partition("=")[2]
    assert home == str(folder / "demo" / "home")
    found = (re.search(r"(?:reinstate|orchestrator\.cli\.main) (.*)", line) for line in lines)
    commands = [match[1].split() for match in found if match]
    assert len(commands) >= 5
    commands.remove(["up"])  # it stays until it is stopped
    for words in commands:
        done = subprocess.run(
            [*COMMAND[:-1], *words],
            cwd=tmp_path,
            env={**os.environ, "REINSTATE_HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in {Exit.DONE, Exit.LOSSES}, (words, done.stderr)
        assert done.stdout or words[0] == "quarantine"


def test_the_report_names_nobody(told: subprocess.CompletedProcess[str], folder: Path):
    report = (folder / "demo" / "report.html").read_text("utf-8")
    assert told.returncode == Exit.DONE
    users = (folder / "demo" / "material" / "affected.csv").read_text().splitlines()[1:]
    assert not [user for user in users if user in report]


def test_no_process_is_left(told: subprocess.CompletedProcess[str], folder: Path):
    assert told.returncode == Exit.DONE
    assert not processes_of(folder)


@pytest.mark.guarantee(9)
def test_ledger_logs_and_broker_hold_no_mark_and_no_user_id(
    told: subprocess.CompletedProcess[str], folder: Path
):
    assert told.returncode == Exit.DONE
    truth = GroundTruth.load(folder / "demo")
    secrets = [b"canary-", *(user.encode() for user in truth.users)]
    kept = [path for path in (folder / "demo" / "home").rglob("*") if path.is_file()]
    assert {"ledger.db", "engine.log"} <= {path.name for path in kept}
    for path in kept:
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret in data], path.name


@pytest.mark.long
def test_a_demo_can_be_told_again_in_its_folder_without_redis_and_away_from_any_service(
    told: subprocess.CompletedProcess[str], folder: Path
):
    assert told.returncode == Exit.DONE
    spool = folder / "spool"
    spool.mkdir()
    ledger = folder / "production.db"
    again = run(
        *("--users", "6", "--seed", "4"),
        folder=folder,
        REINSTATE_BROKER_URL=f"filesystem://{spool}",
        REINSTATE_LEDGER_URL=f"sqlite:///{ledger}",
    )
    assert again.returncode == Exit.DONE, again.stderr
    assert "✘" not in again.stdout
    assert not ledger.exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    refused = run("--users", "12", folder=tmp_path)
    assert refused.returncode == Exit.REFUSED
    assert "holds something that is not a demo" in refused.stderr
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["thesis.txt"]


@pytest.mark.long
def test_a_demo_that_was_interrupted_can_be_told_anew_and_leaves_no_process(tmp_path: Path):
    environ = {name: text for name, text in os.environ.items() if "REINSTATE" not in name}
    words = [*COMMAND, "--users", "60", "--folder", str(tmp_path / "demo")]
    with subprocess.Popen(
        words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as telling:
        assert telling.stdout is not None
        for line in telling.stdout:
            if "jo approves" in line:
                break
        telling.send_signal(signal.SIGINT)
        _, complaint = telling.communicate(timeout=60)
    assert telling.returncode == Exit.INTERRUPTED
    assert "Traceback" not in complaint
    assert not processes_of(tmp_path)
    (tmp_path / "demo" / "truth.json").write_text("")
    assert run("--users", "8", folder=tmp_path).returncode == Exit.DONE
