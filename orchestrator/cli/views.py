"""Commands that only look: runs, status, watch, users, user, failures, losses, report, audit."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Format

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.progress import Status, UserAnswer

Run = Annotated[str, Parameter(help="A run: its id, the beginning of it, or `last`.")]
Limit = Annotated[int, Parameter(help="At most so many lines; 0: all.")]


def runs(*, limit: Limit = 50, output: Format = "table") -> Exit:
    """List the runs, the newest first."""
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.session import session

    with session() as asked:
        rows = [
            {name: getattr(row, name) for name in row.__struct_fields__}
            for row in asked.progress.runs(limit=limit or 1_000_000)
        ]
    show_rows(
        rows,
        output,
        ("id", "name", "purpose", "state", "users", "author", "created", "finished"),
        empty="no runs yet; submit a plan: reinstate submit PLAN",
    )
    return Exit.DONE


def status(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Show a run as it stands: its phases, its books, what failed and why."""
    from orchestrator.cli.exits import exit_of
    from orchestrator.cli.live import picture
    from orchestrator.cli.output import console, notices, print_json
    from orchestrator.cli.session import session

    with session() as asked:
        found = asked.progress.status(asked.run(run))
    if output == "table":
        console().print(picture(found))
        console().print(books_table(found))
        for warning in found.warnings:
            notices().print(f"note: {warning}", markup=False)
        if found.digest:
            console().print(f"digest {found.digest}", markup=False)
    else:
        print_json({"terminal": exit_of(found) is not Exit.HELD, **_fields(found)})
    return Exit.DONE


def watch(run: Run = "last", /) -> Exit:
    """Watch a run until it ends; ctrl-c stops watching, the run goes on."""
    from orchestrator.cli.exits import exit_of
    from orchestrator.cli.live import follow
    from orchestrator.cli.session import session
    from orchestrator.cli.waiting import explain

    with session() as asked:
        run_id = asked.run(run)
        found = follow(lambda: asked.progress.status(run_id))
    explain(found)
    return exit_of(found)


def users(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="state:failed category:photos wave:canary user:…")],
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """List units that match a query, by user."""
    from orchestrator.cli.output import notices, show_rows
    from orchestrator.cli.session import session
    from orchestrator.query import parse

    with session() as asked:
        run_id = asked.run(run)
        parsed = parse(query, asked.progress.plan(run_id))
        rows = asked.progress.units(run_id, parsed, limit=(limit or 10**9) + 1)
    more = bool(limit) and len(rows) > limit
    if output == "table":
        rows = [_flat(row) for row in rows]
    show_rows(
        rows[: limit or None],
        output,
        ("user", "wave", "category", "state", "attempts", "items", "restored", "lost", "cause"),
        empty="no unit matches",
    )
    if more:
        notices().print(f"more match; see them with --limit {limit * 10}")
    return Exit.DONE


def user(
    run: Run,
    user: Annotated[str, Parameter(help="Id, u_… or #number.")],
    /,
    *,
    output: Format = "table",
) -> Exit:
    """Answer "what happened to my photos?": everything about one user."""
    from orchestrator.cli.output import console, print_json
    from orchestrator.cli.session import session

    with session() as asked:
        found = asked.progress.user(asked.run(run), user)
    if output == "table":
        console().print(user_picture(found))
    else:
        print_json(found)
    return Exit.DONE


