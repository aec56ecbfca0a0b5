"""PgBouncer stands between every process and PostgreSQL: in transaction mode nobody notices."""

import re

import psycopg
import pytest

from orchestrator.doctor import examine
from tests.faults.cargo import BOTH, Cargo
from tests.faults.installation import Installation
from tests.faults.pooler import Pooler, pooler_program

TARGETS = """\
targets:
  live: {kind: sql, url: 'env:LIVE_URL', prefix: restored_}
"""


@pytest.fixture
def pooled(postgres, fresh_database):
    """Puts a pooler before the fresh database; the address through it."""
    if pooler_program() is None:
        pytest.skip("no pgbouncer here: tests/machine.sh installs it")
    poolers = []

    def through(mode):
        poolers.append(Pooler(postgres, mode=mode))
        return poolers[-1].url(fresh_database.split("/")[3].split("?")[0])

    yield through
    for pooler in poolers:
        pooler.stop()


@pytest.mark.long
@pytest.mark.guarantee(3)
def test_a_run_whose_ledger_and_target_are_behind_a_pooler_loses_and_doubles_nothing(
    pooled, fresh_database, tmp_path
):
    url = pooled("transaction")
    cargo = Cargo(tmp_path / "cargo", users=150, phases=BOTH)
    plan = cargo.plan.replace("targets:\n", TARGETS).replace("tasks, to: pim", "tasks, to: live")
    environ = {"LIVE_URL": url.replace("+psycopg", "")}
    with Installation(tmp_path / "home", ledger_url=url, environ=environ) as here:
        here.start(workers=2, conductors=2)
        run = here.submit(plan, cargo.folder)
        here.finish(run)
        logs = "".join(here.log(name) for name in here.processes)
        assert "conductor_waits" not in logs
        assert "batch_waits" not in logs
        assert [process.starts for process in here.processes.values()] == [1] * 4
        found = {check.name: check for check in examine(here.settings, {})}
        assert found["pooler"].ok
    held = cargo.held()
    with psycopg.connect(fresh_database.replace("+psycopg", "")) as live:
        for user, content in live.execute("SELECT user_id, content FROM restored_tasks"):
            held[user, "tasks", re.search(rb"mark-[-0-9a-z]+", content)[0]] += 1
    assert held == cargo.expected()


def test_a_pooler_that_cuts_transactions_is_found_and_said_how_to_mend(pooled, tmp_path):
    with Installation(tmp_path / "home", ledger_url=pooled("transaction")) as here:
        settings = here.settings.environment() | {"REINSTATE_LEDGER_URL": pooled("statement")}
        found = {check.name: check for check in examine(type(here.settings).read(settings), {})}
    assert not found["pooler"].ok
    assert "pool_mode=transaction" in found["pooler"].fix
