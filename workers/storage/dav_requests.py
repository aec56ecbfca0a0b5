"""Calls to an HTTP server that keeps things (WebDAV, CalDAV, CardDAV): bounded, never redirected.

Every call has one deadline over all of it (connecting, sending, each byte of the answer), takes so
many bytes after decompression and no more, and goes to the server that the plan names and to no
other. Connections are kept where the server keeps them. Calls run in a loop of a thread of their
own, so many users are served at once by one worker; a forked child makes its own.

Nothing here knows what is called for; whether a lost answer may be asked for again is the
caller's to say.
"""

import asyncio
import os
import ssl
import threading
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from msgspec import Struct

from orchestrator.errors import Unavailable

T = TypeVar("T")

OK_STATUSES: Final = range(200, 300)
REDIRECTS: Final = range(300, 400)
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_GATEWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_TRIES: Final = 3
"""How often a call is made whose connection broke, or that was told to wait."""
_PAUSE: Final = 0.2
"""Seconds before the second try; twice as long before the third."""
_PATIENCE: Final = 5.0
"""Seconds that a server may ask us to wait here; if it asks for more, the batch waits."""
_LONGEST_WAIT: Final = 24 * 3600.0
_KEPT: Final = 5.0
"""Seconds that an idle connection is kept: shorter than servers do, or it breaks in mid-call."""
_OLD: Final = "HTTP/1.0"
_OLD_AT_ONCE: Final = 4
_AGENT: Final = "reinstate"
_LONGEST_NAME: Final = 255
"""Bytes that servers, which keep things in files, take as a name."""


class Bounds(Struct, frozen=True, kw_only=True):
    """What one call may take."""

    seconds: float
    answer_bytes: int
    at_once: int
    """Calls under way at the same time, over all users."""


class Answer(Struct, frozen=True, kw_only=True):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    doubtful: bool = False
    """An earlier try's answer was lost: it may have happened then."""

    @property
    def good(self) -> bool:
        """Whether the status says that it was done."""
        return self.status in OK_STATUSES

    @property
    def html(self) -> bool:
        """Whether it is a page for people: of a proxy, a login, a server that is being mended."""
        return "html" in self.headers.get("content-type", "").lower()


class Lost(Exception):
    """A call was sent and no whole answer came: it may or may not have happened."""

    def __init__(self, *, late: bool) -> None:
        super().__init__("no whole answer in time" if late else "the connection broke")
        self.late = late
        """The deadline passed: whoever asks again waits as long again."""


class TooLarge(Exception):
    """The answer is longer than a call may take."""


