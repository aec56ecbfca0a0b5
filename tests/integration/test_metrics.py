"""What Prometheus is told: the ledger's sums, by whoever is asked; and what workers measured."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update

from orchestrator.conductor import Conductor
from orchestrator.embedded.one_machine import Engine
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.outcomes import UNBALANCED
from orchestrator.ledger.schema import bulletin, circuit, counter, trouble
from orchestrator.logs import configure_logs
from orchestrator.metrics.export import export
from orchestrator.metrics.families import FAMILIES, Kind
from orchestrator.metrics.ledger_gauges import LedgerGauges
from orchestrator.metrics.listening import exposed
from orchestrator.metrics.tally import Tally
from orchestrator.metrics.telling import Pair, Post
from orchestrator.planner import read_plan
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from tests.installed import Furnished, shared
from tests.populated import USERS, populated

__all__ = ["shared"]


def parsed(text):
    """Values by name and labels, these in the order in which the table has them."""
    found = {}
    for family in text_string_to_metric_families(text):
        known = FAMILIES.get(family.name) or FAMILIES[f"{family.name}_total"]
        for sample in family.samples:
            labels = [
                sample.labels[name] for name in (*known.labels, "le") if name in sample.labels
            ]
            found[sample.name, *labels] = sample.value
    return found


def gauges(ledger, **how):
    return LedgerGauges(ledger, Tally(), **{"every": 0.0, **how})


def look(ledger):
    return parsed(exposed(gauges(ledger).collect).decode())


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    site, run = populated(tmp_path_factory.mktemp("seen"))
    yield site, run
    site.close()


@pytest.mark.guarantee(17)
def test_every_gauge_is_the_ledgers_own_number(seen):
    site, run = seen
    found = look(site.service.ledger)
    status = site.service.status(run)
    assert found["reinstate_run_users", run] == USERS
    assert found["reinstate_run_info", run, "sidekick-2009", "restore", "running"] == 1
    for phase in status.phases:
        books = phase.books
        for outcome in ("restored", "quarantined", "pending", "present"):
            shown = found["reinstate_items", run, phase.category, outcome]
            assert shown == getattr(books, outcome)
        assert found["reinstate_lost_items", run, phase.category] == books.lost
        states = {
            state: found["reinstate_units", run, phase.category, state]
            for state in ("settled", "failed", "held", "cancelled", "waiting")
        }
        assert sum(states.values()) == phase.units == USERS
        assert (states["settled"], states["failed"]) == (phase.settled, phase.failed)
    assert found["reinstate_unbalanced_books", run] == 0
    assert found["reinstate_cells", run, "held"] == 1
    assert found["reinstate_leaders",] == 1
    assert found["reinstate_progress_timestamp_seconds", run] > 0


@pytest.mark.guarantee(9)
def test_nobody_is_in_what_is_exported(seen):
    site, run = seen
    text = exposed(gauges(site.service.ledger).collect, site.service.measured.collect).decode()
    assert run in text
    assert "canary" not in text.replace('wave="canary"', "")
    assert "u_" not in text
    assert "sidekick-2009" in text


def test_books_that_do_not_balance_show(tmp_path):
    site, run = populated(tmp_path)
    ledger = site.service.ledger
    with ledger.begin() as connection:
        row = {"run": run, "phase": 0, "cause": UNBALANCED.fingerprint, "state": "failed"}
        connection.execute(insert(trouble).values(**row, slot=3, units=2))
    assert look(ledger)["reinstate_unbalanced_books", run] == 2
    with ledger.begin() as connection:
        broken = (counter.c.run == run) & (counter.c.phase == 0) & (counter.c.restored > 0)
        connection.execute(update(counter).where(broken).values(restored=counter.c.restored + 1))
    assert look(ledger)["reinstate_unbalanced_books", run] == 3
    site.close()


def test_promises_circuits_and_a_lost_leader_show(tmp_path):
    site, run = populated(tmp_path)
    ledger, clock = site.service.ledger, site.service.clock
    now = int(clock.now.timestamp() * 1000)
    said = {"run": run, "at": now, "text": "wait", "who": "jo"}
    with ledger.begin() as connection:
        connection.execute(insert(bulletin).values(id=1, next_due=now - 5_000, **said))
        connection.execute(insert(bulletin).values(id=2, next_due=now + 60_000, **said))
        connection.execute(
            insert(circuit).values(run=run, target="live", state="open", pause_ms=1, probe_at=now)
        )
    found = look(ledger)
    assert found["reinstate_promise_missed", run] == 0
    assert found["reinstate_promise_due_timestamp_seconds", run] == (now + 60_000) / 1000
    assert found["reinstate_circuit_open", run, "live"] == 1
    clock.advance(minutes=2)
    found = look(ledger)
    assert found["reinstate_promise_missed", run] == 1
    assert found["reinstate_leaders",] == 0
    site.close()


def test_the_ledger_is_asked_once_in_some_seconds_however_many_ask(seen):
    site, _ = seen
    now = [100.0]
    asked = gauges(site.service.ledger, every=5.0, monotonic=lambda: now[0])
    texts = set()
    for _ in range(10):
        texts.add(exposed(asked.collect))
        site.service.clock.advance(seconds=1)  # changes the skew, were it looked at again
    assert len(texts) == 1
    now[0] += 5.0
    assert exposed(asked.collect) not in texts


def test_a_ledger_that_is_away_takes_its_gauges_with_it():
    away = Ledger("postgresql://nobody@127.0.0.1:1/none")
    found = look(away)
    assert [name for name, *_ in found] == ["reinstate_build_info"]


def test_a_process_works_on_where_its_address_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {"HOME": str(tmp_path), "METRICS": f"127.0.0.1:{port}", "LOG": "info,json"}
        settings = Settings.read({f"REINSTATE_{name}": text for name, text in variables.items()})
        said = io.StringIO()
        configure_logs(settings, stream=said)
        export(settings, Tally())
    assert '"event": "metrics_refused"' in said.getvalue()


# API ----------------------------------------------------------------------------------------------


def test_the_api_tells_whoever_has_a_token_and_only_of_runs_that_they_see(shared: Furnished):
    assert shared.anonymous().get("/metrics").status_code == 401
    narrow = shared.client("viewer", scopes=["metrics"])
    answer = narrow.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = parsed(answer.text)
    assert found["reinstate_run_info", shared.run, "small", "restore", "finished"] == 1
    assert found["reinstate_request_seconds_count", "GET", "/metrics", "401"] == 1
    assert narrow.get("/api/v1/runs").status_code == 403
    elsewhere = shared.client("viewer", runs=["0123abcd"])
    text = elsewhere.get("/metrics").text
    assert shared.run not in text
    assert "reinstate_leaders" in text


def test_no_address_is_a_label(shared: Furnished):
    client = shared.client("viewer", scopes=["metrics"])
    client.get("/nothing/here/canary-user")
    client.get(f"/api/v1/runs/{shared.run}/users/canary-user")
    client.request("CANARY", "/metrics")
    assert "canary" not in client.get("/metrics").text.lower()


# Conductor and workers ----------------------------------------------------------------------------


def test_a_conductor_counts_what_it_hands_out(seen):
    site, _ = seen
    conductor: Conductor = site.service.conductor
    found = parsed(exposed(conductor.tally.collect).decode())
    assert found["reinstate_dispatched_batches_total",] == len(site.service.rings.rung)
    assert conductor.leads


def test_a_worker_measures_attempts_and_requests(seen):
    site, run = seen
    found = parsed(exposed(site.service.measured.collect).decode())
    phases = {phase.category: phase for phase in site.service.status(run).phases}
    settled = found["reinstate_attempts_total", "restore", "contacts", "settled"]
    assert settled == phases["contacts"].settled
    assert found["reinstate_written_items_total", "live"] >= phases["contacts"].books.restored
    assert found["reinstate_written_bytes_total", "live"] > 0
    for request in ("survey", "fetch", "write"):
        assert found["reinstate_target_request_seconds_count", "live", request] > 0
    assert found["reinstate_batch_seconds_count", "inspect", "", "done"] == 1


def test_every_metric_is_exported_by_somebody(seen):
    site, _ = seen
    names = set()
    for collect in (
        gauges(site.service.ledger).collect,
        site.service.measured.collect,
        site.service.conductor.tally.collect,
    ):
        names |= {family.name for family in collect()}
    histograms = {name for name, family in FAMILIES.items() if family.kind is Kind.HISTOGRAM}
    missing = {name for name in FAMILIES if name.removesuffix("_total") not in names} - histograms
    assert missing <= {
        # each of these has a test of its own
        "reinstate_batches_out",
        "reinstate_delivery_attempts_total",
        "reinstate_circuit_open",
        "reinstate_promise_due_timestamp_seconds",
        "reinstate_promise_missed",
        "reinstate_conductor_leading",
        "reinstate_reclaimed_batches_total",
        "reinstate_ledger_clock_set_back_total",
    }


FORKING = """
import os, sys, time
from orchestrator.metrics.listening import listen
from orchestrator.metrics.tally import Tally
from orchestrator.metrics.telling import Pair

