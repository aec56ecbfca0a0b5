"""Whether a conductor or worker can work here: looked at before it starts, and refused if not.

What is only away is no reason: it may come. What is there and cannot work is: starting would lose
messages, or write what nobody can read.
"""

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from orchestrator.broker import Route, route
from orchestrator.errors import Refused, ReinstateError, Unavailable
from orchestrator.settings import Settings


class RedisFacts(Struct, frozen=True, kw_only=True):
    """What a Redis says of itself."""

    version: str
    cluster: bool
    eviction: str
    """Its `maxmemory-policy`."""


NO_CLUSTER = "Celery cannot use a cluster (CROSSSLOT): take one Redis, or Sentinel"
NO_EVICTION = "set maxmemory-policy noeviction: anything else evicts the whole queue"


def prove_ready(settings: Settings) -> None:
    """Raises `Refused` for a key, ledger or broker with which nothing can work.

    Raises `Unavailable` where the ledger or the broker does not answer. An empty ledger is made.
    """
    from orchestrator.ledger.database import Ledger  # noqa: PLC0415  dear to import
    from orchestrator.sealing import load_sealer  # noqa: PLC0415

    way = route(settings)
    sealer = load_sealer(settings)
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.prepare(key_check=sealer.check)
    finally:
        ledger.close()
    if way.redis:
        prove_fit(redis_facts(way))


def prove_confinable(settings: Settings) -> None:
    """Raises `Refused` where the sandbox has to be whole and is not."""
    from orchestrator.confinement import prove  # noqa: PLC0415  only workers parse

    if settings.sandbox != "required":
        return
    try:
        whole = prove().confined.complete
    except OSError:
        whole = False
    if not whole:
        raise Refused(
            "this machine cannot confine what parses recovered bytes, and has to",
            hint="reinstate doctor says what is missing; REINSTATE_SANDBOX=auto does without it",
        )


def prove_fit(facts: RedisFacts) -> None:
    """Raises `Refused` for a Redis that loses queues."""
    if facts.cluster:
        raise Refused("the broker is a Redis cluster", hint=NO_CLUSTER)
    if facts.eviction != "noeviction":
        raise Refused(f"the broker evicts keys ({facts.eviction})", hint=NO_EVICTION)


def redis_facts(way: Route) -> RedisFacts:
    """What the Redis behind `way` says, asked as Celery will ask it. Raises `Unavailable`."""
    from kombu.connection import Connection  # noqa: PLC0415  dear to import

    try:
        with Connection(way.url, transport_options=way.options, connect_timeout=5) as connection:
            client = cast("Any", connection.default_channel).client
            found = cast("Mapping[str, object]", client.info())
    except broker_errors() as error:
        raise Unavailable(
            f"the broker does not answer INFO ({type(error).__name__})",
            retry_in=1.0,
            hint="check REINSTATE_BROKER_URL, that it lets this host in, and that its ACL user"
            " may run INFO",
        ) from error
    return RedisFacts(
        version=str(found.get("valkey_version") or found.get("redis_version", "?")),
        cluster=bool(found.get("cluster_enabled")) or found.get("redis_mode") == "cluster",
        eviction=str(found.get("maxmemory_policy", "unknown")),
    )


def broker_errors() -> tuple[type[Exception], ...]:
    """Whatever a broker that is away makes its client raise."""
    from kombu.exceptions import KombuError  # noqa: PLC0415  dear to import
    from redis.exceptions import RedisError  # noqa: PLC0415

    return (KombuError, RedisError, OSError)


def exit_status(error: ReinstateError) -> int:
    """What a process that does not start ends with: the same as the commands' (docs/cli.md)."""
    return 6 if isinstance(error, Unavailable) else 7
