"""Where a user's address books and calendars are: asked of the server, never guessed.

RFC 6764 (`/.well-known`), RFC 5397 (`current-user-principal`), RFC 6352 and 4791 (home sets). Only
paths are taken from answers: whatever a server says, calls go to the host that the plan names.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from msgspec import Struct

from orchestrator.errors import Unavailable
from workers.storage.dav_accounts import Account
from workers.storage.dav_answers import WHO, BadAnswer, Member, multistatus, propfind
from workers.storage.dav_requests import REDIRECTS, Answer, Lost, Server, TooLarge, path_part

MULTI_STATUS: Final = 207
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_SERVICES: Final = ("/.well-known/carddav", "/.well-known/caldav")
_HOPS: Final = 5
_TRIES: Final = 3
_PAUSE: Final = 0.2


class Homes(Struct, frozen=True, kw_only=True):
    """The folders that hold a user's collections, each ending in a slash."""

    address_books: str | None
    calendars: str | None


class Visit:
    """One user's calls to the server, with what is wrong with an answer whatever was asked."""

    def __init__(self, server: Server, account: Account) -> None:
        self.server = server
        self.account = account

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        redirected: bool = False,
        again: bool = True,
    ) -> Answer:
        """The answer, unless it says that we may not enter or should go elsewhere.

        Raises `Unavailable`, `Lost` and `TooLarge`.
        """
        sent = dict(headers or {})
        if self.account.authorization:
            sent["Authorization"] = self.account.authorization
        answer = await self.server.ask(method, path, headers=sent, body=body, again=again)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise self.locked_out()
        if answer.status in REDIRECTS and not redirected:
            raise Unavailable(
                f"{self.server.name}: the server sends us elsewhere (status {answer.status})",
                hint="write the address that it sends us to; nothing is sent to other hosts",
            )
        return answer

    async def report(
        self, method: str, path: str, *, body: bytes, depth: int
    ) -> list[Member] | None:
        """The resources of a multistatus; None where there is no such path.

        Raises `BadAnswer` for what is none, `Unavailable`, and `TooLarge`.
        """
        headers = {"Depth": str(depth), "Content-Type": "application/xml; charset=utf-8"}
        status = 0
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(_PAUSE * tries)
            try:
                answer = await self.ask(method, path, headers=headers, body=body)
            except Lost as lost:
                raise self.away(lost) from None
            status = answer.status
            if status in _GONE:
                return None
            if status == MULTI_STATUS:
                members = multistatus(answer.body)
                return None if method == "PROPFIND" and _absent(members) else members
            if answer.good:
                raise BadAnswer(f"status {status}")
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        raise Refusal(self, f"the server does not tell what is there (status {status})", status)

    def trouble(self, message: str, *, hint: str) -> Unavailable:
        """Something is wrong with this user's place alone."""
        return Unavailable(
            f"{self.server.name}: {message}", hint=hint, owners=(self.account.owner,)
        )

    def away(self, lost: Lost) -> Unavailable:
        """The server does not answer."""
        return Unavailable(
            f"{self.server.name}: {lost}",
            hint="look at the server's load and log; `timeout` says how long we wait",
        )

    def strange(self) -> Unavailable:
        """Whoever answers is no DAV server, or not always."""
        return Unavailable(
            f"{self.server.name}: something else than WebDAV answers",
            hint="a login page, a proxy, or an address that is not the server's; check `url`",
        )

    def locked_out(self) -> Unavailable:
        """The credentials are refused."""
        return Unavailable(
            f"{self.server.name}: the server refuses the credentials (status 401)",
            hint="renew the password or token, then retry",
            owners=(self.account.owner,) if self.account.own else (),
        )


class Refusal(Unavailable):
    """The server answers, and will not tell what is asked of this user's place."""

    def __init__(self, visit: Visit, message: str, status: int) -> None:
        super().__init__(
            f"{visit.server.name}: {message}",
            hint="may this account read and write that place? look at the server's log",
            owners=(visit.account.owner,),
        )
        self.status = status


def _absent(members: Sequence[Member]) -> bool:
    """Whether it says, in the words of a multistatus, that there is no such path."""
    return bool(members) and all(member.status in _GONE for member in members)


async def homes(visit: Visit, start: str, *, named: bool) -> Homes:
    """The homes of the user who visits; `named`: `start` is theirs, as the plan says.

    Raises `Unavailable` where they cannot be found.
    """
    try:
        if named:
            return await _named_homes(visit, start)
        principal = await _principal(visit, start)
        told = await _who(visit, principal)
    except (BadAnswer, TooLarge):
        raise visit.strange() from None
    if told is None or not (told.address_books or told.calendars):
        raise visit.trouble(
            "a user's principal names no address books and no calendars",
            hint="is it a CardDAV or CalDAV server? `user_url` names the user's place by hand",
        )
    return _homes_of(told)


async def _named_homes(visit: Visit, start: str) -> Homes:
    told = await _who(visit, start)
    if told is not None and (told.address_books or told.calendars):
        return _homes_of(told)
    place = as_folder(start)
    return Homes(address_books=place, calendars=place)


async def _principal(visit: Visit, start: str) -> str:
    told = await _known(visit, start)
    if told is not None and told.principal:
        return as_folder(told.principal)
    for service in _SERVICES:
        path = await _redirected(visit, service)
        told = None if path is None else await _known(visit, path)
        if told is not None and told.principal:
            return as_folder(told.principal)
    raise visit.trouble(
        "the server does not say who is logged in",
        hint="check `url` and the credentials; `user_url` names the user's place by hand",
    )


async def _known(visit: Visit, path: str) -> Member | None:
    """Like `_who`; what is no DAV resource may still be the door to one."""
    try:
        return await _who(visit, path)
    except (BadAnswer, Refusal):
        return None


async def _who(visit: Visit, path: str) -> Member | None:
    members = await visit.report("PROPFIND", path, body=propfind(WHO), depth=0)
    if not members:
        return None
    here = urlsplit(visit.server.origin).hostname
    if any(host != here for host in members[0].hosts):
        raise Unavailable(
            f"{visit.server.name}: the server names places on another host",
            hint="write that host's address as `url`; nothing is sent to other hosts",
        )
    return members[0]


async def _redirected(visit: Visit, path: str) -> str | None:
    """Where a well-known address leads on this server, in a few steps."""
    for _ in range(_HOPS):
        try:
            answer = await visit.ask("GET", path, redirected=True)
        except (Lost, TooLarge):
            return None
        if answer.status not in REDIRECTS:
            return path if answer.good else None
        there = urlsplit(urljoin(visit.server.origin + path, answer.headers.get("location", "")))
        if there.hostname != urlsplit(visit.server.origin).hostname or not there.path:
            return None
        path = there.path
    return None


def _homes_of(told: Member) -> Homes:
    return Homes(
        address_books=as_folder(told.address_books) if told.address_books else None,
        calendars=as_folder(told.calendars) if told.calendars else None,
    )


def as_folder(path: str) -> str:
    """A path as we write it, with a slash at its end, however the server escapes it."""
    parts = [path_part(unquote(part)) for part in path.strip("/").split("/") if part]
    return "".join(f"/{part}" for part in parts) + "/"
