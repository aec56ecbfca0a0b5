"""A PostgreSQL and a Redis of a benchmark's own, and workers and conductor on them.

Durable as in production: fsync, full page writes and autovacuum are on.
"""

import base64
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.lifeline import die_with_parent
from orchestrator.settings import Settings
from tests import servers as test_servers
from tests.brokers import RedisServer

ROOT = Path(__file__).resolve().parents[2]
DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "256MB",
}
CHILDREN = 4
"""Pool children in one Celery worker: a main process tops out near 1,000 messages a second."""


@contextmanager
def postgres() -> Iterator[test_servers.Postgres]:
    """A running PostgreSQL, removed afterwards."""
    server = test_servers.Postgres(DURABLE)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def database(server: test_servers.Postgres, name: str) -> Iterator[str]:
    """The address of an empty database, dropped afterwards."""
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield server.url(name)
    finally:
        with server.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis() -> Iterator[RedisServer]:
    """A running Redis, removed afterwards."""
    server = RedisServer()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def kinds() -> Iterator[Path]:
    """A folder for the path of modules, in which the kinds for measuring are installed.

    It holds what `pip install` would leave of a package with two entry points.
    """
    with tempfile.TemporaryDirectory(prefix="reinstate-kinds-") as name:
        information = Path(name) / "reinstate_benchmarks-1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: reinstate-benchmarks\nVersion: 1\n", encoding="utf-8"
        )
        (information / "entry_points.txt").write_text(
            "[reinstate.sources]\nbenchmarks = benchmarks.stand.kinds.sources\n"
            "[reinstate.targets]\nbenchmarks = benchmarks.stand.kinds.targets\n",
            encoding="utf-8",
        )
        sys.path.insert(0, name)
        try:
            yield Path(name)
        finally:
            sys.path.remove(name)


@dataclass
class Installation:
    """Real conductor and Celery workers on real servers; `stop` ends them all."""

    settings: Settings
    path: str
    folder: Path

    def __post_init__(self) -> None:
        """Nothing runs yet."""
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self, *, processes: int) -> None:
        """One conductor, and as many worker processes, four to a Celery worker."""
        self._run("-m", "orchestrator.conductor")
        for first in range(0, processes, CHILDREN):
            self._run(
                *("-m", "celery", "--quiet", "--app=workers.app", "worker", "--pool=prefork"),
                f"--concurrency={min(CHILDREN, processes - first)}",
                f"--hostname=bench{first}@%h",
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            )

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes by what they are for."""
        conductor, *workers = (program.pid for program in self._programs)
        return {"workers": workers, "conductor": [conductor]}

    def _run(self, *words: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._programs.append(
                subprocess.Popen(
                    [sys.executable, *words],
                    env={**os.environ, **self.settings.environment(), "PYTHONPATH": self.path},
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent,  # noqa: PLW1509  one thread starts them
                )
            )

    def stop(self) -> None:
        """Ask all to end and wait for it."""
        for program in self._programs:
            program.send_signal(signal.SIGTERM)
        for program in self._programs:
            try:
                program.wait(timeout=20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._programs.clear()


@contextmanager
def installation(ledger_url: str, broker: RedisServer, *, processes: int) -> Iterator[Installation]:
    """Workers and conductor, ready to be given runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reinstate-bench-")))
        path = stack.enter_context(kinds())
        settings = Settings.read(
            {
                "REINSTATE_HOME": str(folder),
                "REINSTATE_LEDGER_URL": ledger_url,
                "REINSTATE_BROKER_URL": broker.url,
                "REINSTATE_KEY": base64.b64encode(bytes(range(32))).decode(),
                "REINSTATE_WORKERS": str(processes),
                "REINSTATE_LOG": "warning,json",
            }
        )
        made = Installation(
            settings=settings, path=os.pathsep.join((str(path), str(ROOT))), folder=folder
        )
        stack.callback(made.stop)
        made.start(processes=processes)
        yield made
