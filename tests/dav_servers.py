"""Real Radicale and Xandikos for tests: each on a free port of this machine, gone when tests end.

Both believe whatever name logs in (Basic, any password) and show every user their own place only,
as a server behind a company's login does. `radicale_server` and `xandikos_server` are one server
each for a test process; tests keep apart by the names of their users.
"""

import asyncio
import base64
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.lifeline import die_with_parent

PATIENCE = 60.0


class DavServer:
    """A server of one kind below a folder of its own; can be stopped and started again."""

    kind = ""

    def __init__(self, *, durable: bool = False) -> None:
        """Ready when this returns. `durable`: it waits for the disk, as in production."""
        self.folder = Path(
            tempfile.mkdtemp(prefix=f"reinstate-{self.kind}-", dir=None if durable else _fast())
        )
        self.data = self.folder / "data"
        self.data.mkdir()
        self.port = free_port()
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def process(self) -> int | None:
        """Its number, where it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it on the same port, over the same data; fine where it runs."""
        if self._process is not None:
            return
        durable = ["durable"] if self.durable else []
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, __file__, self.kind, str(self.data), str(self.port), *durable],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
                start_new_session=True,  # an interrupt of the tests is not one of the server
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                log = (self.folder / "log").read_text(errors="replace")
                pytest.fail(f"{self.kind} does not start: {log}", pytrace=False)
            time.sleep(0.05)

    def stop(self) -> None:
        """As a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class Radicale(DavServer):
    kind = "radicale"


class Xandikos(DavServer):
    kind = "xandikos"


def _fast() -> str | None:
    """A folder in memory where there is one: what has not to last need not wait for a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def radicale_server() -> Iterator[DavServer]:
    yield from running(Radicale)


@pytest.fixture(scope="session")
def xandikos_server() -> Iterator[DavServer]:
    yield from running(Xandikos)


def running(kind: type[DavServer]) -> Iterator[DavServer]:
    server = kind()
    try:
        yield server
    finally:
        server.stop()
        subprocess.run(["rm", "-rf", str(server.folder)], check=True)


def serve_radicale(folder: str, port: int, *, durable: bool) -> None:
    """Radicale as it comes, but for its wait for the disk where nothing has to last."""
    from radicale import config, server  # noqa: PLC0415 - the server's own process

    configuration = config.load()
    configuration.update(
        {
            "server": {"hosts": f"127.0.0.1:{port}", "max_connections": "64"},
            "auth": {"type": "none"},
            "rights": {"type": "owner_only"},
            "storage": {"filesystem_folder": folder},
            "web": {"type": "none"},
            "logging": {"level": "error"},
        },
        "tests",
    )
    configuration.update({"storage": {"_filesystem_fsync": str(durable)}}, "tests", privileged=True)
    server.serve(configuration)


def serve_xandikos(folder: str, port: int) -> None:
    """Xandikos for many users, behind a login that believes every name (what a proxy is for)."""
    from aiohttp import web  # noqa: PLC0415 - the server's own process
    from xandikos.multi_user import (  # noqa: PLC0415
        MultiUserFilesystemBackend,
        MultiUserXandikosApp,
    )
    from xandikos.web import WELLKNOWN_DAV_PATHS, RedirectDavHandler  # noqa: PLC0415
    from xandikos.webdav import AUTHENTICATED_USER_ATTR  # noqa: PLC0415

    backend = MultiUserFilesystemBackend(folder)
    application = MultiUserXandikosApp(
        backend,
        current_user_principal="/%(REMOTE_USER)s/",
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        login = request.headers.get("Authorization", "")
        if not login.startswith("Basic "):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
        user = base64.b64decode(login.removeprefix("Basic ")).decode().partition(":")[0]
        request[AUTHENTICATED_USER_ATTR] = user
        return await application.aiohttp_handler(request, "/")

    async def run() -> None:
        served = web.Application(client_max_size=0)
        for path in WELLKNOWN_DAV_PATHS:
            served.router.add_route("*", path, RedirectDavHandler("/").__call__)
        served.router.add_route("*", "/{path_info:.*}", answer)
        runner = web.AppRunner(served)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["radicale", folder, port, *durable]:
            serve_radicale(folder, int(port), durable=bool(durable))
        case ["xandikos", folder, port, *_]:
            serve_xandikos(folder, int(port))
