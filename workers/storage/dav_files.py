"""One user's folder of files on a WebDAV server: listed, read, made, and changed under conditions.

A file appears whole or not at all: it is sent under a meaningless name first and then moved to its
own, with `Overwrite: F` where nothing may be there, and else with an `If` that names the version to
be replaced (RFC 4918, 10.4 and 10.6). Not every server writes a `PUT` aside before it is complete.

What belongs to an item lies in `<item>.parts/`, each file named after the content of the item that
it belongs to: so a new content and what belongs to it come with one move, and whatever somebody
else puts into an item's place gets nothing of ours.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from msgspec import Struct, structs

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, Item
from orchestrator.ports import Fate, Written
from workers.storage.dav_answers import FILES, BadAnswer, Member, http_date, propfind
from workers.storage.dav_collections import verdict
from workers.storage.dav_discovery import Refusal, Visit, as_folder
from workers.storage.dav_requests import Answer, Lost, TooLarge, nameable, path_part, together
from workers.storage.item_names import unfit
from workers.storage.probe_names import is_abandoned, probe_name

PARTS: Final = ".parts"
STAGED: Final = ".reinstate-"
"""How the name of a file on its way begins."""
_STALE_AFTER: Final = timedelta(days=1)
"""After so long a file on its way has been left behind, whoever's it was."""
_TRIES: Final = 3
_PAUSE: Final = 0.2
_HASH_DIGITS: Final = 16
_ETAG: Final = re.compile(r'"[^"]*"')
"""A strong one: a weak one is never equal to another (RFC 9110, 8.8.3.2)."""
_NOTHING_THERE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_MADE: Final = frozenset({HTTPStatus.CREATED, HTTPStatus.METHOD_NOT_ALLOWED})
_NO_PARENT: Final = _NOTHING_THERE | {HTTPStatus.CONFLICT}
_LIST: Final = propfind(FILES)
_CONFLICT: Final = Written(fate=Fate.CONFLICT)


class Conduct(Struct, frozen=True, kw_only=True):
    """How a server behaves, as a probe found."""

    create_only: bool
    """A move does not overwrite what it is told not to."""
    replaces: bool
    """A move overwrites exactly the version that it names, and nothing where that is gone."""
    removes: bool
    """A file is deleted in the version that the request names, and in no other."""
    keeps_tags: bool
    """A moved file has the version that it had before: it need not be asked for."""
    fine: bool = True
    """Two contents of one length, written in one second, have two versions."""


class Leftovers(Struct):
    """What a listing shows of work that was not finished."""

    staged: list[str]
    """Names of files that were on their way."""
    parts: set[str]
    """Names of items that are not there, and have files that belong to them."""


