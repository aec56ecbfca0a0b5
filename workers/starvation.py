"""Ends a worker that is offered work for three leases and receives none, to be started again.

Why by itself: consumers that got stuck after the broker came back are an open class of bugs, and
only the worker knows that nothing reaches it. It has no job then, so nothing is lost by ending.
"""

import os
import time
from contextlib import closing
from threading import Lock, Thread

from celery.signals import task_received, worker_ready
from celery.worker import state
from sqlalchemy import func, select

from orchestrator.errors import Unavailable
from orchestrator.hunger import LEASES_WITHOUT_A_CLAIM, Hunger
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import BatchState
from orchestrator.logs import get_logger
from orchestrator.settings import Settings

log = get_logger("worker")

LOOKS_A_LEASE = 4
_arrivals: set[float] = set()
"""When something arrived since the last look."""


@task_received.connect
def _note_arrival(**_: object) -> None:
    _arrivals.add(time.monotonic())


@worker_ready.connect
def _keep_watch(**_: object) -> None:
    settings = Settings.read(os.environ)
    Thread(target=_watch, args=(settings,), name="starvation", daemon=True).start()


def _watch(settings: Settings) -> None:
    """Look now and then, for as long as the process lives. A ledger that is away ends nobody."""
    hunger = Hunger(patience=LEASES_WITHOUT_A_CLAIM * settings.lease_seconds)
    while True:
        time.sleep(settings.lease_seconds / LOOKS_A_LEASE)
        busy = bool(_arrivals or state.reserved_requests)
        _arrivals.clear()
        try:
            dispatched = _dispatched(settings.ledger_url)
        except Unavailable:
            continue
        if hunger.stuck(dispatched=dispatched, running=int(busy), now=time.monotonic()):
            log.error("worker_starves", batches=dispatched)
            os._exit(os.EX_TEMPFAIL)


def _dispatched(ledger_url: str) -> int:
    """Batches that wait to be taken. Keeps no connection: the process forks."""
    with _LOOKING, closing(Ledger(ledger_url)) as ledger, ledger.read() as connection:
        return connection.execute(
            select(func.count()).where(
                batch.c.state == BatchState.DISPATCHED,
                batch.c.lease_until >= ledger.clock(connection),
            )
        ).scalar_one()


_LOOKING = Lock()
"""No child is forked meanwhile. One that inherits an open SQLite believes that it holds the locks
that its parent held, writes without any, and the file is damaged for good."""

os.register_at_fork(
    before=_LOOKING.acquire, after_in_parent=_LOOKING.release, after_in_child=_LOOKING.release
)
