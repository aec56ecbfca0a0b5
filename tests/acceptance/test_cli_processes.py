"""The command with real processes: waiting, stopping, coming back, mending what failed."""

import json
import re
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from orchestrator.cli.exits import Exit
from tests.command_line import CARD, CUT_CARD, SECONDS, Shell, plan, put, read_until, shell

__all__ = ["shell"]

SOAK = ", soak: 1h"
"""A gate that keeps a run under way for as long as a test may take."""


@pytest.fixture
def material(shell: Shell) -> Shell:
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1") + CUT_CARD)
    put(shell.folder, material__bob__contacts__a_vcf=CARD.format("b1"))
    return shell


def interrupted(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said


def document(shell: Shell, *words: str):
    done = shell.process(*words, "-o", "json")
    assert done.returncode == Exit.DONE, done.stderr.decode()
    return json.loads(done.stdout)


@contextmanager
def engine(shell: Shell):
    with shell.started("up") as process:
        read_until(process, "running with")
        yield process


@pytest.mark.timeout(300)
def test_a_run_fails_is_retried_mended_and_accepted(material):
    put(material.folder, plan_yaml=plan(approvals=1), restored__ann="in the way")
    with engine(material):
        submitted = material.process(
            *("submit", "plan.yaml", "--author", "mia", "--approve", "jo", "--wait")
        )
        run_id = submitted.stdout.decode().strip()
        assert submitted.returncode == Exit.SOME_FAILED
        assert re.fullmatch(r"[0-9a-f]{8}", run_id)
        assert f"reinstate retry {run_id} --wait" in submitted.stderr.decode()

        (material.folder / "restored" / "ann").unlink()
        retried = material.process("retry", run_id, "--wait", "--yes")
        assert retried.returncode == Exit.LOSSES
        assert document(material, "status", run_id)["books"]["nameless"] == 1

        kept = material.folder / "kept"
        why = ("--reason", "to mend it")
        exported = material.process("quarantine", run_id, "export", "kept", *why)
        assert exported.returncode == Exit.DONE
        (copy,) = kept.glob("*.vcf")
        copy.write_text(CARD.format("cut"), newline="")
        released = material.process("quarantine", run_id, "release", "kept", "--wait")
        assert released.returncode == Exit.DONE
        books = document(material, "status", run_id)["books"]
        assert (books["items"], books["restored"], books["nameless"]) == (3, 3, 0)
        assert material.process("audit", run_id).returncode == Exit.DONE
    assert len(list(material.folder.glob("restored/ann/contacts/*.vcf"))) == 2


@pytest.mark.long
def test_ctrl_c_stops_the_run_with_the_engine_that_was_started_for_it(material):
    put(material.folder, plan_yaml=plan(gate=SOAK))
    with material.started("submit", "plan.yaml", "--wait") as process:
        read_until(process, "soaks until")
        status, said = interrupted(process)
    assert status == Exit.INTERRUPTED
    run_id = document(material, "runs")[0]["id"]
    assert f"so run {run_id} stops with it" in said
    assert "it goes on with `reinstate up`, or with any --wait" in said
    assert f"reinstate watch {run_id}" in said
    assert "no engine is running" in document(material, "status")["stalled"]
    assert not (material.folder / "engine.json").exists()


@pytest.mark.long
def test_ctrl_c_leaves_a_run_to_the_engine_that_runs_anyway(material):
    put(material.folder, plan_yaml=plan(gate=SOAK))
    with engine(material):
        with material.started("submit", "plan.yaml", "--wait") as process:
            read_until(process, "soaks until")
            status, said = interrupted(process)
        assert status == Exit.INTERRUPTED
        run_id = document(material, "runs")[0]["id"]
        assert f"stopped watching; run {run_id} goes on" in said
        assert f"hint: come back: reinstate watch {run_id}" in said
        assert "no engine" not in document(material, "status")["stalled"]


@pytest.mark.long
def test_who_waits_takes_over_from_an_engine_that_goes(material):
    put(material.folder, plan_yaml=plan(approvals=1))
    waits = ("submit", "plan.yaml", "--approve", "jo", "--wait")
    with engine(material) as up, material.started(*waits) as process:
        up.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == Exit.LOSSES, said


def test_a_watch_without_an_engine_says_so_and_how_to_come_back(material):
    put(material.folder, plan_yaml=plan())
    material.process("submit", "plan.yaml")
    with material.started("watch", PYTHONUNBUFFERED="1") as process:
        seen = ""
        while "no engine is running" not in seen:
            seen += process.stdout.readline()
        status, said = interrupted(process)
    assert status == Exit.INTERRUPTED
    assert "waits for an engine: reinstate up" in said


def test_up_ends_with_what_it_started_and_says_that_runs_go_on(material):
    with engine(material) as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == Exit.DONE
    assert "runs go on with the next `reinstate up`" in said
    assert not (material.folder / "engine.json").exists()


@pytest.mark.long
def test_a_second_engine_stands_by_and_says_so(material):
    with engine(material), material.started("up") as second:
        read_until(second, "this one stands by")


@pytest.mark.long
def test_who_reads_no_more_does_not_stop_a_run_that_is_waited_for(material):
    put(material.folder, plan_yaml=plan())
    with material.started("submit", "plan.yaml", "--wait") as process:
        process.stdout.close()
        process.stderr.close()
        assert process.wait(timeout=SECONDS) == Exit.LOSSES
        process.stdout = process.stderr = None


@pytest.mark.long
def test_a_preview_says_what_would_happen_and_writes_nothing(material):
    put(material.folder, plan_yaml=plan(approvals=1))
    with engine(material):
        shown = material.process("preview", "plan.yaml")
        assert shown.returncode == Exit.DONE
        text = shown.stdout.decode()
        assert "nothing was written" in text
        assert "2 items would be restored" in text
        assert re.search(r"(?m)^contacts +2 +2 ", text)
        assert list(material.folder.glob("restored/*")) == []
        (digest,) = re.findall(r"(?m)^digest ([0-9a-f]{64})$", text)

        preview = document(material, "preview", "plan.yaml")
        assert (preview["version"], preview["digest"]) == (1, digest)
        assert preview["books"]["restored"] == 2

        put(material.folder, material__cat__contacts__a_vcf=CARD.format("c1"))
        changed = material.process(
            *("submit", "plan.yaml", "--preview", digest, "--approve", "jo", "--wait")
        )
        assert changed.returncode == Exit.REFUSED
        assert list(material.folder.glob("restored/*")) == []


def test_an_engine_that_cannot_start_is_a_sentence(material):
    put(material.folder, plan_yaml=plan())
    (material.folder / "log").write_text("a file where a folder has to be")
    done = material.process("submit", "plan.yaml", "--wait")
    assert done.returncode in {Exit.UNEXPECTED, Exit.UNREACHABLE, Exit.REFUSED}
    assert b"Traceback" not in done.stderr
    assert b"error: " in done.stderr


@pytest.mark.long
def test_a_run_goes_on_with_the_next_engine(material):
    put(material.folder, plan_yaml=plan())
    run_id = material.process("submit", "plan.yaml").stdout.decode().strip()
    with engine(material):
        deadline = time.monotonic() + SECONDS
        while document(material, "status", run_id)["outcome"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert len(list(material.folder.glob("restored/*/contacts/*.vcf"))) == 2
