"""Commands that change the course of a run, from approve to decline."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Reason, Run, Wait, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

USERS_AT_ONCE = 10_000
SHORTEST_REASON = 3


def approve(
    run: Run,
    /,
    *,
    as_: Who = None,
    reason: Reason = "",
    digest: Annotated[
        str | None, Parameter(help="Only if this is what was inspected."), Takes("DIGEST")
    ] = None,
    wait: Wait = False,
) -> Exit:
    """Approve what was inspected; not your own plan.

    What is approved is the digest that `status` shows: plan, lists and recovered data as they
    were inspected, and what a preview counted, where one was named. When the last approval is
    there, the run starts.
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking
    from orchestrator.cli.waiting import approve_as_inspected

    with asking(as_) as asked:
        run_id = asked.run(run)
        found = approve_as_inspected(asked, run_id, reason=reason, digest=digest)
        say(f"{len(found.approvals)} of {found.approvals_needed} approvals")
        enough = len(found.approvals) >= found.approvals_needed
        return go_on(asked, run_id, wait=wait and enough, moves=enough)


def pause(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """Start nothing more; what is under way is handed back within seconds."""
    from orchestrator.cli.output import hint, say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        asked.post(f"/runs/{run_id}/pause", dict[str, Any], {"reason": reason})
    say("paused")
    hint(f"go on with: reinstate resume {run_id}")
    return Exit.DONE


def resume(run: Run, /, *, reason: Reason = "", as_: Who = None, wait: Wait = False) -> Exit:
    """Go on with a paused run."""
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        asked.change(run_id, "resume", dict[str, Any], lambda _: {"reason": reason})
        say("running")
        return go_on(asked, run_id, wait=wait)


def cancel(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """End a run for good; what was restored stays. It needs --reason."""
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        must_say_why(reason, "it ends the run for good: say why")
        asked.change(run_id, "cancel", dict[str, Any], lambda _: {"reason": reason})
    say("cancelled; what was restored stays")
    return Exit.DONE


def promote(run: Run, /, *, reason: Reason = "", as_: Who = None, wait: Wait = False) -> Exit:
    """Let the gates pass that are held; not in your own run.

    A gate that asks for several people opens when as many have promoted it.
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking

    with asking(as_) as asked:
        run_id = asked.run(run)
        found = asked.change(run_id, "promote", dict[str, Any], lambda _: {"reason": reason})
        number = int(found["gates"])
        if not number:
            say("no gate is held")
            return Exit.DONE
        say(f"promoted {number:,} held gate{'' if number == 1 else 's'}")
        return go_on(asked, run_id, wait=wait)


def decline(
    run: Run,
    users: Annotated[Path, Parameter(help="A list of users: one id a line, or CSV.")],
    /,
    *,
    as_: Who = None,
) -> Exit:
    """Add users to the list of those who are never restored; takes effect at once.

    What they already got back is not removed. The list of a run only ever grows.
    """
    from itertools import islice

    from orchestrator.cli.output import say
    from orchestrator.cli.session import asking
    from orchestrator.user_lists import read_declined

    everyone = list(read_declined(users, called=str(users)))  # nothing is said of a bad list
    number = 0
    with asking(as_) as asked:
        run_id = asked.run(run)
        given = iter(everyone)
        while part := list(islice(given, USERS_AT_ONCE)):
            wish = {"users": part}
            number += asked.post(f"/runs/{run_id}/declines", dict[str, Any], wish)["users"]
    say(f"{number:,} declined; what they already got back is not removed")
    return Exit.DONE


def must_say_why(reason: str, sentence: str) -> None:
    """Raises `PlanInvalid` where no reason is given for what needs one."""
    from orchestrator.errors import PlanInvalid

    if len(reason.strip()) < SHORTEST_REASON:
        raise PlanInvalid(sentence, hint="--reason TEXT")


def go_on(asked: "Client", run_id: str, *, wait: bool, moves: bool = True) -> Exit:
    """Watch a run that was just moved, or say how to; `moves`: it is not for people to move it."""
    from orchestrator.cli.output import hint
    from orchestrator.cli.waiting import wait_for

    if wait:
        return wait_for(asked, run_id).exit
    if moves:
        hint(f"watch it: reinstate watch {run_id}")
        if asked.get("/workers", dict[str, Any])["conductor"] is None:
            hint(
                "nothing moves it yet, no conductor is at work there"
                if asked.remote
                else "nothing moves it yet, no engine is running: reinstate up, or add --wait"
            )
    return Exit.DONE
