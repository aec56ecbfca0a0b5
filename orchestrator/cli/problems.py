"""How errors look: what is wrong, then what to do, on stderr; a traceback only with `--debug`."""

import sys
from collections.abc import Sequence

from orchestrator.cli.output import notices
from orchestrator.errors import PlanInvalid, Problem, ReinstateError


def show_problems(problems: Sequence[Problem], text: bytes, path: str) -> None:
    """Everything that is wrong with a plan, each at its line."""
    from orchestrator.plan_text.diagnostics import render

    if problems:
        sys.stderr.write(render(problems, text, path, color=notices().is_terminal))


def show_error(error: ReinstateError) -> None:
    """One error and its hint."""
    out = notices()
    problems = error.problems if isinstance(error, PlanInvalid) else ()
    for problem in problems[1:]:
        out.print(f"error: {problem.message}", markup=False)
    out.print(f"error: {error.message}", markup=False, style="red")
    if error.hint:
        out.print(f"hint: {error.hint}", markup=False)
