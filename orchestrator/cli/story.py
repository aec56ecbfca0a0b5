"""`reinstate demo`: a loss and its restoration from beginning to end, and the proof that it worked.

Everything is real: files and a database that are damaged, the plan that is shipped, worker
processes, a ledger; only the people are made up. It lives in one folder, its state included.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.cli.cells import cell
from orchestrator.cli.exits import Exit
from orchestrator.cli.live import follow, is_stuck, picture
from orchestrator.cli.output import console
from orchestrator.cli.waiting import approve_as_inspected
from orchestrator.errors import Refused
from orchestrator.lifecycle import CellState, RunState
from orchestrator.run_standing import Status, UserAnswer
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.client.asking import Client
    from orchestrator.embedded.one_machine import Engine
    from plans.sample.truth import GroundTruth, TrueCopy

AUTHOR = "mia"
APPROVERS = ("jo", "kim", "ada", "lin", "sam", "rob", "eve", "max", "ida")
"""As many as a plan can ask for; the first one promotes gates, too."""
PATIENCE = 30.0
"""Seconds after which a conductor that does nothing is taken for stuck."""
WIDTH = 78
HOME = "home"
REPORT = "report.html"
_KEPT = frozenset({"REINSTATE_WORKERS", "REINSTATE_LOG"})
"""Settings that a demo takes over; it must never meet the ledger or broker of a real service."""


def tell(*, users: int, seed: int, folder: Path) -> Exit:
    """The whole story. Raises `Refused` where `folder` holds anything else."""
    began = time.monotonic()
    folder = folder.absolute()
    with _alone(folder):
        truth = _loss(folder, users=users, seed=seed)
        return _Story(folder, truth, began).tell()


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """An empty folder for the demo, and an environment in which nothing else can be reached."""
    from orchestrator.embedded.one_machine import engine_running
    from plans.sample.population import is_population, remove_population

    home = folder / HOME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"{_shown(folder)} cannot be made ({error.strerror})",
            hint="name another folder: reinstate demo --folder DIR",
        ) from error
    if any(folder.iterdir()):
        if not is_population(folder):
            raise Refused(
                f"{_shown(folder)} holds something that is not a demo",
                hint="name a folder for it: reinstate demo --folder DIR",
            )
        if engine_running(home):
            raise Refused(
                f"an engine works in {_shown(home)}", hint="stop it, or name another --folder"
            )
        remove_population(folder)
        shutil.rmtree(home, ignore_errors=True)
        (folder / REPORT).unlink(missing_ok=True)
    before = dict(os.environ)
    for name, value in before.items():
        files = name == "REINSTATE_BROKER_URL" and value.startswith("filesystem:")
        if name.startswith("REINSTATE_") and name not in _KEPT and not files:
            del os.environ[name]
    os.environ["REINSTATE_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# What was lost -----------------------------------------------------------------------------------


def _loss(folder: Path, *, users: int, seed: int) -> "GroundTruth":
    from plans.sample.population import make_population

    _heading("What was lost")
    truth = make_population(folder, users=users, seed=seed)
    had = sum(1 for item in truth.items if item.fate != "own")
    copies = [copy for item in truth.items for copy in item.copies]
    damages = truth.damages()
    gone = sum(1 for item in truth.items if item.fate == "lost")
    _say(
        f"{len(truth.users):,} users had {had:,} contacts, events, notes, tasks, photos and high "
        f"scores when their service failed on 1 October 2009. Three sources are left, none of "
        f"them whole:"
    )
    _say(
        f"  core     the database, {_count(copies, 'core')} copies; it lost half of its users\n"
        f"  backup   a bag of files, {_count(copies, 'backup')} copies, checked against its "
        f"manifest\n"
        f"  devices  caches of phones, {_count(copies, 'devices')} copies, some newer, some "
        "somebody else's"
    )
    kinds = ", ".join(f"{number} {kind}" for kind, number in damages.items())
    _say(f"{sum(damages.values()):,} copies are damaged or odd: {kinds}.")
    _say(
        f"Of {gone:,} items no source holds a whole copy. {len(truth.erased)} users have asked to "
        f"be erased, and the ids {truth.ambiguous[0]} and {truth.ambiguous[1]} could be one "
        "person's. Meanwhile users have gone on: the live system holds things that are newer."
    )
    return truth


def _count(copies: "Iterable[TrueCopy]", source: str) -> str:
    return f"{sum(1 for copy in copies if copy.source == source):,}"


# The restoration ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Story:
    """Told in one folder, about one population."""

    folder: Path
    truth: "GroundTruth"
    began: float

    def tell(self) -> Exit:
        """From the plan to the proof."""
        from orchestrator.cli.session import asking
        from orchestrator.cli.views import books_table
        from orchestrator.embedded.front_door import with_free_address
        from orchestrator.embedded.one_machine import Engine
        from plans.sample.recount import state_of_targets

        with ExitStack() as stack:
            asked = stack.enter_context(asking(AUTHOR))
            settings = with_free_address(Settings.read(os.environ), chosen=False)
            engine = stack.enter_context(Engine(settings, answering=True))
            _invite(settings)
            _heading("What is restored, by the plan")
            run_id = self._submit(asked)
            status = self._carry_out(asked, engine, run_id)
            if status.run.state is not RunState.FINISHED:
                _say(status.stalled or status.run.why or f"the run is {status.run.state}")
                return Exit.UNEXPECTED
            _heading("The books: every item that was found is accounted for")
            console().print(books_table(status))
            self._answers(asked, run_id)
            _heading("Is it true?")
            proofs = list(self._recount(asked, status))
            _say("Now the same plan once more:")
            before = state_of_targets(self.folder)
            again = self._carry_out(asked, engine, self._submit(asked), aloud=False)
            proofs.append(_proof_of_repetition(again, before, state_of_targets(self.folder)))
            self._what_next(run_id)
            if sys.stdin.isatty() and sys.stdout.isatty():
                _stay_open(settings, engine)
        return Exit.DONE if all(proofs) else Exit.UNEXPECTED

    def _submit(self, asked: "Client") -> str:
        from orchestrator.cli.plans import hand_in
        from plans.sample.population import PLAN

        return hand_in(asked, self.folder / PLAN, to="/runs")

    def _carry_out(
        self, asked: "Client", engine: "Engine", run_id: str, *, aloud: bool = True
    ) -> Status:
        """Follow the run; people approve it and promote its gates when it waits for them."""
        tell = _happened if aloud else _nothing

        def look() -> Status:
            engine.revive()
            status = asked.status(run_id)
            if status.run.state is RunState.AWAITING_APPROVAL:
                _approve(asked, status, tell)
                return _once_moved(asked, engine, run_id)
            if is_stuck(status) and _may_promote(status):
                _promote(asked, status, tell)
                return _once_moved(asked, engine, run_id)
            return status

        status = follow(look, detachable=False)
        if not console().is_terminal:
            console().print(picture(status))
        return status

    # Answers -------------------------------------------------------------------------------------

    def _answers(self, asked: "Client", run_id: str) -> None:
        """What support would tell a few of the users."""
        from rich.text import Text

        from orchestrator.cli.views import user_picture
        from plans.sample.examples import worth_reading

        _heading("What users are told")
        for user, why in worth_reading(self.truth).items():
            console().print(Text(cell(user), style="bold") + Text(f": {why}", style="not bold"))
            path = f"/runs/{run_id}/users/{asked.user(run_id, user)}"
            console().print(user_picture(asked.get(path, UserAnswer)))
            console().print()
        report = self.folder / REPORT
        report.write_text(asked.text(f"/runs/{run_id}/report", form="html"), encoding="utf-8")
        _say(f"The report of the run, without names: {_shown(report)}")

    # Proofs --------------------------------------------------------------------------------------

    def _recount(self, asked: "Client", status: Status) -> Iterator[bool]:
        from plans.sample.recount import recount

        found = recount(self.folder, self.truth)
        counts = ", ".join(
            f"{number} {name.replace('_', ' ')}" for name, number in found.counts().items()
        )
        yield _proof(
            not found.wrongs,
            f"counted again, from the files and tables themselves: {found.held:,} items, {counts}",
            [f"{wrong.what}: {wrong.category} {wrong.item}" for wrong in found.wrongs],
        )
        books = {phase.category: msgspec.to_builtins(phase.books) for phase in status.phases}
        yield _proof(
            not (differences := found.compare(books)),
            "the books say the same as the recount, in every category",
            differences,
        )
        yield _proof(
            not found.changed_sources,
            "the sources are what they were, to the byte",
            [f"{source} has changed" for source in found.changed_sources],
        )
        yield _proof(
            not (findings := self._findings(asked, status.run.id)),
            "the books balance by the ledger's own rows, and its audit log is whole",
            findings,
        )

    @staticmethod
    def _findings(asked: "Client", run_id: str) -> list[str]:
        return [row["finding"] for row in asked.rows(f"/runs/{run_id}/audit")]

    def _what_next(self, run_id: str) -> None:
        from plans.sample.examples import worth_reading

        _heading("Look around")
        command = _command()
        loser = list(worth_reading(self.truth))[1]
        lines = [
            f"export REINSTATE_HOME={quote(str(self.folder / HOME))}",
            f"{command} status {run_id}",
            f"{command} user {run_id} {quote(loser)}",
            f"{command} losses {run_id}",
            f"{command} quarantine {run_id}",
            f"{command} report {run_id}",
            f"{command} up",
        ]
        console().print("\n".join(f"  {line}" for line in lines), markup=False, soft_wrap=True)
        restored = _shown(self.folder / "restored")
        _say(
            f"What was restored lies in {restored}, the plan is "
            f"{_shown(self.folder / 'sidekick-2009.yaml')}, and what really was is in "
            f"{_shown(self.folder / 'truth.json')}."
        )
        _say(f"Done in {time.monotonic() - self.began:.0f} s.", style="dim")


def _invite(settings: Settings) -> None:
    from orchestrator.embedded.front_door import answers, owners_link

    if answers(settings):
        _say(f"Watch it in a browser (good once): {owners_link(settings, owner=AUTHOR)}")


def _stay_open(settings: Settings, engine: "Engine") -> None:
    """Leave the dashboard open until somebody has seen enough."""
    from orchestrator.embedded.front_door import owners_link

    _heading("The dashboard stays open")
    _say(f"{owners_link(settings, owner=AUTHOR)}\nctrl-c ends it")
    with suppress(KeyboardInterrupt):
        while True:
            engine.revive()
            time.sleep(1)


def _approve(asked: "Client", status: Status, tell: Callable[[str], None]) -> None:
    """As many people as it needs approve the run; its author tries, too."""
    run_id = status.run.id
    try:
        approve_as_inspected(asked, run_id, reason="it is mine")
    except Refused as refused:
        tell(f"{AUTHOR}, its author, may not approve it: {refused.message}")
    for who in APPROVERS[: status.approvals_needed]:
        approve_as_inspected(asked.named(who), run_id, reason="looked at plan and warnings")
        tell(f"{who} approves what was inspected")


def _promote(asked: "Client", status: Status, tell: Callable[[str], None]) -> None:
    """Somebody lets the gates pass that wait for nothing else."""
    who = APPROVERS[0]
    for gate in status.cells:
        if gate.state is CellState.HELD:
            tell(
                f"wave {gate.wave}: {gate.settled} of {gate.units} users have their "
                f"{gate.category}, {gate.failed} failed; {who} lets it go on"
            )
    reason = {"reason": "the answers look right"}
    asked.named(who).change(status.run.id, "promote", dict[str, Any], lambda _: reason)


def _once_moved(asked: "Client", engine: "Engine", run_id: str) -> Status:
    """The run after its conductor has seen what people decided."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = asked.status(run_id)
        if status.run.state is not RunState.AWAITING_APPROVAL and not is_stuck(status):
            return status
        engine.revive()
        time.sleep(0.05)
    return asked.status(run_id)


