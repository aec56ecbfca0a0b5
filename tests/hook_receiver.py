"""A program that is told of runs, as a process of its own: keeps what came, answers as it is told.

    python -m tests.hook_receiver FOLDER STATUSES [CERTIFICATE]

listens at a free port of this machine, which is the first line of its output; the statuses, comma
between, are its answers in turn, the last one for ever. Each request is a file in FOLDER.
"""

import itertools
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from orchestrator.lifeline import die_with_parent


class Receiver:
    """The process, seen from a test."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen) -> None:
        self.port = port
        self.process = process
        self._folder = folder

    def requests(self) -> list[dict]:
        """What came, in order: path, headers in lower case, body."""
        return [json.loads(file.read_text()) for file in sorted(self._folder.glob("*.json"))]

    def await_requests(self, number: int, seconds: float = 30) -> list[dict]:
        deadline = time.monotonic() + seconds
        while len(found := self.requests()) < number:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


@contextmanager
def receiver(
    folder: Path, *statuses: object, certificate: Path | None = None
) -> Iterator[Receiver]:
    """A receiver for as long as the block lasts."""
    folder.mkdir(exist_ok=True)
    words = [str(folder), ",".join(map(str, statuses or (204,)))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.hook_receiver",
            *words,
            *([certificate] if certificate else []),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        preexec_fn=die_with_parent,  # noqa: PLW1509  the test has one thread
    )
    try:
        yield Receiver(folder, int(process.stdout.readline()), process)
    finally:
        process.kill()
        process.communicate()


def _answers(statuses: str) -> Iterator[str]:
    listed = statuses.split(",")
    return itertools.chain(listed, itertools.repeat(listed[-1]))


def main() -> None:
    folder, answers = Path(sys.argv[1]), _answers(sys.argv[2])
    numbers = itertools.count()

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept = {
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
                "server_name": getattr(self.connection, "asked_for", None),
            }
            draft = folder / "draft"
            draft.write_text(json.dumps(kept))
            draft.rename(folder / f"{next(numbers):05}.json")
            status = next(answers)
            if status == "slow":
                time.sleep(30)
            self.send_response(int(status))
            if status == "302":
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            if status == "503":
                self.send_header("retry-after", "120")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Keeper)
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])

        def note(connection: ssl.SSLSocket, name: str, _context: ssl.SSLContext) -> None:
            connection.asked_for = name

        context.sni_callback = note
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)  # noqa: T201  this is the answer
    server.serve_forever()


if __name__ == "__main__":
    main()
