"""Commands that look at whole runs: runs, status, watch, report, audit."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Run
from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from orchestrator.run_standing import Status, UnitAnswer, UserAnswer

ALWAYS = ("copies", "items", "restored", "lost")
"""Lines of the books that are shown even where there is nothing in them."""
STATEMENT = (
    "copies", "items", "others", "nameless",
    "restored", "merged", "present", "superseded", "declined", "quarantined", "pending",
    "lost",
)  # fmt: skip
"""What the books say, in the order of their laws."""


def runs(*, limit: Limit = 50, output: Format = "table") -> Exit:
    """List the runs, the newest first."""
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import moments, numbers, text

    with asking() as asked:
        rows = asked.rows("/runs", most=limit)
        show_rows(
            rows,
            output,
            (
                *text("id", "name", "purpose", "state"),
                *numbers("users"),
                *text("author"),
                *moments("created", "finished"),
            ),
            empty="no runs yet; submit a plan: reinstate submit PLAN",
        )
    if rows.next is not None:
        hint("there are more: --limit 0 lists all of them")
    return Exit.DONE


def status(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Show a run as it stands: its phases, its books, what failed and why.

    Ends with 0 whatever the run's state is: looking worked. As JSON, `terminal` says whether the
    run is over and `outcome` how it ended; `watch` ends with the status that stands for it.
    """
    from orchestrator.cli.output import console, hint, print_document, say
    from orchestrator.cli.picture import picture
    from orchestrator.cli.session import asking
    from orchestrator.cli.waiting import found_by, next_steps

    with asking() as asked:
        run_id = asked.run(run)
        if output != "table":
            print_document(asked.get(f"/runs/{run_id}", dict[str, Any]), output)
            return Exit.DONE
        found = asked.status(run_id)
    console().print(picture(found))
    if found.run.about is not None and found.run.users is not None:
        console().print("\n" + found_by(found), markup=False, soft_wrap=True)
    elif found.run.users is not None:
        console().print()
        console().print(books_table(found), soft_wrap=True)
    if found.approvals:
        console().print(f"\napproved by {', '.join(found.approvals)}", markup=False)
    if found.accepted_by:
        console().print(f"losses accepted by {found.accepted_by}", markup=False)
    if found.previewed:
        console().print(f"previewed by {found.previewed}", markup=False)
    if found.digest:
        console().print(f"digest {found.digest}", markup=False, soft_wrap=True)
    for warning in found.warnings:
        say(f"note: {warning}", tone="yellow")
    for line in next_steps(found, remote=asked.remote):
        hint(line)
    return Exit.DONE


def watch(run: Run = "last", /) -> Exit:
    """Watch a run until it ends or only a person can move it.

    On a terminal it is a picture that changes; elsewhere every change is a line, and every half
    minute one says that it is still at it. Ctrl-C stops watching, the run goes on. The exit status
    tells how the run ended, as with `submit --wait`.
    """
    from orchestrator.cli.exits import exit_of
    from orchestrator.cli.live import follow
    from orchestrator.cli.output import console
    from orchestrator.cli.session import asking
    from orchestrator.cli.waiting import explain, stop_watching
    from orchestrator.client.following import following

    with asking() as asked:
        run_id = asked.run(run)
        with following(asked, run_id) as looks:
            try:
                found = follow(looks.look)
            except KeyboardInterrupt:
                stop_watching(run_id, stalled=looks.stalled)
                raise
        explain(found, again=not console().is_terminal, remote=asked.remote)
    return exit_of(found)


def report(
    run: Run = "last",
    /,
    *,
    output: Annotated[
        Literal["markdown", "html", "json"],
        Parameter(name=["--output", "-o"], help="Form of the report on stdout."),
    ] = "markdown",
) -> Exit:
    """Write the report of a run: what was asked, what came back, what did not, and why.

    It names no user. As JSON it is a versioned document with the books in it.

        reinstate report 7f3a > report.md
        reinstate report 7f3a -o html > report.html
    """
    import sys

    from orchestrator.cli.output import print_document
    from orchestrator.cli.session import asking

    with asking() as asked:
        path = f"/runs/{asked.run(run)}/report"
        if output == "json":
            print_document(asked.get(path, dict[str, Any]), output)
        else:
            sys.stdout.write(asked.text(path, form=output))
    return Exit.DONE


