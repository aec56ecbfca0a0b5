"""The example server of docs/http-target.md, run for tests on a free port of this machine.

Each is a fresh module of exactly those lines: nothing is shared between two.
"""

import contextlib
import re
import socket
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[1] / "docs" / "http-target.md"
TOKEN = "secret"


def source() -> str:
    """The program on the page."""
    (found,) = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE.read_text("utf-8"))
    return found


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *how) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*how)

    def get_request(self):
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """End every connection in whatever it is."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_call):
        """A connection that ended in mid-call is what tests do."""


class ImporterServer:
    """The server, running; `module` is its program with all that it holds."""

    def __init__(self) -> None:
        self.module = ModuleType("importer")
        exec(compile(source(), PAGE, "exec"), self.module.__dict__)
        self.server: Server | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, handler: type | None = None) -> None:
        """Listen, on the same port again after `stop`."""
        self.server = Server(("127.0.0.1", self.port), handler or self.handler())
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def handler(self) -> type:
        """The page's, without its log."""
        return type("Quiet", (self.module.Importer,), {"log_message": lambda *_: None})

    def stop(self) -> None:
        """Stop, and end every connection."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server.cut()
            self.server = None
