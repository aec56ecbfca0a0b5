"""Commands about people and what they did not get back: users, user, failures, losses."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Reason, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.plan import Plan
    from orchestrator.query import Query

After = Annotated[
    str | None,
    Parameter(help="Go on behind this one, as the end of a list says: NUMBER:CATEGORY."),
    Takes("PLACE"),
]
PAGE = 500


def users(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="state:failed category:photos wave:canary cause:…")],
    after: After = None,
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """List units (a user's category each) that match a query, by user.

    The query is made of word:value. Words: state, category, wave, cause, attempts (also >3), and
    user (an id, u_… or #number). They are joined by "and"; the same word twice means "either".

        reinstate users 7f3a state:failed category:photos
        reinstate users 7f3a attempts:>3 wave:canary --limit 0 -o jsonl
    """
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.session import session
    from orchestrator.cli.tables import numbers, text
    from orchestrator.query import parse

    run, query = run_and_query(run, query)
    with session() as asked:
        run_id = asked.run(run)
        plan = asked.progress.plan(run_id)
        rows = _units(asked, run_id, parse(query, plan), _place(after, plan))
        last = show_rows(
            map(_flat, rows) if output == "table" else rows,
            output,
            (
                *text("user", "wave", "category", "state"),
                *numbers("attempts", "items", "restored", "quarantined", "lost"),
                *text("cause"),
            ),
            empty="no unit matches",
            limit=limit,
        )
        if last is not None:
            _say_more(last)
    return Exit.DONE


def run_and_query(run: str, query: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A run and a query, also where only the query was given: that of the last run."""
    return ("last", (run, *query)) if ":" in run else (run, query)


def _units(
    asked: "Session", run_id: str, query: "Query", after: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """A page at a time."""
    while page := asked.progress.units(run_id, query, after=after, limit=PAGE):
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]["number"], page[-1]["phase"]


def _place(after: str | None, plan: "Plan") -> tuple[int, int]:
    """The user and phase that NUMBER:CATEGORY names; NUMBER alone: all of that user's."""
    from orchestrator.errors import PlanInvalid

    if after is None:
        return -1, -1
    number, _, category = after.removeprefix("#").partition(":")
    categories = [phase.restore for phase in plan.phases]
    if not (number.isascii() and number.isdecimal() and len(number) <= 9) or (  # noqa: PLR2004
        category and category not in categories
    ):
        raise PlanInvalid(
            "--after is not a place in the list",
            hint=f"give it as the end of a list says, for example 17:{categories[0]}",
        )
    return int(number), categories.index(category) if category else len(categories)


def _say_more(last: Mapping[str, Any]) -> None:
    """Where the next page begins; the query is not repeated, it may name a user."""
    from orchestrator.cli.output import hint

    hint(f"there are more: the same with --after {last['number']}:{last['category']}")


def user(
    run: Run,
    user: Annotated[str, Parameter(help="Their id, u_… or #number.")],
    /,
    *,
    output: Format = "table",
) -> Exit:
    """Answer "what happened to my photos?": everything about one user.

    As JSON it is a versioned document with the books and every item of the user.
    """
    from orchestrator.cli.output import console, print_document
    from orchestrator.cli.session import session
    from orchestrator.cli.views import user_picture

    with session() as asked:
        found = asked.progress.user(asked.run(run), user)
    if output == "table":
        console().print(user_picture(found), soft_wrap=False)
    else:
        print_document(found, output)
    return Exit.DONE


def failures(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Group what failed or waits by its cause, the commonest first."""
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.session import session
    from orchestrator.cli.tables import Column

    with session() as asked:
        run_id = asked.run(run)
        causes = asked.progress.causes(run_id)
    show_rows(
        ({name: getattr(cause, name) for name in cause.__struct_fields__} for cause in causes),
        output,
        (
            Column("fingerprint", "cause"),
            Column("category"),
            Column("state"),
            Column("units", "users", right=True),
            Column("sentence", "what happened", prose=True),
        ),
        empty="nothing failed and nothing waits",
    )
    failed = next((cause for cause in causes if cause.state == "failed"), None)
    if failed is not None:
        hint(f"who: reinstate users {run_id} cause:{failed.fingerprint}")
        hint(f"again, when that is mended: reinstate retry {run_id} --cause {failed.fingerprint}")
    return Exit.DONE


def losses(
    run: Run = "last",
    /,
    *,
    accept: Annotated[bool, Parameter(help="Take note that this stays lost; needs --reason.")] = (
        False
    ),
    reason: Reason = "",
    as_: Who = None,
    after: After = None,
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """List what could not be given back, by user and category; or accept it.

    Lost is what the census counts and no source holds; quarantined is what failed validation, and
    nameless are damaged copies of which nobody can say what they were. Accepting, by name and
    with a reason, makes the run end with 0 instead of 4.
    """
    from orchestrator.cli.output import say, show_rows
    from orchestrator.cli.session import operator, session
    from orchestrator.cli.tables import numbers, text
    from orchestrator.errors import PlanInvalid

    with session() as asked:
        run_id = asked.run(run)
        if accept:
            if not reason.strip():
                raise PlanInvalid("say why it is accepted", hint="--reason TEXT")
            asked.runs.accept_losses(run_id, who=operator(as_), reason=reason)
            say("accepted")
            return Exit.DONE
        place = _place(after, asked.progress.plan(run_id))
        rows = asked.progress.losses(run_id, after=place)
        last = show_rows(
            map(_flat, rows) if output == "table" else rows,
            output,
            (
                *text("user", "wave", "category"),
                *numbers("expected", "items", "lost", "quarantined", "nameless"),
            ),
            empty="nothing is lost and nothing is quarantined",
            limit=limit,
        )
        if last is not None:
            _say_more(last)
    return Exit.DONE


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **row["books"]}
