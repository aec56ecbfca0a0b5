"""The one seam between the commands and what they ask: here in process, later over the network."""

import getpass
import os
from collections.abc import Generator
from contextlib import contextmanager
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


@contextmanager
def engine_for(settings: Settings) -> Generator[Engine | None]:
    """An engine for as long as it is needed, where none runs and no broker is configured."""
    if settings.broker_url != AUTO or engine_running(settings.home):
        yield None
        return
    with Engine(settings) as engine:
        yield engine


def operator(name: str | None) -> str:
    """Who is at the keyboard, unless they say otherwise."""
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
