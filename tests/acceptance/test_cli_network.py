"""The same commands against a server: what they say, who may, and when it is away."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.exits import Exit
from orchestrator.client import following as looking
from orchestrator.logs import configure_logs
from orchestrator.settings import Settings
from tests.command_line import CARD, CUT_CARD, Said, Shell, plan, put, shell
from tests.populated import served
from tests.site import Site

__all__ = ["shell"]

LISTS = "users: {from: users.csv, decline: erased.csv}\ncensus: census.csv"
READS = [
    ("runs",),
    ("status", "last"),
    ("users", "last"),
    ("users", "last", "user:ann", "--limit", "1"),
    ("users", "last", "state:failed", "-o", "jsonl"),
    ("user", "last", "ann"),
    ("failures", "last"),
    ("losses", "last"),
    ("losses", "last", "--limit", "1"),
    ("quarantine", "last"),
    ("operations", "last"),
    ("report", "last"),
    ("report", "last", "-o", "html"),
    ("audit", "last"),
    ("audit-log",),
    ("audit-log", "verify"),
    ("audit-log", "export"),
    ("watch", "last"),
    ("user", "last", "nobody"),
    ("status", "ffff"),
    ("users", "last", "colour:red"),
    ("users", "last", "--after", "x"),
    ("approve", "last"),
    ("retry", "last", "category:notes"),
]


class Far:
    """A server, and a laptop from which people ask it; nothing of the laptop's own is asked."""

    def __init__(self, shell: Shell, site: Site, address: str) -> None:
        self.shell, self.site, self.address = shell, site, address
        self.laptop = shell.folder / "laptop"
        self.laptop.mkdir()
        self.tokens: dict[str, Path] = {}
        for name, role in (("mia", "operator"), ("jo", "approver"), ("eve", "viewer")):
            token, _ = site.installation.tokens.create(holder=name, role=role, who="tests")
            self.tokens[name] = self.laptop / f"{name}.token"
            self.tokens[name].write_text(token + "\n")

    def __call__(self, name: str, *words: str) -> Said:
        """Somebody runs a command, which asks the server."""
        where = ("--server", self.address, "--token-file", str(self.tokens[name]))
        return self.shell(*where, *words)

    def write(self, text: str) -> None:
        (self.laptop / "plan.yaml").write_text(text)

    def submit(self, *words: str) -> str:
        """Submit the laptop's plan; its paths start in the server's folder."""
        folder = ("--folder", str(self.site.service.folder))
        said = self("mia", "submit", "plan.yaml", *folder, *words)
        assert said.status == Exit.DONE, said.err
        self.site.service.go_on()
        return said.out.strip()


