"""The command that lets one user go first."""

from typing import Annotated

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
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        with asked.ledger.read() as connection:
            number = asked.progress.number(connection, run_id, user)
        moved = asked.runs.prioritize(run_id, number, who=operator(as_), reason=reason)
    say(f"{moved} batches of this user go first" if moved else "nothing waits for this user")
    return Exit.DONE
