"""How the broker is reached, by whoever publishes, listens or looks after it.

Publishers and workers must agree on every word of this: a message under another prefix or in
another folder is never seen.
"""

from pathlib import Path
from urllib.parse import parse_qsl

from msgspec import Struct

from orchestrator.errors import Refused
from orchestrator.settings import AUTO, Settings

VISIBILITY_SECONDS = 900
"""Longer than any job may run (`JOB_SECONDS`), or Redis would hand it out a second time."""
JOB_SECONDS = 600

_REDIS = ("redis", "rediss", "redis+socket", "sentinel")


class Route(Struct, frozen=True, kw_only=True):
    """What Celery and kombu need to be told. `options` are `broker_transport_options`."""

    url: str
    options: dict[str, object]
    folder: Path | None = None
    """Of a broker of files."""
    forks: bool
    """Prefork workers are safe on it: repeated kill -9 of a child does not freeze its parent."""
    redis: bool
    quorum: bool = False
    """Its queues are replicated by the broker, and have to be declared so."""


def route(settings: Settings) -> Route:
    """The way to the broker. Raises `Refused` where the settings leave it to an engine."""
    url = settings.broker_url
    if url == AUTO:
        raise Refused(
            "no broker is named and no embedded engine runs",
            hint="set REINSTATE_BROKER_URL, or start one: reinstate up",
        )
    scheme = url.partition("://")[0]
    if scheme == "filesystem":
        folder = spool_folder(url)
        return Route(
            url="filesystem://",
            options=_folder_options(folder),
            folder=folder,
            forks=False,
            redis=False,
        )
    if scheme == "sentinel":
        url, watched = _sentinel(url)
        return Route(url=url, options=_redis_options(settings) | watched, forks=True, redis=True)
    if scheme in _REDIS:
        return Route(url=url, options=_redis_options(settings), forks=True, redis=True)
    amqp = scheme in {"amqp", "amqps"}
    return Route(url=url, options={}, forks=amqp, redis=False, quorum=amqp)


def _sentinel(url: str) -> tuple[str, dict[str, object]]:
    """The address as kombu takes it, and which master to ask for, which kombu takes apart from it.

    Database and password of Redis itself are those of the first address; `?master_name=` is ours.
    """
    address, _, asked = url.partition("?")
    words = dict(parse_qsl(asked))
    if not words.get("master_name"):
        raise Refused(
            "the address of a Sentinel does not say which master it watches",
            hint="sentinel://one:26379/0;sentinel://two:26379?master_name=NAME",
        )
    options: dict[str, object] = {"master_name": words["master_name"]}
    if words.get("sentinel_password"):
        options["sentinel_kwargs"] = {"password": words["sentinel_password"]}
    return address, options


def _redis_options(settings: Settings) -> dict[str, object]:
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "socket_connect_timeout": 5,
        "socket_timeout": 30,  # the default waits for ever
        "socket_keepalive": True,
        "health_check_interval": 15,
        "global_keyprefix": settings.broker_prefix,  # two applications steal each other's messages
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 3,  # the default looks every 100 s only
        # no retry_on_timeout: it turns pipelined publishing off
    }


def _folder_options(folder: Path) -> dict[str, object]:
    messages = str(folder / "messages")
    return {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(folder / "control"),
        "processed_folder": str(folder / "taken"),
        "store_processed": True,  # else a message passes through the machine's shared /tmp
        "polling_interval": 0.05,
    }


def spool_folder(url: str) -> Path:
    """The folder that a `filesystem://` address names."""
    return Path(url.partition("://")[2])


def make_folders(folder: Path) -> None:
    """The folders of a `filesystem://` broker, for their owner alone."""
    for name in ("messages", "control", "taken", "busy"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
