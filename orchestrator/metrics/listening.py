"""Where Prometheus asks: an address of its own, for everybody who reaches it; so keep it inside.

The API answers at its own address, too, and there asks for a token.
"""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from orchestrator.errors import Unavailable

Collect = Callable[[], Iterable[Metric]]
CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Several(Collector):
    def __init__(self, parts: Sequence[Collect]) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        """Every part's metrics, one after the other."""
        for part in self._parts:
            yield from part()


def registry(*parts: Collect) -> CollectorRegistry:
    """What is exported together."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Several(parts))
    return made


def exposed(*parts: Collect) -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(registry(*parts))


def listen(address: tuple[str, int], *parts: Collect) -> Callable[[], None]:
    """Answer there from a thread of its own; what is returned lets go of the address, in a fork.

    Raises `Unavailable` where the address cannot be had.
    """
    host, port = address
    try:
        server, _ = start_http_server(port, host, registry(*parts))
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"nobody can listen at REINSTATE_METRICS={host}:{port} ({error})",
            hint="another process of this machine has it, or the host is not this one's",
        ) from error
    return server.socket.close
