"""What operators read: every number is the ledger's, every list has pages, nothing is obeyed."""

import json
import os
import re
import subprocess
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from shutil import copytree

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.cli.live import follow, is_stuck
from orchestrator.cli.main import COMMANDS
from orchestrator.cli.output import notices
from orchestrator.lifecycle import CellState, RunState
from orchestrator.run_standing import NOT_LED
from tests.command_line import CARD, COMMAND, CUT_CARD, Shell, plan, put, shell
from tests.in_process import Service

__all__ = ["shell"]

USERS = 24
READS = {
    "runs": ("runs",),
    "status": ("status", "last"),
    "users": ("users", "last"),
    "user": ("user", "last", "ann"),
    "failures": ("failures", "last"),
    "losses": ("losses", "last"),
    "quarantine": ("quarantine", "last"),
    "audit": ("audit", "last"),
    "doctor": ("doctor",),
}
ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory) -> Path:
    """A finished run: ann lost a card of two and has a damaged one, everybody else is whole."""
    folder = tmp_path_factory.mktemp("made")
    put(folder, material__ann__contacts__a_vcf=CARD.format("a1") + CUT_CARD)
    for number in range(USERS - 1):
        name = f"user{number}"
        put(folder, **{f"material__{name}__contacts__a_vcf": CARD.format(name)})
    service = Service(folder)
    service.ledger.prepare(key_check=service.sealer.check)
    service.run(plan(), census=[("ann", "contacts", 3)])
    service.work.close()
    service.ledger.close()
    return folder


@pytest.fixture
def ready(shell: Shell, made_once: Path) -> Shell:
    copytree(made_once, shell.folder, dirs_exist_ok=True)
    return shell


@pytest.fixture
def failed(shell: Shell) -> Shell:
    """A run in which ann's contacts failed: something stands in their way."""
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"), restored__ann="in the way")
    shell.service.run(plan())
    return shell


# Forms of output ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READS)
def test_json_is_all_there_is_on_stdout(ready, name):
    said = ready(*READS[name], "-o", "json")
    assert said.status == Exit.DONE
    assert isinstance(said.document, dict | list)


@pytest.mark.parametrize("name", READS)
def test_jsonl_says_the_same_as_json(ready, name):
    whole = ready(*READS[name], "-o", "json").document
    lines = ready(*READS[name], "-o", "jsonl").rows
    changing = {"found", "elapsed"}  # free space and clocks move between two looks

    def still(row):
        return {key: value for key, value in row.items() if key not in changing}

    assert [still(row) for row in lines] == [
        still(row) for row in (whole if isinstance(whole, list) else [whole])
    ]


@pytest.mark.parametrize("name", READS)
def test_tables_have_no_trailing_blanks_and_no_escape_sequences(ready, name):
    said = ready(*READS[name])
    assert all(
        line == line.rstrip() or name in {"status", "user"} for line in said.out.splitlines()
    )
    assert not ESCAPES.search(said.out + said.err)


def test_every_read_takes_a_form():
    for name in READS:
        assert "output" in COMMANDS[name].__annotations__


def test_status_says_whether_it_is_over_and_how_it_ended(ready):
    document = ready("status", "-o", "json").document
    assert document["version"] == 1
    assert document["terminal"] is True
    assert document["outcome"] == "losses"
    assert document["books"]["items"] == USERS
    ready("losses", "--accept", "--reason", "looked for everywhere", "--as", "jo")
    accepted = ready("status", "-o", "json").document
    assert accepted["outcome"] == "done"
    assert accepted["accepted_by"] == "jo"


