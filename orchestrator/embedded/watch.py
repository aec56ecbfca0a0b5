"""Finds workers that live but do not work: by the ledger, never by asking them.

Two kinds: one that has a job and lost its lease (a solo worker cannot be interrupted by Celery's
time limit), and all of them when messages go out and nobody takes any (consumers that got stuck
after the broker came back).
"""

import os
import socket
import time
from pathlib import Path

from sqlalchemy import select

from orchestrator import busy
from orchestrator.embedded.brokers import Broker
from orchestrator.embedded.supervisor import Supervisor
from orchestrator.errors import Unavailable
from orchestrator.hunger import LEASES_WITHOUT_A_CLAIM, Hunger
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import BatchState
from orchestrator.logs import get_logger

log = get_logger("watch")

WORKER = "worker"
"""Names of the programs that take messages begin with this."""


class Watch:
    """A chore of the engine: kills what hangs; the supervisor starts it again."""

    def __init__(self, ledger: Ledger, *, lease_seconds: float, every: float = 1.0) -> None:
        """Looks at most once in `every` seconds."""
        self._ledger = ledger
        self._lease = lease_seconds
        self._every = every
        self._next = 0.0
        self._hunger = Hunger(patience=LEASES_WITHOUT_A_CLAIM * lease_seconds)

    def __call__(self, supervisor: Supervisor, broker: Broker) -> None:
        """Look once, if it is time. A ledger that is away kills nobody."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        try:
            dispatched, holders = self._holders()
        except Unavailable:
            return
        here = f"{socket.gethostname()}:"
        ours = {name for name in holders if name.startswith(here)}
        if broker.folder is not None:
            _forget_taken(broker.folder)
            for pid in busy.overdue(broker.folder, older_than=self._lease):
                if not any(name.startswith(f"{here}{pid}:") for name in ours):
                    log.warning("worker_hangs", pid=pid)
                    busy.end(broker.folder, pid)
                    supervisor.kill(pid)
        if self._hunger.stuck(dispatched=dispatched, running=len(ours), now=time.monotonic()):
            log.warning("workers_take_nothing", batches=dispatched)
            for program in supervisor.running():
                if program.name.startswith(WORKER) and program.pid is not None:
                    supervisor.kill(program.pid)

    def _holders(self) -> tuple[int, list[str]]:
        """How many batches wait to be taken, and who holds a live lease."""
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            rows = connection.execute(
                select(batch.c.state, batch.c.worker).where(
                    batch.c.state.in_((BatchState.DISPATCHED, BatchState.RUNNING)),
                    batch.c.lease_until >= now,
                )
            ).all()
        dispatched = sum(row.state == BatchState.DISPATCHED for row in rows)
        return dispatched, [
            row.worker for row in rows if row.state == BatchState.RUNNING and row.worker
        ]


def _forget_taken(folder: Path) -> None:
    """Messages that were taken are moved aside by the transport; nobody needs them."""
    for path in os.scandir(folder / "taken"):
        if path.stat().st_mtime < time.time() - 60:
            Path(path).unlink(missing_ok=True)
