"""Wakes workers: a ring is a batch and its epoch, and may be lost, repeated or late."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from orchestrator.broker import Route, route
from orchestrator.errors import Unavailable
from orchestrator.ledger.leases import Ring
from orchestrator.ledger.outbox import Knock
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from celery import Celery
    from kombu.entity import Queue

JOB = "reinstate.batch"
"""What workers are asked for: a batch and its epoch."""
ERRAND = "reinstate.delivery"
"""And to tell somebody something: a delivery and its epoch."""
QUEUE = "reinstate"


class Doorbell(Protocol):
    """Where rings go. A ring that cannot be delivered may be dropped: its lease lapses."""

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        """Tell workers; after `expires` seconds nobody need come. Raises `Unavailable`."""
        ...

    def knock(self, knocks: Sequence[Knock], *, expires: float) -> None:
        """Tell workers of deliveries, likewise."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class CeleryDoorbell:
    """Rings over the broker; makes a new connection after any error of the old one.

    Why not Celery's own pool: once `force_close_all` has closed it, it stays closed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None

    def ring(self, rings: Sequence[Ring], *, expires: float) -> None:
        """Publish each ring as one message."""
        self._send(JOB, [(ring.batch, ring.epoch) for ring in rings], expires)

    def knock(self, knocks: Sequence[Knock], *, expires: float) -> None:
        """Publish each knock as one message."""
        self._send(ERRAND, [(knock.delivery, knock.epoch) for knock in knocks], expires)

    def _send(self, job: str, messages: Sequence[tuple[int, int]], expires: float) -> None:
        from kombu.exceptions import OperationalError  # noqa: PLC0415  costs 100 ms at start

        try:
            app = self._app = self._app or self._connected()
            with app.producer_or_acquire() as producer:
                for message in messages:
                    app.send_task(
                        job,
                        args=message,
                        producer=producer,
                        queue=QUEUE,
                        expires=expires,
                        argsrepr="-",
                        kwargsrepr="-",
                        ignore_result=True,
                    )
        except (OperationalError, OSError) as error:
            self.close()
            raise Unavailable(
                "the broker did not take a message",
                retry_in=1.0,
                hint="check REINSTATE_BROKER_URL and the broker behind it: reinstate doctor",
            ) from error

    def close(self) -> None:
        """Forget the connection; the next ring opens a new one."""
        if self._app is not None:
            self._app.close()
        self._app = None

    def _connected(self) -> "Celery":
        from celery import Celery  # noqa: PLC0415  costs 100 ms at start

        way = route(self._settings)
        app = Celery("reinstate", broker=way.url, set_as_current=False)
        app.conf.update(
            broker_transport_options=way.options,
            task_ignore_result=True,
            task_publish_retry=False,
            task_serializer="json",
            task_queues=[queue(way)],
            task_default_queue=QUEUE,
        )
        return app


def queue(way: Route) -> "Queue":
    """The queue as publishers and workers both declare it: on AMQP one that survives a node."""
    from kombu.entity import Queue  # noqa: PLC0415  costs 100 ms at start

    return Queue(
        QUEUE,
        routing_key=QUEUE,
        queue_arguments={"x-queue-type": "quorum"} if way.quorum else None,
    )
