"""Who references stand for: the `reveal` command, and lists that say it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Reason, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.steering import must_say_why

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

AT_ONCE = 200
WHY = "say why you have to know who they are"


def reveal(
    run: Run,
    user: Annotated[str, Parameter(help="By u_… or by #number.")],
    /,
    *,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Say who a reference stands for; the audit log keeps who asked, and why.

    reinstate reveal last u_6f0c2a91d3 --reason "they wrote to support"
    """
    import sys

    from orchestrator.cli.cells import cell
    from orchestrator.cli.session import asking

    must_say_why(reason, WHY)
    with asking(as_) as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/users/{asked.user(run_id, user)}/reveal"
        found = asked.post(path, dict[str, Any], {"reason": reason})
    sys.stdout.write(cell(found["user"]) + "\n")
    return Exit.DONE


def shown_as(
    asked: "Client",
    run: str,
    rows: Iterable[dict[str, Any]],
    *,
    reveal: bool,
    reason: str,
) -> Iterator[dict[str, Any]]:
    """Rows with users as references, or, if that is wished, as who they are."""
    if not reveal:
        yield from rows
        return
    must_say_why(reason, WHY)
    given = iter(rows)
    while part := list(islice(given, AT_ONCE)):
        numbers = sorted({int(row["number"]) for row in part})
        answer = asked.post(
            f"/runs/{run}/users/reveal", dict[str, Any], {"numbers": numbers, "reason": reason}
        )
        names = {found["number"]: found["user"] for found in answer["rows"]}
        for row in part:
            yield {**row, "user": names.get(row["number"], row["user"])}