class Folder:
    """The files of one user's category."""

    def __init__(self, visit: Visit, path: str) -> None:
        self.visit = visit
        self.path = path
        """With a slash at its end."""
        self.leftovers = Leftovers(staged=[], parts=set())
        self.there: bool | None = None
        """Whether it is; None: nobody looked."""
        self._making = asyncio.Lock()
        self._made = 0
        """How often it was made."""

    # Looking -----------------------------------------------------------------------------------

    async def listing(self, now: datetime) -> list[Member] | None:
        """Every file directly in it; None where there is no such folder."""
        members = await self._members(self.path)
        self.there = members is not None
        if members is None:
            return None
        files = {member.name: member for member in members if "collection" not in member.kinds}
        parts = {
            member.name.removesuffix(PARTS)
            for member in members
            if "collection" in member.kinds and member.name.endswith(PARTS)
        }
        self.leftovers = Leftovers(
            staged=[name for name, member in files.items() if _is_left(member, now)],
            parts=parts - files.keys(),
        )
        return [
            structs.replace(member, etag=_quoted(member.etag))
            for name, member in files.items()
            if is_item_name(name)
        ]

    async def folders(self) -> list[str]:
        """Names of the folders directly in it."""
        members = await self._members(self.path) or []
        return [member.name for member in members if "collection" in member.kinds]

    async def _members(self, path: str) -> list[Member] | None:
        try:
            members = await self.visit.report("PROPFIND", path, body=_LIST, depth=1)
        except BadAnswer:
            raise self.visit.strange() from None
        except TooLarge:
            raise self._too_large() from None
        return members and [
            member
            for member in members
            if nameable(member.name)
            and member.status not in _NOTHING_THERE
            and as_folder(member.path.rstrip("/").rpartition("/")[0]) == path
        ]

    async def is_there(self) -> bool:
        """Whether the folder is, and is one."""
        try:
            members = await self.visit.report("PROPFIND", self.path, body=_LIST, depth=0)
        except (BadAnswer, TooLarge):
            raise self.visit.strange() from None
        return any("collection" in member.kinds for member in members or ())

    async def read(self, name: str) -> tuple[Member, tuple[Attachment, ...]] | None:
        """A file with what belongs to it; None where none is."""
        found = await self.get(self.path + path_part(name))
        if found is None:
            return None
        marked = f"{_hash_of(found.content or b'')}."
        beside = await self._members(self._parts(name)) or []
        names = sorted(part.name for part in beside if part.name.startswith(marked))
        paths = [self._parts(name) + path_part(part) for part in names]
        parts = await together(map(self.get, paths))
        attachments = tuple(
            Attachment(name=part.removeprefix(marked), data=told.content or b"")
            for part, told in zip(names, parts, strict=True)
            if told is not None
        )
        return found, attachments

    async def get(self, path: str) -> Member | None:
        """One file by its path; None where none is."""
        answer = await self._asked("GET", path)
        if answer.status in _NOTHING_THERE or answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            return None
        tag = answer.headers.get("etag", "")
        if answer.status != HTTPStatus.OK:
            detail = f"a file cannot be read (status {answer.status})"
            raise Refusal(self.visit, detail, answer.status)
        if not tag:
            if answer.html:
                return None  # a page that lists a folder
            raise self.visit.strange()
        return Member(
            path=path,
            name="",
            etag=tag,
            modified=http_date(answer.headers.get("last-modified")),
            size=len(answer.body),
            content=answer.body,
        )

    async def version(self, name: str) -> str | None:
        """Of a file; None where none is."""
        answer = await self._asked("HEAD", self.path + path_part(name))
        return answer.headers.get("etag", "") if answer.good else None

    async def _asked(self, method: str, path: str) -> Answer:
        """A question, asked again while the server fails."""
        status = 0
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(_PAUSE * tries)
            try:
                answer = await self.visit.ask(method, path)
            except Lost as lost:
                raise self.visit.away(lost) from None
            except TooLarge:
                raise self._too_large() from None
            status = answer.status
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
        raise Refusal(self.visit, f"a file cannot be read (status {status})", status)

    def _too_large(self) -> Unavailable:
        return self.visit.trouble(
            "an answer is larger than may be read", hint="raise `answer_bytes` of the target"
        )

    def _parts(self, name: str) -> str:
        return f"{self.path}{path_part(name + PARTS)}/"

    # Making ------------------------------------------------------------------------------------

    async def ensure(self) -> None:
        """Make it unless it is there."""
        async with self._making:
            if self.there is None:
                self.there = await self.is_there()
            if not self.there:
                await self._make(self.path)
                self.there = True

    async def _again(self, made: int) -> None:
        """Make it once more, unless somebody has since it was made so often."""
        async with self._making:
            if self._made == made:
                await self._make(self.path)
                self._made += 1

    async def _make(self, path: str) -> None:
        """Make a folder, and whatever is missing above it."""
        status = await self._mkcol(path)
        above = path.rstrip("/").rpartition("/")[0] + "/"
        if status in _NO_PARENT and above != "/":
            await self._make(above)
            status = await self._mkcol(path)
        if status not in _MADE:
            raise self.visit.trouble(
                f"a user's folder cannot be made (status {status})",
                hint="has the user an account there, and may we make folders in it?",
            )

    async def _mkcol(self, path: str) -> int:
        try:
            return (await self.visit.ask("MKCOL", path)).status
        except Lost as lost:
            raise self.visit.away(lost) from None

    async def tidy(self) -> None:
        """Remove what the last listing showed of work that nobody goes on with."""
        left, self.leftovers.staged = self.leftovers.staged, []
        await together(self._drop(self.path + path_part(name)) for name in left)

    async def remove_all(self) -> None:
        """Delete the folder with all that it holds."""
        await self._drop(self.path)

    async def _drop(self, path: str) -> None:
        try:
            await self.visit.ask("DELETE", path)
        except (Lost, TooLarge):
            return

    # Writing -----------------------------------------------------------------------------------

    async def put(self, name: str, item: Item, expected: str | None, conduct: Conduct) -> Written:
        """Create where `expected` is None, else replace that version; what belongs to it first.

        Raises `Unavailable` for what is wrong with the place or the server, `NoRoom`, and `Lost`
        where no answer came in time.
        """
        if expected is not None and not (conduct.replaces and _ETAG.fullmatch(expected)):
            return Written(fate=Fate.CONFLICT, detail="this server replaces nothing by version")
        if expected is not None or item.attachments or not conduct.create_only:
            there = await self.version(name)
            if there != expected:
                return _CONFLICT
        await self.ensure()
        refused = await self._put_parts(name, item, replacing=expected is not None)
        if refused is not None:
            return refused
        staged, sent = await self._send_aside(item.content, item.media.mime)
        if sent.fate is not Fate.DONE:
            return sent
        moved = await self.move(staged, name, expected)
        if moved.fate is not Fate.DONE:
            await self._drop(self.path + path_part(staged))
            return moved
        version = sent.version if conduct.keeps_tags else await self.version(name)
        return Written(fate=Fate.DONE, version=version or "")

    async def _send_aside(self, content: bytes, mime: str) -> tuple[str, Written]:
        """Send a file under a name that nobody uses; another one each time that it fails."""
        answer: Answer | None = None
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(_PAUSE * tries)
            staged = f"{STAGED}{probe_name()}"
            answer = await self.send(staged, content, mime)
            if answer is not None and not _fails(answer):
                written = verdict(self.visit, answer)
                if written.fate is Fate.CONFLICT:
                    written = Written(fate=Fate.UNKNOWN, detail="the folder is gone")
                return staged, written
            await self._drop(self.path + path_part(staged))
        if answer is None:
            return "", Written(fate=Fate.UNKNOWN, detail="the connection broke")
        return "", await self._failing(answer)

    async def _failing(self, answer: Answer) -> Written:
        """The server fails on each try: is it the file, or the server?"""
        canary = f"{STAGED}{probe_name()}"
        told = await self.send(canary, b"canary", "text/plain")
        await self._drop(self.path + path_part(canary))
        if told is None or not told.good:
            raise Unavailable(
                f"{self.visit.server.name}: the server fails (status {answer.status})",
                hint="look at the server's log",
            )
        return Written(fate=Fate.REFUSED, detail=f"the server fails on it (status {answer.status})")

    async def send(self, name: str, content: bytes, mime: str) -> Answer | None:
        """A `PUT` where nothing is, into a folder that is made where missing; None: no answer."""
        headers = {
            "Content-Type": mime,
            "Content-Digest": f"sha-256=:{b64encode(sha256(content).digest()).decode()}:",
            "If-None-Match": "*",
        }
        path = self.path + path_part(name)
        made = self._made
        answer = await self._changed("PUT", path, headers, content, again=False)
        if answer is not None and answer.status in _NO_PARENT:
            await self._again(made)
            answer = await self._changed("PUT", path, headers, content, again=False)
        return answer

    async def move(self, staged: str, name: str, expected: str | None) -> Written:
        """Give a file its own name: where nothing is, or in place of exactly that version."""
        path = self.path + path_part(name)
        headers = {"Destination": self.visit.server.origin + path, "Overwrite": "F"}
        if expected is not None:
            headers |= {"Overwrite": "T", "If": f"<{path}> ([{expected}])"}
        return self._fate(await self._changed("MOVE", self.path + path_part(staged), headers))

    async def delete(self, name: str, expected: str) -> Written:
        """Delete exactly that version, and what belongs to it."""
        if not _ETAG.fullmatch(expected):
            return _CONFLICT
        path = self.path + path_part(name)
        answer = await self._changed("DELETE", path, {"If-Match": expected})
        if answer is not None and (answer.good or answer.status in _NOTHING_THERE):
            await self._drop(self._parts(name))  # also where a removal died in between
        written = self._fate(answer)
        return Written(fate=written.fate, detail=written.detail)

    async def _changed(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        again: bool = True,
    ) -> Answer | None:
        """The answer to a change; None where it is not known whether it happened."""
        try:
            return await self.visit.ask(method, path, headers=headers, body=body, again=again)
        except Lost as lost:
            if lost.late:
                raise
            return None
        except TooLarge:
            return None

    def _fate(self, answer: Answer | None) -> Written:
        if answer is None:
            return Written(fate=Fate.UNKNOWN, detail="the connection broke")
        if _fails(answer):
            return Written(fate=Fate.UNKNOWN, detail=f"status {answer.status}")
        written = verdict(self.visit, answer)
        if written.fate is Fate.CONFLICT and answer.doubtful:
            return Written(fate=Fate.UNKNOWN, detail="it may have happened by an earlier try")
        return written

    # What belongs to an item -------------------------------------------------------------------

    async def _put_parts(self, name: str, item: Item, *, replacing: bool) -> Written | None:
        """Put what belongs to an item into its folder; why the item cannot be put, if so."""
        if not item.attachments and name not in self.leftovers.parts and not replacing:
            return None
        marked = f"{_hash_of(item.content)}."
        wanted = {f"{marked}{part.name}": part.data for part in item.attachments}
        beside = await self._members(self._parts(name)) or []
        there = {part.name for part in beside if part.name.startswith(marked)}
        if replacing and not there <= wanted.keys():
            return _CHANGING
        for part in there - wanted.keys():
            await self._drop(self._parts(name) + path_part(part))
        parts = Folder(self.visit, self._parts(name))
        if wanted and not beside:
            await parts.ensure()
        for part, data in wanted.items():
            if part in there:
                told = await self.get(parts.path + path_part(part))
                if told is not None and told.content == data:
                    continue
                if replacing:
                    return _CHANGING
                await self._drop(parts.path + path_part(part))
            sent = self._fate(await parts.send(part, data, "application/octet-stream"))
            if sent.fate is not Fate.DONE:
                return sent
        self.leftovers.parts.discard(name)
        return None


_CHANGING: Final = Written(
    fate=Fate.REFUSED, detail="attachments of a content that stays are only added"
)


def is_item_name(name: str) -> bool:
    """Whether a file of that name is an item."""
    return nameable(name) and not name.startswith(".")


def refusal(name: str, item: Item) -> Written | None:
    """What can be answered without asking the server."""
    if not is_item_name(name) or not nameable(name + PARTS):
        return Written(fate=Fate.REFUSED, detail="not a name that a file can have")
    return unfit(item.attachments)


def _quoted(tag: str) -> str:
    """As in a header: some servers leave the quotes out of a listing."""
    return tag if not tag or tag.endswith('"') else f'"{tag}"'


def _hash_of(content: bytes) -> str:
    return sha256(content).hexdigest()[:_HASH_DIGITS]


def _fails(answer: Answer) -> bool:
    return (
        answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        and answer.status != HTTPStatus.INSUFFICIENT_STORAGE
    )


def _is_left(member: Member, now: datetime) -> bool:
    """Whether it was on its way, and nobody sends it any more."""
    if not member.name.startswith(STAGED):
        return False
    old = member.modified is not None and now - member.modified > _STALE_AFTER
    return old or is_abandoned(member.name.removeprefix(STAGED))