def failures(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Group what failed or waits by its cause, the commonest first."""
    from orchestrator.cli.output import notices, show_rows
    from orchestrator.cli.session import session

    with session() as asked:
        run_id = asked.run(run)
        rows = [_fields(row) for row in asked.progress.causes(run_id)]
    show_rows(
        rows,
        output,
        ("fingerprint", "category", "state", "units", "sentence"),
        empty="nothing failed and nothing waits",
    )
    if rows and output == "table":
        notices().print(
            f"hint: try them again: reinstate retry {run_id} --cause {rows[0]['fingerprint']}",
            markup=False,
        )
    return Exit.DONE


def losses(
    run: Run = "last",
    /,
    *,
    accept: Annotated[
        bool, Parameter(negative="", help="Take note that this stays lost; needs --reason.")
    ] = False,
    reason: str = "",
    as_: Annotated[str | None, Parameter(name="--as", help="Who accepts; default: you.")] = None,
    output: Format = "table",
) -> Exit:
    """List what could not be given back, by user and category; or accept it."""
    from orchestrator.cli.output import notices, show_rows
    from orchestrator.cli.session import operator, session
    from orchestrator.errors import PlanInvalid

    with session() as asked:
        run_id = asked.run(run)
        if accept:
            if not reason:
                raise PlanInvalid("say why it is accepted", hint="--reason …")
            asked.runs.accept_losses(run_id, who=operator(as_), reason=reason)
            notices().print("accepted")
            return Exit.DONE
        rows = list(asked.progress.losses(run_id))
    if output == "table":
        rows = [_flat(row) for row in rows]
    show_rows(
        rows,
        output,
        ("user", "wave", "category", "expected", "items", "lost", "quarantined", "nameless"),
        empty="nothing is lost and nothing is quarantined",
    )
    return Exit.DONE


def report(
    run: Run = "last",
    /,
    *,
    output: Annotated[
        Literal["markdown", "html", "json"], Parameter(name=["--output", "-o"])
    ] = "markdown",
) -> Exit:
    """Write the report of a run: what was asked, what came back, what did not, and why."""
    import sys

    from orchestrator.cli.output import print_json
    from orchestrator.cli.session import session
    from orchestrator.report import as_html, as_markdown, report_of

    with session() as asked:
        found = report_of(asked.progress, asked.run(run))
    match output:
        case "json":
            print_json(found)
        case "html":
            sys.stdout.write(as_html(found))
        case "markdown":
            sys.stdout.write(as_markdown(found))
    return Exit.DONE


def audit(run: Run = "last", /, *, output: Format = "table") -> Exit:
    """Check the books of a run again from the raw rows, and the audit log's chain."""
    from orchestrator.audit import audit as examine
    from orchestrator.cli.output import notices, show_rows
    from orchestrator.cli.session import session

    with session() as asked:
        found = [{"finding": finding} for finding in examine(asked.ledger, asked.run(run))]
    show_rows(found, output, ("finding",), empty="the books balance and the audit log is whole")
    if found:
        notices().print("hint: keep the ledger as it is and compare it with its backup")
    return Exit.UNEXPECTED if found else Exit.DONE


def books_table(found: "Status") -> "RenderableType":
    """The books of every phase, and their sum."""
    from rich.table import Table
    from rich.text import Text

    columns = (
        "copies", "items", "restored", "merged", "present", "superseded", "declined",
        "quarantined", "pending", "lost",
    )  # fmt: skip
    if not found.books.merged:  # room for the others on a terminal of 100 columns
        columns = tuple(column for column in columns if column != "merged")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("BOOKS", no_wrap=True)
    for column in columns:
        table.add_column(column.upper(), justify="right", no_wrap=True)
    rows = [(phase.category, phase.books) for phase in found.phases]
    for name, books in [*rows, ("all", found.books)]:
        style = "bold" if name == "all" else ""
        numbers = [getattr(books, column) for column in columns]
        table.add_row(
            Text(name, style=style),
            *(Text(f"{number:,}" if number else "-", style=style) for number in numbers),
        )
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
        books = unit.books
        parts = [
            f"{number:,} {word}"
            for word in (
                "restored",
                "merged",
                "present",
                "superseded",
                "declined",
                "quarantined",
                "pending",
                "lost",
            )
            if (number := getattr(books, word))
        ]
        if books.repaired:
            parts[0] += f" ({books.repaired:,} repaired)"
        said = ", ".join(parts) or "nothing found"
        expected = "" if unit.expected is None else f" of {unit.expected:,} expected"
        lines.append(
            Text(f"{unit.category}: {unit.state}; {books.items:,} found{expected}; {said}")
        )
        if unit.cause:
            lines.append(_below(f"because {unit.cause}", "red"))
        lines.extend(
            _below(
                f"{_damaged(kept['copies'])} in {kept['source']} ({kept['reason']}): "
                f"{kept['for_user']}",
                "yellow",
            )
            for kept in unit.quarantined
        )
    return Group(*lines)


def _below(text: str, colour: str) -> "RenderableType":
    """A line that belongs to the one above it, and looks so when it is wrapped."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text, style=colour), (0, 0, 0, 2), expand=False)


def _damaged(copies: int) -> str:
    return "1 damaged copy" if copies == 1 else f"{copies:,} damaged copies"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **row["books"]}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
