"""Keeps programs running: starts them, starts them again when they end, stops them in order.

Knows nothing of what they do. Single-threaded on purpose: a child's death signal (`lifeline`) is
tied to the thread that started it.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from orchestrator.lifeline import die_with_parent
from orchestrator.logs import get_logger

log = get_logger("supervisor")

LOG_BYTES = 10 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 15.0
STEADY_SECONDS = 30.0
"""A program that ran so long starts anew at the first pause when it ends."""


class Program(Struct, frozen=True, kw_only=True):
    """Something to keep running."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path
    """Its working folder."""
    patience: float = 5.0
    """Seconds from being asked to stop until it is killed."""


class Running(Struct, frozen=True, kw_only=True):
    """A program as it is now; `pid` is None while it waits to be started again."""

    name: str
    pid: int | None
    restarts: int


class Child:
    """One program and its process. It leads a process group, so that its own children go too."""

    def __init__(self, program: Program, log_folder: Path) -> None:
        """Starts nothing yet."""
        self.program = program
        self.restarts = -1
        self._log = log_folder / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self._due = 0.0
        self._pause = FIRST_PAUSE

    @property
    def pid(self) -> int | None:
        """The running process, if there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it now."""
        _make_room(self._log)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  the command is ours
                self.program.command,
                env=dict(self.program.environ),
                cwd=self.program.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt at the terminal is the command line's
                preexec_fn=die_with_parent,  # noqa: PLW1509  no threads here, see above
            )
        self._since = time.monotonic()
        self.restarts += 1

    def tend(self) -> bool:
        """Notice its end, start it again when that is due; whether anything changed."""
        now = time.monotonic()
        if self._process is None:
            if now < self._due:
                return False
            self.start()
            return True
        code = self._process.poll()
        if code is None:
            return False
        if now - self._since > STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        log.warning(
            "program_ended", program=self.program.name, exit_code=code, retry_in=self._pause
        )
        self._sweep()
        self._process = None
        self._due = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return True

    def ask(self) -> None:
        """Ask it to stop."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Make it stop, with everything it started."""
        if self._process is not None and self._process.poll() is None:
            self._sweep()

    def ended(self) -> bool:
        """Whether no process is left; never starts one."""
        if self._process is not None and self._process.poll() is not None:
            self._sweep()
            self._process = None
        return self._process is None

    def _sweep(self) -> None:
        """Kill whoever is left of its process group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


class Supervisor:
    """A list of programs, in the order in which they are started; stopped the other way round."""

    def __init__(self, programs: Iterable[Program], *, log_folder: Path) -> None:
        """Starts nothing yet."""
        log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.children = [Child(program, log_folder) for program in programs]

    def start(self) -> None:
        """Start every program that does not run."""
        for child in self.children:
            if child.pid is None:
                child.start()

    def tend(self) -> bool:
        """One round of looking after; whether anything changed."""
        changes = [child.tend() for child in self.children]  # each of them, not up to the first
        return any(changes)

    def running(self) -> tuple[Running, ...]:
        """Every program, as it is."""
        return tuple(
            Running(name=child.program.name, pid=child.pid, restarts=max(0, child.restarts))
            for child in self.children
        )

    def kill(self, pid: int) -> None:
        """Kill the program that runs as `pid`, if it is one of these; `tend` starts it again."""
        for child in self.children:
            if child.pid == pid:
                child.kill()

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything: the last started first, those of one rank together.

        Programs whose names differ only in their number are of one rank. Asked again and
        again, `hurry` says whether to kill those that still run.
        """
        while self.children:
            rank = _rank(self.children[-1])
            leaving = [child for child in self.children if _rank(child) == rank]
            self.children = [child for child in self.children if _rank(child) != rank]
            _stop_together(leaving, hurry=hurry)


def _rank(child: Child) -> str:
    return child.program.name.rstrip("0123456789")


def _stop_together(children: list[Child], *, hurry: Callable[[], bool]) -> None:
    for child in children:
        child.ask()
    begun = time.monotonic()
    while waiting := [child for child in children if not child.ended()]:
        for child in waiting:
            if hurry() or time.monotonic() - begun > child.program.patience:
                child.kill()
        time.sleep(0.01)


def _make_room(path: Path) -> None:
    """Keep one older log file, so that logs do not grow for ever."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
