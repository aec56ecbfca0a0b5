"""Draws `watch.svg` from a run under way: `python docs/pictures/make.py HOME docs/pictures`.

Start it beside `reinstate demo`, whose HOME is `demo/home`: it waits until some categories are
back and others are not, and draws what `reinstate watch` shows at that moment.
"""

import io
import os
import re
import sys
import time
from pathlib import Path

from rich.console import Console

from orchestrator.cli.picture import picture
from orchestrator.errors import ReinstateError
from orchestrator.ledger.database import Ledger
from orchestrator.lifecycle import CellState, RunState
from orchestrator.progress import Progress, Status
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings

WIDTH = 100


def main(home: str, folder: str) -> None:
    """Wait for the right moment of the last run of `home`, then draw it."""
    while not (Path(home) / "ledger.db").exists():
        time.sleep(0.1)
    settings = Settings.read({**os.environ, "REINSTATE_HOME": home})
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    while True:
        status = look(Progress(ledger, sealer), Runs(ledger, sealer))
        if status is not None and worth_a_picture(status):
            break
        time.sleep(0.02)
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(picture(status, watching=True))
    drawn = console.export_svg(title="reinstate watch")
    own_fonts = re.sub(r"@font-face \{[^}]*\}\s*", "", drawn)  # a picture fetches nothing
    (Path(folder) / "watch.svg").write_text(own_fonts)


def look(progress: Progress, runs: Runs) -> Status | None:
    """The last run as it stands; None while there is none."""
    try:
        return progress.status(runs.find("last"))
    except ReinstateError:
        return None


def worth_a_picture(status: Status) -> bool:
    """A phase is back, and another is in the middle of it."""
    back = any(phase.state is CellState.SETTLED for phase in status.phases)
    halfway = any(phase.units > 2 * phase.waiting > 0 for phase in status.phases)
    return status.run.state is RunState.RUNNING and back and halfway


if __name__ == "__main__":
    main(*sys.argv[1:])
