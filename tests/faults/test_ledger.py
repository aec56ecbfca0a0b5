"""The ledger's PostgreSQL is killed, restarted, cut off, full and blocked; it stays the truth."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from orchestrator.errors import Unavailable
from orchestrator.lifeline import die_with_parent
from tests.faults.cargo import BOTH, CONTACTS, Cargo
from tests.faults.installation import Installation, Process
from tests.servers import PATIENCE, Postgres, _as, _server_user

SLOWLY = BOTH.replace("pim}", "pim, limits: {rate: 500/s}}")


class Breakable(Postgres):
    """A PostgreSQL that can crash and come back."""

    def cut(self, database: str) -> None:
        """End every connection to one database."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )

    def crash(self) -> None:
        """An immediate shutdown: every backend is killed, nothing is written out."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + PATIENCE
        while (self.folder / "data" / "postmaster.pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def come_back(self) -> None:
        """Start it again as it was started; ready when this returns."""
        command = shlex.split((self.folder / "data" / "postmaster.opts").read_text())
        with (self.folder / "log").open("ab") as log:
            self.again = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  one thread
                **_as(_server_user()),
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        again = getattr(self, "again", None)
        if again is not None and again.poll() is None:
            again.send_signal(signal.SIGQUIT)
            again.wait(timeout=30)
        super().stop()


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
    cargo = Cargo(tmp_path / "cargo", users=800, phases=SLOWLY)
    with Installation(tmp_path / "home", ledger_url=breakable.url("ledger")) as here:
        here.start(workers=2)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        for _ in range(6):
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


def test_whoever_freezes_or_vanishes_in_mid_transaction_does_not_hold_up_the_others(
    fresh_database, tmp_path
):
    cargo = Cargo(tmp_path / "cargo", users=100, phases=CONTACTS)
    with Installation(tmp_path / "home", ledger_url=fresh_database) as here:
        here.start(workers=1, conductors=1)
        run = here.submit(cargo.plan, cargo.folder)
        here.until(here.holders)
        with pytest.raises(Unavailable), here.ledger.begin() as frozen:  # noqa: PT012  at its end
            frozen.exec_driver_sql("SELECT * FROM conductor FOR UPDATE")
            frozen.exec_driver_sql("SELECT * FROM batch FOR UPDATE")
            here.finish(run)
    assert cargo.wrongs() == []