class Server:
    """One server, and the calls to it. Safe to share between threads and over a fork."""

    def __init__(self, url: str, *, bounds: Bounds, name: str) -> None:
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.name = name
        """How messages call it: `dav target`."""
        self._bounds = bounds
        self._lock = threading.Lock()
        self._line: _Line | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` gives, done in the loop of this server's thread."""
        line = self._opened()
        return asyncio.run_coroutine_threadsafe(work(), line.loop).result()

    def _opened(self) -> "_Line":
        with self._lock:
            if self._line is None or self._line.process != os.getpid():
                if self._line is not None:
                    _INHERITED.append(self._line)  # the parent's: letting go of it would harm it
                self._line = _Line(self._bounds, secure=self.origin.startswith("https:"))
            return self._line

    def close(self) -> None:
        """Let go of the connections and the thread; the next call opens them again."""
        with self._lock:
            line, self._line = self._line, None
        if line is None:
            return
        if line.process == os.getpid():
            line.close()
        else:
            _INHERITED.append(line)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        again: bool = True,
    ) -> Answer:
        """The answer to one call; asked a few times where it broke off, unless `again` is False.

        `path` is escaped as it goes over the wire. Raises `Lost`, `TooLarge`, and `Unavailable`
        where the server cannot be reached, asks for a longer wait, or sends us elsewhere.
        """
        assert self._line is not None  # noqa: S101 - a coroutine of `run`
        line = self._line
        doubtful = False
        for tries in range(1, _TRIES + 1):
            try:
                answer = await self._asked(line, method, path, headers, body)
            except Lost as lost:
                if lost.late or not again or tries == _TRIES:
                    raise
                doubtful = True
                await asyncio.sleep(_PAUSE * tries)
                continue
            if answer.status in _BUSY:
                wait = retry_after(answer)
                patient = 0.0 if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else _PAUSE * tries
                if (wait is None and not patient) or (wait or 0) > _PATIENCE or tries == _TRIES:
                    raise self._busy(answer.status, wait)
                line.pause(patient if wait is None else wait)
                continue
            if answer.status in _GATEWAY:
                raise self._busy(answer.status, retry_after(answer))
            return Answer(
                status=answer.status, headers=answer.headers, body=answer.body, doubtful=doubtful
            )
        raise AssertionError("the last try returns or raises")

    def _busy(self, status: int, wait: float | None) -> Unavailable:
        return Unavailable(
            f"{self.name}: the server is overloaded or being mended (status {status})",
            retry_in=wait,
            hint="it is asked again later; `limits` of a phase spare it",
        )

    async def _asked(
        self, line: "_Line", method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        async with line.slots:
            await line.paused()
            try:
                async with (
                    asyncio.timeout(self._bounds.seconds),
                    line.client.stream(
                        method, self.origin + path, headers=headers, content=body
                    ) as response,
                ):
                    line.met(response.http_version)
                    return Answer(
                        status=response.status_code,
                        headers={name.lower(): text for name, text in response.headers.items()},
                        body=await self._body(response),
                    )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise Unavailable(
                    f"{self.name}: the server cannot be reached ({type(error).__name__})",
                    hint="check its address, its certificate, and that it runs",
                ) from None
            except TimeoutError:
                raise Lost(late=True) from None
            except (httpx.TransportError, httpx.DecodingError):
                raise Lost(late=False) from None

    async def _body(self, response: httpx.Response) -> bytes:
        """All of it, decompressed by ourselves: a bomb is stopped at the limit, not after it."""
        most = self._bounds.answer_bytes
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", ""):
            raise Unavailable(
                f"{self.name}: the server answers in a coding that was not asked for",
                hint="look at the proxy before it",
            )
        unpacked = zlib.decompressobj(31) if coding == "gzip" else None
        pieces: list[bytes] = []
        size = 0
        try:
            async for chunk in response.aiter_raw():
                piece = chunk if unpacked is None else unpacked.decompress(chunk, most - size + 1)
                size += len(piece)
                if size > most:
                    raise TooLarge
                pieces.append(piece)
        except zlib.error:
            raise Lost(late=False) from None
        if unpacked is not None and size and not unpacked.eof:
            raise Lost(late=False)
        return b"".join(pieces)


class _Line:
    """A loop in a thread of its own with its connections; belongs to the process that made it."""

    def __init__(self, bounds: Bounds, *, secure: bool) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.slots = asyncio.Semaphore(1)
        """As many as the server takes, from its first answer on."""
        self._at_once: int | None = bounds.at_once
        self.client = httpx.AsyncClient(
            follow_redirects=False,
            verify=secure or _TRUSTS_NOBODY,
            timeout=httpx.Timeout(bounds.seconds, connect=min(10.0, bounds.seconds)),
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=bounds.at_once,
                keepalive_expiry=_KEPT,
            ),
            headers={"User-Agent": _AGENT, "Accept-Encoding": "gzip", "Accept": "*/*"},
        )
        self._free_at = 0.0
        self._thread = threading.Thread(target=self._turn, name="dav", daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def met(self, version: str) -> None:
        """The first answer tells how many calls it can take.

        A server of HTTP/1.0 takes one call a connection, and few connections at the same time:
        what it cannot take yet waits a second or is reset.
        """
        if self._at_once is not None:
            most = self._at_once if version != _OLD else min(self._at_once, _OLD_AT_ONCE)
            self._at_once = None
            for _ in range(most - 1):
                self.slots.release()

    def pause(self, seconds: float) -> None:
        """Nobody calls this server for so long."""
        self._free_at = max(self._free_at, self.loop.time() + seconds)

    async def paused(self) -> None:
        """Return when the server may be called again."""
        while (wait := self._free_at - self.loop.time()) > 0:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(wait)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end(self) -> None:
        await self.client.aclose()
        await self.loop.shutdown_asyncgens()


_TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Where no certificate is ever looked at; reading those of the authorities takes 20 ms."""
_INHERITED: Final[list[_Line]] = []
"""Lines of parent processes: closing one here would take the parent's loop apart."""


async def together(works: Iterable[Awaitable[T]]) -> list[T]:
    """What each gives, in order, all at once; the first error ends the others and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()  # those that are done do not mind
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return [task.result() for task in tasks]


def retry_after(answer: Answer) -> float | None:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3); None where it does not say."""
    said = answer.headers.get("retry-after", "").strip()
    if not said:
        return None
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)


def path_part(name: str) -> str:
    """One part of a path as it goes over the wire."""
    return quote(name, safe="@+-._~")


def nameable(name: str) -> bool:
    """Whether it can be one part of a path, and mean nothing else to a server that decodes it."""
    return (
        bool(name.strip("."))
        and name.isprintable()
        and len(name.encode()) <= _LONGEST_NAME
        and not any(character in "/\\" for character in name)
    )