def test_a_run_under_way_has_no_outcome(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    shell.service.submit(plan(approvals=2))
    shell.service.go_on()
    document = shell("status", "-o", "json").document
    assert (document["terminal"], document["outcome"]) == (False, None)


def test_reports_are_versioned_documents_with_the_books_in_them(ready):
    report = ready("report", "-o", "json").document
    status = ready("status", "-o", "json").document
    assert report["version"] == 1
    assert report["books"] == status["books"]
    assert {entry["category"] for entry in report["categories"]} == {"contacts", "notes"}


def test_a_report_names_no_user(ready):
    for form in ("json", "html", "markdown"):
        assert "user1" not in ready("report", "-o", form).out


def test_an_answer_about_a_user_is_a_versioned_document_with_every_item(ready):
    document = ready("user", "last", "ann", "-o", "json").document
    assert document["version"] == 1
    contacts = document["categories"][0]
    assert contacts["books"]["restored"] == len(contacts["items"]) == 1
    assert contacts["books"]["lost"] == 2
    assert contacts["quarantined"][0]["for_user"] == "Only a part of it was left."


@pytest.mark.parametrize("name", ["#0", "ann", "reference"])
def test_a_user_is_found_by_id_reference_or_number(ready, name):
    if name == "reference":
        name = ready.service.sealer.user_ref("ann")
    assert ready("user", "last", name, "-o", "json").document["number"] == 0


def test_an_answer_can_be_read_out_to_its_user(ready):
    said = ready("user", "last", "ann").out
    assert "contacts: settled; 1 found of 3 expected; 1 restored, 2 lost" in said
    assert "1 damaged copy in dev (cut): Only a part of it was left." in said


# Pages --------------------------------------------------------------------------------------------


def pages(shell: Shell, *words: str, limit: int) -> list[dict]:
    """Every page of a list, one after the other, as the end of each says."""
    rows: list[dict] = []
    more: list[str] = []
    while True:
        said = shell(*words, "--limit", str(limit), "-o", "jsonl", *more)
        assert len(said.rows) <= limit
        rows.extend(said.rows)
        found = re.search(r"hint: there are more: the same with --after (\S+)\n", said.err)
        if found is None:
            return rows
        more = ["--after", found.group(1)]


def test_pages_of_users_are_all_of_them_once(ready):
    everyone = ready("users", "last", "--limit", "0", "-o", "json").document
    assert len(everyone) == 2 * USERS
    assert pages(ready, "users", "last", limit=7) == everyone


def test_pages_of_a_query_are_all_that_match(ready):
    everyone = ready("users", "category:contacts", "--limit", "0", "-o", "json").document
    assert len(everyone) == USERS
    assert pages(ready, "users", "category:contacts", limit=5) == everyone


def test_pages_of_losses_and_quarantine_are_all_of_them_once(shell):
    for number in range(40):
        put(shell.folder, **{f"material__user{number}__contacts__a_vcf": CUT_CARD})
    shell.service.run(plan())
    for words, total in ((("losses", "last"), 40), (("quarantine", "last"), 40)):
        everything = shell(*words, "--limit", "0", "-o", "json").document
        assert len(everything) == total
        assert pages(shell, *words, limit=9) == everything


def test_long_lists_are_read_a_page_at_a_time(ready, monkeypatch):
    monkeypatch.setattr("orchestrator.progress.PAGE", 5)
    monkeypatch.setattr("orchestrator.standing.copies.COPIES_AT_ONCE", 1)
    monkeypatch.setattr("orchestrator.client.listing.PAGE", 5)
    assert len(ready("users", "--limit", "0", "-o", "jsonl").rows) == 2 * USERS
    assert len(ready("losses", "--limit", "0", "-o", "jsonl").rows) == 1
    assert len(ready("quarantine", "--limit", "0", "-o", "jsonl").rows) == 1


def test_a_query_without_a_run_is_about_the_last_one(ready):
    assert ready("users", "user:ann").out == ready("users", "last", "user:ann").out


def test_words_of_a_query_are_joined_by_and_the_same_word_means_either(ready):
    rows = ready("users", "user:ann", "user:user1", "category:contacts", "-o", "json").document
    assert {row["number"] for row in rows} == {0, 2}
    assert ready("users", "state:failed").err == "no unit matches\n"


# Failures -----------------------------------------------------------------------------------------


def test_failures_are_grouped_and_say_what_to_do(failed):
    said = failed("failures")
    (row,) = failed("failures", "-o", "json").document
    assert (row["category"], row["state"], row["units"]) == ("contacts", "failed", 1)
    assert f"reinstate retry {failed('runs', '-o', 'json').document[0]['id']} --cause" in said.err
    assert row["fingerprint"] in said.out
    assert row["sentence"] in said.out


def test_a_retry_can_be_looked_at_first(failed):
    assert "1 failed unit would be tried again" in failed("retry", "--dry-run").err
    assert failed("status", "-o", "json").document["outcome"] == "failed"
    assert "no failed unit matches" in failed("retry", "category:notes").err


def test_a_retry_where_nothing_runs_says_what_will_move_it(failed):
    said = failed("retry", "category:contacts", "--yes")
    assert said.status == Exit.DONE
    assert "1 failed unit will be tried again" in said.err
    assert "no engine is running: reinstate up, or add --wait" in said.err
    (failed.folder / "restored" / "ann").unlink()
    failed.carry_out()
    assert failed("status", "-o", "json").document["outcome"] == "done"


def test_a_failed_run_says_what_to_do_next(failed):
    said = failed("status")
    assert "1 unit failed in 1 cause" in said.out
    assert "hint: why: reinstate failures" in said.err
    assert "hint: again, when that is mended: reinstate retry" in said.err
    assert failed("watch").status == Exit.SOME_FAILED


# Steering -----------------------------------------------------------------------------------------


def test_a_run_is_approved_held_promoted_and_finished(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    put(shell.folder, material__bob__contacts__a_vcf=CARD.format("b1"))
    (shell.folder / "plan.yaml").write_text(plan(approvals=2, gate=", approve: 1"))
    run_id = shell("submit", "plan.yaml", "--author", "mia").out.strip()
    service = shell.service
    service.go_on()
    assert "0 of 2 approvals" in shell("status", run_id).out
    assert "none of them mia: reinstate approve" in shell("status", run_id).err
    assert "1 of 2 approvals" in shell("approve", run_id, "--as", "jo").err
    assert "1 of 2 approvals" in shell("approve", run_id, "--as", "Jo ").err
    assert "2 of 2 approvals" in shell("approve", run_id, "--as", "kim").err
    service.go_on()
    assert "held: canary" in shell("status", run_id).out
    assert "lets the next ones in: reinstate promote" in shell("status", run_id).err
    assert shell("promote", run_id, "--as", "mia").status == Exit.REFUSED
    assert shell("pause", run_id, "--reason", "lunch").status == Exit.DONE
    assert shell("watch", run_id).status == Exit.HELD
    assert "go on: reinstate resume" in shell("status", run_id).err
    assert shell("resume", run_id).status == Exit.DONE
    while shell("status", run_id, "-o", "json").document["outcome"] is None:
        assert shell("promote", run_id, "--as", "jo").status == Exit.DONE
        service.go_on()
    assert shell("watch", run_id).status == Exit.DONE
    assert "no gate matters any more" in shell("promote", run_id, "--as", "jo").err
    assert "held" not in shell("status", run_id).out
    report = shell("report", run_id).out
    assert "Submitted by mia, approved by jo, kim." in report


def test_declining_takes_effect_and_says_what_it_does_not_do(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    run_id = shell.service.submit(plan(approvals=1), author="mia")
    shell.service.go_on()
    (shell.folder / "erased.csv").write_text("user\nann\n")
    assert (
        "1 declined; what they already got back is not removed"
        in shell("decline", run_id, "erased.csv").err
    )
    shell("approve", run_id, "--as", "jo")
    shell.service.go_on()
    assert shell("user", run_id, "ann", "-o", "json").document["declined"] is True
    assert not list(shell.folder.glob("restored/*/*"))


def test_a_cancelled_run_keeps_what_it_restored(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    run_id = shell.service.submit(plan(approvals=1), author="mia")
    assert shell("cancel", run_id, "--reason", "wrong plan").status == Exit.DONE
    assert shell("status", run_id, "-o", "json").document["outcome"] == "cancelled"
    assert shell("watch", run_id).status == Exit.REFUSED


# Quarantine ---------------------------------------------------------------------------------------


def test_an_exported_copy_comes_back_mended(ready):
    folder = ready.folder / "kept"
    said = ready("quarantine", "last", "export", str(folder), "--reason", "to mend it")
    assert "1 copy written" in said.err
    assert folder.stat().st_mode & 0o077 == 0
    (row,) = [json.loads(line) for line in (folder / "reasons.jsonl").read_text().splitlines()]
    assert row["user"] == "ann"
    assert row["reason"] == "cut"
    assert (row["category"], row["source"]) == ("contacts", "dev")
    assert (folder / row["export"]).read_bytes() == CUT_CARD.encode()
    assert row["export"].endswith(".vcf")
    assert "no file was edited" in ready("quarantine", "last", "release", str(folder)).err
    (folder / row["export"]).write_text(CARD.format("cut"))
    said = ready("quarantine", "last", "release", str(folder), "--reason", "mended")
    assert "1 of 1 copy is handed back" in said.err
    ready.carry_out()
    books = ready("user", "last", "ann", "-o", "json").document["categories"][0]["books"]
    assert (books["items"], books["restored"], books["nameless"]) == (2, 2, 0)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1, 2]",
        '{"export": "../../etc/passwd", "number": 1, "sha256": ""}',
        '{"export": 7, "number": 1, "sha256": ""}',
        '{"number": 1}',
    ],
)
def test_a_folder_that_was_tampered_with_leads_nowhere(ready, line):
    folder = ready.folder / "kept"
    ready("quarantine", "last", "export", str(folder), "--reason", "to mend it")
    (folder / "reasons.jsonl").write_text(line + "\n")
    said = ready("quarantine", "last", "release", str(folder))
    assert "handed back" not in said.err.replace("nothing is handed back", "")
    assert said.status in {Exit.USAGE, Exit.DONE}
    assert ready("quarantine", "last", "-o", "json").document[0]["released"] is False


# What a terminal would obey -----------------------------------------------------------------------


def test_nothing_in_names_and_data_is_obeyed_by_a_terminal(shell):
    odd = "bell\x07\x1b]0;owned\x07\x1b[2J"
    card = CARD.format("a1").replace("FN:a1", f"FN:{odd}")
    put(shell.folder, material__ann__contacts__a_vcf=card + CUT_CARD)
    shell.service.run(plan(), author=f"mia{odd}")
    for words in (*READS.values(), ("report",), ("report", "-o", "html"), ("watch",)):
        said = shell(*words)
        assert not ESCAPES.search(said.out + said.err), words


# Following ----------------------------------------------------------------------------------------


class Looks:
    """Statuses one after the other; the last one for ever."""

    def __init__(self, *statuses) -> None:
        self.statuses = list(statuses)

    def __call__(self):
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


def statuses_of_a_run(shell: Shell, **how) -> list:
    """A status after every step of a run."""
    service = shell.service
    run_id = service.submit(plan(**how), author="mia")
    found = [service.status(run_id)]
    for _ in range(200):
        service.conductor.tick()
        service.answer(at_most=1)
        found.append(service.status(run_id))
        if found[-1].run.state is RunState.FINISHED:
            return found
    raise AssertionError("it does not end")


def test_a_log_has_one_line_a_change(ready, capsys):
    statuses = statuses_of_a_run(ready)
    capsys.readouterr()
    notices.cache_clear()
    follow(Looks(*(at for at in statuses for _ in range(2))), out=notices())
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert all(one != other for one, other in pairwise(lines))
    assert any("inspecting" in line for line in lines)
    assert lines.count(next(line for line in lines if "finished" in line)) == 1
    assert any(re.search(r"contacts: settled, 24 of 24 users", line) for line in lines)


def test_a_log_says_now_and_then_that_it_is_still_at_it(ready, capsys, monkeypatch):
    status = statuses_of_a_run(ready)[1]
    finished = ready.service.status(ready("runs", "-o", "json").document[0]["id"])
    monkeypatch.setattr("orchestrator.cli.live.HEARTBEAT", 0.0)
    monkeypatch.setattr("orchestrator.cli.live.LOOK_EVERY", 0.001)
    notices.cache_clear()
    capsys.readouterr()
    follow(Looks(*[status] * 5, finished), out=notices())
    assert capsys.readouterr().err.count("inspecting") == 6


def test_a_log_says_why_nothing_moves(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    run_id = shell.service.submit(plan())
    shell.service.clock.advance(hours=1)
    assert shell.service.status(run_id).stalled == NOT_LED
    assert "no engine is running, so nothing moves; start it: reinstate up" in shell("status").out


def test_a_gate_that_soaks_is_not_stuck(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    put(shell.folder, material__bob__contacts__a_vcf=CARD.format("b1"))
    run_id = shell.service.submit(plan(gate=", soak: 18h"))
    for _ in range(20):
        shell.service.conductor.tick()
        shell.service.answer()
    status = shell.service.status(run_id)
    assert [at.why for at in status.cells if at.state is CellState.HELD] == [
        f"soaks until {shell.service.clock.now + timedelta(hours=18):%Y-%m-%d %H:%M} UTC"
    ]
    assert "soaks" in shell("status").out
    assert not is_stuck(status)


# Where output goes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("status",), ("users", "--limit", "0"), ("report",)],
)
def test_a_reader_that_has_seen_enough_is_no_error(ready, words):
    done = ready.process(*words, cut=True)
    assert done.returncode == Exit.DONE
    assert b"Error" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_locale_can_be_written_to(ready, encoding):
    done = ready.process("status", LC_ALL="C", PYTHONIOENCODING=encoding)
    assert done.returncode == Exit.DONE
    assert "contacts" in done.stdout.decode(encoding)
    assert b"Traceback" not in done.stderr


def test_json_is_json_in_any_locale(ready):
    done = ready.process("users", "user:ann", "-o", "json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)[0]["number"] == 0


def test_an_argument_that_is_no_text_is_refused(ready):
    done = subprocess.run(
        (os.fsencode(COMMAND), b"user", b"last", b"\xff\xfe"),
        capture_output=True,
        env=ready.environ,
        check=False,
    )
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith(b"error: an argument is not UTF-8\n")


def test_letters_that_a_locale_does_not_know_are_understood(ready):
    done = ready.process(
        "user", "last", "müller", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert done.returncode == Exit.USAGE
    assert b"no such user in this run" in done.stderr


def test_a_full_disk_is_a_sentence(ready):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            (COMMAND, "runs"), stdout=full, stderr=subprocess.PIPE, env=ready.environ, check=False
        )
    assert done.returncode == Exit.UNEXPECTED
    assert done.stderr.startswith(b"error: reading or writing failed: No space left on device")


def test_a_terminal_gets_colours_and_a_file_none(ready):
    status, shown = ready.terminal("status")
    assert status == Exit.DONE
    assert "\x1b[" in shown
    assert "\x1b" not in ready.process("status").stdout.decode()


def test_no_color_is_honoured(ready):
    _, shown = ready.terminal("status", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_wider_than_its_terminal(ready, columns):
    for words in (("status",), ("--help",)):
        _, shown = ready.terminal(*words, columns=columns)
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
        wide = [line for line in plain.splitlines() if len(line) > columns]
        assert not [line for line in wide if not line.startswith(("hint", "note", "digest", "✔"))]


def test_the_picture_of_a_watch_ends_with_the_run(ready):
    status, shown = ready.terminal("watch", columns=110)
    assert status == Exit.LOSSES
    assert "✔  contacts" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "\x1b[?25h" in shown  # the cursor is back
