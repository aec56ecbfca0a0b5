"""Makes pictures of the pages, light and dark: `python docs/pictures/pages.py`.

The people of the demo lose their data, and their plan is carried out; when enough of it is done, a
browser (Chromium, headless) that is logged in looks at the pages.
"""

import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from orchestrator.cli.plans import hand_in
from orchestrator.cli.session import asking
from orchestrator.cli.waiting import approve_as_inspected
from orchestrator.embedded.front_door import answers, owners_link, with_free_address
from orchestrator.embedded.one_machine import Engine
from orchestrator.lifecycle import CellState, RunState
from orchestrator.settings import Settings
from plans.sample.population import PLAN, make_population

USERS = 1_500
SEED = 2009
SHARE = 0.55
WIDTH, HEIGHT = 1280, 1100
COLOURS = 200
"""Of a picture: pages are flat, and so it stays small."""
PICTURES = Path(__file__).parent
SHOWN = {
    "overview": "/runs/{run}",
    "user": "/runs/{run}/users/%23{user}",
    "quarantine": "/runs/{run}/quarantine",
    "plan": "/plans/new",
}
MISTAKEN = ("restore: photos", "restore: photo")


def made(folder: Path) -> None:
    """A run of a population, looked at when enough of it is done."""
    make_population(folder, users=USERS, seed=SEED)
    settings = with_free_address(Settings.read(os.environ), chosen=False)
    with asking("mia") as asked, Engine(settings, answering=True):
        answers(settings)
        run_id = hand_in(asked, folder / PLAN, to="/runs")
        while not enough(asked, run_id):
            time.sleep(0.05)
        look(run_id, settings, (folder / PLAN).read_text(encoding="utf-8"))


def enough(asked: object, run_id: str) -> bool:
    """Whether so much is done that there is something to see; whoever is needed says yes."""
    status = asked.status(run_id)
    match status.run.state:
        case RunState.AWAITING_APPROVAL:
            for who in ("jo", "kim")[len(status.approvals) : status.approvals_needed]:
                approve_as_inspected(asked.named(who), run_id, reason="looked at it")
        case RunState.RUNNING:
            total = sum(phase.units for phase in status.phases)
            left = sum(phase.waiting for phase in status.phases)
            if left < total * (1 - SHARE) and status.seconds_left is not None:
                return True
            if any(at.state is CellState.HELD for at in status.cells):
                asked.named("jo").change(run_id, "promote", dict, lambda _: {})
        case RunState.FINISHED:
            sys.exit("the run was over before a picture could be taken: more USERS")
        case _:
            pass
    return False


def look(run_id: str, settings: Settings, plan: str) -> None:
    """Take every picture, light and dark."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(base_url=settings.public_url).new_page()
        page.goto(owners_link(settings, owner="mia"))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        for name, path in SHOWN.items():
            page.goto(path.format(run=run_id, user=17), wait_until="load")
            if name == "plan":
                page.get_by_label("The plan").fill(plan.replace(*MISTAKEN))
                page.get_by_role("button", name="Check").click()
                page.get_by_label("Where its relative paths start").fill("/srv/restore")
            high = page.evaluate("document.body.scrollHeight") if name == "overview" else HEIGHT
            page.set_viewport_size({"width": WIDTH, "height": high})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                keep(page, PICTURES / f"{name}-{scheme}.png")
        browser.close()


def keep(page: Page, path: Path) -> None:
    """What the page shows, small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Make every picture."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REINSTATE_HOME"] = str(Path(folder, "home"))
        made(Path(folder, "sidekick"))


if __name__ == "__main__":
    main()
