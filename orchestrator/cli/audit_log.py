"""The `audit-log` command: follow its chain, in the ledger or in an export; list it; export it."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.cli.people import After
from orchestrator.errors import PlanInvalid

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

MOST = 100
"""Rows that are named."""


def audit_log(
    action: Annotated[
        Literal["list", "verify", "export"], Parameter(help="What to do with it.")
    ] = "list",
    file: Annotated[
        Path | None, Parameter(help="Of `verify`: an export, instead of the ledger's rows.")
    ] = None,
    /,
    *,
    run: Annotated[
        str | None, Parameter(help="Of `list`: only what was done with this run."), Takes("RUN")
    ] = None,
    last: Annotated[
        str | None,
        Parameter(help="Of `verify`: a hash that was kept; it has to be in the chain."),
        Takes("HASH"),
    ] = None,
    after: After = None,
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """Who did what and when: list it, export it, or check that nobody tampered with it.

    Each row holds the hash of the one before, so that any edit, removal or reorder shows. Only
    rows cut off at the end do not: keep the hash that `verify` ends with elsewhere, and give it
    with --last the next time. `export` writes every row as one line of JSON, the oldest first,
    and `verify FILE` checks such a file anywhere. `verify` ends with 1 where something is wrong.

        reinstate audit-log export > audit.jsonl
        reinstate audit-log verify audit.jsonl --last 9f2c…
    """
    from orchestrator.cli.session import asking

    if file is not None and action != "verify":
        raise PlanInvalid(f"{action} takes no file", hint="reinstate audit-log export > FILE")
    if file is not None:
        return _verdict(_followed(file, last), last)
    with asking() as asked:
        match action:
            case "list":
                _list(asked, run, after, limit, output)
            case "export":
                with asked.lines("/audit-log/export") as lines:
                    for line in lines:
                        sys.stdout.write(line.decode() + "\n")
            case "verify":
                path = "/audit-log/verification"
                return _verdict(asked.get(path, dict[str, Any], known=last), last)
    return Exit.DONE


def _list(asked: "Client", run: str | None, after: str | None, limit: int, output: str) -> None:
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.people import say_more
    from orchestrator.cli.tables import moments, prose, text

    run_id = None if run is None else asked.run(run)
    rows = asked.rows("/audit-log", most=limit, after=after, run=run_id)
    show_rows(
        (
            {**row, "detail": json.dumps(row["detail"])} if output == "table" else row
            for row in rows
        ),
        output,
        (*text("id"), *moments("at"), *text("who", "action", "run"), *prose("detail")),
        empty="nothing was done yet",
    )
    say_more(rows)


def _verdict(found: Mapping[str, Any], last: str | None) -> Exit:
    from orchestrator.cli.output import hint, print_line, say

    for number in found["broken"]:
        say(f"row {number} does not follow from the one before", tone="red")
    if last is not None and not found["known"]:
        say("no row has the hash that was kept: rows were cut off, or changed", tone="red")
    if not found["whole"]:
        hint("keep the ledger as it is and compare it with its backup")
        return Exit.UNEXPECTED
    rows = found["rows"]
    say(f"the audit log is whole: {rows:,} row{'' if rows == 1 else 's'}; its last hash is")
    print_line(found["last"] or "-")
    return Exit.DONE


def _followed(path: Path, known: str | None) -> dict[str, Any]:
    """The same of an exported file, by this machine alone. Raises `PlanInvalid` for any other."""
    from orchestrator.audit_chain import as_kept, broken

    count, last, there = 0, None, False

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count, last, there
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                row = as_kept(json.loads(line))
                count, last = count + 1, row["hash"]
                there |= last == known
                yield row

    try:
        wrong = list(broken(rows()))[:MOST]
    except OSError as error:
        raise PlanInvalid(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PlanInvalid(
            f"line {count + 1} of {path} is not a row of an audit log",
            hint="it has to be what `audit-log export` wrote",
        ) from error
    return {
        "broken": wrong,
        "known": there,
        "whole": not wrong and (known is None or there),
        "rows": count,
        "last": last,
    }
