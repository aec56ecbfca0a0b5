"""The command that shows who was told what of a run, and tells it again."""

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Limit, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format
from orchestrator.cli.people import After


def deliveries(
    run: Run = "last",
    action: Annotated[
        Literal["list", "resend", "test"], Parameter(help="What to do with them.")
    ] = "list",
    number: Annotated[int | None, Parameter(help="Of `resend`."), Takes("NUMBER")] = None,
    /,
    *,
    after: After = None,
    limit: Limit = 50,
    as_: Who = None,
    output: Format = "table",
) -> Exit:
    """Notices of a run on their way to a webhook or to operators: what came of each attempt.

    `resend` lets one go out once more, under the same id. `test` tells everybody whom the plan
    names that this is only a test.

        reinstate deliveries 7f3a
        reinstate deliveries 7f3a resend 17
    """
    from orchestrator.cli.output import say, show_rows
    from orchestrator.cli.people import say_more
    from orchestrator.cli.session import asking
    from orchestrator.cli.tables import moments, numbers, text
    from orchestrator.errors import PlanInvalid

    with asking(as_) as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/deliveries"
        match action:
            case "list":
                rows = asked.rows(path, most=limit, after=after)
                show_rows(
                    (_shown(row) for row in rows) if output == "table" else rows,
                    output,
                    (
                        *numbers("id"),
                        *text("kind", "channel", "state", "attempts", "end", "status"),
                        *moments("happened", "next_attempt"),
                    ),
                    empty="nobody is told of this run",
                )
                say_more(rows)
            case "resend":
                if number is None:
                    raise PlanInvalid(
                        "resend needs a number", hint=f"list them: reinstate deliveries {run_id}"
                    )
                asked.post(f"{path}/{number}/resend", dict[str, Any], {})
                say(f"delivery {number} goes out once more")
            case "test":
                asked.post(f"{path}/test", dict[str, Any], {})
                say(f"a test goes out; what comes of it: reinstate deliveries {run_id}")
    return Exit.DONE


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A delivery with what came of its last attempt."""
    last = row["attempts"][-1] if row["attempts"] else {"end": "–", "status": None}  # noqa: RUF001
    status = "" if last["status"] is None else str(last["status"])
    return {**row, "attempts": str(len(row["attempts"])), "end": last["end"], "status": status}
