"""Commands about this machine: demo, up, doctor, version."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes
from orchestrator.cli.output import Format


def up() -> Exit:
    """Run everything on this machine until stopped: broker, workers, conductor, dashboard, API.

    It prints a link that logs your browser in, once. Pages and API are at REINSTATE_API, or at any
    free port where that is taken. Runs that were stopped go on where they were. Ctrl-C or SIGTERM
    ends it: workers finish what they have in hand and hand back the rest. One engine works in a
    home; another stands by.
    """
    import os
    import signal
    import threading

    from orchestrator.cli.output import hint, say
    from orchestrator.cli.session import operator
    from orchestrator.embedded.front_door import answers, owners_link, with_free_address
    from orchestrator.embedded.one_machine import Engine, engine_running
    from orchestrator.settings import Settings

    chosen = bool(os.environ.get("REINSTATE_API"))
    settings = with_free_address(Settings.read(os.environ), chosen=chosen)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    another = engine_running(settings.home)
    with Engine(settings, answering=True) as engine:
        if another:
            say(f"an engine works in {settings.home} already; this one stands by")
        else:
            say(f"running with {settings.workers} worker processes; state in {settings.home}")
            if answers(settings):
                say(f"dashboard: {owners_link(settings, owner=operator(None))}")
                hint("the link works once, within a quarter of an hour")
            else:
                hint(f"the pages do not answer; why: {settings.log_folder / 'api.log'}")
            hint("submit a plan from another terminal; ctrl-c stops everything")
        while not stopped.wait(1.0):
            engine.revive()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait
        say("stopping; what is in hand is finished, runs go on with the next `reinstate up`")
    return Exit.DONE


def doctor(*, output: Format = "table") -> Exit:
    """Check everything that a run needs, and say how to mend what is wrong.

    Changes nothing. Ends with 6 where something has to be mended first.
    """
    from orchestrator.cli.output import show_rows
    from orchestrator.cli.tables import prose, text
    from orchestrator.doctor import examine_here, healthy

    checks = examine_here()
    rows = [{name: getattr(check, name) for name in check.__struct_fields__} for check in checks]
    if output == "table":
        rows = [{**row, "ok": "✔" if row["ok"] else "✘"} for row in rows]
    show_rows(rows, output, (*text("ok", "name"), *prose("found", "fix")), empty="nothing to check")
    return Exit.DONE if healthy(checks) else Exit.UNREACHABLE


def version() -> Exit:
    """Say which release this is."""
    import sys

    import orchestrator

    sys.stdout.write(f"reinstate {orchestrator.VERSION}\n")
    return Exit.DONE


def demo(
    *,
    users: Annotated[int, Parameter(help="How many users lose their data.")] = 300,
    seed: Annotated[int, Parameter(help="The same seed makes the same damage.")] = 2009,
    folder: Annotated[
        Path, Parameter(help="Where everything goes; made anew."), Takes("DIR")
    ] = Path("demo"),
) -> Exit:
    """Tell the whole story on this machine, in about a minute."""
    from orchestrator.cli.story import tell

    return tell(users=users, seed=seed, folder=folder)
