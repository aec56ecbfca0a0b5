"""A whole installation of real processes that a test may kill, freeze, flush and cut at will.

Redis, ledger, Celery workers that fork, conductors: started as in production, only with short
leases. Nothing is replaced. Whatever a test does to them, they end with it.
"""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil
from sqlalchemy import func, select

from orchestrator.audit import audit
from orchestrator.errors import Unavailable
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import batch, unit
from orchestrator.lifecycle import TERMINAL_RUNS, BatchState, RunState, UnitState
from orchestrator.lifeline import die_with_parent
from orchestrator.planner import read_plan
from orchestrator.progress import Progress
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from tests.brokers import RedisServer

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 2
KEY = base64.b64encode(bytes(range(32))).decode()
QUEUE_KEY = "reinstate:reinstate"
"""Where Redis keeps the messages."""


class Process:
    """One program of the installation, with every process that it forked."""

    def __init__(self, name: str, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environ = environ
        self._popen: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start processes in one thread
            )
        self.starts += 1

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> int | None:
        """The exit status; None while it runs."""
        return self._popen.poll()

    def children(self) -> list[int]:
        """Its pool: the processes that do the work."""
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send it, and to everything that it forked, a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """kill -9 of the main process alone."""
        self._popen.kill()
        self._popen.wait()

    def revive(self) -> bool:
        """What a supervisor does: start it again where it ended."""
        if self.ended is None:
            return False
        self.start()
        return True

    def stop(self) -> None:
        """End it with everything that it forked, at once."""
        self.signal(signal.SIGKILL)
        self._popen.wait()
        gone(self.pid)


def gone(group: int, seconds: float = 10.0) -> None:
    """Wait until no process of that group is left."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        if not any(_lives(process, group) for process in psutil.process_iter()):
            return
        assert time.monotonic() < deadline, f"processes of {group} are still there"
        time.sleep(0.02)


def _lives(process: psutil.Process, group: int) -> bool:
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


class Installation:
    """Redis, a ledger, workers and conductors in one folder; empty when it is entered."""

    def __init__(
        self,
        folder: Path,
        *,
        ledger_url: str | None = None,
        broker_url: str | None = None,
        lease_seconds: int = LEASE_SECONDS,
        children: int = 2,
        environ: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.redis = RedisServer()
        self.lease = lease_seconds
        self._children = children
        url = ledger_url or f"sqlite:///{folder / 'ledger.db'}"
        self.settings = Settings.read(
            {
                "REINSTATE_HOME": str(folder / "home"),
                "REINSTATE_LEDGER_URL": url,
                "REINSTATE_BROKER_URL": broker_url or self.redis.url,
                "REINSTATE_LEASE_SECONDS": str(lease_seconds),
                "REINSTATE_WORKERS": str(children),
                "REINSTATE_LOG": "info json",
                "REINSTATE_KEY": KEY,
            }
        )
        self.settings.ensure_home()
        self.sealer = load_sealer(self.settings)
        self.ledger = Ledger(url)
        self.ledger.prepare(key_check=self.sealer.check)
        self.runs = Runs(self.ledger, self.sealer)
        self.progress = Progress(self.ledger, self.sealer)
        self.processes: dict[str, Process] = {}
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ},
            **self.settings.environment(),
            "PYTHONPATH": str(ROOT),
            **(environ or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left behind."""
        for process in self.processes.values():
            process.stop()
        self.ledger.close()
        self.redis.stop()

    # Processes ----------------------------------------------------------------------------------

    def worker(self, name: str = "worker1", *, children: int | None = None) -> Process:
        """Start a worker as production does."""
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", "worker"]
        command += [f"--concurrency={children or self._children}", f"--hostname={name}@%h"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return self._launch(name, command)

    def conductor(self, name: str = "conductor1") -> Process:
        """Start a conductor."""
        return self._launch(name, [sys.executable, "-m", "orchestrator.conductor"])

    def _launch(self, name: str, command: list[str]) -> Process:
        log = self.folder / f"{name}.log"
        self.processes[name] = Process(name, command, self.environ, log)
        return self.processes[name]

    def start(self, *, workers: int = 1, conductors: int = 1) -> Self:
        for number in range(1, conductors + 1):
            self.conductor(f"conductor{number}")
        for number in range(1, workers + 1):
            self.worker(f"worker{number}")
        return self

    def tend(self) -> None:
        """Be the supervisor: start again what ended."""
        for process in self.processes.values():
            process.revive()

    # Runs ---------------------------------------------------------------------------------------

    def submit(self, text: str, folder: Path) -> str:
        return self.runs.submit(
            Submission(
                plan=read_plan(text.encode(), path="plan.yaml", base=folder),
                text=text,
                folder=str(folder),
                author="mia",
            )
        )

    def state(self, run: str) -> RunState:
        return self.progress.state(run)

    def settled(self, run: str) -> int:
        """So many units are settled."""
        with self.ledger.read() as connection:
            return connection.execute(
                select(func.count()).where(
                    unit.c.run == run, unit.c.state.in_((UnitState.SETTLED, UnitState.FAILED))
                )
            ).scalar_one()

    def batches(self, state: BatchState) -> list[tuple[int, int, str]]:
        """Number, epoch and holder of the batches in that state."""
        with self.ledger.read() as connection:
            rows = connection.execute(
                select(batch.c.id, batch.c.epoch, batch.c.worker).where(batch.c.state == state)
            ).all()
        return [tuple(row) for row in rows]

    def holders(self) -> set[int]:
        """The processes that hold a batch now."""
        return {int(name.split(":")[1]) for _, _, name in self.batches(BatchState.RUNNING)}

    def until(
        self, condition: Callable[[], object], seconds: float = 60.0, *, pause: float = 0.02
    ) -> None:
        """Wait for something, being the supervisor meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._holds(condition):
            self.tend()
            assert time.monotonic() < deadline, self.story()
            time.sleep(pause)

    def _holds(self, condition: Callable[[], object]) -> bool:
        """Not while the ledger is away from us, too."""
        with contextlib.suppress(Unavailable):
            return bool(condition())
        return False

    def finish(self, run: str, seconds: float = 90.0) -> None:
        """Wait for the run's end; what the audit finds is an error."""
        self.until(lambda: self.state(run) in TERMINAL_RUNS, seconds)
        assert self.state(run) is RunState.FINISHED, self.story()
        assert audit(self.ledger, run) == []

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def story(self) -> str:
        """What everybody said last, for whoever has to find out."""
        return "\n".join(self._tails())

    def _tails(self) -> Iterator[str]:
        for name, process in self.processes.items():
            yield f"--- {name}, started {process.starts} times, ended: {process.ended}"
            yield self.log(name)[-3000:]
