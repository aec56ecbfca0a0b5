"""Plan text → `Plan`, or every problem at once with its line.

Reads text alone: whether files exist, sources answer and secrets can be had is found out at
inspection, on workers. Nothing is executed, expanded or imported by the text's wish; kinds are
looked up by name among the installed ones.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.catalogue import Catalogue, installed
from orchestrator.errors import PlanInvalid, Problem
from orchestrator.plan import Plan
from orchestrator.plan_text.checks import check
from orchestrator.plan_text.defaults import document_of
from orchestrator.plan_text.document import plan_from_document
from orchestrator.plan_text.leaks import leaks
from orchestrator.plan_text.problems import Problems
from orchestrator.plan_text.reader import PlanReader
from orchestrator.plan_text.yaml_values import decode, read_yaml

__all__ = ["diagnose", "plan_from_document", "read_plan"]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def read_plan(
    text: bytes,
    *,
    path: str,
    base: Path,
    clock: Callable[[], datetime] = utc_now,
    catalogue: Catalogue | None = None,
) -> Plan:
    """The plan that a text asks for, every default filled in.

    `path` is what the plan is called in messages; relative paths start at `base`. Raises
    `PlanInvalid` with every problem, warnings included, where one of them is an error.
    """
    plan, problems = diagnose(text, path, base=base, clock=clock, catalogue=catalogue)
    if plan is None:
        count = sum(problem.severity == "error" for problem in problems)
        message = f"{path}: {count} error{'s' if count != 1 else ''}"
        raise PlanInvalid(message, problems=problems, hint=f"reinstate check {path}")
    return plan


def diagnose(
    text: bytes,
    path: str,
    *,
    base: Path | None = None,
    clock: Callable[[], datetime] = utc_now,
    catalogue: Catalogue | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """The plan, where there is no error in it, and every problem, warnings included.

    Never raises for what a text says.
    """
    decoded, unreadable = decode(text)
    if unreadable:
        return None, unreadable
    reading = read_yaml(decoded)
    problems = Problems(reading.problems)
    problems.add_leaks(leaks(reading))
    known = catalogue or installed()
    draft = PlanReader(known, problems).read(reading.root)
    if draft is not None:
        start = os.path.abspath(base if base is not None else Path(path).parent)  # noqa: PTH100  links are not followed
        check(draft, problems, base=start, now=clock())
    if draft is None or problems.errors:
        return None, problems.sorted()
    return plan_from_document(document_of(draft), catalogue=known), problems.sorted()
