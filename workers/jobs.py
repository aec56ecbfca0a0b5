"""What the broker can ask of a worker: one job, a batch and its epoch. Thin.

The only place that catches every exception: whatever a batch does, the worker goes on, and the
ledger learns of it.
"""

import gc
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from functools import partial

from celery.signals import worker_init

from orchestrator import VERSION, spans
from orchestrator.causes import Cause, cause_of
from orchestrator.doorbell import ERRAND, JOB
from orchestrator.errors import LeaseLost, Unavailable
from orchestrator.findings import UNDO, VERIFY
from orchestrator.ledger import deaths, leases
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.leases import Batch, Ring
from orchestrator.ledger.outbox import Knock
from orchestrator.ledger.outcomes import give_up
from orchestrator.lifecycle import BatchState
from orchestrator.lifeline import die_after
from orchestrator.logs import get_logger
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from workers.app import app
from workers.assignment import load
from workers.backing_off import postpone
from workers.credentials import resolve
from workers.freed_memory import keep_freed_memory
from workers.in_hand import InHand
from workers.inspection import inspect, lease_kept
from workers.measuring import teller
from workers.notifying.delivering import deliver
from workers.readers.pool import Here, Parser, Readers, Template
from workers.restore import Restoration
from workers.trailing import set_out
from workers.undoing import Undo
from workers.verification import Verification
from workers.workplace import Workplace

log = get_logger("worker")


def perform(work: Workplace, ring: Ring) -> None:
    """Answer one ring: claim its batch and work it off. Never raises for what a batch does."""
    work.deadline(work.lease_ms / 1000)
    try:
        _bury(work)
        _answer(work, ring)
    finally:
        work.in_hand.let_go()
        work.parser.renew()  # no other batch is read by who read this one
        work.deadline(0)


def _bury(work: Workplace) -> None:
    """Tell the ledger what the dead of this machine had in their hands."""
    try:
        for one in work.in_hand.left_behind():
            log.warning("worker_died", run_id=one.run, batch=one.batch)
            with work.ledger.begin() as connection:
                deaths.bury(connection, one, now=work.ledger.clock(connection))
    except Unavailable as error:
        log.warning("ledger_away", cause=_fingerprint(error))  # the notes stay where they are


def _answer(work: Workplace, ring: Ring) -> None:
    try:
        held = _claim(work, ring)
    except Unavailable as error:
        log.warning("claim_failed", batch=ring.batch, cause=_fingerprint(error))
        return
    if held is None:
        log.debug("ring_stale", batch=ring.batch)
        return
    began = work.monotonic()
    end, cause = "done", None
    try:
        match held.kind:
            case "inspect":
                with lease_kept(work, held):
                    inspect(work, held)
            case kind if kind in {VERIFY, UNDO}:
                _go_over(work, held)
            case _:
                _restore(work, held)
    except Unavailable as error:  # the ledger: what sources and targets do is told to it
        end, cause = "waits", _fingerprint(error)
        log.warning("batch_waits", batch=held.id, run_id=held.run, cause=_fingerprint(error))
        _hand_back(work, held)
    except LeaseLost:
        end = "lease_lost"
        log.warning("lease_lost", batch=held.id, run_id=held.run)
    except Exception as error:  # noqa: BLE001  see the module's docstring
        end, cause = "failed", _fingerprint(error)
        _give_up(work, held, error)
    seconds = work.monotonic() - began
    log.info(
        "batch_ended",
        run_id=held.run,
        batch=held.id,
        kind=held.kind,
        attempt=held.attempts,
        duration_ms=int(seconds * 1000),
    )
    category = work.category_of(held)
    work.tally.observe("reinstate_batch_seconds", seconds, held.kind, category, end)
    work.tell(work.tally.take())
    spans.record(
        "batch",
        seconds,
        failed=end == "failed",
        run_id=held.run,
        kind=held.kind,
        category=category,
        batch=held.id,
        attempt=held.attempts,
        outcome=end,
        cause=cause,
    )


def _restore(work: Workplace, held: Batch) -> None:
    """Raises `Unavailable` when the ledger is away: then the lease lapses."""
    try:
        task = load(work, held)
    except Unavailable as error:
        postpone(work, held, error)
        return
    Restoration(work, task).carry_out()


def _go_over(work: Workplace, held: Batch) -> None:
    """Verify or undo. Raises `Unavailable` when the ledger is away: then the lease lapses."""
    try:
        going = set_out(work, held)
    except Unavailable as error:
        postpone(work, held, error)
        return
    (Undo(going) if held.kind == UNDO else Verification(going)).carry_out()


