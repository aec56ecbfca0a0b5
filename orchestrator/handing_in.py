"""A plan with the lists that it names, as they are now: what is submitted.

A list is read from what came along with the plan, else from the plan's folder.
"""

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from orchestrator.catalogue import categories
from orchestrator.errors import PlanInvalid, Problem
from orchestrator.items import UserId
from orchestrator.plan import Plan
from orchestrator.planner import diagnose
from orchestrator.submitting import Submission
from orchestrator.user_lists import read_census, read_declined, read_users


class Checked(Struct, frozen=True, kw_only=True):
    """What was found out about a plan and its lists."""

    plan: Plan | None
    """None where there are errors."""
    problems: list[Problem]


@contextmanager
def handed_in(
    text: str,
    *,
    folder: Path,
    files: Mapping[str, str],
    author: str,
    preview: bool = False,
    sample: int | None = None,
    expected_digest: str | None = None,
    declined_at: int | None = None,
) -> Generator[Submission]:
    """A submission to be submitted inside the block. Raises `PlanInvalid` with every problem.

    `files`: contents of lists, by the names that the plan has for them; `declined_at`: when the
    list of the declined among them was changed, in milliseconds since the epoch.
    """
    with _beside(files) as places:
        checked = _checked(text, folder, places)
        plan = checked.plan
        if plan is None:
            count = sum(problem.severity == "error" for problem in checked.problems)
            message = f"the plan has {count} error{'' if count == 1 else 's'}"
            raise PlanInvalid(message, problems=checked.problems)
        users, decline = plan.users.listed, plan.users.decline
        yield Submission(
            plan=plan,
            text=text,
            folder=str(folder),
            author=author,
            users=read_users(_place(users, folder, places), called=users) if users else (),
            declined=read_declined(_place(decline, folder, places), called=decline)
            if decline
            else (),
            declined_at=_changed_at(folder / decline)
            if decline and decline not in places
            else declined_at,
            census=_census(plan, folder, places),
            preview=preview,
            sample=sample,
            expected_digest=expected_digest,
        )


def checked(text: str, *, folder: Path, files: Mapping[str, str], lists: bool = True) -> Checked:
    """Everything that is wrong with a plan and, with `lists`, its lists. Submits nothing."""
    with _beside(files) as places:
        return _checked(text, folder, places, lists=lists)


def _checked(text: str, folder: Path, places: Mapping[str, Path], *, lists: bool = True) -> Checked:
    plan, problems = diagnose(text.encode(), "plan", base=folder)
    if plan is not None and lists:
        in_lists = [
            *_wrong(plan.users.listed, folder, places, read_users),
            *_wrong(plan.users.decline, folder, places, read_declined),
            *_wrong(plan.census, folder, places, _read_census),
        ]
        problems += in_lists
        plan = None if in_lists else plan
    return Checked(plan=plan, problems=problems)


def _wrong(
    name: str | None,
    folder: Path,
    places: Mapping[str, Path],
    read: Callable[..., Iterator[object]],
) -> list[Problem]:
    if name is None:
        return []
    try:
        for _ in read(_place(name, folder, places), called=name):
            pass
    except PlanInvalid as invalid:
        return list(invalid.problems)
    return []


def _read_census(path: Path, *, called: str = "") -> Iterator[object]:
    yield from read_census(path, called=called, categories=categories())


def _census(
    plan: Plan, folder: Path, places: Mapping[str, Path]
) -> Iterator[tuple[UserId, str, int]]:
    if plan.census:
        for counted in read_census(_place(plan.census, folder, places), called=plan.census):
            yield counted.user, counted.category, counted.items


def _place(name: str, folder: Path, places: Mapping[str, Path]) -> Path:
    return places.get(name) or folder / name


@contextmanager
def _beside(files: Mapping[str, str]) -> Generator[Mapping[str, Path]]:
    """Files of ours with these contents, as long as the block lasts; by no name of theirs."""
    with tempfile.TemporaryDirectory(prefix="reinstate-lists-") as folder:
        places: dict[str, Path] = {}
        for number, (name, content) in enumerate(files.items()):
            places[name] = Path(folder) / str(number)
            places[name].write_text(content, encoding="utf-8", newline="")
        yield places


def _changed_at(path: Path) -> int | None:
    """When a file was last changed, in milliseconds since the epoch; None where nobody knows."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None
