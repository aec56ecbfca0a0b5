"""What each program exports, where its settings ask for it.

    python -m orchestrator.metrics.export PATH

is a program of the embedded engine: all processes of one machine tell it their sums at that path,
and it answers for them at one address.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from orchestrator import VERSION
from orchestrator.errors import Refused, ReinstateError, Unavailable
from orchestrator.ledger.database import Ledger
from orchestrator.logs import configure_logs, get_logger, own_uncaught
from orchestrator.metrics.families import FAMILIES
from orchestrator.metrics.ledger_gauges import EVERY, LedgerGauges
from orchestrator.metrics.listening import Collect, listen
from orchestrator.metrics.tally import Tally
from orchestrator.metrics.telling import Post, Tell
from orchestrator.readiness import exit_status
from orchestrator.settings import Settings

log = get_logger("metrics")


def export(settings: Settings, tally: Tally, *more: Collect) -> None:
    """What this process adds up, and more.

    Of the processes of one machine, each tells what it adds up, and one of them answers for all.
    Where the address cannot be had that is logged: what a process does matters more than that it
    is seen.
    """
    match settings.metrics:
        case (_, _) as address:
            try:
                listen(address, tally.collect, *more)
            except Unavailable as error:
                log.error("metrics_refused", error=error)  # noqa: TRY400  its text is not for logs
        case Path() as path:
            tell_now_and_then(Post(path).tell, tally)
        case None:
            pass


def tell_now_and_then(tell: Tell, tally: Tally) -> None:
    """Tell from a thread of its own, for as long as the process lives."""

    def go_on() -> None:
        while True:
            time.sleep(EVERY)
            tell(tally.take())

    threading.Thread(target=go_on, name="metrics", daemon=True).start()


def leading(leads: Callable[[], bool]) -> Collect:
    """Whether this conductor leads."""
    family = FAMILIES["reinstate_conductor_leading"]

    def collect() -> Iterator[Metric]:
        yield GaugeMetricFamily(family.name, family.says, value=float(leads()))

    return collect


def export_machine(settings: Settings, path: Path) -> None:
    """Answer for every process of this machine, until ended. Raises `Refused`, `Unavailable`."""
    if not isinstance(settings.metrics, tuple):
        raise Refused("no address is named", hint="REINSTATE_METRICS=127.0.0.1:9730")
    tally = Tally()
    Post(path).listen(tally)
    ledger = Ledger(settings.ledger_url)
    listen(settings.metrics, LedgerGauges(ledger, tally).collect, tally.collect)
    log.info("metrics_started", version=VERSION, pid=os.getpid())
    threading.Event().wait()


def main() -> None:
    """Answer until ended."""
    settings = Settings.read(os.environ)
    configure_logs(settings)
    own_uncaught()
    try:
        export_machine(settings, Path(sys.argv[1]))
    except ReinstateError as error:
        log.error("metrics_refused", error=error)  # noqa: TRY400  its text is not for logs
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
