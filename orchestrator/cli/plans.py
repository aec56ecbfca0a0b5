"""Commands about plans: check, preview, submit."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Approvers, Author, Wait
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.errors import PlanInvalid, Refused

if TYPE_CHECKING:
    from orchestrator.client.asking import Client
    from orchestrator.plan import Plan

PlanFile = Annotated[Path, Parameter(help="The plan, a YAML file.")]
Folder = Annotated[
    str,
    Parameter(help="With a server: where the plan's relative paths start there; absolute."),
    Takes("DIR"),
]
LARGEST = 1024 * 1024 + 1
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def check(plan: PlanFile, /) -> Exit:
    """Read a plan and name everything that is wrong with it, with line and hint. Offline.

    The lists that it names (users, declined users, census) are read, too. Warnings do not stop a
    plan; errors end the command with 2.
    """
    from orchestrator.cli.output import say

    found = _checked_here(plan)
    say(f"{plan}: no errors; {len(found.phases)} phases, digest {found.digest[:12]}")
    return Exit.DONE


def preview(
    plan: PlanFile,
    /,
    *,
    sample: Annotated[int | None, Parameter(help="Only so many users, the first ones.")] = None,
    author: Author = None,
    folder: Folder = "",
    output: Format = "table",
) -> Exit:
    """Say what a plan would do to the data as it is now, without writing any of it.

    Everything is read, validated and decided as in the run itself. As there, inspection proves
    each target by a probe, and makes a folder or table of ours that is missing. The digest it
    ends with makes `submit --preview DIGEST` refuse when plan or recovered data have changed since.

    Ends with 3 where units failed, and with 7 where the plan would be refused.
    """
    from orchestrator.cli.output import print_document
    from orchestrator.cli.previews import show
    from orchestrator.cli.session import asking
    from orchestrator.cli.waiting import wait_for

    if sample is not None and sample < 1:
        raise PlanInvalid("a sample has one user or more", hint="leave --sample out for everyone")
    with asking(author) as asked:
        run_id = hand_in(asked, plan, to="/previews", folder=folder, sample=sample)
        status = wait_for(asked, run_id)
        if output == "table":
            show(status, sampled=sample is not None)
        else:
            print_document(asked.get(f"/previews/{run_id}", dict[str, Any]), output)
    return status.exit


def submit(
    plan: PlanFile,
    /,
    *,
    preview: Annotated[
        str | None,
        Parameter(help="Refuse when plan or data changed since that preview."),
        Takes("DIGEST"),
    ] = None,
    approve: Approvers = None,
    author: Author = None,
    folder: Folder = "",
    wait: Wait = False,
) -> Exit:
    """Submit a plan; prints the id of its run.

    With `--preview` what that preview counted is part of what is approved. With `--wait` the exit
    status tells how the run ended: 0 restored, 3 some units failed, 4 something is lost or
    quarantined, 5 held at a gate or paused, 7 refused or not approved.

        reinstate submit plan.yaml
        reinstate submit plan.yaml --wait --approve jo
    """
    from orchestrator.cli.output import print_line
    from orchestrator.cli.session import asking, operator
    from orchestrator.cli.steering import go_on
    from orchestrator.cli.waiting import wait_for
    from orchestrator.lifecycle import RunState

    if preview is not None and not _DIGEST.fullmatch(preview):
        raise PlanInvalid("this is not a digest", hint="`preview` ends with the one to give")
    approvers = list(dict.fromkeys(operator(name) for name in approve or ()))
    with asking(author) as asked:
        for name in approvers:
            asked.named(name)  # a server does not take names
        _refuse_own_approval(asked.name, approvers)
        run_id = hand_in(asked, plan, to="/runs", folder=folder, preview=preview)
        print_line(run_id)
        if wait or approvers:
            ended = wait_for(
                asked,
                run_id,
                approve=approvers,
                until=lambda status: not wait and status.run.state is RunState.RUNNING,
            ).exit
            if wait or ended is not Exit.DONE:
                return ended
        return go_on(asked, run_id, wait=False)


def _refuse_own_approval(author: str, approvers: "list[str]") -> None:
    """Refuse before anything is submitted what could not be approved afterwards."""
    if any(name.strip().casefold() == author.strip().casefold() for name in approvers):
        raise Refused(
            "nobody approves a plan of their own; nothing was submitted",
            hint="--approve names somebody else, --author who submits it",
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise PlanInvalid(
            f"{path} cannot be read ({error.strerror})", hint="name a plan, a YAML file"
        ) from error


def _checked_here(path: Path) -> "Plan":
    """A plan without errors, lists included, by this machine alone; raises `PlanInvalid`."""
    from orchestrator.catalogue import categories
    from orchestrator.cli.problems import show_problems
    from orchestrator.planner import diagnose
    from orchestrator.user_lists import check_lists

    text = _read(path)
    plan, problems = diagnose(text, str(path))
    show_problems(problems, text, str(path))
    if plan is None:
        raise PlanInvalid("")  # every problem was shown at its line
    in_lists = check_lists(plan, path.parent, categories=categories())
    if in_lists:
        raise PlanInvalid(in_lists[0].message, problems=in_lists, hint=in_lists[0].hint)
    return plan


# Handing in ---------------------------------------------------------------------------------------


def hand_in(
    asked: "Client", path: Path, *, to: str, folder: str = "", **wish: str | int | None
) -> str:
    """Hand in a plan, with the lists that it names as they are now; the run's id.

    In process the lists are read where they are. A server gets those that lie beside the plan, and
    looks for the others in `folder`.
    """
    import msgspec

    from orchestrator.cli.problems import show_problems
    from orchestrator.errors import Problem
    from orchestrator.plan_text.yaml_values import decode

    data = _read(path)
    text, unreadable = decode(data)
    if unreadable:
        show_problems(unreadable, data, str(path))
        raise PlanInvalid("")
    given: dict[str, Any] = {
        "text": text,
        "folder": folder if asked.remote else str(path.parent.resolve()),
    }
    found = asked.post("/plans/check", dict[str, Any], {**given, "lists": False})
    show_problems(msgspec.convert(found["problems"], list[Problem]), data, str(path))
    if not found["valid"]:
        raise PlanInvalid("")  # every problem was shown at its line
    if asked.remote:
        given |= _beside(path, found["names"])
    wishes = {name: value for name, value in wish.items() if value is not None}
    return str(asked.post(to, dict[str, Any], {**given, **wishes})["run"]["id"])


def _beside(path: Path, names: "dict[str, str | None]") -> dict[str, Any]:
    """The lists that lie beside a plan, and when the list of the declined was last changed."""
    found: dict[str, Any] = {"files": {}}
    for what, name in names.items():
        if name is None or not (at := path.parent / name).is_file():
            continue
        try:
            with at.open(encoding="utf-8", newline="") as file:
                found["files"][name] = file.read()
        except OSError as error:
            raise PlanInvalid(f"{name} cannot be read ({error.strerror})") from error
        except UnicodeError as error:
            raise PlanInvalid(f"{name} is not UTF-8", hint="save it as UTF-8") from error
        if what == "decline":
            found["declined_at"] = at.stat().st_mtime_ns // 1_000_000
    return found
