"""The Celery application: a doorbell for batches, and the settings that make it a safe one.

    celery -A workers.app worker --without-gossip --without-mingle --without-heartbeat

Those three boot a worker three times faster and are not needed: the ledger knows who works.
"""

import os
import sys
from typing import Any

from celery import Celery, Task
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)
from celery.worker.control import inspect_command

from orchestrator import VERSION, busy
from orchestrator.broker import JOB_SECONDS, route
from orchestrator.doorbell import QUEUE, queue
from orchestrator.errors import ReinstateError, Unavailable
from orchestrator.lifeline import alarm_kills, die_with_parent
from orchestrator.logs import configure_logs, get_logger, own_uncaught
from orchestrator.readiness import exit_status, prove_confinable, prove_ready
from orchestrator.settings import Settings

log = get_logger("worker")

MEMORY_KIB = 512 * 1024
DRAIN_SECONDS = 30


class Job(Task):
    """A job that is never retried by Celery: retries are `not_before` in the ledger."""

    max_retries = 0


def configuration(settings: Settings) -> dict[str, Any]:
    """Every setting, each with its reason. What is not here is Celery's default."""
    way = route(settings)
    return {
        "broker_url": way.url,
        "broker_transport_options": way.options,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # the default gives up after 100
        # pickle runs code for whoever can write to Redis
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        # the ledger holds outcomes; no result backend is twice as fast
        "task_ignore_result": True,
        "result_backend": None,
        # a typo in a queue's name must fail
        "task_create_missing_queues": False,
        "task_queues": [queue(way)],
        "task_default_queue": QUEUE,
        "task_default_exchange": QUEUE,
        "task_default_routing_key": QUEUE,
        # one batch a child
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # redelivering what killed its worker loops for ever; the ledger reclaims and counts
        "task_reject_on_worker_lost": False,
        "task_retry_on_worker_lost": False,
        "task_time_limit": JOB_SECONDS,
        "task_soft_time_limit": None,  # it would raise inside a COMMIT (celery #10271)
        # the same; explicit, because 6.0 flips the default
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": DRAIN_SECONDS,  # stop between units, hand back the rest
        "task_publish_retry": False,  # the lease decides
        # with remote control and gossip both off, prefork workers hung after a Redis restart;
        # a broker of files has no such trouble, and would collect messages for the dead
        "worker_enable_remote_control": way.forks,
        "worker_send_task_events": False,
        "worker_max_tasks_per_child": 500,
        "worker_max_memory_per_child": MEMORY_KIB,
        # structlog owns logging
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "imports": ("workers.jobs", "workers.starvation"),
    }


def make_app(settings: Settings) -> Celery:
    """An application of its own, for tests and for several in one process."""
    app = Celery("reinstate", task_cls=Job, set_as_current=False)
    app.config_from_object(configuration(settings))
    return app


app = Celery("reinstate", task_cls=Job)
"""The application of this process; reads the environment when it is first used."""
app.add_defaults(lambda: configuration(Settings.read(os.environ)))


@inspect_command()  # pyright: ignore[reportUntypedFunctionDecorator]  # celery has no types
def release(_state: object) -> dict[str, str]:
    """Which release this worker is of, for `reinstate doctor`."""
    return {"release": VERSION}


# What a worker does besides jobs ----------------------------------------------------------------


@setup_logging.connect
def _own_logging(**_: object) -> None:
    configure_logs(Settings.read(os.environ))
    own_uncaught()


@worker_init.connect
def _refuse_what_cannot_work(**_: object) -> None:
    """However it was started. What is only away is waited for."""
    settings = Settings.read(os.environ)
    try:
        prove_confinable(settings)
        prove_ready(settings)
    except Unavailable as error:
        log.warning("worker_waits", error=error)
    except ReinstateError as error:
        log.error("worker_refused", error=error)  # noqa: TRY400  its text is not for logs
        sys.stderr.write(f"error: {error.message}\n  hint: {error.hint}\n")
        sys.exit(exit_status(error))


@worker_init.connect
def _outlive_its_broker(**_: object) -> None:
    from workers.receipts import keep_receipts  # noqa: PLC0415 - heavy imports, if used

    keep_receipts()


@worker_ready.connect
def _say_ready(**_: object) -> None:
    settings = Settings.read(os.environ)
    log.info(
        "worker_ready",
        version=VERSION,
        pid=os.getpid(),
        broker=settings.broker_url.partition("://")[0],
        lease_seconds=settings.lease_seconds,
    )


@worker_shutting_down.connect
def _say_stopping(**_: object) -> None:
    log.info("worker_stopping", pid=os.getpid())


@worker_process_init.connect
def _end_with_worker(**_: object) -> None:
    """A pool child outlives neither its worker, even one that was killed, nor its lease."""
    die_with_parent()
    alarm_kills()  # billiard handles it; see `die_after`


@worker_ready.connect
def _mark_jobs(**_: object) -> None:
    """On a broker of files, let the engine see who has a job: see `busy`."""
    spool = route(Settings.read(os.environ)).folder
    if spool is None:
        return

    def begin(**_: object) -> None:
        busy.begin(spool)

    def end(**_: object) -> None:
        busy.end(spool)

    task_prerun.connect(begin, weak=False)  # a signal forgets receivers that nobody else holds
    task_postrun.connect(end, weak=False)
