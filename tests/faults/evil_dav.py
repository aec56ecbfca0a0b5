"""A CardDAV server of our own that behaves, until a test makes it misbehave on the wire.

Everything is in memory and looked at directly. `disturb` is asked before each answer: it may give
raw bytes to send in its place, or a function that does with the connection what it likes; with
`Done` around either, the request is carried out first.
"""

import base64
import itertools
import re
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    user: str
    number: int


@dataclass
class Done:
    """Carry it out, then answer so."""

    answer: "bytes | Callable"


def response(status, body=b"", **headers):
    """A whole answer; names of headers with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"Content-Length": str(len(body))} | named
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def multistatus(*responses):
    inside = "".join(responses)
    spaces = 'xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"'
    body = f'<?xml version="1.0"?><multistatus {spaces}>{inside}</multistatus>'.encode()
    return response(207, body, Content_Type="application/xml")


def resource(path, properties="", *, status=None):
    href = f"<href>{escape(path)}</href>"
    if status:
        return f"<response>{href}<status>HTTP/1.1 {status} Said</status></response>"
    found = f"<prop>{properties}</prop><status>HTTP/1.1 200 OK</status>"
    return f"<response>{href}<propstat>{found}</propstat></response>"


@dataclass
class EvilServer:
    """Listens from the moment it is made until `stop`."""

    disturb: "Callable[[Request], bytes | Callable | Done | None] | None" = None
    held: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Path (decoded) → etag and content."""
    collections: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self):
        self.etags = itertools.count(1)
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self.listener.daemon_threads = True
        self.listener.block_on_close = False
        self.port = self.listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()

    def _handler(self):
        evil = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    while evil.answer(self.rfile, self.wfile, self.connection):
                        pass
                except (OSError, ValueError):
                    return

        return Handler

    def answer(self, incoming, outgoing, connection):
        line = incoming.readline(65_536)
        if not line:
            return False
        method, path, _ = line.decode("latin-1").split(" ")
        headers = {}
        while (header := incoming.readline(65_536).decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = incoming.read(int(headers.get("content-length", 0)))
        login = headers.get("authorization", "").removeprefix("Basic ")
        user = ""
        if login and not login.startswith("Bearer"):
            user = base64.b64decode(login).decode().partition(":")[0]
        request = Request(method, unquote(path), headers, body, user, next(self.numbers))
        self.requests.append(request)
        said = self.disturb(request) if self.disturb else None
        if said is None or isinstance(said, Done):
            with self.lock:
                told = self.carry_out(request)
            said = told if said is None else said.answer
        if callable(said):
            return bool(said(connection))
        outgoing.write(said)
        outgoing.flush()
        return True

    # What a server does -------------------------------------------------------------------------

    def carry_out(self, request):
        act = getattr(self, f"do_{request.method.lower()}", None)
        return act(request) if act else response(405)

    def do_propfind(self, request):
        path = request.path
        if b"current-user-principal" in request.body:
            home = f"/{quote(request.user)}/" if path == "/" else path
            principal = f"<current-user-principal><href>{home}</href></current-user-principal>"
            homes = f"<A:addressbook-home-set><href>{home}</href></A:addressbook-home-set>"
            return multistatus(resource(path, principal + (homes if path != "/" else "")))
        if path in self.held:
            return multistatus(self._told(path))
        if path not in self.collections:
            below = any(name.startswith(path) for name in self.collections)
            return multistatus(resource(path)) if below else response(404)
        kinds = "<resourcetype><collection/><A:addressbook/></resourcetype>"
        inside = []
        if request.headers.get("depth") == "1":
            inside = [self._told(name) for name in self.held if name.startswith(path)]
        return multistatus(resource(path, kinds), *inside)

    def _told(self, path, *, content=False):
        etag, data = self.held[path]
        told = f"<getetag>{etag}</getetag><getcontentlength>{len(data)}</getcontentlength>"
        told += "<getlastmodified>Fri, 16 Oct 2009 12:00:00 GMT</getlastmodified>"
        if content:
            told += f"<A:address-data>{escape(data.decode())}</A:address-data>"
        return resource(quote(path), told)

    def do_report(self, request):
        asked = re.findall(r"<D:href>([^<]*)</D:href>", request.body.decode())
        paths = [unquote(path) for path in asked]
        return multistatus(
            *(
                self._told(path, content=True)
                if path in self.held
                else resource(quote(path), status=404)
                for path in paths
            )
        )

    def do_get(self, request):
        if request.path not in self.held:
            return response(404)
        etag, data = self.held[request.path]
        return response(200, data, ETag=etag, Content_Type="text/vcard")

    def do_mkcol(self, request):
        if request.path in self.collections:
            return response(405)
        self.collections.add(request.path)
        return response(201)

    def do_put(self, request):
        if request.path.rpartition("/")[0] + "/" not in self.collections:
            return response(409)
        etag = self.held.get(request.path, ("", b""))[0]
        if "if-none-match" in request.headers and etag:
            return response(412)
        if request.headers.get("if-match", etag) != etag:
            return response(412)
        new = f'"{next(self.etags)}"'
        self.held[request.path] = (new, request.body)
        return response(204 if etag else 201, ETag=new)

    def do_delete(self, request):
        if request.path in self.collections:
            self.collections.discard(request.path)
            for path in [path for path in self.held if path.startswith(request.path)]:
                del self.held[path]
            return response(204)
        if request.path not in self.held:
            return response(404)
        if (
            request.headers.get("if-match", self.held[request.path][0])
            != self.held[request.path][0]
        ):
            return response(412)
        del self.held[request.path]
        return response(204)
