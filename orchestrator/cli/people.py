"""Commands about people and what they did not get back: users, user, failures, losses."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Reason, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from orchestrator.client.listing import Rows

After = Annotated[
    str | None,
    Parameter(help="Go on behind the place that the end of a list names."),
    Takes("PLACE"),
]
Reveal = Annotated[
    bool, Parameter(help="Say who they are, too; needs --reason, and the audit log keeps it.")
]


def users(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="state:failed category:photos wave:canary cause:…")],
    reveal: Reveal = False,
    reason: Reason = "",
    as_: Who = None,
    after: After = None,
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """List units (a user's category each) that match a query, by user.

    The query is made of word:value. Words: state, category, wave, cause, attempts (also >3),
    outcome (units with such items: lost, merged …), reason (with copies in quarantine for it), and
    user (an id, u_… or #number). They are joined by "and"; the same word twice means "either".

        reinstate users 7f3a state:failed category:photos
        reinstate users 7f3a attempts:>3 wave:canary --limit 0 -o jsonl

    Users are references; `--reveal` says who they are.
    """
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.revealing import shown_as
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import numbers, text

    run, query = run_and_query(run, query)
    with asking(as_) as asked:
        run_id = asked.run(run)
        rows = asked.rows(
            f"/runs/{run_id}/units", most=limit, after=after, q=asked.query(run_id, query)
        )
        show_rows(
            _fit(shown_as(asked, run_id, rows, reveal=reveal, reason=reason), output),
            output,
            (
                *text("user", "wave", "category", "state"),
                *numbers("attempts", "items", "restored", "quarantined", "lost"),
                *text("cause"),
            ),
            empty="no unit matches",
        )
    say_more(rows)
    return Exit.DONE


def run_and_query(run: str, query: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A run and a query, also where only the query was given: that of the last run."""
    return ("last", (run, *query)) if ":" in run else (run, query)


def say_more(rows: "Rows") -> None:
    """Where the next page begins; the query is not repeated, it may name a user."""
    from orchestrator.cli.output import hint

    if rows.next is not None:
        hint(f"there are more: the same with --after {rows.next}")


def user(
    run: Run,
    user: Annotated[str, Parameter(help="Their id, u_… or #number.")],
    /,
    *,
    output: Format = "table",
) -> Exit:
    """Answer "what happened to my photos?": everything about one user.

    As JSON it is a versioned document with the books and every item of the user. It says neither
    who they are (`reveal` does) nor what is in their items.
    """
    from orchestrator.cli.output import console, print_document
    from orchestrator.cli.session import asking
    from orchestrator.cli.views import user_picture
    from orchestrator.run_standing import UserAnswer

    with asking() as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/users/{asked.user(run_id, user)}"
        if output == "table":
            found = asked.get(path, UserAnswer)
            console().print(user_picture(found), soft_wrap=False)
        else:
            print_document(asked.get(path, dict[str, Any]), output)
    return Exit.DONE


def failures(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Group what failed or waits by its cause, the commonest first."""
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import Column

    with asking() as asked:
        run_id = asked.run(run)
        causes = list(asked.rows(f"/runs/{run_id}/failures"))
    show_rows(
        causes,
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
    failed = next((cause for cause in causes if cause["state"] == "failed"), None)
    if failed is not None:
        cause = failed["fingerprint"]
        hint(f"who: reinstate users {run_id} cause:{cause}")
        hint(f"again, when that is mended: reinstate retry {run_id} --cause {cause}")
    return Exit.DONE


def losses(
    run: Run = "last",
    /,
    *,
    accept: Annotated[bool, Parameter(help="Take note that this stays lost; needs --reason.")] = (
        False
    ),
    reveal: Reveal = False,
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
    from orchestrator.cli.revealing import shown_as
    from orchestrator.cli.session import asking
    from orchestrator.cli.steering import must_say_why
    from orchestrator.cli.tables import numbers, text
    from orchestrator.run_standing import Status

    with asking(as_) as asked:
        run_id = asked.run(run)
        if accept:
            must_say_why(reason, "say why it is accepted")
            asked.change(run_id, "losses/accept", Status, lambda _: {"reason": reason})
            say("accepted")
            return Exit.DONE
        rows = asked.rows(f"/runs/{run_id}/losses", most=limit, after=after)
        show_rows(
            _fit(shown_as(asked, run_id, rows, reveal=reveal, reason=reason), output),
            output,
            (
                *text("user", "wave", "category"),
                *numbers("expected", "items", "lost", "quarantined", "nameless"),
            ),
            empty="nothing is lost and nothing is quarantined",
        )
    say_more(rows)
    return Exit.DONE


def _fit(rows: Iterator[dict[str, Any]], form: str) -> Iterator[dict[str, Any]]:
    """Rows as they are; for a table with the books beside the other fields."""
    return ({**row, **row["books"]} for row in rows) if form == "table" else rows
