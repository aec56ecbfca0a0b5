"""Commands about plans: check, preview, submit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cli.session import Session
    from orchestrator.items import UserId
    from orchestrator.plan import Plan

PlanFile = Annotated[Path, Parameter(help="The plan, a YAML file.")]
Author = Annotated[str | None, Parameter(name="--author", help="Who submits it; default: you.")]
LARGEST = 1024 * 1024 + 1


def check(plan: PlanFile, /) -> Exit:
    """Read a plan and name everything that is wrong with it, with line and hint. Offline."""
    from orchestrator.cli.output import notices

    read_checked(plan)
    notices().print(f"{plan}: no errors")
    return Exit.DONE


def preview(
    plan: PlanFile,
    /,
    *,
    sample: Annotated[int | None, Parameter(help="Only so many users, the first ones.")] = None,
    author: Author = None,
    output: Format = "table",
) -> Exit:
    """Say what a plan would do to the data as it is now, without writing anything.

    Everything is read, validated and decided as in the run itself. The digest it ends with
    makes `submit --preview DIGEST` refuse when plan or recovered data have changed since.
    """
    from orchestrator.cli.output import console, notices, print_json
    from orchestrator.cli.session import engine_for, session
    from orchestrator.cli.views import books_table
    from orchestrator.cli.waiting import wait_for

    parsed, text = read_checked(plan)
    with session() as asked, engine_for(asked.settings) as engine:
        run_id = hand_in(asked, parsed, text, plan, author, preview=True, sample=sample)
        status = wait_for(asked, run_id, engine)
        if output != "table":
            print_json(
                {"run": run_id, "status": status, "inventory": asked.progress.inventory(run_id)}
            )
        else:
            for warning in status.warnings:
                notices().print(f"note: {warning}", markup=False)
            console().print(books_table(status))
            console().print(f"preview digest {status.digest}", markup=False)
        return Exit.REFUSED if status.run.why else Exit.DONE


def submit(
    plan: PlanFile,
    /,
    *,
    preview: Annotated[
        str | None, Parameter(help="Refuse when plan or data changed since that preview.")
    ] = None,
    approve: Annotated[
        list[str] | None,
        Parameter(help="Approve in the name of somebody who is not the author; repeatable."),
    ] = None,
    author: Author = None,
    wait: Annotated[bool, Parameter(negative="", help="Watch until it ends.")] = False,
) -> Exit:
    """Submit a plan; prints the id of its run.

    With `--wait`, on a machine where nothing runs, broker, workers and conductor are started for
    as long as it takes, and the exit status tells how the run ended.
    """
    import sys

    from orchestrator.cli.output import notices
    from orchestrator.cli.session import engine_for, session
    from orchestrator.cli.waiting import wait_for

    parsed, text = read_checked(plan)
    with session() as asked:
        run_id = hand_in(asked, parsed, text, plan, author, expected=preview)
        sys.stdout.write(run_id + "\n")
        sys.stdout.flush()
        if not wait and not approve:
            notices().print(f"watch it: reinstate watch {run_id}", markup=False)
            return Exit.DONE
        with engine_for(asked.settings) as engine:
            return wait_for(asked, run_id, engine, approve=approve or (), to_the_end=wait).exit


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
            f"{path} cannot be read ({error.strerror})", hint="name a plan: reinstate check PLAN"
        ) from error
    plan, problems = diagnose(text, str(path))
    if plan is None:
        show_problems(problems, text, str(path))
        raise SystemExit(Exit.USAGE)
    show_problems(problems, text, str(path))
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
