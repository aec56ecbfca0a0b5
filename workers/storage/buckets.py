"""Object stores by URL: S3 and what speaks like it, Google, Azure, or a local folder.

Whatever goes wrong means one of three things: it is not there, a precondition did not hold, or the
store is away. What may be tried again at once is tried again by the store's own client, briefly.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.reasons import Reason

if TYPE_CHECKING:
    from httpx import Client
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

LOCAL: Final = "local:"
"""A folder on this machine: `local:photos` below the plan's, or `local:/srv/photos`."""

TIMEOUT: Final = 120.0
"""Seconds for one request, its bytes included."""

_SCHEMES: Final = ("s3://", "gs://", "az://", LOCAL)
_ANSWER: Final = re.compile(r"status(?: code:)? (\d{3})|HTTP error: (?:error|operation) (\w+)")
_UNFIT: Final = frozenset({"400", "411", "413", "414", "415", "422"})
"""Answers that are about the one object: it will never be taken."""

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


class Stored(Protocol):
    """Options of a source or target in an object store."""

    @property
    def url(self) -> str:
        """The store's, or a reference to it."""
        ...

    @property
    def endpoint(self) -> str:
        """The address, where it is not Amazon's."""
        ...

    @property
    def region(self) -> str:
        """Where the store has any."""
        ...

    @property
    def access_key(self) -> str | None:
        """A reference to the key's id."""
        ...

    @property
    def secret_key(self) -> str | None:
        """A reference to the key."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """Of the store's client."""
        ...


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a store is reached; secrets are resolved already."""

    url: str
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    connections: int = 16

    @classmethod
    def of(cls, options: Stored, secret: Callable[[str], str], *, connections: int = 16) -> Self:
        """What a plan's options lead to."""
        return cls(
            url=secret(options.url),
            endpoint=options.endpoint,
            region=options.region,
            access_key="" if options.access_key is None else secret(options.access_key),
            secret_key="" if options.secret_key is None else secret(options.secret_key),
            settings=tuple(options.settings.items()),
            connections=connections,
        )