def _fingerprint(error: Exception) -> str:
    return cause_of(error, category="", kind="").fingerprint


def _claim(work: Workplace, ring: Ring) -> Batch | None:
    with work.ledger.at_once() as connection:
        return leases.claim(
            connection,
            ring,
            now=work.ledger.moment(connection),
            lease_ms=work.lease_ms,
            worker=work.name,
            release=VERSION,
        )


def _hand_back(work: Workplace, held: Batch) -> None:
    """Give the batch back once the ledger is there again: its absence is no crash of ours.

    What is handed back too often is left to lapse like a crash, or it would go round for ever.
    """
    until = work.monotonic() + work.lease_ms / 2000
    while held.attempts <= HANDED_BACK and work.monotonic() < until:
        work.sleep(work.lease_ms / 20_000)
        try:
            with work.ledger.begin() as connection:
                leases.end(connection, held, state=BatchState.READY)
        except Unavailable:
            continue
        except LeaseLost:
            pass
        return


HANDED_BACK = 5
"""From this claim of a batch on, trouble with the ledger counts as a crash."""


def _give_up(work: Workplace, held: Batch, error: Exception) -> None:
    """Split the batch until the guilty unit stands alone; alone, it has failed.

    Where a copy was in hand, it is the copy's: as if the worker had died of it.
    """
    in_hand = work.in_hand.held()
    why: Cause = cause_of(error, category="", kind="")
    log.error("batch_failed", run_id=held.run, batch=held.id, cause=why.fingerprint, exc_info=error)
    work.forget(held.run)
    try:
        with work.ledger.begin() as connection:
            now = work.ledger.clock(connection)
            if in_hand is not None and deaths.record(connection, in_hand, now=now):
                leases.end(connection, held, state=BatchState.READY)
            else:
                give_up(connection, held, why, now=now)
    except (LeaseLost, Unavailable):
        log.warning("lease_lost", batch=held.id, run_id=held.run)


def collect_rarely() -> None:
    """Look for cyclic garbage every 50,000 objects, and never again among those of the program.

    A chunk is thousands of small values that are in no cycle and go when the chunk does. At the
    default of every 700 objects, following them again and again took a quarter of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def parser(settings: Settings) -> Parser:
    """Where this process has recovered bytes parsed."""
    if settings.sandbox == "off":
        return Here()
    return Readers(seconds=settings.lease_seconds / 2, start=partial(_template_of, settings))


_templates: list[Template] = []
"""The worker's own, which its pool inherits: it was started before there were any jobs."""


@worker_init.connect
def _prepare(**_: object) -> None:
    settings = Settings.read(os.environ)
    if settings.sandbox != "off":
        _templates[:] = [Template(strictness=settings.sandbox)]


def _template_of(settings: Settings) -> Template:
    """The worker's once; where that has gone, one of this process's own."""
    return _templates.pop() if _templates else Template(strictness=settings.sandbox)


_workplaces: dict[int, Workplace] = {}


def workplace() -> Workplace:
    """This process's own; made on first use, never inherited across a fork."""
    pid = os.getpid()
    if pid not in _workplaces:
        collect_rarely()
        keep_freed_memory()
        spans.start("worker")
        settings = Settings.read(os.environ)
        _workplaces.clear()
        _workplaces[pid] = Workplace(
            ledger=Ledger(settings.ledger_url),
            sealer=load_sealer(settings),
            clock=lambda: datetime.now(UTC),
            secret=resolve,
            name=f"{socket.gethostname()}:{pid}:{secrets.token_hex(2)}",
            lease_ms=settings.lease_seconds * 1000,
            monotonic=time.monotonic,
            sleep=time.sleep,
            deadline=die_after,
            in_hand=InHand(settings.home / "in-hand"),
            hook_hosts=settings.hook_hosts,
            tell=teller(settings),
            parser=parser(settings),
        )
    return _workplaces[pid]


@app.task(name=ERRAND)  # pyright: ignore[reportUntypedFunctionDecorator]
def delivery(number: int, epoch: int) -> None:
    """Tell somebody something, if it is still to be told under that epoch."""
    work = workplace()
    try:
        deliver(work, Knock(delivery=number, epoch=epoch))
    except Exception as error:  # see the module's docstring; the lease lapses
        log.exception("delivery_failed", exc_info=error)


@app.task(name=JOB)  # pyright: ignore[reportUntypedFunctionDecorator]  # celery has no types
def batch(number: int, epoch: int) -> None:
    """Work off one batch, if it is still to be had under that epoch."""
    perform(workplace(), Ring(batch=number, epoch=epoch))
