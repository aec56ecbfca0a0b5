"""Commands for an installation on several machines: migrate, conductor, worker, api.

They are configured by the environment alone (docs/deployment.md), log one JSON line an event, stop
on SIGTERM, and do not start where they could not work: the reason is said, and the exit status is
7 for what has to be mended and 6 for what is away.
"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from orchestrator.cli.exits import Exit
from orchestrator.cli.help import Takes

if TYPE_CHECKING:
    from orchestrator.settings import Settings


def migrate() -> Exit:
    """Bring the ledger to what this release needs; nothing of it is lost.

    Run it once, before the new release is started anywhere. What an older release still needs
    stays until a later one, so that both may work side by side meanwhile.
    """
    import os

    from orchestrator.cli.output import say
    from orchestrator.ledger.database import Ledger
    from orchestrator.ledger.versions import Age, revisions
    from orchestrator.sealing import load_sealer
    from orchestrator.settings import Settings

    settings = Settings.read(os.environ)
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    try:
        before = ledger.migrate(key_check=sealer.check)
    finally:
        ledger.close()
    newest = revisions()[-1]
    match before.age:
        case Age.EMPTY:
            say(f"the ledger was made, at revision {newest}")
        case Age.BEHIND:
            say(f"the ledger went from revision {before.revision} to {newest}")
        case _:
            say(f"the ledger is at revision {before.revision} already")
    return Exit.DONE


def conductor() -> Exit:
    """Run the conductor of an installation on several machines, until stopped.

    Start two or three: one leads, the others stand by and take over within seconds.
    """
    from orchestrator.conductor import conduct
    from orchestrator.logs import configure_logs, own_uncaught

    settings = _with_broker()
    configure_logs(settings)
    own_uncaught()
    conduct(settings)
    return Exit.DONE


def worker(
    *,
    processes: Annotated[
        int | None,
        Parameter(help="So many at once, up to 4; default: REINSTATE_WORKERS."),
        Takes("N"),
    ] = None,
    name: Annotated[
        str | None,
        Parameter(help="What tells it from others of this machine; default: its process number."),
        Takes("NAME"),
    ] = None,
) -> Exit:
    """Run one worker of an installation on several machines, until stopped.

    It needs the same REINSTATE_LEDGER_URL, REINSTATE_BROKER_URL and REINSTATE_KEY everywhere, and
    the variables and files that plans name as secrets. On one machine, `up` starts workers itself.
    """
    import os
    import re
    import sys

    from orchestrator.broker import route
    from orchestrator.embedded.one_machine import CHILDREN_A_WORKER, worker_command
    from orchestrator.errors import PlanInvalid
    from orchestrator.readiness import prove_ready

    settings = _with_broker()
    children = processes or min(settings.workers, CHILDREN_A_WORKER)
    if not 1 <= children <= CHILDREN_A_WORKER:
        raise PlanInvalid(
            f"a worker has 1 to {CHILDREN_A_WORKER} processes",
            hint="for more, start several workers",
        )
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
        raise PlanInvalid("a worker's name is made of A-Z a-z 0-9 _ -, 40 at most")
    prove_ready(settings)
    pool = "prefork" if route(settings).forks else "solo"
    words = worker_command(pool, children, node=name or str(os.getpid()))
    command = (sys.executable, "-P", *words)
    os.execve(command[0], command, {**os.environ, **settings.environment()})  # noqa: S606  no shell


def api() -> Exit:
    """Answer API and dashboard over HTTP, until stopped.

    At REINSTATE_API, 127.0.0.1:8730 by default; put a proxy with TLS before it where others shall
    reach it, and name its address in REINSTATE_URL. It needs the ledger and the key, no broker.
    Start as many as you like: they share nothing but the ledger. Who may ask: `reinstate token`.
    """
    import os

    from orchestrator.cli.output import say
    from orchestrator.logs import configure_logs, own_uncaught
    from orchestrator.settings import Settings
    from orchestrator.web import serve

    settings = Settings.read(os.environ)
    configure_logs(settings)
    own_uncaught()
    say(f"answering at {settings.public_url}; ctrl-c stops it")
    serve(settings)
    return Exit.DONE


def _with_broker() -> "Settings":
    """The settings, with the address of a broker that others share. Raises `Refused`."""
    import os

    from orchestrator.embedded.one_machine import joined
    from orchestrator.errors import Refused
    from orchestrator.settings import AUTO, Settings

    settings = joined(Settings.read(os.environ))
    if settings.broker_url == AUTO:
        raise Refused(
            "no broker is named",
            hint="REINSTATE_BROKER_URL=redis://…; on one machine: reinstate up",
        )
    return settings
