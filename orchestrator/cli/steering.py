"""Commands that change the course of a run, from approve to retry."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.views import Run

Who = Annotated[str | None, Parameter(name="--as", help="In whose name; default: yours.")]
Reason = Annotated[str, Parameter(help="Why; it is kept in the audit log.")]


def approve(
    run: Run,
    /,
    *,
    as_: Who = None,
    reason: Reason = "",
    digest: Annotated[str | None, Parameter(help="Only if this is what was inspected.")] = None,
) -> Exit:
    """Approve what was inspected; not your own plan."""
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        asked.runs.approve(run_id, who=operator(as_), reason=reason, digest=digest)
        found = asked.progress.status(run_id)
    _say(f"{len(found.approvals)} of {found.approvals_needed} approvals")
    return Exit.DONE


def pause(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """Start nothing more; what is under way is handed back."""
    from orchestrator.cli.session import operator, session

    with session() as asked:
        run_id = asked.run(run)
        asked.runs.pause(run_id, who=operator(as_), reason=reason)
    _say(f"paused; go on with: reinstate resume {run_id}")
    return Exit.DONE


def resume(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """Go on with a paused run."""
    from orchestrator.cli.session import operator, session

    with session() as asked:
        asked.runs.resume(asked.run(run), who=operator(as_), reason=reason)
    _say("running")
    return Exit.DONE


def cancel(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """End a run; what was restored stays."""
    from orchestrator.cli.session import operator, session

    with session() as asked:
        asked.runs.cancel(asked.run(run), who=operator(as_), reason=reason)
    _say("cancelled; what was restored stays")
    return Exit.DONE


def promote(run: Run, /, *, reason: Reason = "", as_: Who = None) -> Exit:
    """Let the gates pass that are held; not in your own run."""
    from orchestrator.cli.session import operator, session

    with session() as asked:
        number = asked.runs.promote(asked.run(run), who=operator(as_), reason=reason)
    _say(f"{number} held gates promoted")
    return Exit.DONE


def retry(
    run: Run = "last",
    /,
    *query: Annotated[str, Parameter(help="Which failed units: category:photos user:…")],
    cause: Annotated[str | None, Parameter(help="Only those of one cause.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say how many.")] = False,
    wait: Annotated[bool, Parameter(negative="", help="Watch until it ends.")] = False,
    reason: Reason = "",
    as_: Who = None,
) -> Exit:
    """Try failed units again; what was verified is never written again."""
    from orchestrator.cli.session import engine_for, operator, session
    from orchestrator.cli.waiting import wait_for
    from orchestrator.query import parse

    words = [*query, *([f"cause:{cause}"] if cause else [])]
    with session() as asked:
        run_id = asked.run(run)
        parsed = parse(words, asked.progress.plan(run_id))
        number = asked.runs.retry(run_id, parsed, who=operator(as_), reason=reason, dry_run=dry_run)
        _say(f"{number:,} failed units {'would be' if dry_run else 'are'} tried again")
        if dry_run or not number or not wait:
            return Exit.DONE
        with engine_for(asked.settings) as engine:
            return wait_for(asked, run_id, engine).exit


def decline(
    run: Run, users: Annotated[Path, Parameter(help="A list of users.")], /, *, as_: Who = None
) -> Exit:
    """Add users to the list of those who are never restored; takes effect at once."""
    from orchestrator.cli.session import operator, session
    from orchestrator.user_lists import read_declined

    with session() as asked:
        number = asked.runs.decline(asked.run(run), read_declined(users), who=operator(as_))
    _say(f"{number:,} users declined; what they already got back is not removed")
    return Exit.DONE


def _say(text: str) -> None:
    from orchestrator.cli.output import notices

    notices().print(text, markup=False)
