"""A server that misbehaves: a real one of whatever kind, and somebody on the line to it."""

import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@dataclass
class Call:
    """One request on its way; what is changed of it reaches the server so."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Line:
    """Listens before the server at `upstream` until `stop`."""

    upstream: str
    befalls: "Callable[[Call], object] | None" = None
    """Given a call, what becomes of it: None, it goes on; a (status, headers, body) in place of
    its answer; "cut", nobody hears of it again; "answer cut", only its answer is lost."""
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self):
        self.client = httpx.Client(base_url=self.upstream, timeout=30)
        line = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.carry
                raise AttributeError(name)

            def carry(self):
                try:
                    line.carry(self)
                except (OSError, RuntimeError, httpx.HTTPError):  # who called is gone, or the test
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.listener.block_on_close = False
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}/"
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()
        self.client.close()

    def carry(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {
            name.lower(): text.replace(self.url, self.upstream)
            for name, text in handler.headers.items()
            if name.lower() not in {"host", "connection", "content-length"}
        }
        call = Call(handler.command, handler.path, headers, body)
        self.calls.append(call)
        said = self.befalls(call) if self.befalls else None
        if said == "cut":
            handler.close_connection = True
            return
        if said is None or said == "answer cut":
            answer = self.client.request(
                call.method, call.path, headers=call.headers, content=call.body
            )
            if said == "answer cut":
                handler.close_connection = True
                return
            told = {name: text for name, text in answer.headers.items() if name.lower() not in HOP}
            said = answer.status_code, told, answer.content
        status, told, content = said
        handler.send_response(status)
        for name, text in told.items():
            if name.lower() != "content-encoding":
                handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)
