"""A worker whose children each work off one batch, as Celery's do, and wait to be let go.

    python -m tests.faults.forking_worker      the environment says which ledger and key

For each line `BATCH EPOCH` of its standard input it forks a child, says the child's number, waits
for its end and says how it ended. A child begins on SIGUSR1: by then a tracer may be attached.
"""

import os
import signal
import sys

from orchestrator.lifeline import alarm_kills, die_with_parent
from orchestrator.logs import configure_logs
from orchestrator.settings import Settings
from workers.jobs import batch


def main() -> None:
    """Serve until standard input ends."""
    configure_logs(Settings.read(os.environ))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    die_with_parent()
    for line in sys.stdin:
        number, epoch = map(int, line.split())
        child = os.fork()
        if child == 0:
            _work(number, epoch)
        _say(child)
        _, status = os.waitpid(child, 0)
        _say(os.waitstatus_to_exitcode(status))


def _work(number: int, epoch: int) -> None:
    status = 1
    try:
        die_with_parent()
        alarm_kills()
        signal.sigwait({signal.SIGUSR1})
        batch(number, epoch)
        status = 0
    finally:
        os._exit(status)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
