"""Commands after a run: verify, undo, close; and of one user: forget."""

import re
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Approvers, Reason, Run, Wait, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.errors import PlanInvalid, Refused

if TYPE_CHECKING:
    from orchestrator.client.asking import Client

Words = Annotated[
    str, Parameter(help="Which units: category:photos wave:canary …; default: all that it wrote.")
]
_SAMPLE = re.compile(r"([1-9][0-9]{0,7})(?:/([1-9][0-9]{0,7}))?", re.ASCII)


def verify(
    run: Run,
    /,
    *query: Words,
    sample: Annotated[
        str | None,
        Parameter(help="Only so many units, taken by chance; 1/100: so many of as many."),
        Takes("N/T"),
    ] = None,
    reason: Reason = "",
    as_: Who = None,
    wait: Wait = False,
) -> Exit:
    """Compare what is in the target now with what a run left there; changes nothing.

    Prints the id of the verify: a run about that run, with progress and an end of its own. With
    --wait it says how places compare, and ends with 4 where anything is not as it was left: its
    user may have changed it since, or it got lost.

        reinstate verify 7f3a --sample 1/100 --wait
        reinstate verify 7f3a category:contacts user:#17 --wait
    """
    from orchestrator.cli.session import asking

    wish = {**_sampled(sample), "reason": reason}
    with asking(as_) as asked:
        run_id = asked.run(run)
        wish["query"] = asked.query(run_id, query)
        made = asked.post(f"/runs/{run_id}/verify", dict[str, Any], wish)
        return _begun(asked, made["run"]["id"], wait=wait)


def _sampled(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    found = _SAMPLE.fullmatch(text)
    if found is None or (found[2] and int(found[1]) > int(found[2])):
        raise PlanInvalid("a sample is a number, or a share like 1/100", hint="--sample 1/100")
    return {"sample": int(found[1]), "of": int(found[2]) if found[2] else None}


def undo(
    run: Run,
    /,
    *query: Words,
    reason: Reason = "",
    approve: Approvers = None,
    as_: Who = None,
    wait: Wait = False,
) -> Exit:
    """Take back what a run wrote, or what an undo did: pre-images are put back, the rest removed.

    What anyone changed since is left as it is, and listed. It needs --reason and as many approvals
    as the plan did, none of them by whoever asks. Prints the id of the undo: a run about that run,
    that can be watched, paused, and undone. With --wait it ends with 4 where anything was left.

        reinstate verify 7f3a --wait
        reinstate undo 7f3a category:notes --reason "wrong sources" --wait
    """
    from orchestrator.cli.session import asking, operator
    from orchestrator.cli.steering import must_say_why

    must_say_why(reason, "say why it shall be taken back")
    approvers = list(dict.fromkeys(operator(name) for name in approve or ()))
    with asking(as_) as asked:
        for name in approvers:
            if asked.named(name).name.casefold() == asked.name.casefold():
                raise Refused("nobody approves an undo of their own; nothing was begun")
        run_id = asked.run(run)
        words = asked.query(run_id, query)
        wish = {"query": words, "reason": reason}
        made = asked.change(run_id, "undo", dict[str, Any], lambda _: wish)
        return _begun(asked, made["run"]["id"], wait=wait, approve=approvers)


def _begun(asked: "Client", made: str, *, wait: bool, approve: "list[str] | None" = None) -> Exit:
    """What a verify or an undo that was just begun prints, and how it ended if that is awaited."""
    from orchestrator.cli.output import hint, print_line
    from orchestrator.cli.steering import go_on
    from orchestrator.cli.waiting import wait_for
    from orchestrator.lifecycle import RunState

    print_line(made)
    if wait or approve:
        ended = wait_for(
            asked,
            made,
            approve=approve or (),
            until=lambda status: not wait and status.run.state is RunState.RUNNING,
        )
        if wait or ended.exit is not Exit.DONE:
            return ended.exit
    else:
        status = asked.status(made)
        if status.approvals_needed:
            whom = "" if asked.remote else " --as NAME"
            hint(f"somebody else has to approve it: reinstate approve {made}{whom}")
    return go_on(asked, made, wait=False)


def close(
    run: Run,
    /,
    *,
    reason: Reason = "",
    early: Annotated[
        bool, Parameter(help="Also within the 30 days in which it may be undone.")
    ] = False,
    as_: Who = None,
) -> Exit:
    """Erase the keys of all that was kept of a run's users, for ever. It needs --reason.

    After that nobody can undo it, read its quarantine or say who its users were. Its books, its
    report and the audit log stay.
    """
    from orchestrator.cli.session import asking
    from orchestrator.cli.steering import must_say_why

    must_say_why(reason, "say why nobody shall be able to undo it any more")
    with asking(as_) as asked:
        run_id = asked.run(run)
        wish = {"reason": reason, "early": early}
        erased = asked.change(run_id, "close", dict[str, Any], lambda _: wish)
    _say_erased(erased, "closed")
    return Exit.DONE


def forget(
    run: Run,
    user: Annotated[str, Parameter(help="By id, by u_… or by #number."), Takes("USER")],
    /,
    *,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Decline one user, and erase what was kept of them. It needs --reason.

    What they already got back is not removed; `undo RUN user:#17` before does that.
    """
    from orchestrator.cli.session import asking
    from orchestrator.cli.steering import must_say_why

    must_say_why(reason, "say why they shall be forgotten")
    with asking(as_) as asked:
        run_id = asked.run(run)
        path = f"/runs/{run_id}/users/{asked.user(run_id, user)}/forget"
        erased = asked.post(path, dict[str, Any], {"reason": reason})
    _say_erased(erased, "forgotten")
    return Exit.DONE


def _say_erased(erased: "dict[str, Any]", what: str) -> None:
    from orchestrator.cli.output import hint, say

    keys = erased["keys"]
    say(f"{what}; {keys:,} key{' was' if keys == 1 else 's were'} erased")
    if not erased["scrubbed"]:
        hint("the ledger's files were in use: say it once more later, so that no trace stays there")