class Bucket:
    """The objects below one URL, opened on first use. Shared by threads, never across a fork."""

    def __init__(self, access: Callable[[], Access], *, folder: Path, called: str) -> None:
        self._resolve = access
        self._known: Access | None = None
        self._folder = folder
        self._called = called
        self._lock = threading.Lock()
        self._opened: tuple[int, ObjectStore] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._remover: tuple[int, Client] | None = None
        """Removes under conditions. Making one costs 20 ms, for the certificates that it reads."""

    @property
    def _access(self) -> Access:
        if self._known is None:
            self._known = self._resolve()
        return self._known

    @property
    def store(self) -> "ObjectStore":
        """The client."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), self._open(self._access)
            return self._opened[1]

    def is_local(self) -> bool:
        """Whether it is a folder: no metadata, and nothing can be replaced by version."""
        return self._access.url.startswith(LOCAL)

    def versioned_by_generation(self) -> bool:
        """Google's conditions name a generation, all others an entity tag."""
        return self._access.url.startswith("gs://")

    def identity(self) -> str:
        """Where it is, without secrets."""
        access = self._access
        if self.is_local():
            return f"{LOCAL}{self._path(access)}"
        return f"{access.url.rstrip('/')}@{access.endpoint}" if access.endpoint else access.url

    def each(self, call: Callable[[_Given], _Got], given: list[_Given]) -> Iterator[_Got]:
        """`call` of each, many at a time; the answers in their order."""
        if len(given) < 2:  # noqa: PLR2004 - one needs no thread
            return map(call, given)
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._access.connections)
        return self._threads.map(call, given)

    def under(self, prefix: str) -> "Iterator[ObjectMeta]":
        """Every object below a prefix, at any depth."""
        import obstore  # noqa: PLC0415 - a heavy import, if used

        with self.errors():
            for page in obstore.list(self.store, prefix=prefix, chunk_size=1000):
                yield from page

    def level(self, prefix: str | None) -> "tuple[list[str], list[ObjectMeta]]":
        """The names of what looks like folders directly below a prefix, and the objects there."""
        import obstore  # noqa: PLC0415 - a heavy import, if used

        with self.errors():
            found = obstore.list_with_delimiter(self.store, prefix)
        folders = sorted(each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"])
        return folders, sorted(found["objects"], key=lambda each: each["path"])

    def get(self, key: str) -> "tuple[bytes, ObjectMeta] | None":
        """An object; None where there is none."""
        import obstore  # noqa: PLC0415 - a heavy import, if used

        try:
            with self.errors():
                got = obstore.get(self.store, key)
                return bytes(got.bytes()), got.meta
        except FileNotFoundError:
            return None

    def remove(self, key: str, conditions: dict[str, str]) -> bool:
        """Remove an object under the conditions of HTTP headers; whether it was done.

        The store's client knows no conditions for this, so it only signs the request.
        """
        import httpx  # noqa: PLC0415 - a heavy import, if used
        import obstore  # noqa: PLC0415 - a heavy import, if used

        with self._lock:
            if self._remover is None or self._remover[0] != os.getpid():
                self._remover = os.getpid(), httpx.Client(timeout=TIMEOUT)
            client = self._remover[1]
        with self.errors():
            address = obstore.sign(cast(Any, self.store), "DELETE", key, timedelta(minutes=5))
        try:
            answer = client.delete(address, headers=conditions)
        except httpx.HTTPError:
            raise Unavailable(f"{self._called}: away (connection)", retry_in=5.0) from None
        if answer.is_server_error:
            raise Unavailable(f"{self._called}: away ({answer.status_code})", retry_in=5.0)
        return answer.is_success

    def errors(self) -> "_Meanings":
        """Within it, whatever means that the store is away is raised as `Unavailable`."""
        return _Meanings(self._called)

    def close(self) -> None:
        """Let go of threads and connections."""
        with self._lock:
            threads, self._threads = self._threads, None
            remover, self._remover = self._remover, None
            self._opened = self._known = None
        if threads is not None:
            threads.shutdown()
        if remover is not None and remover[0] == os.getpid():
            remover[1].close()

    def _path(self, access: Access) -> Path:
        return (self._folder / Path(access.url.removeprefix(LOCAL)).expanduser()).resolve()

    def _open(self, access: Access) -> "ObjectStore":
        from obstore.exceptions import BaseError  # noqa: PLC0415 - a heavy import, if used
        from obstore.store import LocalStore, from_url  # noqa: PLC0415 - a heavy import, if used

        if not access.url.startswith(_SCHEMES):
            raise Unavailable(
                f"{self._called}: its url names no kind of object store",
                hint=f"it begins with one of {', '.join(_SCHEMES)}",
            )
        try:
            if access.url.startswith(LOCAL):
                return LocalStore(self._path(access))
            return from_url(access.url, **_options(access))
        except (BaseError, OSError, ValueError) as error:
            raise Unavailable(
                f"{self._called}: cannot be opened ({_sort(error)})",
                hint="check the url and settings; a local folder has to be there",
            ) from None


def _options(access: Access) -> dict[str, Any]:
    config: dict[str, Any] = dict(access.settings)
    if access.endpoint:
        config["endpoint"] = access.endpoint
    if access.region:
        config["region"] = access.region
    if access.access_key:
        config["access_key_id"] = access.access_key
        config["secret_access_key"] = access.secret_key
    if access.url.startswith("s3://"):
        config.setdefault("region", "us-east-1")
        config.setdefault("checksum_algorithm", "SHA256")
    return {
        "config": config,
        "client_options": {
            "timeout": f"{TIMEOUT:.0f}s",
            "connect_timeout": "5s",
            "allow_http": access.endpoint.startswith("http://"),
        },
        "retry_config": {
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=30),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=3),
                "base": 2,
            },
        },
    }


class _Meanings:
    """Turns what the store's client raises into what its caller has to do."""

    def __init__(self, called: str) -> None:
        self._called = called

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise what it means; what says something of one object passes through."""
        from obstore import exceptions  # noqa: PLC0415 - a heavy import, if used

        if not isinstance(error, exceptions.BaseError | OSError | ValueError):
            return
        of_one = (
            exceptions.AlreadyExistsError,
            exceptions.PreconditionError,
            FileNotFoundError,
        )
        if isinstance(error, of_one) and not _no_bucket(error):
            return
        sort = _sort(error)
        if sort in _UNFIT:
            raise ItemRejected(Reason.REFUSED, f"the store answered {sort}") from None
        if "InvalidObjectState" in str(error):
            raise ItemRejected(Reason.UNREADABLE, "archived: it has to be thawed first") from None
        refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        hint = (
            "check the credentials and what they may do: list, get, put"
            if isinstance(error, refused) or sort in {"401", "403"}
            else "is the store up, are url, endpoint and region right?"
        )
        raise Unavailable(f"{self._called}: away ({sort})", hint=hint) from None


def _no_bucket(error: BaseException) -> bool:
    return "NoSuchBucket" in str(error)


def _sort(error: BaseException) -> str:
    """What went wrong in a word: errors of the client hold addresses and names of objects."""
    found = _ANSWER.search(str(error))
    if found is not None:
        return found[1] or found[2]
    return type(error).__name__.removesuffix("Error").lower()
