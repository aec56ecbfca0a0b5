"""`reinstate`: every command, and what happens when one of them fails."""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

from cyclopts import App, CycloptsError, Parameter

from orchestrator.cli import (
    aftercare,
    people,
    plans,
    processes,
    retrying,
    steering,
    streams,
    system,
    views,
)
from orchestrator.cli.audit_log import audit_log
from orchestrator.cli.choosing import choose
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Command, overview, page
from orchestrator.cli.identities import token
from orchestrator.cli.notices import deliveries
from orchestrator.cli.prioritizing import prioritize
from orchestrator.cli.publishing import bulletin
from orchestrator.cli.quarantine import quarantine
from orchestrator.cli.revealing import reveal
from orchestrator.cli.where import where
from orchestrator.errors import (
    LeaseLost,
    NotFound,
    PlanInvalid,
    Refused,
    ReinstateError,
    Unavailable,
)

GROUPS: Mapping[str, Mapping[str, Command]] = {
    "Plans": {
        "check": plans.check,
        "preview": plans.preview,
        "submit": plans.submit,
    },
    "Runs": {
        "runs": views.runs,
        "status": views.status,
        "watch": views.watch,
        "approve": steering.approve,
        "pause": steering.pause,
        "resume": steering.resume,
        "cancel": steering.cancel,
        "promote": steering.promote,
        "decline": steering.decline,
        "prioritize": prioritize,
        "bulletin": bulletin,
        "deliveries": deliveries,
    },
    "Users, failures and losses": {
        "users": people.users,
        "user": people.user,
        "reveal": reveal,
        "failures": people.failures,
        "retry": retrying.retry,
        "operations": retrying.operations,
        "operation": retrying.operation,
        "choose": choose,
        "quarantine": quarantine,
        "losses": people.losses,
    },
    "Proof": {
        "report": views.report,
        "verify": aftercare.verify,
        "audit": views.audit,
        "audit-log": audit_log,
    },
    "Afterwards": {
        "undo": aftercare.undo,
        "close": aftercare.close,
        "forget": aftercare.forget,
    },
    "Who may": {
        "token": token,
    },
    "This machine": {
        "demo": system.demo,
        "up": system.up,
        "doctor": system.doctor,
        "version": system.version,
    },
    "Several machines": {
        "migrate": processes.migrate,
        "conductor": processes.conductor,
        "worker": processes.worker,
        "api": processes.api,
    },
}
COMMANDS: Mapping[str, Command] = {
    name: command for group in GROUPS.values() for name, command in group.items()
}
HERE = frozenset(
    {*GROUPS["This machine"].values(), *GROUPS["Several machines"].values(), plans.check}
)
"""Commands that are about this machine, whatever server is named."""
_HELP = frozenset({"--help", "-h"})


def main() -> None:
    """Run one command; the exit status says how it went (docs/cli.md)."""
    sys.excepthook = _unexpected
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command given as words; its exit status."""
    streams.prepare()
    words = list(arguments)
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
        sys.excepthook = sys.__excepthook__
    try:
        status = _answer(words)
        sys.stdout.flush()
    except ReinstateError as error:
        if debug:
            raise
        status = _explain(error)
    except BrokenPipeError:  # whoever read our output has seen enough
        streams.mute(sys.stdout)
        status = Exit.DONE
    except OSError as error:  # the disk that our output goes to, most likely
        if debug:
            raise
        status = _explain_system(error)
    except KeyboardInterrupt:
        status = Exit.INTERRUPTED
    streams.flush()
    return status


def _answer(words: list[str]) -> int:
    from orchestrator.cli.arguments import checked, where_of

    words, said = where_of(checked(words))
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]
    name = words[0] if words else "--help"
    if name in _HELP:
        sys.stdout.write(overview(GROUPS))
        return Exit.DONE
    if name == "--version":
        return system.version()
    if name not in COMMANDS:
        raise _unknown(name)
    if _HELP & set(words[1:]):
        sys.stdout.write(page(name, COMMANDS[name]))
        return Exit.DONE
    if said.server is not None and COMMANDS[name] in HERE:
        raise PlanInvalid(f"{name} is about this machine", hint="leave --server out")
    asked_of = where.set(said)
    try:
        return _call(name, words)
    finally:
        where.reset(asked_of)


def _call(name: str, words: Sequence[str]) -> int:
    app = App(
        help_flags=(),
        version_flags=(),
        default_parameter=Parameter(negative="", negative_iterable=""),
        result_action="return_value",
    )
    app.command(COMMANDS[name], name=name)
    try:
        status = app(words, print_error=False, exit_on_error=False, verbose=False)
    except CycloptsError as error:
        raise PlanInvalid(_said(error), hint=f"reinstate {name} --help") from error
    return int(status)


def _said(error: CycloptsError) -> str:
    """What cyclopts found wrong, as a sentence of ours; of an option given as --x=y, the x only."""
    text = " ".join(str(error).split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _unknown(name: str) -> PlanInvalid:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    if name.startswith("-"):
        return PlanInvalid("a command comes first, then its options", hint="reinstate --help")
    return PlanInvalid(
        f"there is no command '{name[:40]}'",
        hint=f"did you mean {near[0]}?" if near else "list them: reinstate --help",
    )


# What went wrong ----------------------------------------------------------------------------------


def _explain(error: ReinstateError) -> Exit:
    from orchestrator.cli.problems import show_error

    show_error(error)
    match error:
        case PlanInvalid() | NotFound():
            return Exit.USAGE
        case Unavailable():
            return Exit.UNREACHABLE
        case Refused() | LeaseLost():
            return Exit.REFUSED
        case _:
            return Exit.UNEXPECTED


def _explain_system(error: OSError) -> Exit:
    from orchestrator.cli.output import hint, say

    streams.mute(sys.stdout)
    say(f"error: reading or writing failed: {error.strerror or type(error).__name__}", tone="red")
    hint("check the disk that output and REINSTATE_HOME are on; --debug shows where it was")
    return Exit.UNEXPECTED


def _unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What nobody foresaw, without the values that a traceback may hold."""
    from orchestrator.cli.output import hint, say
    from orchestrator.logs import describe

    del kind, trace
    facts = describe(error)
    place = facts["frames"][-1] if facts["frames"] else "an unknown place"
    say(
        f"error: this was not foreseen: {facts['error']} at {place}, {facts['fingerprint']}",
        tone="red",
    )
    hint(f"report it; --debug shows a traceback, which may hold personal data (pid {os.getpid()})")


if __name__ == "__main__":
    main()
