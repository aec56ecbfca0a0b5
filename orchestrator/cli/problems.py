"""How errors look: what is wrong, then what to do, on stderr; a traceback only with `--debug`."""

from collections.abc import Sequence

from orchestrator.cli.output import colourful, hint, say, tell
from orchestrator.errors import PlanInvalid, Problem, ReinstateError

MOST = 20
"""Problems of lists that are shown; a list of a million users can have as many."""


def show_problems(problems: Sequence[Problem], text: bytes, path: str) -> None:
    """Everything that is wrong with a plan, each at its line."""
    from orchestrator.plan_text.diagnostics import render

    if problems:
        tell(render(problems, text, path, color=colourful()))


def show_error(error: ReinstateError) -> None:
    """One error and its hint; of a list, every line that is wrong."""
    given = error.problems if isinstance(error, PlanInvalid) else ()
    problems = [problem for problem in given if problem.severity == "error"]
    for message in [problem.message for problem in problems[:MOST]] or [error.message]:
        if message:
            say(f"error: {message}", tone="red")
    if len(problems) > MOST:
        say(f"and {len(problems) - MOST} more", tone="red")
    advice = error.hint or (problems[0].hint if problems else "")
    if advice:
        hint(advice)
