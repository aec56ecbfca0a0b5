"""The `reinstate` command as tests call it: here for breadth, as a process where that matters."""

import base64
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main, output
from tests.in_process import Service

KEY = base64.b64encode(bytes(range(32))).decode()
"""Of `tests.in_process.Service`."""
COMMAND = Path(sys.executable).with_name("reinstate")
SECONDS = 60.0

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{0}\r\nFN:{0}\r\nN:{0};;;;\r\nEND:VCARD\r\n"
CUT_CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:cut\r\nFN:cut\r\nN:cu"
PLAN = """\
version: 1
name: small
incident: {{as_of: 2009-10-01T00:00:00Z, reference: INC-7}}
{more}
sources: {{dev: {{kind: vdir, path: material}}}}
targets: {{out: {{kind: vdir, path: restored}}}}
waves: [{{name: canary, users: 1}}, {{name: everyone}}]
defaults: {{attempts: 1, gate: {{failed: 100%{gate}}}}}
phases:
  - {{restore: contacts, to: out}}
  - {{restore: notes, to: out}}
approvals: {approvals}
"""


def plan(*, approvals: int = 0, gate: str = "", more: str = "") -> str:
    """A plan for `material`: contacts, then notes; one user before the others."""
    return PLAN.format(approvals=approvals, gate=gate, more=more)


def put(folder: Path, **files: str) -> None:
    """Write texts below a folder: `material__ann__contacts__a_vcf="…"`."""
    for name, text in files.items():
        *parents, last = name.split("__")
        path = folder.joinpath(*parents, last.replace("_", ".", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


@dataclass(frozen=True)
class Said:
    """What a command did: its exit status and both of its outputs."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        """Its stdout as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """An operator's shell: a folder with a plan, and a home."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture
        self._service: Service | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, "REINSTATE_HOME": str(self.folder), "REINSTATE_KEY": KEY}

    @property
    def service(self) -> Service:
        """The installation behind it, in this process: carries out what is submitted."""
        if self._service is None:
            self._service = Service(self.folder)
        return self._service

    def carry_out(self) -> None:
        """Let the installation do what is due by the clock of commands, which is the real one."""
        clock = self.service.clock
        clock.now = max(clock.now, datetime.now(UTC) + timedelta(seconds=1))
        self.service.go_on()

    def __call__(self, *words: str) -> Said:
        """Run a command in this process."""
        output.console.cache_clear()
        output.notices.cache_clear()
        self._capture.readouterr()
        status = main.run(words)
        captured = self._capture.readouterr()
        return Said(int(status), captured.out, captured.err)

    def process(
        self, *words: str, cut: bool = False, **environ: str
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command as a process; `cut`: nobody reads what it writes."""
        command: Sequence[str | Path] = (COMMAND, *words)
        more: dict[str, Any] = {"stdout": subprocess.PIPE}
        if cut:
            reading, writing = os.pipe()
            os.close(reading)
            more = {"stdout": writing}
        try:
            return subprocess.run(
                command,
                **more,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**self.environ, **environ},
                timeout=SECONDS,
                check=False,
            )
        finally:
            if cut:
                os.close(more["stdout"])

    @contextlib.contextmanager
    def started(self, *words: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that runs while the test goes on; gone afterwards."""
        process = subprocess.Popen(
            (COMMAND, *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={**self.environ, **environ},
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def terminal(self, *words: str, columns: int = 100, **environ: str) -> tuple[int, str]:
        """Run a command on a terminal; its exit status and everything that it showed there."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            (COMMAND, *words),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self.folder,
            env={**self.environ, "TERM": "xterm", **environ},
        )
        os.close(slave)
        shown: list[bytes] = []
        with contextlib.suppress(OSError):  # the way a terminal says that nobody is left
            while piece := os.read(master, 4096):
                shown.append(piece)
        os.close(master)
        return process.wait(timeout=SECONDS), b"".join(shown).decode()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """What a process says on stderr up to the line that holds `text`."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if text in line:
            return said
    pytest.fail(f"never said {text!r}, but: {said}")


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    """A shell in an empty folder, with a home of its own."""
    for name in list(os.environ):
        if name.startswith("REINSTATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REINSTATE_HOME", str(tmp_path))
    monkeypatch.setenv("REINSTATE_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path, capsys)
    yield made
    if made._service is not None:
        made._service.work.close()
