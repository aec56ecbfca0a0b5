"""The one seam between the commands and what they ask: here in process, later over the network."""

import getpass
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from orchestrator.embedded.one_machine import Engine, engine_running
from orchestrator.ledger.database import Ledger
from orchestrator.logs import configure_logs
from orchestrator.progress import Progress
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer, load_sealer
from orchestrator.settings import AUTO, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything that a command may ask for."""

    settings: Settings
    ledger: Ledger
    sealer: Sealer
    runs: Runs
    progress: Progress

    def run(self, name: str) -> str:
        """The id of the run that a prefix, or `last`, stands for."""
        return self.runs.find(name)


@contextmanager
def session() -> Generator[Session]:
    """Open the ledger of this environment, made where there is none."""
    settings = Settings.read(os.environ)
    configure_logs(settings)
    settings.ensure_home()
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    ledger.prepare(key_check=sealer.check)
    try:
        yield Session(
            settings=settings,
            ledger=ledger,
            sealer=sealer,
            runs=Runs(ledger, sealer),
            progress=Progress(ledger, sealer),
        )
    finally:
        ledger.close()


class Attendance:
    """Sees to it that an engine works while somebody waits, where the broker is ours to start.

    It starts none where one works already, and takes over when that one goes.
    """

    def __init__(self, settings: Settings) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._engines = ExitStack()
        self._engine: Engine | None = None
        self.ours = False
        """Whether the engine ends when we do."""

    def tend(self) -> None:
        """Start an engine where there is none; start it again where it died."""
        if self._engine is not None:
            self._engine.revive()
        elif self._settings.broker_url == AUTO and not engine_running(self._settings.home):
            self.ours = True
            self._engine = self._engines.enter_context(Engine(self._settings))

    def close(self) -> None:
        """Stop our engine, if there is one."""
        self._engine = None
        self._engines.close()


@contextmanager
def attendance(settings: Settings) -> Generator[Attendance]:
    """Somebody who can start an engine, for as long as it is needed."""
    found = Attendance(settings)
    try:
        yield found
    finally:
        found.close()


def operator(name: str | None) -> str:
    """Who is at the keyboard, unless they say otherwise."""
    if name:
        return name.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
