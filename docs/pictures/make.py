"""Makes watch.svg of a real run: `python docs/pictures/make.py`.

The people of the demo lose their data, their plan is carried out, and what `reinstate watch` shows
when about half is done is kept.
"""

import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from orchestrator.cli.picture import picture
from orchestrator.cli.plans import hand_in
from orchestrator.cli.session import asking
from orchestrator.cli.waiting import approve_as_inspected
from orchestrator.embedded.one_machine import Engine
from orchestrator.lifecycle import CellState, RunState
from orchestrator.settings import Settings
from plans.sample.population import PLAN, make_population

USERS = 1_500
SEED = 2009
SHARE = 0.5
WIDTH = 116
PICTURES = Path(__file__).parent


def picture_of_a_run(folder: Path) -> str:
    """The run of a population, as SVG, at the moment when enough of it is done."""
    make_population(folder, users=USERS, seed=SEED)
    with asking("mia") as asked, Engine(Settings.read(os.environ)):
        run_id = hand_in(asked, folder / PLAN, to="/runs")
        while True:
            status = asked.status(run_id)
            match status.run.state:
                case RunState.AWAITING_APPROVAL:
                    for who in ("jo", "kim")[len(status.approvals) : status.approvals_needed]:
                        approve_as_inspected(asked.named(who), run_id, reason="looked at it")
                case RunState.RUNNING:
                    if any(at.state is CellState.HELD for at in status.cells):
                        asked.named("jo").change(run_id, "promote", dict, lambda _: {})
                    total = sum(phase.units for phase in status.phases)
                    left = sum(phase.waiting for phase in status.phases)
                    if left < total * (1 - SHARE) and status.seconds_left is not None:
                        return as_svg(picture(status, watching=True))
                case RunState.FINISHED:
                    sys.exit("the run was over before a picture could be taken: more USERS")
                case _:
                    pass
            time.sleep(0.02)


def as_svg(shown: object) -> str:
    """What a terminal of `WIDTH` columns shows; needs no font from anywhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("[dim]$[/dim] reinstate watch")
    console.print(shown)
    svg = console.export_svg(title="reinstate watch", unique_id="watch")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace(
        "Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
    )


def main() -> None:
    """Make every picture."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REINSTATE_HOME"] = str(Path(folder, "home"))
        svg = picture_of_a_run(Path(folder, "sidekick"))
    (PICTURES / "watch.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