pair, tally = Pair(), Tally()
let_go = None
def child():
    pid = os.fork()
    if pid:
        return pid
    if let_go:
        let_go()
    own = Tally()
    while True:
        own.count("reinstate_attempts_total", "restore", "contacts", "settled")
        pair.tell(own.take())
        time.sleep(0.001)
first = [child() for _ in range(2)]
pair.listen(tally)
let_go = listen(("127.0.0.1", int(sys.argv[1])), tally.collect)
print(*first, flush=True)
for line in sys.stdin:
    print(child(), flush=True)
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def free(port):
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def asked(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return parsed(answer.read().decode())


def attempts(port):
    return asked(port).get(("reinstate_attempts_total", "restore", "contacts", "settled"), 0)


def test_children_that_are_killed_take_nothing_back():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    children = [int(pid) for pid in process.stdout.readline().split()]
    try:
        before = 0
        deadline = time.monotonic() + 20
        while not attempts(port):  # each child begins in its own time
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(8):
            while (now := attempts(port)) == before:
                assert time.monotonic() < deadline
            assert now > before, "it never goes back, and it goes on"
            before = now
            os.kill(children.pop(0), signal.SIGKILL)
            process.stdin.write("another\n")
            process.stdin.flush()
            children.append(int(process.stdout.readline()))
        process.kill()
        process.wait()
        while not free(port):  # no child kept the address of the one that listened
            assert time.monotonic() < deadline
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_telling_nobody_costs_nothing_and_raises_nothing(tmp_path):
    post = Post(tmp_path / "nobody")
    post.tell(b"x" * 10)
    post.close()
    pair = Pair()
    for _ in range(10_000):
        pair.tell(b"x" * 1_000)  # nobody reads: what does not fit is dropped
    pair.close()


def test_whoever_listens_at_a_path_takes_the_place_of_who_did_before(tmp_path):
    path = tmp_path / "metrics"
    for _ in range(2):
        tally = Tally()
        Post(path).listen(tally)
    own = Tally()
    own.count("reinstate_written_items_total", "pim", by=7)
    post = Post(path)
    post.tell(own.take())
    post.close()
    deadline = time.monotonic() + 10
    while not list(tally.collect()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert parsed(exposed(tally.collect).decode())["reinstate_written_items_total", "pim"] == 7


PLAN = """
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {cache: {kind: vdir, path: cache}}
targets: {pim: {kind: vdir, path: pim}}
approvals: 0
phases: [{restore: contacts, to: pim}]
"""
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:B;A;;;\r\nFN:A B\r\nEND:VCARD\r\n"


@pytest.mark.long
def test_one_machine_answers_for_all_its_processes_at_one_address(tmp_path):
    port = free_port()
    variables = {"HOME": str(tmp_path / "home"), "WORKERS": "2", "METRICS": f"127.0.0.1:{port}"}
    settings = Settings.read({f"REINSTATE_{name}": text for name, text in variables.items()})
    for user in ("ann", "bob"):
        folder = tmp_path / "cache" / user / "contacts"
        folder.mkdir(parents=True)
        (folder / "1.vcf").write_bytes(CARD)
    (tmp_path / "pim").mkdir()
    with Engine(settings):
        ledger = Ledger(settings.ledger_url)
        plan = read_plan(PLAN.encode(), path="plan.yaml", base=tmp_path)
        given = Submission(plan=plan, text=PLAN, folder=str(tmp_path), author="mia")
        run = Runs(ledger, load_sealer(settings)).submit(given)
        wanted = {
            ("reinstate_attempts_total", "restore", "contacts", "settled"): 2,
            ("reinstate_written_items_total", "pim"): 2,
            ("reinstate_items", run, "contacts", "restored"): 2,
            ("reinstate_dispatched_batches_total",): 2,
            ("reinstate_leaders",): 1,
        }
        deadline = time.monotonic() + 40
        found = {}
        while {name: found.get(name) for name in wanted} != wanted:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
            with contextlib.suppress(OSError):
                found = asked(port)
        ledger.close()
