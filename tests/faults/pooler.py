"""A real PgBouncer: each transaction may go over another connection to the server."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from orchestrator.lifeline import die_with_parent
from tests.servers import PATIENCE, Postgres, _as, _server_user

CONFIGURATION = """\
[databases]
* = host={server} port=5432 user=postgres
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = {folder}
unix_socket_mode = 0777
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
logfile = {folder}/log
pidfile = {folder}/pid
"""


def pooler_program() -> str | None:
    """Where PgBouncer is, if it is."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Pooler:
    """Started when this returns; few connections to the server, so that they are really shared."""

    def __init__(self, postgres: Postgres, *, mode: str = "transaction", size: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-pool-"))
        user = _server_user()
        if user is not None:
            shutil.chown(self.folder, user.pw_uid, user.pw_gid)
        self.folder.chmod(0o755)
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(server=postgres.folder, folder=self.folder, mode=mode, size=size)
        )
        self._process = subprocess.Popen(
            [pooler_program(), "--quiet", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            **_as(user),
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, self.said()
            assert self._process.poll() is None, self.said()
            time.sleep(0.02)

    def url(self, database: str) -> str:
        """The address of a database through it."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def said(self) -> str:
        """Its log."""
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def stop(self) -> None:
        """End it and remove what it wrote."""
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(
                host=str(self.folder), user="postgres", dbname="postgres", prepare_threshold=None
            ).close()
            return True
        return False
