"""The installation of this machine, asked in process: the same application, no network, no token.

Whoever can open the ledger and its key may do what an administrator may; which name they go by is
theirs to say, as it always is on a machine of one's own.
"""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx
from msgspec import structs
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.app import SUBJECTS, create_app, routers_of
from orchestrator.api.installation import Installation, opened
from orchestrator.api.recent import Recent
from orchestrator.identity.roles import OWN_CALLER, Caller, Role
from orchestrator.settings import Settings

ADDRESS = "http://localhost"
_FIRST = {name: at for at, name in enumerate(("runs", "overseeing", "people", "steering"))}
"""What commands ask for most."""
CALLER = "caller"
"""The extension of a request that says in whose name it is."""


def administrator(name: str) -> Caller:
    """Who asks where no token does."""
    return Caller(holder=name, role=Role.ADMIN)


@contextmanager
def opened_here(settings: Settings) -> Generator[httpx.Client]:
    """What asks the installation of these settings; its ledger is made where there is none."""
    settings.ensure_home()
    with opened(settings) as installation, asking_of(installation) as http:
        yield http


@contextmanager
def asking_of(installation: Installation) -> Generator[httpx.Client]:
    """The same of an installation that is open; nothing it tells is from a moment ago."""
    recent = Recent(installation.progress, status_seconds=0, caller_seconds=0)
    transport = InProcess(Growing(structs.replace(installation, recent=recent)))
    with httpx.Client(transport=transport, base_url=ADDRESS, trust_env=False) as http:
        yield http


class Growing:
    """The application, with the routes of each subject from when they are first asked for.

    To import them all is an eighth of what a command costs.
    """

    def __init__(self, installation: Installation) -> None:
        self._app = create_app(installation, subjects=())
        self._left = sorted(SUBJECTS, key=lambda subject: _FIRST.get(subject, len(_FIRST)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        while self._left and not self._knows(scope):
            for router in routers_of(self._left.pop(0)):
                self._app.include_router(router)
        await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._app.router.routes)


class InProcess(httpx.BaseTransport):
    """Hands requests to an application, which moves on only while somebody waits for its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body as it comes. Raises what the application did not foresee."""
        exchange = _Exchange(self._app, request)
        start = self._runner.run(exchange.begin())
        if start["status"] == HTTPStatus.INTERNAL_SERVER_ERROR:
            for _ in _Body(self._runner, exchange):
                pass  # behind its end comes the reason, as an exception
        return httpx.Response(
            start["status"], headers=start["headers"], stream=_Body(self._runner, exchange)
        )

    def close(self) -> None:
        """Ends whatever was left unread."""
        self._runner.close()


class _Exchange:
    """One request and its answer, a message at a time."""

    def __init__(self, app: ASGIApp, request: httpx.Request) -> None:
        self._app = app
        self._request = request
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)
        self._given = False
        self._gone = asyncio.Event()

    async def begin(self) -> Message:
        """The first message: status and headers."""
        self._task = asyncio.ensure_future(self._app(self._scope(), self._receive, self._send))
        start = await self.next()
        if start is None:
            raise RuntimeError("the application gave no answer")
        return start

    async def next(self) -> Message | None:
        """The next message; None at the end."""
        if self._messages.empty() and not self._task.done():
            coming = asyncio.ensure_future(self._messages.get())
            await asyncio.wait({coming, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            coming.cancel()
        if not self._messages.empty():
            return self._messages.get_nowait()
        self._task.result()
        return None

    async def end(self) -> None:
        """Nobody reads any further."""
        self._gone.set()
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _scope(self) -> dict[str, Any]:
        request = self._request
        caller = request.extensions.get(CALLER)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": None,
            "server": None,
            **({} if caller is None else {OWN_CALLER: caller}),
        }

    async def _receive(self) -> Message:
        if self._given:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._given = True
        return {"type": "http.request", "body": self._request.read(), "more_body": False}

    async def _send(self, message: Message) -> None:
        await self._messages.put(message)


class _Body(httpx.SyncByteStream):
    """The body of an answer: the application goes on when the next part is asked for."""

    def __init__(self, runner: asyncio.Runner, exchange: _Exchange) -> None:
        self._runner = runner
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        while (message := self._runner.run(self._exchange.next())) is not None:
            if part := message.get("body", b""):
                yield part

    def close(self) -> None:
        self._runner.run(self._exchange.end())
