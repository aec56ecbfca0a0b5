"""What a plan says of a server that is called over HTTP, in the words that all such targets share.

Nothing here calls one: what does is imported when it is needed.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from orchestrator.ports import Removal, Surroundings, Write

if TYPE_CHECKING:
    from workers.storage.dav_accounts import Accounts
    from workers.storage.dav_requests import Server

Changed = TypeVar("Changed", Write, Removal)


class Called(Protocol):
    """Options of whatever is called."""

    @property
    def url(self) -> str:
        """The address, or a reference to it."""
        ...

    @property
    def at_once(self) -> int:
        """Calls under way at the same time."""
        ...

    @property
    def timeout(self) -> timedelta:
        """Of one call."""
        ...

    @property
    def answer_bytes(self) -> int:
        """Of one answer."""
        ...


class LoggedInto(Called, Protocol):
    """Options of a server that has accounts."""

    @property
    def username(self) -> str:
        """Who logs in."""
        ...

    @property
    def password(self) -> str | None:
        """A reference to the password."""
        ...

    @property
    def token(self) -> str | None:
        """A reference to a bearer token."""
        ...

    @property
    def accounts(self) -> str | None:
        """A file with everybody's own password."""
        ...


def check_calls(options: Called) -> None:
    """Raise ValueError where it could never be called."""
    if options.at_once < 1:
        raise ValueError("'at_once' is at least 1")


def check_logins(options: LoggedInto, *, names: Iterable[str], places: str) -> None:
    """Raise ValueError where options contradict each other.

    `names`: of the places that categories go into, one part of an address each; `places`: what
    those are called.
    """
    check_calls(options)
    if options.accounts and (options.password or options.token):
        raise ValueError("'accounts' has the passwords; neither 'password' nor 'token' goes too")
    if options.token and (options.username or options.password):
        raise ValueError("'token' goes without 'username' and 'password'")
    if any(not name.strip(".") or "/" in name for name in names):
        raise ValueError(f"a {places}'s name is one part of an address")


def address(url: str, *, name: str, secrets: str) -> tuple[str, str]:
    """Scheme with host, and path; raises `Unavailable` where it is none that we can call.

    `name`: how messages call the target; `secrets`: what does not belong into an address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise Unavailable(
            f"{name}: 'url' is not the address of a server",
            hint=f"write https://host/path; {secrets} of their own",
        )
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{netloc}{f':{port}' if port else ''}", parts.path or "/"


def server(options: Called, origin: str, *, name: str) -> "Server":
    """The server at that address, called within these options' bounds."""
    from workers.storage.dav_requests import Bounds, Server  # noqa: PLC0415 - heavy, if used

    bounds = Bounds(
        seconds=options.timeout.total_seconds(),
        answer_bytes=options.answer_bytes,
        at_once=options.at_once,
    )
    return Server(origin, bounds=bounds, name=name)


def accounts(options: LoggedInto, surroundings: Surroundings, *, name: str) -> "Accounts":
    """Everybody's way in; secrets are read when they are used."""
    from workers.storage.dav_accounts import Accounts  # noqa: PLC0415 - heavy, if used

    return Accounts(
        name=name,
        username=options.username,
        password=lambda: surroundings.secret(options.password or ""),
        token=lambda: surroundings.secret(options.token or ""),
        file=surroundings.folder / options.accounts if options.accounts else None,
    )


def in_the_clear(origin: str, options: LoggedInto) -> list[str]:
    """What an operator should know of passwords on their way, if so."""
    if origin.startswith("http:") and (options.password or options.token or options.accounts):
        return ["passwords go over the wire in the clear; use https"]
    return []


def by_place(changes: Iterable[Changed]) -> dict[tuple[UserId, str], list[int]]:
    """The numbers of the changes of each place, in their order."""
    found: dict[tuple[UserId, str], list[int]] = {}
    for number, change in enumerate(changes):
        found.setdefault((change.owner, change.ref), []).append(number)
    return found
