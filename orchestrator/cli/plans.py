"""Commands about plans: check, preview, submit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from orchestrator.cli.arguments import Approvers, Author, Wait
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cli.session import Session
    from orchestrator.items import UserId
    from orchestrator.plan import Plan

PlanFile = Annotated[Path, Parameter(help="The plan, a YAML file.")]
LARGEST = 1024 * 1024 + 1


def check(plan: PlanFile, /) -> Exit:
    """Read a plan and name everything that is wrong with it, with line and hint. Offline.

    The lists that it names (users, declined users, census) are read, too. Warnings do not stop a
    plan; errors end the command with 2.
    """
    from orchestrator.cli.output import say

    found, _ = read_checked(plan)
    say(f"{plan}: no errors; {len(found.phases)} phases, digest {found.digest[:12]}")
    return Exit.DONE


def preview(
    plan: PlanFile,
    /,
    *,
    sample: Annotated[int | None, Parameter(help="Only so many users, the first ones.")] = None,
    author: Author = None,
    output: Format = "table",
) -> Exit:
    """Say what a plan would do to the data as it is now, without writing any of it.

    Everything is read, validated and decided as in the run itself. As there, inspection proves
    each target by a probe, and makes a folder or table of ours that is missing. The digest it
    ends with makes `submit --preview DIGEST` refuse when plan or recovered data have changed since.

    Ends with 3 where units failed, and with 7 where the plan would be refused.
    """
    from orchestrator.cli.output import print_document
    from orchestrator.cli.previews import document, show
    from orchestrator.cli.session import session
    from orchestrator.cli.waiting import wait_for

    if sample is not None and sample < 1:
        raise _few_users()
    parsed, text = read_checked(plan)
    with session() as asked:
        run_id = hand_in(asked, parsed, text, plan, author, preview=True, sample=sample)
        status = wait_for(asked, run_id)
        if output == "table":
            show(status, sampled=sample is not None)
        else:
            print_document(document(status, asked.progress.inventory(run_id)), output)
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
    wait: Wait = False,
) -> Exit:
    """Submit a plan; prints the id of its run.

    With `--wait` the exit status tells how the run ended: 0 restored, 3 some units failed,
    4 something is lost or quarantined, 5 held at a gate or paused, 7 refused or not approved.

        reinstate submit plan.yaml
        reinstate submit plan.yaml --wait --approve jo
    """
    import sys

    from orchestrator.cli import streams
    from orchestrator.cli.session import operator, session
    from orchestrator.cli.steering import go_on
    from orchestrator.cli.waiting import wait_for

    approvers = list(dict.fromkeys(operator(name) for name in approve or ()))
    parsed, text = read_checked(plan)
    with session() as asked:
        refuse_own_approval(operator(author), approvers)
        run_id = hand_in(asked, parsed, text, plan, author, expected=preview)
        try:
            sys.stdout.write(run_id + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            streams.mute(sys.stdout)
        if wait or approvers:
            ended = wait_for(asked, run_id, approve=approvers, to_the_end=wait).exit
            if wait or ended is not Exit.DONE:
                return ended
        return go_on(asked, run_id, wait=False)


def refuse_own_approval(author: str, approvers: "list[str]") -> None:
    """Refuse before anything is submitted what could not be approved afterwards."""
    from orchestrator.errors import Refused
    from orchestrator.runs import same_person

    if any(same_person(name, author) for name in approvers):
        raise Refused(
            "nobody approves a plan of their own; nothing was submitted",
            hint="--approve names somebody else, --author who submits it",
        )


def _few_users() -> Exception:
    from orchestrator.errors import PlanInvalid

    return PlanInvalid("a sample has one user or more", hint="leave --sample out for everyone")


def read_checked(path: Path) -> "tuple[Plan, bytes]":
    """A plan without errors, lists included; raises `PlanInvalid`."""
    from orchestrator.catalogue import categories
    from orchestrator.cli.problems import show_problems
    from orchestrator.errors import PlanInvalid
    from orchestrator.planner import diagnose
    from orchestrator.user_lists import check_lists

    try:
        with path.open("rb") as file:
            text = file.read(LARGEST)
    except OSError as error:
        raise PlanInvalid(
            f"{path} cannot be read ({error.strerror})", hint="name a plan, a YAML file"
        ) from error
    plan, problems = diagnose(text, str(path))
    show_problems(problems, text, str(path))
    if plan is None:
        raise PlanInvalid("")  # every problem was shown at its line
    in_lists = check_lists(plan, path.parent, categories=categories())
    if in_lists:
        raise PlanInvalid(in_lists[0].message, problems=in_lists, hint=in_lists[0].hint)
    return plan, text


def hand_in(
    asked: "Session",
    plan: "Plan",
    text: bytes,
    path: Path,
    author: str | None,
    *,
    preview: bool = False,
    sample: int | None = None,
    expected: str | None = None,
) -> str:
    """Submit a plan with the lists that it names, as they are now; the run's id."""
    from orchestrator.cli.session import operator
    from orchestrator.runs import Submission
    from orchestrator.user_lists import read_declined, read_users

    folder = path.parent.resolve()
    users = plan.users
    return asked.runs.submit(
        Submission(
            plan=plan,
            text=text.decode(),
            folder=str(folder),
            author=operator(author),
            users=read_users(folder / users.listed) if users.listed else (),
            declined=read_declined(folder / users.decline) if users.decline else (),
            declined_at=_changed_at(folder / users.decline) if users.decline else None,
            census=_census(plan, folder),
            preview=preview,
            sample=sample,
            expected_digest=expected,
        )
    )


def _census(plan: "Plan", folder: Path) -> "Iterator[tuple[UserId, str, int]]":
    from orchestrator.user_lists import read_census

    if plan.census:
        for counted in read_census(folder / plan.census):
            yield counted.user, counted.category, counted.items


def _changed_at(path: Path) -> int | None:
    """When a file was last changed, in milliseconds since the epoch; None where nobody knows."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None
