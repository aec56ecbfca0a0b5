"""The command that keeps what one user wants done about conflicts."""

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli.arguments import Reason, Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes

Wanted = Literal["keep-both", "merge", "keep-mine"]


def choose(
    run: Run,
    user: Annotated[str, Parameter(help="By id, by u_… or by #number."), Takes("USER")],
    wanted: Annotated[Wanted, Parameter(help="What is done where both sides have something.")],
    /,
    *,
    category: Annotated[
        str | None, Parameter(help="Of this category only."), Takes("CATEGORY")
    ] = None,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Let one user's own choice decide where the plan would decide for everyone.

    keep-both puts the recovered item beside the live one, merge makes one of both, keep-mine leaves
    the live one. It holds from now on, also for a retry; what was done with live items that stayed
    goes once more. What was written is not taken back.

        reinstate choose last ann merge --category contacts
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/users/{asked.user(run_id, user)}/choice"
        wish = {"choice": wanted, "category": category, "reason": reason}
        again = asked.post(path, dict[str, Any], wish)["again"]
    more = f"; {again} of their categories go once more" if again else ""
    say(f"this user's choice is {wanted}{more}")
    return Exit.DONE
