"""A real RabbitMQ of a test's own: one node in a temporary folder, on ports of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from kombu import Connection

from orchestrator.lifeline import die_with_parent

PATIENCE = 90.0
CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
log.file.level = warning
disk_free_limit.absolute = 1MB
"""


def rabbit_program() -> str | None:
    """Where its server is, if it is. Not the wrapper of Debian's, which changes to its own user."""
    return shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/local/sbin")


class Rabbit:
    """Ready when this returns."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reinstate-rabbit-"))
        self._port, distribution, names = (_free_port() for _ in range(3))
        (self.folder / "rabbit.conf").write_text(CONFIGURATION.format(port=self._port))
        (self.folder / "plugins").write_text("[].")
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"reinstate{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }
        # Its port mapper: else the node starts one that outlives it.
        self._names = self._launched(["epmd", "-port", str(names)])
        self.start()

    def start(self) -> None:
        """Start it with what it holds on disk."""
        self._process = self._launched([rabbit_program()])
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            said = (self.folder / "said").read_text(errors="replace")
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of the whole node."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it, its port mapper too, and remove what it wrote."""
        if self._process.poll() is None:
            self.kill()
        self._names.kill()
        self._names.wait()
        shutil.rmtree(self.folder)

    def _launched(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  tests start servers in one thread
            )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), Connection(self.url, connect_timeout=2) as connection:
            connection.connect()
            return True
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
