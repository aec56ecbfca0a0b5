"""Commands that change the course of a run, from approve to retry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from orchestrator.cli.arguments import Reason, Run, Wait, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.people import run_and_query

if TYPE_CHECKING:
    from orchestrator.cli.session import Session


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
    were inspected. When the last approval is there, the run starts.
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        asked.runs.approve(run_id, who=operator(as_), reason=reason, digest=digest)
        found = asked.progress.status(run_id)
        say(f"{len(found.approvals)} of {found.approvals_needed} approvals")
        enough = len(found.approvals) >= found.approvals_needed
        return go_on(asked, run_id, wait=wait and enough, moves=enough)


def pause(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """Start nothing more; what is under way is handed back within seconds."""
    from orchestrator.cli.output import hint, say
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        asked.runs.pause(run_id, who=operator(as_), reason=reason)
    say("paused")
    hint(f"go on with: reinstate resume {run_id}")
    return Exit.DONE


def resume(run: Run, /, *, reason: Reason = "", as_: Who = None, wait: Wait = False) -> Exit:
    """Go on with a paused run."""
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        asked.runs.resume(run_id, who=operator(as_), reason=reason)
        say("running")
        return go_on(asked, run_id, wait=wait)


def cancel(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """End a run for good; what was restored stays."""
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session

    with session() as asked:
        asked.runs.cancel(asked.run(run), who=operator(as_), reason=reason)
    say("cancelled; what was restored stays")
    return Exit.DONE


def promote(run: Run, /, *, reason: Reason = "", as_: Who = None, wait: Wait = False) -> Exit:
    """Let the gates pass that are held; not in your own run.

    A gate that asks for several people opens when as many have promoted it.
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        number = asked.runs.promote(run_id, who=operator(as_), reason=reason)
        if not number:
            say("no gate is held")
            return Exit.DONE
        say(f"promoted {number:,} held gate{'' if number == 1 else 's'}")
        return go_on(asked, run_id, wait=wait)


def retry(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="Which failed units: category:photos user:ann …")],
    cause: Annotated[str | None, Parameter(help="Only those of one cause."), Takes("CAUSE")] = None,
    dry_run: Annotated[bool, Parameter(help="Only say how many.")] = False,
    wait: Wait = False,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Try failed units again; what was verified is never written again.

    Words of the query are joined by "and", the same word twice means "either".

        reinstate failures 7f3a
        reinstate retry 7f3a --cause 9f2c1a --dry-run
        reinstate retry 7f3a category:photos wave:canary --wait
    """
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session
    from orchestrator.errors import PlanInvalid
    from orchestrator.lifecycle import UnitState
    from orchestrator.query import parse

    run, query = run_and_query(run, query)
    words = [*query, *([f"cause:{cause}"] if cause else [])]
    with session() as asked:
        run_id = asked.run(run)
        parsed = parse(words, asked.progress.plan(run_id))
        if set(parsed.states) - {UnitState.FAILED}:
            raise PlanInvalid("only failed units are tried again", hint="leave state: out")
        number = asked.runs.retry(run_id, parsed, who=operator(as_), reason=reason, dry_run=dry_run)
        if not number:
            say("no failed unit matches" if words else "nothing has failed")
            return Exit.DONE
        units = f"{number:,} failed unit{'' if number == 1 else 's'}"
        say(f"{units} would be tried again" if dry_run else f"{units} will be tried again")
        if dry_run:
            return Exit.DONE
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
    from orchestrator.cli.output import say
    from orchestrator.cli.session import operator, session
    from orchestrator.user_lists import read_declined

    with session() as asked:
        run_id = asked.run(run)
        number = asked.runs.decline(
            run_id, read_declined(users, called=str(users)), who=operator(as_)
        )
    say(f"{number:,} declined; what they already got back is not removed")
    return Exit.DONE


def go_on(asked: "Session", run_id: str, *, wait: bool, moves: bool = True) -> Exit:
    """Watch a run that was just moved, or say how to; `moves`: it is not for people to move it."""
    from orchestrator.cli.output import hint
    from orchestrator.cli.waiting import wait_for

    if wait:
        return wait_for(asked, run_id).exit
    if moves:
        hint(f"watch it: reinstate watch {run_id}")
        if not asked.progress.is_led():
            hint("nothing moves it yet, no engine is running: reinstate up, or add --wait")
    return Exit.DONE
