"""Acknowledgements that outlive the Redis that they are for."""

from typing import Any

from kombu.transport.redis import Channel, QoS
from redis.exceptions import ConnectionError as Lost


class Receipts(QoS):  # pyright: ignore[reportUntypedBaseClass]  # kombu has no types
    """Acknowledges messages and gives them back, if the Redis that they came from is still known.

    When Redis dies, kombu forgets where it was before it closes its channels. To close one that
    still has messages, or to acknowledge one of them later, then ended the worker (kombu 5.7).
    Leases bring those batches back; what is delivered twice is stale.
    """

    def restore_unacked(self, client: Any = None) -> None:
        """Give back all that were not acknowledged."""
        if not self._forgotten:
            super().restore_unacked(client)
        elif self._delivered:
            self._delivered.clear()

    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Any:
        """Where acknowledgements go."""
        if pipe is None and self._forgotten:
            raise Lost("the broker went away")
        return super().pipe_or_acquire(pipe, client)

    @property
    def _forgotten(self) -> bool:
        return getattr(self.channel.connection, "client", None) is None


def keep_receipts() -> None:
    """Have every channel to Redis acknowledge so; those of Sentinel are such, too."""
    Channel.QoS = Receipts
