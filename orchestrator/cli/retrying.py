"""Commands that try failed units again: `retry`, and the operations that it makes."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Reason, Run, Wait, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.cli.people import After, run_and_query
from orchestrator.errors import PlanInvalid, Refused

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

Operation = dict[str, Any]


def retry(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="Which failed units: category:photos user:ann …")],
    cause: Annotated[str | None, Parameter(help="Only those of one cause."), Takes("CAUSE")] = None,
    canary: Annotated[
        int | None, Parameter(help="Try so many first; `operation ID continue` begins the rest.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Only say how many.")] = False,
    yes: Annotated[
        bool, Parameter(help="Begin without asking; needed where there is no terminal.")
    ] = False,
    wait: Wait = False,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Try failed units again; what was verified is never written again.

    Which units it is about is frozen first and shown; on a terminal their number is asked for,
    and then it begins: an operation with progress and a list of its own of what failed again.
    Words of the query are joined by "and", the same word twice means "either".

        reinstate failures 7f3a
        reinstate retry 7f3a --cause 9f2c1a --dry-run
        reinstate retry 7f3a category:photos wave:canary --canary 20 --yes --wait
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    run, query = run_and_query(run, query)
    words = [*query, *([f"cause:{cause}"] if cause else [])]
    if any(
        word.startswith("state:") and word != "state:failed" for word in " ".join(words).split()
    ):
        raise PlanInvalid("only failed units are tried again", hint="leave state: out")
    with asking(as_) as asked:
        run_id = asked.run(run)
        wanted = asked.query(run_id, tuple(words))
        if not _any_failed(asked, run_id, wanted):
            say("no failed unit matches" if words else "nothing has failed")
            return Exit.DONE
        wish = {"query": wanted, "canary": canary, "reason": reason}
        made = asked.post(f"/runs/{run_id}/retries", Operation, wish)
        if dry_run:
            asked.delete(f"/operations/{made['id']}")
            say(f"{_units(made['units'])} would be tried again")
            return Exit.DONE
        if not yes and not _confirmed(made):
            asked.delete(f"/operations/{made['id']}")
            raise Refused(
                f"{_units(made['units'])} would be tried again; nothing was begun",
                hint="say that it is meant: --yes",
            )
        begun = asked.post(f"/operations/{made['id']}/confirm", Operation, {"units": made["units"]})
        first = f", {made['canary']:,} of them first" if made["canary"] else ""
        say(f"{_units(made['units'])} will be tried again{first}: operation {begun['id']}")
        return _follow(asked, begun, wait=wait)


def _any_failed(asked: "Client", run_id: str, wanted: str) -> bool:
    words = f"{wanted} state:failed" if "state:failed" not in wanted else wanted
    return any(True for _ in asked.rows(f"/runs/{run_id}/units", most=1, q=words.strip()))


def _units(number: int) -> str:
    return f"{number:,} failed unit{'' if number == 1 else 's'}"


def _confirmed(made: Operation) -> bool:
    """Whether whoever sits at the terminal types how many units that is."""
    if not sys.stdin.isatty():
        return False
    from orchestrator.cli.output import tell

    first = f", {made['canary']:,} of them first" if made["canary"] else ""
    tell(f"{_units(made['units'])} would be tried again{first}; type their number to begin: ")
    return sys.stdin.readline().strip().replace(",", "") == str(made["units"])


def _follow(asked: "Client", begun: Operation, *, wait: bool) -> Exit:
    """Watch an operation until nothing of it is open; then say what became of it."""
    from orchestrator.cli.output import hint
    from orchestrator.cli.steering import go_on
    from orchestrator.cli.waiting import wait_for

    run_id, path = begun["run"], f"/operations/{begun['id']}"
    if not wait:
        hint(f"how far it is: reinstate operation {begun['id']}")
        return go_on(asked, run_id, wait=False)
    canary = begun["state"] == "canary"
    ended = wait_for(
        asked, run_id, until=lambda _: canary and _is_still(asked.get(path, Operation))
    )
    _say_progress(asked.get(path, Operation))
    return ended.exit


def _is_still(found: Operation) -> bool:
    """Whether a canary has done what it may: the rest waits for a person."""
    return found["state"] == "canary" and not found["progress"]["waiting"]


def _say_progress(found: Operation) -> None:
    from orchestrator.cli.output import hint, say

    progress = found["progress"]
    parts = [
        f"{progress[name]:,} {name.replace('_', ' ')}"
        for name in ("settled", "failed", "waiting", "skipped", "cancelled", "not_begun")
        if progress[name]
    ]
    say(f"operation {found['id']}: of {_units(found['units'])}, {', '.join(parts)}")
    if progress["failed"] or progress["skipped"]:
        hint(f"which, and why: reinstate operation {found['id']} failed")
    if found["state"] == "canary" and not progress["waiting"] and not progress["failed"]:
        hint(f"begin the rest: reinstate operation {found['id']} continue")


# Operations ---------------------------------------------------------------------------------------


def operations(run: Run = "last", /, *, limit: Limit = 50, output: Format = "table") -> Exit:
    """List the operations of a run (retries as they were asked for), the newest first."""
    from orchestrator.cli.output import hint, show_rows
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import moments, numbers, text

    with asking() as asked:
        rows = asked.rows(f"/runs/{asked.run(run)}/operations", most=limit)
        show_rows(
            rows,
            output,
            (
                *text("id", "kind", "state"),
                *numbers("units", "canary"),
                *text("author"),
                *moments("created"),
                *text("confirmed_by"),
            ),
            empty="nothing was tried again in this run",
        )
    if rows.next is not None:
        hint("there are more: --limit 0 lists all of them")
    return Exit.DONE


def operation(
    operation: Annotated[str, Parameter(help="Its id, as `retry` and `operations` say it.")],
    action: Annotated[
        Literal["show", "failed", "continue", "drop"], Parameter(help="What to do with it.")
    ] = "show",
    /,
    *,
    wait: Wait = False,
    as_: Who = None,
    after: After = None,
    limit: Limit = 50,
    output: Format = "table",
) -> Exit:
    """Show how far an operation is, or what of it failed again; begin the rest, or drop it.

    `failed` lists its units that failed again or were left out, and why. `continue` begins the
    rest behind a canary that went well, `drop` gives up what has not begun.

        reinstate operation 5afd975c3b69 failed -o jsonl
    """
    from orchestrator.cli.output import print_document, say, show_rows
    from orchestrator.cli.people import say_more
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import prose, text

    path = f"/operations/{operation}"
    with asking(as_) as asked:
        match action:
            case "show":
                found = asked.get(path, Operation)
                if output == "table":
                    _say_state(found)
                    _say_progress(found)
                else:
                    print_document(found, output)
            case "failed":
                rows = asked.rows(f"{path}/failed", most=limit, after=after)
                columns = (*text("user", "category", "state"), *prose("why"))
                show_rows(rows, output, columns, empty="nothing of it failed again")
                say_more(rows)
            case "continue":
                begun = asked.post(f"{path}/continue", Operation, {})
                say("the rest has begun")
                return _follow(asked, begun, wait=wait)
            case "drop":
                asked.delete(path)
                say("dropped; what had begun goes on")
    return Exit.DONE


def _say_state(found: Operation) -> None:
    from orchestrator.cli.cells import cell
    from orchestrator.cli.output import print_line

    what = f"{found['kind']} of run {found['run']}, {found['state']}, by {found['author']}"
    asked_for = f": {found['query']}" if found["query"] else ": all that had failed"
    print_line(cell(what + asked_for))
