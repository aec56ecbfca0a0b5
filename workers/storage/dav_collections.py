"""One user's address book or calendar: listed, read, made, and written under preconditions only.

What a server's status means for an item is decided here, in `verdict`, once for all servers:
an item's own fault is REFUSED, a precondition that failed is CONFLICT, an answer that was lost is
UNKNOWN. What is wrong with the place or the server is raised.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from orchestrator.errors import Unavailable
from orchestrator.ports import Fate, Written
from workers.storage.dav_answers import (
    LISTING,
    BadAnswer,
    Member,
    called,
    http_date,
    make_address_book,
    make_calendar,
    multiget,
    multistatus,
    preconditions,
    propfind,
)
from workers.storage.dav_discovery import Refusal, Visit, as_folder
from workers.storage.dav_requests import Answer, Lost, TooLarge, nameable, path_part, together

AT_ONCE: Final = 100
"""Contents that are asked for in one call."""
SMALL: Final = 100_000
"""Bytes that every server takes: for a larger item it is asked what it takes."""
_TRIES: Final = 3
_PAUSE: Final = 0.2
_LOCKED_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for whoever is writing into the collection right now."""
_ETAG: Final = re.compile(r'(?:W/)?"[^"]*"')
_NOTHING_THERE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_NO_MULTIGET: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)
_ITEM_REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
    }
)
_ITEM_PRECONDITIONS: Final = frozenset(
    {
        "max-attendees-per-instance",
        "max-date-time",
        "max-instances",
        "max-resource-size",
        "min-date-time",
        "supported-address-data",
        "supported-calendar-component",
        "supported-calendar-data",
        "valid-address-data",
        "valid-calendar-data",
        "valid-calendar-object-resource",
    }
)
"""RFC 4791, 5.3.2.1 and RFC 6352, 6.3.2.1: what an item can be at fault for."""


class Form(Struct, frozen=True, kw_only=True):
    """What the items of a category are on a DAV server."""

    component: str
    """Of calendars, what they hold; empty: cards."""
    title: str
    """The displayed name of a collection that we make."""

    @property
    def suffix(self) -> str:
        """How names of items end."""
        return "ics" if self.component else "vcf"

    @property
    def mime(self) -> str:
        """What is sent."""
        return "text/calendar" if self.component else "text/vcard"


FORMS: Final[dict[str, Form]] = {
    "contacts": Form(component="", title="Contacts"),
    "calendar": Form(component="VEVENT", title="Calendar"),
    "tasks": Form(component="VTODO", title="Tasks"),
    "notes": Form(component="VJOURNAL", title="Notes"),
}


class NoRoom(Exception):
    """The user's quota is used up, or the server's disk is full."""

    def __init__(self, *, disk: bool) -> None:
        super().__init__("no room left (status 507)")
        self.disk = disk
        """The server says that it is the disk: it concerns everyone."""


