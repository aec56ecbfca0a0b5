"""Everything on one machine with one command: broker, workers, conductor, pages, kept running.

    with Engine(settings) as engine:
        …  # submit a plan, watch it; every process is gone afterwards

One engine a home: of several, the first one works and the others stand by, ready to take over
when it goes. The engine is a process of its own that ends with whoever started it, even when that
one is killed; and what the engine started ends with the engine.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import msgspec

from orchestrator.embedded.brokers import Broker, choose, make_runtime_folder, runtime_folder
from orchestrator.embedded.supervisor import Program, Running, Supervisor
from orchestrator.embedded.watch import Watch
from orchestrator.errors import ReinstateError, Unavailable
from orchestrator.ledger.database import Ledger
from orchestrator.lifeline import Lifeline
from orchestrator.logs import configure_logs, get_logger, own_uncaught
from orchestrator.sealing import load_sealer
from orchestrator.settings import AUTO, Settings

log = get_logger("engine")

CHILDREN_A_WORKER = 4
"""Above this, one worker's main process becomes the limit."""
DRAIN_SECONDS = 35.0
START_SECONDS = 30.0
ROUND_SECONDS = 0.1


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself, in `<home>/engine.json`."""

    pid: int
    broker: str
    broker_url: str | None
    """Only of a broker that the engine started: a configured one may hold a password."""
    programs: tuple[Running, ...]


# What runs --------------------------------------------------------------------------------------


def programs(settings: Settings, broker: Broker, *, answering: bool = False) -> list[Program]:
    """What one machine needs, in the order of starting; `answering`: API and dashboard, too."""
    own = replace(settings, broker_url=broker.url, log_file=None, log_format="json")
    told = runtime_folder(settings.home) / "metrics"
    inner = replace(own, metrics=None if settings.metrics is None else told)
    environ = {**os.environ, **inner.environment()}
    home = settings.home
    python = (sys.executable, "-P")  # -P: nothing is imported from the working folder by accident
    workers = [
        Program(
            name=f"worker{number}",
            command=(*python, *worker_command(pool, children, node=f"{number}-{os.getpid()}")),
            environ=environ,
            folder=home,
            patience=DRAIN_SECONDS,
        )
        for number, (pool, children) in enumerate(_pools(settings.workers, broker), start=1)
    ]
    alone = {"conductor": "orchestrator.conductor"} | (
        {"api": "orchestrator.web"} if answering else {}
    )
    others = [
        Program(name=name, command=(*python, "-m", module), environ=environ, folder=home)
        for name, module in alone.items()
    ]
    metrics = Program(
        name="metrics",
        command=(*python, "-m", "orchestrator.metrics.export", str(told)),
        environ={**os.environ, **own.environment()},
        folder=home,
    )
    first = [*([broker.program] if broker.program else []), *([metrics] if own.metrics else [])]
    return [*first, *workers, *others]


def _pools(processes: int, broker: Broker) -> Iterator[tuple[str, int]]:
    """The pool and size of each worker: solo where forking is not safe."""
    if broker.folder is not None:
        yield from [("solo", 1)] * processes
        return
    mains = -(-processes // CHILDREN_A_WORKER)
    for at in range(mains):
        yield "prefork", processes // mains + (at < processes % mains)


def worker_command(pool: str, children: int, *, node: str) -> tuple[str, ...]:
    """What Python is asked to run as a worker; `node` tells it from others of this machine."""
    return (
        *("-m", "celery", "--quiet", "--app=workers.app", "worker"),
        *(f"--pool={pool}", f"--concurrency={children}", f"--hostname=reinstate{node}@%h"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


# The engine's own process ------------------------------------------------------------------------


def keep_running(
    settings: Settings,
    *,
    lifeline: Lifeline | None = None,
    answering: bool = False,
) -> None:
    """Be the engine of this home, once no other is, until SIGTERM, SIGINT or the lifeline's end.

    Raises `Refused` or `Unavailable` where ledger, key or home forbid it. For the main thread of
    a process that has no others.
    """
    stop = _StopRequested()
    settings.ensure_home()
    with _sole_engine(settings.home, stop, lifeline) as first:
        if not first:
            return
        sealer = load_sealer(settings)  # a key is made here, not by many workers at once
        ledger = Ledger(settings.ledger_url)
        ledger.prepare(key_check=sealer.check)
        watch = Watch(ledger, lease_seconds=settings.lease_seconds)
        broker = choose(settings)
        supervisor = Supervisor(
            programs(settings, broker, answering=answering), log_folder=settings.log_folder
        )
        log.info("engine_started", broker=broker.kind, workers=settings.workers, pid=os.getpid())
        try:
            supervisor.start()
            _publish(settings.home, broker, supervisor)
            while not stop.requested(lifeline, within=ROUND_SECONDS):
                if supervisor.tend():
                    _publish(settings.home, broker, supervisor)
                watch(supervisor, broker)
        finally:
            supervisor.stop(hurry=lambda: stop.twice)
            ledger.close()
            _status_file(settings.home).unlink(missing_ok=True)
            shutil.rmtree(runtime_folder(settings.home), ignore_errors=True)
            log.info("engine_stopped", pid=os.getpid())


class _StopRequested:
    """Counts SIGTERM and SIGINT; the second one means: at once."""

    def __init__(self) -> None:
        self._count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

    @property
    def twice(self) -> bool:
        return self._count > 1

    def requested(self, lifeline: Lifeline | None, *, within: float) -> bool:
        """Whether to stop; waits up to `within` seconds for it."""
        if lifeline is None:
            if not self._count:
                time.sleep(within)
            return self._count > 0
        return self._count > 0 or lifeline.cut(within=within) or self._count > 0


@contextlib.contextmanager
def _sole_engine(home: Path, stop: _StopRequested, lifeline: Lifeline | None) -> Generator[bool]:
    """Wait until no other engine has this home; False when asked to stop before that."""
    with _lock_file(home).open("ab") as file:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if stop.requested(lifeline, within=0.2):
                yield False
                return
        make_runtime_folder(home)
        yield True


def _lock_file(home: Path) -> Path:
    return home / "engine.lock"


def _status_file(home: Path) -> Path:
    return home / "engine.json"


def _publish(home: Path, broker: Broker, supervisor: Supervisor) -> None:
    status = EngineStatus(
        pid=os.getpid(),
        broker=broker.kind,
        broker_url=None if broker.kind == "configured" else broker.url,
        programs=supervisor.running(),
    )
    draft = _status_file(home).with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(status))
    draft.replace(_status_file(home))


# What others see of it ---------------------------------------------------------------------------


def engine_running(home: Path) -> bool:
    """Whether an engine works in this home now."""
    try:
        with _lock_file(home).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no home, or none that we may look into
        return False
    return False


def engine_status(home: Path) -> EngineStatus | None:
    """What the engine of this home says of itself; None while there is none, or not yet."""
    if not engine_running(home):
        return None
    try:
        return msgspec.json.decode(_status_file(home).read_bytes(), type=EngineStatus)
    except (OSError, msgspec.DecodeError):
        return None


def joined(settings: Settings) -> Settings:
    """The settings with the address of the running engine's broker, where they leave it open."""
    if settings.broker_url != AUTO:
        return settings
    status = engine_status(settings.home)
    if status is None or status.broker_url is None:
        return settings
    return replace(settings, broker_url=status.broker_url)


