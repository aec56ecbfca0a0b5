"""The ledger's PostgreSQL is killed, restarted, cut off, full and blocked; it stays the truth."""

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults.breakable import Breakable
from tests.faults.cargo import BOTH, CONTACTS, Cargo
from tests.faults.clocks import Clock
from tests.faults.installation import Installation, Process

SLOWLY = BOTH.replace("pim}", "pim, limits: {rate: 500/s}}")


@pytest.fixture
def breakable():
    server = Breakable()
    with server.connect() as connection:
        connection.execute("CREATE DATABASE ledger")
    yield server
    server.stop()


@pytest.mark.guarantee(6)
def test_a_postgresql_that_is_cut_off_read_only_or_crashes_loses_and_doubles_nothing(
    breakable, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=500, phases=SLOWLY)
    with Installation(tmp_path / "home", ledger_url=breakable.url("ledger")) as here:
        here.start(workers=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        for _ in range(4):
            breakable.cut("ledger")
            time.sleep(0.2)
        here.until(lambda: here.settled(run) > 0)
        with breakable.connect() as connection:
            connection.execute("ALTER DATABASE ledger SET default_transaction_read_only = on")
            breakable.cut("ledger")
            time.sleep(1.0)
            connection.execute("ALTER DATABASE ledger SET default_transaction_read_only = off")
            breakable.cut("ledger")
        before = here.settled(run)
        here.until(lambda: here.settled(run) > before)
        here.ledger.close()
        breakable.crash()
        time.sleep(1.0)
        breakable.come_back()
        here.finish(run)
        assert here.processes["conductor1"].starts == 1
    assert cargo.wrongs() == []


@pytest.mark.long
@pytest.mark.guarantee(18)
def test_a_ledger_whose_clock_is_set_ahead_and_back_by_an_hour_loses_and_doubles_nothing(
    fresh_database, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=400, phases=SLOWLY)
    clock = Clock(fresh_database)
    with Installation(tmp_path / "home", ledger_url=fresh_database) as here:
        here.start(workers=2, conductors=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        for seconds in (3600, 0, -3600):
            clock.set(seconds)
            before = here.settled(run)
            here.until(lambda before=before: here.settled(run) > before)
        here.finish(run)
        assert "ledger_clock_set_back" in here.log("conductor1") + here.log("conductor2")
    assert cargo.wrongs() == []


@pytest.mark.long
@pytest.mark.guarantee(3)
def test_a_connection_cut_after_commit_was_sent_settles_nothing_twice(
    postgres, fresh_database, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=300, phases=CONTACTS)
    line = Path(tempfile.mkdtemp(prefix="reinstate-line-"))
    socket = ".s.PGSQL.5432"
    proxy = Process(
        "proxy",
        [
            *(sys.executable, str(Path(__file__).with_name("proxy.py"))),
            *(str(line / socket), str(postgres.folder / socket), "COMMIT", "7"),
        ],
        dict(os.environ),
        tmp_path / "proxy.log",
    )
    try:
        while not (line / socket).exists():
            time.sleep(0.01)
        through = fresh_database.replace(str(postgres.folder), str(line))
        with Installation(tmp_path / "home", ledger_url=fresh_database) as here:
            here.environ["REINSTATE_LEDGER_URL"] = through
            here.start(workers=1)
            run = here.submit(cargo.plan, cargo.folder)
            here.finish(run)
            assert "conductor_waits" in here.log("conductor1")
            assert here.processes["conductor1"].starts == 1
        assert cargo.wrongs() == []
    finally:
        proxy.stop()
        (line / socket).unlink(missing_ok=True)
        line.rmdir()