class Collection:
    """An address book or calendar of the user who visits."""

    def __init__(
        self, visit: Visit, path: str, form: Form, *, components: Sequence[str] = ()
    ) -> None:
        self.visit = visit
        self.path = path
        self.form = form
        self._components = tuple(components) or (form.component,)
        """What it is made for, where several categories share it."""
        self.turn = asyncio.Lock()
        """Held by whoever writes."""
        self.there: bool | None = None
        """Whether it is; None: nobody looked."""
        self._largest: int | None = None

    # Looking -----------------------------------------------------------------------------------

    async def listing(self) -> list[Member]:
        """Everything in it, without contents; nothing where it is not there yet."""
        try:
            members = await self.visit.report("PROPFIND", self.path, body=_LIST, depth=1)
        except BadAnswer:
            raise self.visit.strange() from None
        except TooLarge:
            raise self._too_large() from None
        self._know(members)
        return [
            member
            for member in members or ()
            if nameable(member.name)
            and "collection" not in member.kinds
            and member.status not in _NOTHING_THERE
            and as_folder(member.path.rstrip("/").rpartition("/")[0]) == self.path
        ]

    async def look(self) -> bool:
        """Whether it is there."""
        try:
            members = await self.visit.report("PROPFIND", self.path, body=_LIST, depth=0)
        except (BadAnswer, TooLarge):
            raise self.visit.strange() from None
        self._know(members)
        return bool(self.there)

    def _know(self, members: Sequence[Member] | None) -> None:
        """Check what the collection says of itself."""
        self.there = members is not None
        for member in members or ():
            if as_folder(member.path) != self.path:
                continue
            self._largest = member.largest
            kind = "calendar" if self.form.component else "addressbook"
            if kind not in member.kinds:
                raise self.visit.trouble(
                    f"what is in the collection's place is no {kind}",
                    hint="name another one in `collections`",
                )
            if member.components and self.form.component not in {"", *member.components}:
                raise self.visit.trouble(
                    f"the calendar does not take {self.form.component}",
                    hint="name another one in `collections`",
                )

    async def read(self, names: Sequence[str]) -> dict[str, Member]:
        """What is there of these names, with contents; several are asked for in one call."""
        wanted = list(dict.fromkeys(names))
        chunks = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
        parts = await together(self._read(chunk) for chunk in chunks)
        return {name: member for part in parts for name, member in part.items()}

    async def _read(self, names: list[str]) -> dict[str, Member]:
        paths = [self._path(name) for name in names]
        question = multiget(cards=not self.form.component, paths=paths)
        try:
            members = await self.visit.report("REPORT", self.path, body=question, depth=0)
        except (BadAnswer, TooLarge):
            return await self._read_halves(names)
        except Refusal as refusal:
            if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return await self._read_halves(names)
            if refusal.status not in _NO_MULTIGET:
                raise
            members = []
        if members is None:
            return {}
        told = {member.name: member for member in members}
        found: dict[str, Member] = {}
        for name in names:
            member = told.get(name)
            if member is not None and member.status in _NOTHING_THERE:
                continue
            if member is None or member.status not in _GOOD or member.content is None:
                member = await self._get(name)
            if member is not None:
                found[name] = member
        return found

    async def _read_halves(self, names: list[str]) -> dict[str, Member]:
        """Too long for one answer, or one of them holds what XML or the server cannot."""
        if len(names) == 1:
            member = await self._get(names[0])
            return {} if member is None else {names[0]: member}
        half = len(names) // 2
        return {**await self._read(names[:half]), **await self._read(names[half:])}

    async def _get(self, name: str) -> Member | None:
        """One content by itself; None where nothing is, or the name can be nothing's."""
        path = self._path(name)
        answer: Answer | None = None
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(_PAUSE * tries)
            try:
                answer = await self.visit.ask("GET", path)
            except Lost as lost:
                raise self.visit.away(lost) from None
            except TooLarge:
                raise self._too_large() from None
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        assert answer is not None  # noqa: S101 - it was asked for
        if answer.status in _NOTHING_THERE or answer.status == HTTPStatus.BAD_REQUEST:
            return None
        if answer.status != HTTPStatus.OK:
            raise Refusal(
                self.visit, f"an item cannot be read (status {answer.status})", answer.status
            )
        if answer.html:
            raise self.visit.strange()
        return Member(
            path=path,
            name=name,
            etag=answer.headers.get("etag", ""),
            modified=http_date(answer.headers.get("last-modified")),
            content=answer.body,
        )

    def _too_large(self) -> Unavailable:
        return self.visit.trouble(
            "an answer is larger than may be read", hint="raise `answer_bytes` of the target"
        )

    def _path(self, name: str) -> str:
        return self.path + path_part(name)

    # Making ------------------------------------------------------------------------------------

    async def make(self) -> None:
        """Make it where it is missing, for items of its form; that it is there already is fine."""
        if self.form.component:
            method, body = "MKCALENDAR", make_calendar(self.form.title, self._components)
        else:
            method, body = "MKCOL", make_address_book(self.form.title)
        headers = {"Content-Type": "application/xml; charset=utf-8"}
        try:
            answer = await self.visit.ask(method, self.path, headers=headers, body=body)
        except (Lost, TooLarge):
            answer = None  # looking tells
        if answer is not None and answer.status == HTTPStatus.INSUFFICIENT_STORAGE:
            raise _no_room(answer)
        if answer is not None and answer.status == HTTPStatus.CREATED and not _failed(answer):
            self.there = True
            return
        if not await self.look():
            said = "no whole answer" if answer is None else f"status {answer.status}"
            raise self.visit.trouble(
                f"a user's collection cannot be made ({said})",
                hint="has the user an account there, and may we make collections in it?",
            )

    async def fill(self, cards: Mapping[str, bytes]) -> dict[str, str] | None:
        """Make the address book with all these cards at once, where nothing is in its place.

        The versions by name of what is there then; a card may be missing, or under another name.
        None where it was not done so. Raises `Lost` where no answer came.
        """
        body = b"".join(cards.values())
        headers = {"Content-Type": f"{self.form.mime}; charset=utf-8", "If-None-Match": "*"}
        try:
            answer = await self.visit.ask("PUT", self.path, headers=headers, body=body, again=False)
        except TooLarge:
            return None
        if answer.status != HTTPStatus.CREATED or answer.html:
            return None
        there = {member.name: member.etag for member in await self.listing()}
        if self.there:
            proper = {"Content-Type": "application/xml; charset=utf-8"}
            with suppress(Lost, TooLarge):  # its name is only for show
                title = called(self.form.title)
                await self.visit.ask("PROPPATCH", self.path, headers=proper, body=title)
        return there if self.there else None

    async def remove(self) -> None:
        """Delete the collection with all that it holds."""
        try:
            await self.visit.ask("DELETE", self.path)
        except (Lost, TooLarge):
            return

    # Writing -----------------------------------------------------------------------------------

    async def put(self, name: str, content: bytes, expected: str | None) -> Written:
        """Create where `expected` is None, else replace that version.

        Raises `Unavailable` for what is wrong with the place or the server, `NoRoom`, and `Lost`
        where no answer came in time.
        """
        if expected is not None and _ETAG.fullmatch(expected) is None:
            return Written(fate=Fate.CONFLICT)
        if len(content) > SMALL and (most := await self._most()) and len(content) > most:
            return Written(fate=Fate.REFUSED, detail="larger than the server takes")
        condition = {"If-None-Match": "*"} if expected is None else {"If-Match": expected}
        headers = {"Content-Type": f"{self.form.mime}; charset=utf-8", **condition}
        answer, written = await self._changed("PUT", name, headers, content)
        if written.fate is not Fate.CONFLICT or expected is not None or answer is None:
            return written
        return await self._explained(name, headers, content, answer)

    async def delete(self, name: str, expected: str) -> Written:
        """Delete exactly that version."""
        if _ETAG.fullmatch(expected) is None:
            return Written(fate=Fate.CONFLICT)
        _, written = await self._changed("DELETE", name, {"If-Match": expected}, b"")
        if written.fate is Fate.REFUSED and await self._get(name) is None:
            return Written(fate=Fate.CONFLICT)
        return Written(fate=written.fate, detail=written.detail)

    async def _changed(
        self, method: str, name: str, headers: dict[str, str], content: bytes
    ) -> tuple[Answer | None, Written]:
        """One change and what became of it; the answer where there is a whole one."""
        doubtful = False
        answer: Answer | None = None
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(_PAUSE * tries)
            try:
                answer = await self._asked(method, self._path(name), headers, content)
            except Lost as lost:
                if lost.late:
                    raise
                return None, Written(fate=Fate.UNKNOWN, detail=str(lost))
            except TooLarge:
                return None, Written(fate=Fate.UNKNOWN, detail="too long an answer")
            if not _fails(answer):
                break
            doubtful = True
        assert answer is not None  # noqa: S101 - it was asked for
        if _fails(answer):
            return answer, await self._failing(name, answer)
        written = verdict(self.visit, answer)
        if written.fate is Fate.CONFLICT and (doubtful or answer.doubtful):
            return None, Written(fate=Fate.UNKNOWN, detail="it may be there by an earlier try")
        return answer, written

    async def _asked(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> Answer:
        """The answer, when nobody else is writing (status 423: nothing was done)."""
        for pause in _LOCKED_PAUSES:
            answer = await self.visit.ask(method, path, headers=headers, body=content)
            if answer.status != HTTPStatus.LOCKED:
                return answer
            await asyncio.sleep(pause)
        return await self.visit.ask(method, path, headers=headers, body=content)

    async def _failing(self, name: str, answer: Answer) -> Written:
        """The server fails each time on this item: is it the item, or the server?"""
        if not await self.look():
            return Written(fate=Fate.CONFLICT, detail="the collection is gone")
        if await self._get(name) is not None:
            return Written(fate=Fate.UNKNOWN, detail=f"status {answer.status}, and yet it is there")
        return Written(fate=Fate.REFUSED, detail=f"the server fails on it (status {answer.status})")

    async def _explained(
        self, name: str, headers: dict[str, str], content: bytes, answer: Answer
    ) -> Written:
        """Why a create was answered with a conflict: it exists, its place does not, or neither."""
        if "no-uid-conflict" in preconditions(answer.body):
            return Written(fate=Fate.CONFLICT, detail="its UID is there under another name")
        if await self._get(name) is not None:
            return Written(fate=Fate.CONFLICT)
        if not await self.look():
            await self.make()
        again, written = await self._changed("PUT", name, headers, content)
        if written.fate is not Fate.CONFLICT or again is None:
            return written
        if again.status == answer.status and await self._get(name) is None:
            detail = f"not taken (status {again.status}), although nothing is there"
            if again.status == HTTPStatus.CONFLICT:  # perhaps its UID, under another name
                return Written(fate=Fate.CONFLICT, detail=detail)
            return Written(fate=Fate.REFUSED, detail=detail)
        return written

    async def _most(self) -> int | None:
        if self._largest is None:
            await self.look()
        return self._largest


_LIST: Final = propfind(LISTING)
_GOOD: Final = range(200, 300)


def verdict(visit: Visit, answer: Answer) -> Written:
    """What became of a change, by its answer.

    Raises `Unavailable` where the answer concerns the place, and `NoRoom`.
    """
    status = answer.status
    if answer.good:
        if answer.html and status == HTTPStatus.OK:
            return Written(fate=Fate.UNKNOWN, detail="a page for people in place of an answer")
        if status not in _DONE:
            return Written(fate=Fate.UNKNOWN, detail=f"status {status}")
        return Written(fate=Fate.DONE, version=answer.headers.get("etag", ""))
    named = preconditions(answer.body) if answer.body else frozenset[str]()
    at_fault = sorted(named & _ITEM_PRECONDITIONS)
    if at_fault:
        detail = f"not taken (status {status}, {', '.join(at_fault)})"
        return Written(fate=Fate.REFUSED, detail=detail)
    if status == HTTPStatus.INSUFFICIENT_STORAGE or "quota-not-exceeded" in named:
        raise _no_room(answer)
    if status in _ITEM_REFUSED:
        return Written(fate=Fate.REFUSED, detail=f"not taken (status {status})")
    if status in _CONFLICTS:
        return Written(fate=Fate.CONFLICT)
    if status == HTTPStatus.LOCKED:
        return Written(fate=Fate.UNKNOWN, detail="locked (status 423)")
    raise visit.trouble(
        f"a user's collection cannot be written (status {status})",
        hint="may this account write there?",
    )


_DONE: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT})
_CONFLICTS: Final = _NOTHING_THERE | {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}


def _fails(answer: Answer) -> bool:
    """Whether the server broke on it: perhaps its own fault, perhaps the item's."""
    return (
        answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        and answer.status != HTTPStatus.INSUFFICIENT_STORAGE
    )


def _no_room(answer: Answer) -> NoRoom:
    return NoRoom(disk="sufficient-disk-space" in preconditions(answer.body))


def _failed(answer: Answer) -> bool:
    """Whether a body tells that some property was not set after all (RFC 5689, 3)."""
    if not answer.body:
        return False
    try:
        return any(member.status not in _GOOD for member in multistatus(answer.body))
    except BadAnswer:
        return False
