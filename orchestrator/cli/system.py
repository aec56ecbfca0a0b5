"""Commands about the installation: demo, up, doctor, version."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Format


def up() -> Exit:
    """Run broker, workers and conductor on this machine until stopped."""
    import os
    import threading

    from orchestrator.cli.output import notices
    from orchestrator.embedded.one_machine import Engine
    from orchestrator.settings import Settings

    settings = Settings.read(os.environ)
    with Engine(settings) as engine:
        notices().print(
            f"running with {settings.workers} worker processes; state in {settings.home}\n"
            "submit a plan from another terminal; ctrl-c stops everything",
            markup=False,
        )
        pause = threading.Event()
        while True:
            engine.revive()
            pause.wait(1.0)


def doctor(*, output: Format = "table") -> Exit:
    """Check everything that a run needs, and say how to mend what is wrong."""
    from orchestrator.cli.output import show_rows
    from orchestrator.doctor import examine_here, healthy

    checks = examine_here()
    rows = [{name: getattr(check, name) for name in check.__struct_fields__} for check in checks]
    if output == "table":
        rows = [{**row, "ok": "✔" if row["ok"] else "✘"} for row in rows]
    show_rows(rows, output, ("ok", "name", "found", "fix"), empty="nothing to check")
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
    folder: Annotated[Path, Parameter(help="Where everything goes; made anew.")] = Path("demo"),
) -> Exit:
    """Tell the whole story on this machine, in about a minute."""
    from orchestrator.cli.story import tell

    return tell(users=users, seed=seed, folder=folder)
