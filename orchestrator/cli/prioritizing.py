"""The command that lets one user go first."""

from typing import Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Reason, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes


def prioritize(
    run: Run,
    user: Annotated[str, Parameter(help="By id, by u_… or by #number."), Takes("USER")],
    /,
    *,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Let what waits for one user go before everything else of the run.

    Gates and the order of categories still hold, and what a worker has in hand is not disturbed.
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/users/{asked.user(run_id, user)}/prioritize"
        moved = asked.post(path, dict[str, Any], {"reason": reason})["batches"]
    say(f"{moved} batches of this user go first" if moved else "nothing waits for this user")
    return Exit.DONE