def audit(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Check the books of a run again from the raw rows, and the audit log's chain.

    Ends with 1 where anything does not add up.
    """
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import prose

    with asking() as asked:
        found = list(asked.rows(f"/runs/{asked.run(run)}/audit"))
    show_rows(found, output, prose("finding"), empty="the books balance and the audit log is whole")
    if found:
        hint("keep the ledger as it is and compare it with its backup")
    return Exit.UNEXPECTED if found else Exit.DONE


# Pictures -----------------------------------------------------------------------------------------


def books_table(found: "Status") -> "Text":
    """The books as a statement: a column a category, and their sum; lines of zeros are left out."""
    from rich.text import Text

    from orchestrator.cli.tables import Column, lines

    sides = {phase.category: phase.books for phase in found.phases} | {"all": found.books}
    names = [name for name in STATEMENT if name in ALWAYS or getattr(found.books, name)]
    rows: list[dict[str, Any]] = [
        {"books": name} | {side: getattr(books, name) or None for side, books in sides.items()}
        for name in names
    ]
    columns = [Column("books"), *(Column(side, right=True) for side in sides)]
    heading, *body = lines(rows, columns)
    table = Text(heading, style="dim")
    table.append("\n" + "\n".join(body), style="not dim")
    return table


def user_picture(found: "UserAnswer") -> "RenderableType":
    """One user's answer, in words that can be passed on."""
    from rich.console import Group
    from rich.text import Text

    notes = [
        note
        for note, here in (("declined", found.declined), ("ambiguous id", found.ambiguous))
        if here
    ]
    lines: list[Any] = [
        Text(
            f"user #{found.number} in run {found.run}, wave {found.wave}"
            + (f" ({', '.join(notes)})" if notes else ""),
            style="bold",
        )
    ]
    for unit in found.categories:
        lines.append(Text(_answer(unit)))
        if unit.cause:
            lines.append(_below(f"because {unit.cause}", "red"))
        for kept in unit.quarantined:
            copies = _copies(kept["copies"], kept["reason"])
            place = f"{kept['source']} ({kept['reason']})"
            lines.append(_below(f"{copies} in {place}: {kept['for_user']}", "yellow"))
    return Group(*lines)


def _answer(unit: "UnitAnswer") -> str:
    """One category in one sentence."""
    books = unit.books
    if unit.state == "waiting" and not books.copies:
        return f"{unit.category}: not begun" if not unit.attempts else f"{unit.category}: waits"
    if unit.state in {"failed", "cancelled"} and not books.copies:
        return f"{unit.category}: {unit.state} before anything was read"
    said: list[str] = []
    for word in (
        "restored", "merged", "present", "superseded", "declined", "quarantined", "pending", "lost",
    ):  # fmt: skip
        number = getattr(books, word)
        if number:
            repaired = f" ({books.repaired:,} repaired)" if word == "restored" else ""
            said.append(f"{number:,} {word}" + (repaired if books.repaired else ""))
    expected = "" if unit.expected is None else f" of {unit.expected:,} expected"
    outcomes = ", ".join(said) or "nothing to restore"
    return f"{unit.category}: {unit.state}; {books.items:,} found{expected}; {outcomes}"


def _below(text: str, colour: str) -> "RenderableType":
    """A line that belongs to the one above it, and looks so when it is wrapped."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text, style=colour), (0, 0, 0, 2), expand=False)


def _copies(number: int, reason: str) -> str:
    kind = "other" if reason == "version" else "damaged"
    return f"1 {kind} copy" if number == 1 else f"{number:,} {kind} copies"
