"""A real PostgreSQL that may crash, be cut off and come back."""

import os
import shlex
import signal
import subprocess
import time

import psycopg

from orchestrator.lifeline import die_with_parent
from tests.servers import PATIENCE, Postgres, _as, _server_user


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