def _may_promote(status: Status) -> bool:
    """Whether gates wait for nothing but a person."""
    return not any(at.failed for at in status.cells if at.state is CellState.HELD)


def _proof_of_repetition(again: Status, before: str, after: str) -> bool:
    writes = again.books.restored + again.books.merged
    return _proof(
        again.run.state is RunState.FINISHED and before == after and writes == 0,
        f"run a second time, the plan changed nothing: {writes} writes, the targets are the same "
        "to the byte",
        [
            f"run {again.run.state}",
            "the targets differ" if before != after else "the targets agree",
        ],
    )


# Words -------------------------------------------------------------------------------------------


def _proof(holds: bool, what: str, otherwise: Sequence[str]) -> bool:  # noqa: FBT001  what is proven comes first
    from rich.text import Text

    mark = Text("✔ " if holds else "✘ ", style="green" if holds else "red")
    console().print(mark + Text(what))
    if not holds:
        for line in otherwise[:10]:
            console().print(f"    {line}", markup=False)
    return holds


def _heading(text: str) -> None:
    from rich.text import Text

    console().print()
    line = "─" * max(WIDTH - len(text) - 1, 3)
    console().print(Text(text, style="bold") + Text(f" {line}", style="not bold dim"))


def _say(text: str, *, style: str = "") -> None:
    console().print(text, markup=False, style=style or None)


def _happened(text: str) -> None:
    console().print(f"  · {text}", markup=False, style="cyan")


def _nothing(_: str) -> None:
    """Say nothing."""


def _shown(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _command() -> str:
    """How this command is called here."""
    called = Path(sys.argv[0]).absolute()
    if shutil.which("reinstate"):
        return "reinstate"
    if called.name == "reinstate":
        return quote(_shown(called))
    return f"{quote(sys.executable)} -m orchestrator.cli.main"