class Engine:
    """An engine for as long as a `with` block lasts: this home's only one, or standing by.

    `answering`: API and dashboard are among what it keeps running.
    """

    def __init__(self, settings: Settings, *, answering: bool = False) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._answering = answering
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it. Raises `Unavailable` when it does not come up; its log says why."""
        self._settings.ensure_home()
        self._settings.log_folder.mkdir(exist_ok=True, mode=0o700)
        self._start()
        try:
            self._await()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; workers finish the unit in hand and hand back the rest."""
        self._stop()

    @property
    def pid(self) -> int | None:
        """The engine's own process."""
        return self._process.pid if self._process is not None else None

    def status(self) -> EngineStatus | None:
        """Of whichever engine works in this home."""
        return engine_status(self._settings.home)

    def revive(self) -> None:
        """Start the engine's process again if it was killed; to be called now and then."""
        if self._process is not None and self._process.poll() is not None:
            self._start()

    def _start(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        with (self._settings.log_folder / "engine.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  the command is ours
                (
                    *(sys.executable, "-P", "-m", "orchestrator.embedded.one_machine"),
                    *("--lifeline", *(["--answering"] if self._answering else [])),
                ),
                env={**os.environ, **self._settings.environment()},
                cwd=self._settings.home,
                stdin=subprocess.PIPE,  # the lifeline
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _await(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._process is not None and self._process.poll() is None:
            if self.status() is not None:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        raise Unavailable(
            "the embedded engine did not come up",
            hint=f"its log says why: {self._settings.log_folder / 'engine.log'}",
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=DRAIN_SECONDS + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(arguments: Iterable[str] | None = None) -> None:
    """`python -m orchestrator.embedded.one_machine`: be the engine until asked to stop."""
    parser = argparse.ArgumentParser(description="the embedded engine of one home")
    parser.add_argument("--lifeline", action="store_true", help="end with standard input")
    parser.add_argument("--answering", action="store_true", help="with API and dashboard")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        settings = Settings.read(os.environ)
        configure_logs(settings)
        own_uncaught()
        lifeline = Lifeline(0) if options.lifeline else None
        keep_running(settings, lifeline=lifeline, answering=options.answering)
    except ReinstateError as error:
        log.error("engine_failed", error=error)  # noqa: TRY400  its text is not for logs
        sys.exit(1)


if __name__ == "__main__":
    main()