@pytest.fixture
def far(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    monkeypatch.setenv("REINSTATE_LOG", "error")
    configure_logs(Settings.read(os.environ))
    site = Site(shell.folder / "server")
    with served(site) as address:
        made = Far(shell, site, address)
        monkeypatch.chdir(made.laptop)
        monkeypatch.setenv("REINSTATE_HOME", str(made.laptop / "home"))
        yield made
        assert not (made.laptop / "home").exists()
    site.close()


def two_users(far: Far) -> None:
    """Ann lost a card of two and has a damaged one; something stands in bob's way."""
    folder = far.site.service.folder
    put(folder, material__ann__contacts__a_vcf=CARD.format("a1") + CUT_CARD)
    put(folder, material__bob__contacts__a_vcf=CARD.format("b1"), restored__bob="in the way")


# What is said -------------------------------------------------------------------------------------


def test_a_server_and_this_machine_say_the_same(far, monkeypatch):
    two_users(far)
    far.site.service.run(plan(), census=[("ann", "contacts", 3)])
    home = far.site.service.folder
    for words in READS:
        over_the_network = far("mia", *words)
        with monkeypatch.context() as here:
            here.setenv("REINSTATE_HOME", str(home))
            in_process = far.shell(*words)
        if words[0] == "approve":  # an operator may not, an administrator asks too late
            assert over_the_network.status == in_process.status == Exit.REFUSED
            continue
        assert over_the_network.status == in_process.status, words
        assert over_the_network.out == in_process.out, words
        assert without_times(over_the_network.err) == without_times(in_process.err), words


def without_times(text: str) -> str:
    return re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", text)


def test_the_environment_can_name_the_server(far, monkeypatch):
    monkeypatch.setenv("REINSTATE_SERVER", far.address)
    monkeypatch.setenv("REINSTATE_TOKEN", far.tokens["eve"].read_text())
    assert "no runs yet" in far.shell("runs").err
    monkeypatch.delenv("REINSTATE_TOKEN")
    monkeypatch.setenv("REINSTATE_TOKEN_FILE", str(far.tokens["eve"]))
    assert far.shell("runs").status == Exit.DONE


# From a plan to its end ---------------------------------------------------------------------------


def test_a_plan_goes_its_whole_way_over_the_network(far):
    two_users(far)
    far.write(plan(approvals=1, more=LISTS))
    (far.laptop / "users.csv").write_text("user\nann\nbob\ncarl\n")
    (far.laptop / "erased.csv").write_text("user\ncarl\n")
    (far.laptop / "census.csv").write_text("user,category,expected\nann,contacts,3\n")
    run = far.submit()
    assert "reinstate approve" in far("mia", "status", run).err
    assert "--as NAME" not in far("mia", "status", run).err
    refused = far("mia", "approve", run)
    assert refused.status == Exit.REFUSED
    assert "needs the right 'approve'" in refused.err
    assert far("eve", "pause", run).status == Exit.REFUSED
    assert "1 of 1 approvals" in far("jo", "approve", run).err
    far.site.service.go_on()
    assert far("eve", "watch", run).status == Exit.SOME_FAILED
    assert far("mia", "user", run, "carl", "-o", "json").document["declined"] is True
    (lost,) = far("mia", "losses", run, "-o", "json").document
    assert (lost["books"]["lost"], lost["user"][:2]) == (2, "u_")
    (named,) = far(
        "mia", "losses", run, "--reveal", "--reason", "to tell them", "-o", "json"
    ).document
    assert named["user"] == "ann"
    assert far("mia", "reveal", run, lost["user"], "--reason", "asked").out == "ann\n"
    assert far("jo", "reveal", run, "#0", "--reason", "curious").status == Exit.REFUSED


def test_a_list_that_is_wrong_is_told_by_its_lines_wherever_it_lies(far):
    two_users(far)
    far.write(plan(more="users: {from: users.csv}"))
    missing = far("mia", "submit", "plan.yaml", "--folder", str(far.site.service.folder))
    assert missing.status == Exit.USAGE
    assert "users.csv:1: cannot be read" in missing.err
    (far.laptop / "users.csv").write_text("user\nann\n ann\n")
    wrong = far("mia", "submit", "plan.yaml")
    assert wrong.status == Exit.USAGE
    assert "error: users.csv:3: white space" in wrong.err
    (far.laptop / "users.csv").write_bytes(b"user\n\xff\n")
    assert "users.csv is not UTF-8" in far("mia", "submit", "plan.yaml").err
    (far.site.service.folder / "users.csv").write_text("user\nann\n")
    (far.laptop / "users.csv").unlink()
    assert far.submit()


def test_a_plan_with_errors_is_shown_at_its_lines(far):
    far.write(plan().replace("restore: notes", "restore: note"))
    said = far("mia", "preview", "plan.yaml")
    assert said.status == Exit.USAGE
    assert "--> plan.yaml:" in said.err
    assert "did you mean 'notes'?" in said.err
    assert far("mia", "runs").out == ""


def test_a_digest_of_a_preview_refuses_what_changed(far):
    two_users(far)
    far.write(plan(approvals=1))
    folder = str(far.site.service.folder)
    service = far.site.service
    preview = service.run(plan(approvals=1), preview=True)
    digest = service.status(preview).digest
    assert far("mia", "submit", "plan.yaml", "--preview", "abc").status == Exit.USAGE
    for words, status in (
        (("--preview", "0" * 64), Exit.REFUSED),
        (("--preview", digest), Exit.DONE),
    ):
        said = far("mia", "submit", "plan.yaml", "--folder", folder, *words)
        assert said.status == status, said.err
    run = said.out.strip()
    service.go_on()
    assert f"previewed by {preview}" in far("mia", "status", run).out
    far.write(plan(approvals=2))
    changed = far("mia", "submit", "plan.yaml", "--folder", folder, "--preview", digest)
    assert changed.status == Exit.REFUSED
    assert "the plan changed since that preview" in changed.err
    put(service.folder, material__dan__contacts__a_vcf=CARD.format("d1"))
    far.write(plan(approvals=1))
    late = far.submit("--preview", digest)
    assert far("mia", "watch", late).status == Exit.REFUSED


# Retry --------------------------------------------------------------------------------------------


def test_a_retry_is_counted_confirmed_and_followed(far):
    two_users(far)
    run = far.site.service.run(plan())
    assert "1 failed unit would be tried again" in far("mia", "retry", run, "--dry-run").err
    asked = far("mia", "retry", run)
    assert asked.status == Exit.REFUSED
    assert "nothing was begun" in asked.err
    assert "--yes" in asked.err
    begun = far("mia", "retry", run, "user:bob", "--yes", "--reason", "the way is clear")
    assert begun.status == Exit.DONE, begun.err
    (operation,) = set(re.findall(r"operation ([0-9a-f]+)\n", begun.err))
    far.site.service.go_on()
    shown = far("mia", "operation", operation)
    assert "of 1 failed unit, 1 failed" in shown.err
    assert "retry of run" in shown.out
    assert "user:#1" in shown.out
    (failed,) = far("mia", "operation", operation, "failed", "-o", "json").document
    assert (failed["number"], failed["state"]) == (1, "failed")
    rows = far("mia", "operations", run, "-o", "json").document
    assert [row["state"] for row in rows] == ["started", "dropped", "dropped"]
    (far.site.service.folder / "restored" / "bob").unlink()
    far("mia", "retry", run, "--yes")
    far.site.service.go_on()
    assert far("mia", "retry", run).err == "nothing has failed\n"
    assert far("eve", "operations", run).status == Exit.DONE


# After a run --------------------------------------------------------------------------------------


def test_what_was_restored_is_verified_and_taken_back(far):
    two_users(far)
    service = far.site.service
    run = service.run(plan(approvals=0))
    check = far("mia", "verify", run, "category:contacts", "--sample", "1/1").out.strip()
    service.go_on()
    assert "1 place: 1 as left" in far("mia", "status", check).out
    assert far("mia", "watch", check).status == Exit.DONE
    next(service.folder.glob("restored/ann/contacts/*")).unlink()
    check = far("mia", "verify", run).out.strip()
    service.go_on()
    watched = far("mia", "watch", check)
    assert watched.status == Exit.LOSSES
    assert "1 place: 1 gone" in watched.err
    undo = far("mia", "undo", run, "--reason", "wrong sources").out.strip()
    service.go_on()
    assert "1 place: 1 already" in far("mia", "status", undo).out
    assert far("jo", "close", run, "--reason", "all is well").status == Exit.REFUSED
    assert far("mia", "forget", run, "ann", "--reason", "asked for it").status == Exit.DONE
    assert far("mia", "user", run, "#0", "-o", "json").document["declined"] is True


def test_the_public_is_told_of_a_draft_that_was_edited(far, tmp_path):
    two_users(far)
    run = far.site.service.run(plan(approvals=0))
    draft = far("mia", "bulletin", run)
    assert "have their" in draft.out or "has their" in draft.out
    news = tmp_path / "news.txt"
    news.write_text(f"{draft.out}\nWe are sorry.\n")
    told = far("mia", "bulletin", run, "--text", str(news))
    assert told.status == Exit.DONE, told.err
    assert "/status/" in told.out
    (said,) = far.site.installation.bulletins.page(run)
    assert said.text.endswith("We are sorry.")
    assert far("eve", "bulletin", run, "--text", str(news)).status == Exit.REFUSED


# The audit log ------------------------------------------------------------------------------------


@pytest.mark.guarantee(14)
def test_an_exported_audit_log_is_followed_anywhere(far):
    for number in range(3):
        far.site.service.submit(plan(), author=f"mia-{number}")
    exported = far.laptop / "audit.jsonl"
    exported.write_text(far("mia", "audit-log", "export").out)
    whole = far.shell("audit-log", "verify", str(exported))
    assert whole.status == Exit.DONE
    assert whole.out == far("mia", "audit-log", "verify").out
    lines = exported.read_text().splitlines()
    kept = whole.out.strip()
    changed = json.dumps({**json.loads(lines[2]), "who": "eve"})
    for rows in (
        [*lines[:2], *lines[3:]],
        [*lines[:2], changed, *lines[3:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
        lines[1:],
    ):
        exported.write_text("\n".join(rows) + "\n")
        said = far.shell("audit-log", "verify", str(exported))
        assert said.status == Exit.UNEXPECTED
        assert "does not follow from the one before" in said.err
    exported.write_text("\n".join(lines[:-1]) + "\n")
    assert far.shell("audit-log", "verify", str(exported)).status == Exit.DONE
    cut = far.shell("audit-log", "verify", str(exported), "--last", kept)
    assert cut.status == Exit.UNEXPECTED
    assert "rows were cut off" in cut.err
    assert far("mia", "audit-log", "verify", "--last", kept).status == Exit.DONE
    assert far("mia", "audit-log", "verify", "--last", "0" * 64).status == Exit.UNEXPECTED


# Following ----------------------------------------------------------------------------------------


def test_watching_hears_of_what_others_do(far):
    two_users(far)
    run = far.site.service.submit(plan(approvals=1), author="mia")
    far.site.service.go_on()

    def meanwhile() -> None:
        time.sleep(0.5)
        far.site.service.runs.cancel(run, who="kim", reason="a drill")

    other = threading.Thread(target=meanwhile)
    other.start()
    said = far("eve", "watch", run)
    other.join()
    assert said.status == Exit.REFUSED
    assert "cancelled" in said.out


def test_where_events_do_not_come_the_server_is_asked(far, monkeypatch):
    two_users(far)
    run = far.site.service.submit(plan(approvals=1), author="mia")
    far.site.service.go_on()
    monkeypatch.setattr("orchestrator.api.routes.events.MOST_CLIENTS", 0)
    monkeypatch.setattr(looking, "ASKED_EVERY", 0.1)
    other = threading.Timer(
        0.5, lambda: far.site.service.runs.cancel(run, who="kim", reason="a drill")
    )
    other.start()
    assert far("eve", "watch", run).status == Exit.REFUSED
    other.join()


# A server that is away ----------------------------------------------------------------------------


def test_a_server_that_is_away_is_a_sentence(far):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    far.address = f"http://127.0.0.1:{port}"
    for words in (("runs",), ("status", "last"), ("pause", "last")):
        said = far("mia", *words)
        assert said.status == Exit.UNREACHABLE
        assert "cannot be reached" in said.err
        assert said.out == ""


def test_a_token_that_is_not_valid_is_a_sentence(far):
    far.tokens["mia"].write_text("rst_" + "0" * 49)
    said = far("mia", "runs")
    assert said.status == Exit.REFUSED
    assert "does not know who asks" in said.err
    assert "rst_" not in said.err.replace("rst_…", "")


def test_names_are_not_taken_where_tokens_say_who_asks(far):
    two_users(far)
    far.write(plan(approvals=1))
    for words in (
        ("approve", "last", "--as", "jo"),
        ("submit", "plan.yaml", "--author", "jo"),
        ("submit", "plan.yaml", "--approve", "jo"),
        ("undo", "last", "--reason", "wrong", "--approve", "jo"),
    ):
        said = far("mia", *words)
        assert said.status == Exit.USAGE, words
        assert "knows you by your token" in said.err
    assert far("mia", "runs").out == ""


def test_a_real_server_process_answers(shell):
    put(shell.folder, material__ann__contacts__a_vcf=CARD.format("a1"))
    shell.service.run(plan())
    token = shell.process("token", "create", "mia", "--role", "operator").stdout.decode().strip()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    far = {"REINSTATE_HOME": str(shell.folder / "elsewhere"), "REINSTATE_TOKEN": token}
    with shell.started("api", REINSTATE_API=address) as server:
        assert server.stderr is not None
        assert "answering at" in server.stderr.readline()
        deadline = time.monotonic() + 30
        while (
            done := shell.process("status", "--server", f"http://{address}", **far)
        ).returncode == Exit.UNREACHABLE and time.monotonic() < deadline:
            time.sleep(0.2)
        assert done.returncode == Exit.DONE, done.stderr
        assert "finished" in done.stdout.decode()
        watched = shell.process("watch", "--server", f"http://{address}", **far)
        assert watched.returncode == Exit.DONE, watched.stderr
    assert not (shell.folder / "elsewhere").exists()
