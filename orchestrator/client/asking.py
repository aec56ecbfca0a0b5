"""Asks the API: typed answers, lists a page at a time, changes of what was looked at, once each."""

import socket
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Self, TypeVar

import httpx
import msgspec

from orchestrator.client.listing import Rows
from orchestrator.client.refusals import Changed, error_of
from orchestrator.errors import NotFound, PlanInvalid, Unavailable
from orchestrator.run_standing import Status
from orchestrator.settings import Settings

API = "/api/v1"
ATTEMPTS = 4
"""Of a request that a server did not answer, or asked to be asked again."""
LONGEST_WAIT = 5.0
SILENCE = 45.0
"""An event stream shows that it lives more often than that."""
LOOKS = 5
"""At something that others change while we decide on it."""
_PREFIX = frozenset("0123456789abcdef")
_LONGEST_ID = 16
_IN_PROCESS = "this machine"

Answer = TypeVar("Answer")
Fields = Mapping[str, Any]
Parameters = Mapping[str, str | int | list[str] | None]


class Client:
    """Asks one installation in one name."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        where: str = _IN_PROCESS,
        settings: Settings | None = None,
        caller: Callable[[str], object] | None = None,
        name: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`caller`: makes of a name whoever asks in process; None: a token says who asks."""
        self._http = http
        self._caller = caller
        self._sleep = sleep
        self.where = where
        """What errors call whoever is asked."""
        self.settings = settings
        """Of this machine's installation; None of a server's."""
        self.name = name
        """In whose name; empty: the token's holder."""

    @property
    def remote(self) -> bool:
        """Whether a server is asked."""
        return self._caller is None

    def named(self, name: str) -> Self:
        """The same in another name. Raises `PlanInvalid` where a token says who asks."""
        if self.remote:
            raise PlanInvalid(
                "a server knows you by your token, names are not for you to choose",
                hint="ask with that person's own token: --token-file FILE",
            )
        return type(self)(
            self._http,
            where=self.where,
            settings=self.settings,
            caller=self._caller,
            name=name,
            sleep=self._sleep,
        )

    # Asking ---------------------------------------------------------------------------------------

    def get(self, path: str, kind: type[Answer], **parameters: str | int | None) -> Answer:
        """The answer to a question, as a struct or a mapping."""
        return self._read(self._send("GET", path, parameters=parameters), kind)

    def text(self, path: str, **parameters: str | int | None) -> str:
        """An answer that is text."""
        return self._send("GET", path, parameters=parameters).text

    def rows(
        self, path: str, *, most: int = 0, after: str | None = None, **parameters: str | int | None
    ) -> Rows:
        """Rows of a list, a page at a time: at most `most`, 0: all; from the cursor `after` on."""

        def page(size: int, cursor: str | None) -> Mapping[str, Any]:
            asked = {**parameters, "limit": size, "cursor": cursor}
            return self._read(self._send("GET", path, parameters=asked), dict[str, Any])

        return Rows(page, most=most, after=after)

    def post(self, path: str, kind: type[Answer], body: Fields) -> Answer:
        """What comes of doing something, once: asking again after a lost answer does no more."""
        return self._read(self._send("POST", path, body=body), kind)

    def delete(self, path: str) -> None:
        """End something."""
        self._send("DELETE", path)

    def lines(self, path: str, body: Fields | None = None) -> AbstractContextManager["Lines"]:
        """An answer of many lines, as they come: to a question, or, with `body`, to a wish."""
        return self._streamed(self._request("GET" if body is None else "POST", path, body=body))

    def events(self, path: str, *, last_event: str = "") -> AbstractContextManager["Lines"]:
        """The lines of an event stream, from behind `last_event` on."""
        request = self._request("GET", path)
        if last_event:
            request["headers"]["Last-Event-ID"] = last_event
        return self._streamed({**request, "timeout": httpx.Timeout(SILENCE, connect=10.0)})

    @contextmanager
    def _streamed(self, request: dict[str, Any]) -> Generator["Lines"]:
        with self._reaching(), self._http.stream(**request) as response:
            if not response.is_success:
                response.read()
                raise error_of(response, where=self.where)
            yield Lines(response)

    # Runs -----------------------------------------------------------------------------------------

    def run(self, name: str) -> str:
        """The id of the run that a prefix, or `last`, stands for. Raises `NotFound`."""
        if name == "last":
            found = self._ids(limit=1)
            if not found:
                raise NotFound("there are no runs yet", hint="submit a plan: reinstate submit PLAN")
            return found[0]
        if not name or len(name) > _LONGEST_ID or set(name) - _PREFIX:
            found = []
        else:
            found = self._ids(limit=2, prefix=name)
        if not found:
            raise NotFound("there is no such run", hint="list them: reinstate runs")
        if len(found) > 1 and name not in found:
            raise NotFound("several runs begin like that", hint="give more of the run's id")
        return name if name in found else found[0]

    def _ids(self, **parameters: str | int) -> list[str]:
        page = self.get("/runs", dict[str, Any], **parameters)
        return [str(row["id"]) for row in page["rows"]]

    def status(self, run: str) -> Status:
        """A run as it stands."""
        return self.get(f"/runs/{run}", Status)

    def change(
        self, run: str, action: str, kind: type[Answer], body: Callable[[Status], Fields]
    ) -> Answer:
        """Change the course of a run that was looked at; `body` says what, of the run as it stands.

        While others change it, too, it is looked at again.
        """
        for _ in range(LOOKS - 1):
            try:
                return self._change(run, action, kind, body)
            except Changed:
                continue
        return self._change(run, action, kind, body)

    def _change(
        self, run: str, action: str, kind: type[Answer], body: Callable[[Status], Fields]
    ) -> Answer:
        looked = self._send("GET", f"/runs/{run}")
        given = body(self._read(looked, Status))
        tag = looked.headers.get("etag", "*")
        return self._read(self._send("POST", f"/runs/{run}/{action}", body=given, tag=tag), kind)

    def user(self, run: str, name: str) -> str:
        """How addresses name a user: `#number`, so that no id ever stands in one."""
        if name.startswith("#") and name[1:].isascii() and name[1:].isdecimal():
            return name
        found = self.post(f"/runs/{run}/users/find", dict[str, Any], {"user": name})
        return f"#{found['number']}"

    def query(self, run: str, words: tuple[str, ...]) -> str:
        """A query with users by number, so that no id ever stands in an address."""
        found: list[str] = []
        for text in " ".join(words).split():
            word, colon, name = text.partition(":")
            found.append(f"user:{self.user(run, name)}" if word == "user" and name else text)
            del colon
        return " ".join(found)

    # Sending --------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        body: Fields | None = None,
        tag: str | None = None,
    ) -> httpx.Response:
        request = self._request(method, path, parameters=parameters, body=body, tag=tag)
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not self.remote
            try:
                with self._reaching():
                    response = self._http.request(**request)
            except Unavailable as error:
                if last or error.retry_in is None:
                    raise
                self._sleep(error.retry_in)
                continue
            if response.is_success:
                return response
            error = error_of(response, where=self.where)
            if last or not isinstance(error, Unavailable) or error.retry_in is None:
                raise error
            self._sleep(min(error.retry_in, LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")

    def _request(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        body: Fields | None = None,
        tag: str | None = None,
    ) -> dict[str, Any]:
        headers: dict[str, str] = {}
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        if tag is not None:
            headers["If-Match"] = tag
        if body is not None:
            headers["Content-Type"] = "application/json"
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        return {
            "method": method,
            "url": API + path.replace("#", "%23"),
            "params": given or None,
            "headers": headers,
            "content": None if body is None else msgspec.json.encode(body),
            **({} if self._caller is None else {"extensions": {"caller": self._caller(self.name)}}),
        }

    @contextmanager
    def _reaching(self) -> Generator[None]:
        """What keeps an answer from coming, as `Unavailable`; with `retry_in` where it may pass."""
        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(
                f"{self.where} cannot be reached",
                hint="is the address right, and does `reinstate api` answer there?",
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self.where} does not answer") from error
        except httpx.TransportError as error:
            raise Unavailable(f"{self.where} hung up", retry_in=1.0) from error
        except httpx.InvalidURL as error:
            raise PlanInvalid("this address cannot be asked") from error

    def _read(self, response: httpx.Response, kind: type[Answer]) -> Answer:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"{self.where} answers in a way that this release does not understand",
                hint="use the same release here and there",
            ) from error


class Lines:
    """The lines of an answer, as they come; another thread may hang up."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Each line, without its end."""
        rest = b""
        for part in self._response.iter_bytes():
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def hang_up(self) -> None:
        """Let whoever waits for the next line wait no longer: closing alone would not wake them."""
        stream = self._response.extensions.get("network_stream")
        line = None if stream is None else stream.get_extra_info("socket")
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
