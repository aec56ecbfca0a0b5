"""The command that tells the public how a run is going."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from orchestrator.cli.arguments import Run, Who
from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.errors import PlanInvalid


def bulletin(
    run: Run,
    /,
    *,
    text: Annotated[
        str | None, Parameter(help="Publish what this file says; -: standard input."), Takes("FILE")
    ] = None,
    promise: Annotated[
        str | None, Parameter(help="Promise the next one within this time: 4h."), Takes("TIME")
    ] = None,
    as_: Who = None,
) -> Exit:
    """Draft what the public could be told of a run, or publish it.

    The draft is made of the run's counters and names nobody. What is published is on the run's
    public page at once, whose address is printed. Without --promise no next one is promised.

        reinstate bulletin 7f3a > news.txt
        reinstate bulletin 7f3a --text news.txt --promise 4h
    """
    from orchestrator.cli.output import hint, print_line, say
    from orchestrator.cli.session import asking

    due = None if promise is None else _due(promise)
    if text is None and due is not None:
        raise PlanInvalid("a promise goes with a bulletin", hint="say which: --text FILE")
    said = None if text is None else _read(text)
    with asking(as_) as asked:
        run_id = asked.run(run)
        if said is None:
            draft = asked.get(f"/runs/{run_id}/bulletins/draft", dict[str, Any])
            print_line(draft["text"])
            if draft["late"]:
                say("the public waits: the update that was promised is late", tone="red")
            hint(f"edit it, then: reinstate bulletin {run_id} --text FILE --promise 4h")
            return Exit.DONE
        asked.post(f"/runs/{run_id}/bulletins", dict[str, Any], {"text": said, "next_due": due})
        print_line(asked.get(f"/runs/{run_id}/public-page", dict[str, Any])["url"])
    return Exit.DONE


def _due(promise: str) -> str:
    from orchestrator.options.quantities import read_duration
    from orchestrator.options.spellings import Misspelt

    try:
        return (datetime.now(UTC) + read_duration(promise)).isoformat()
    except Misspelt as wrong:
        raise PlanInvalid(wrong.message, hint=wrong.hint or "for example 4h") from None


def _read(name: str) -> str:
    import sys

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise PlanInvalid(f"the file cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise PlanInvalid("the text is not UTF-8", hint="save it as UTF-8") from None
