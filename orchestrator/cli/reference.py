"""docs/cli.md, made of what commands say: `python -m orchestrator.cli.reference`."""

import sys
from collections.abc import Iterator

from orchestrator.cli.exits import Exit
from orchestrator.cli.help import page
from orchestrator.cli.main import GROUPS

WIDTH = 96

STATUSES = {
    Exit.DONE: "done; of a run that was waited for: everything is restored, kept by policy, or "
    "its loss accepted",
    Exit.UNEXPECTED: "something that nobody foresaw, a full disk, or an audit that found something",
    Exit.USAGE: "wrong usage, or a plan with errors; nothing was submitted",
    Exit.SOME_FAILED: "the run is finished, some units failed",
    Exit.LOSSES: "the run is finished, and something is lost or quarantined that nobody accepted; "
    "of a verify: something is not as it was left; of an undo: something was left as it is",
    Exit.HELD: "the run is held at a gate, or paused",
    Exit.UNREACHABLE: "server, ledger, broker or engine cannot be reached",
    Exit.REFUSED: "refused: an approval is missing, plan or data changed since the preview, the "
    "run was cancelled, or the installation cannot work as it is",
    Exit.INTERRUPTED: "ctrl-c; what goes on, and how to come back, is said",
}

INTRODUCTION = """\
# The command line

<!-- Made by `python -m orchestrator.cli.reference > docs/cli.md`; a test holds it to that. -->

Data goes to standard output, everything else to standard error: notes, hints, errors, progress.
`-o json` is one document, `-o jsonl` one document a line, for lists as they come. Documents of
`status`, `user`, `report` and `preview` hold `version`, which changes when a field changes its
meaning. Errors are `error: …`, what to do next is `hint: …`, each on a line of its own; `--debug`
shows tracebacks, which may hold personal data.

On a terminal `watch` and `--wait` show a picture that changes; elsewhere every change is a line,
and every half minute one that says it is still at it. `NO_COLOR` is honoured. Nothing in data or
names reaches a terminal as something that it obeys, and no user id is ever part of an error or a
hint. Lists have pages: the end of each says how to go on (`--after`), `--limit 0` is all of it,
read a page at a time.

RUN is a run's id, the beginning of it, or `last`. Secrets never go on a command line: plans name
them (`env:NAME`, `file:/path`), and what the installation needs is in `REINSTATE_…` variables
([operations.md](operations.md)). Users are shown as references (`u_…`) and numbers (`#17`); who
they are is told with a reason, which the audit log keeps (`reveal`, `users --reveal`).

Every command asks the HTTP API: that of a server with `--server URL` (or `REINSTATE_SERVER`), with
the token that `REINSTATE_TOKEN` or the file of `--token-file FILE` (or `REINSTATE_TOKEN_FILE`)
holds; without a server the installation of this machine, in process. Both words may stand anywhere
in a command. A server knows people by their tokens, so `--as`, `--author` and `--approve` are for
one's own machine only. Lists that a plan names go along where they lie beside it; its other
relative paths start at `--folder DIR` on the server. Whatever is asked twice because an answer was
lost is done once.

With `--wait`, where no engine runs and no broker is configured, broker, workers and conductor are
started for as long as it takes. Ctrl-C stops them with the command; the run goes on with
`reinstate up` or with the next `--wait`. Where an engine runs, ctrl-c stops the watching only.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_statuses(), *_commands()])


def _statuses() -> Iterator[str]:
    yield "## Exit statuses\n"
    yield "| status | means |\n|---|---|"
    yield "\n".join(f"| {int(status)} | {STATUSES[status]} |" for status in Exit)
    yield ""


def _commands() -> Iterator[str]:
    for heading, commands in GROUPS.items():
        yield f"## {heading}\n"
        for name, command in commands.items():
            yield f"### {name}\n"
            yield f"```text\n{page(name, command, width=WIDTH).rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference().rstrip() + "\n")
