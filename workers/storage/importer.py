"""The importer protocol: how a service takes restored items over HTTP (docs/http-target.md).

One item is one resource, written under a precondition and named by its ETag; its attachments are
resources below it, called by their hash, and belong to it once the item names them. Knows what is
asked and what an answer means; nothing of runs.
"""

import uuid
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, Ident, UserId
from orchestrator.ports import Entry, Fate, Live, Place, Removal, Write, Written
from workers.storage.dav_requests import REDIRECTS, Answer, Lost, Server, TooLarge

_AWAY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_MISSING: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_CONFLICTS: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "the service does not understand the request",
    HTTPStatus.NOT_FOUND: "the service has no such user or category",
    HTTPStatus.GONE: "the service has no such user or category any more",
    HTTPStatus.METHOD_NOT_ALLOWED: "the service does not offer this",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "larger than the service takes",
    HTTPStatus.REQUEST_URI_TOO_LONG: "its name is longer than the service takes",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "the service does not take this format",
    HTTPStatus.UNPROCESSABLE_ENTITY: "the service does not accept the item",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "its name is longer than the service takes",
    HTTPStatus.NOT_IMPLEMENTED: "the service does not offer this",
}
_MOST_PAGES: Final = 100_000
_SHA256: Final = "sha-256=:"
_UNSTEADY: Final = 3
"""How often an item is read anew whose attachments went while it was read."""


class Listed(Struct, frozen=True):
    """One entry of a list."""

    ref: str
    etag: str
    modified: datetime | None = None
    deleted: bool = False
    size: int = 0
    ident: str | None = None


class _Page(Struct, frozen=True):
    items: list[Listed]
    next: str | None = None


class _Description(Struct, frozen=True):
    identity: str = ""


_page: Final = msgspec.json.Decoder(_Page).decode
_description: Final = msgspec.json.Decoder(_Description).decode


class Importer:
    """A service, and what is asked of it."""

    def __init__(self, server: Server, path: str, headers: Mapping[str, str]) -> None:
        self.server = server
        self._path = path.rstrip("/")
        self._headers = dict(headers)

    async def identity(self) -> str:
        """What the service calls its store; empty where it does not say."""
        answer = await self._ask("GET", f"{self._path}/")
        if answer.status in _MISSING:
            return ""
        self._check(answer)
        try:
            return _description(answer.body).identity
        except msgspec.DecodeError:
            raise self._strange("does not describe itself as JSON") from None

    async def entries(self, category: str, owner: UserId) -> AsyncIterator[Entry]:
        """Everything of one user, page by page."""
        if not owner:
            return
        after, seen = "", set[str]()
        path = self._place(category, owner)
        for _ in range(_MOST_PAGES):
            answer = await self._ask("GET", path + (f"?after={_part(after)}" if after else ""))
            if answer.status in _MISSING:
                return
            self._check(answer)
            try:
                page = _page(answer.body)
            except msgspec.DecodeError:
                raise self._strange("gives no list of items") from None
            for each in page.items:
                if not each.ref or not _is_etag(each.etag):
                    raise self._strange("lists an item without its name or its ETag")
                yield _entry(owner, each)
            if not page.next:
                return
            if page.next in seen:
                raise self._strange("gives a list without an end")
            after = page.next
            seen.add(after)
        raise self._strange("gives a list without an end")

    async def read(self, category: str, place: Place) -> Live | None:
        """One item with its attachments; None where nothing is, or not any more."""
        if not place.owner or not place.ref:
            return None
        path = self._place(category, place.owner, place.ref)
        for _ in range(_UNSTEADY):
            answer = await self._ask("GET", path)
            if answer.status in _MISSING:
                return None
            self._check(answer)
            etag = answer.headers.get("etag", "")
            if not _is_etag(etag) or not _is_whole(answer):
                raise self._strange("gives an item without its ETag or its Content-Digest")
            parts: list[Attachment] = []
            for name, hashed in _named(answer.headers.get("attachments", "")):
                blob = await self._ask("GET", f"{path}/{hashed}")
                if blob.status in _MISSING:
                    break  # the item was replaced in between
                self._check(blob)
                if sha256(blob.body).hexdigest() != hashed:
                    raise self._strange("gives an attachment that is not the one it names")
                parts.append(Attachment(name=name, data=blob.body))
            else:
                return Live(
                    entry=_entry(place.owner, _listed(place.ref, etag, answer)),
                    content=answer.body,
                    attachments=tuple(sorted(parts, key=lambda part: part.name)),
                )
        raise self._strange("names attachments that it does not have")

    async def put(self, category: str, write: Write) -> Written:
        """One item, its attachments first."""
        if not write.owner or not write.ref:
            return Written(fate=Fate.REFUSED, detail="a user or item without a name")
        if write.expected is not None and not _is_etag(write.expected):
            return Written(fate=Fate.CONFLICT)
        path, item = self._place(category, write.owner, write.ref), write.item
        named: dict[str, str] = {}
        for part in item.attachments:
            if not _is_name(part.name) or part.name in named:
                return Written(fate=Fate.REFUSED, detail="an attachment whose name cannot be sent")
            named[part.name] = sha256(part.data).hexdigest()
            kept = await self._change("PUT", f"{path}/{named[part.name]}", part.data, {})
            if kept.fate is not Fate.DONE:
                return kept
        headers = {
            "Content-Type": item.media.mime,
            "Item-Ident": _part(item.ident),
            **_precondition(write.expected),
        }
        if named:
            headers["Attachments"] = ", ".join(f"{name}={h}" for name, h in named.items())
        if item.revised is not None:
            headers["Item-Revised"] = item.revised.astimezone(UTC).isoformat()
        return await self._change("PUT", path, item.content, headers, versioned=True)

    async def delete(self, category: str, removal: Removal, *, forget: bool = False) -> Written:
        """One item in one version. `forget`: so that no tombstone stays, or a tombstone."""
        if not removal.owner or not removal.ref or not _is_etag(removal.expected):
            return Written(fate=Fate.CONFLICT)
        path = self._place(category, removal.owner, removal.ref) + ("?forget=1" if forget else "")
        done = await self._change("DELETE", path, b"", {"If-Match": removal.expected})
        if done.fate is Fate.REFUSED and done.detail == _REFUSALS[HTTPStatus.NOT_FOUND]:
            return Written(fate=Fate.CONFLICT)
        return done

    async def _change(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        versioned: bool = False,
    ) -> Written:
        """What became of a change. Asked again where the answer was lost, under the same key."""
        sent = {
            **headers,
            "Idempotency-Key": uuid.uuid4().hex,
            **({"Content-Digest": _digest(body)} if method == "PUT" else {}),
        }
        try:
            answer = await self._ask(method, path, headers=sent, body=body)
        except Lost:
            return Written(fate=Fate.UNKNOWN, detail="no answer came")
        return self._fate(answer, versioned=versioned)

    def _fate(self, answer: Answer, *, versioned: bool) -> Written:
        etag = answer.headers.get("etag", "")
        if answer.good and not answer.html:
            if not versioned:
                return Written(fate=Fate.DONE, version=etag if _is_etag(etag) else "")
            if _is_etag(etag):
                return Written(fate=Fate.DONE, version=etag)
            return Written(fate=Fate.UNKNOWN, detail="an answer without an ETag")
        self._stop(answer)
        if answer.status in _CONFLICTS:
            # The first try may have been the one that was there: only looking tells.
            fate = Fate.UNKNOWN if answer.doubtful else Fate.CONFLICT
            return Written(fate=fate)
        if answer.status in _REFUSALS:
            return Written(fate=Fate.REFUSED, detail=_REFUSALS[HTTPStatus(answer.status)])
        return Written(fate=Fate.UNKNOWN, detail=f"status {answer.status}")

    async def _ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        sent = {**self._headers, **(headers or {})}
        try:
            return await self.server.ask(method, path, headers=sent, body=body)
        except TooLarge:
            raise self._strange("gives a longer answer than `answer_bytes` allows") from None
        except Lost:
            if method != "GET":
                raise
            raise Unavailable(
                f"{self.server.name}: no whole answer came", hint="look at the service's log"
            ) from None

    def _check(self, answer: Answer) -> None:
        """Go on only where an answer to a question is one."""
        self._stop(answer)
        if not answer.good:
            raise self._strange(f"answers {answer.status} to a question")

    def _stop(self, answer: Answer) -> None:
        """Go on only where the service lets us in, has room, and sends us nowhere else."""
        if answer.status in _AWAY:
            raise Unavailable(
                f"{self.server.name}: the service does not let us in",
                hint="check the option `token`, and what it is allowed to do",
            )
        if answer.status == HTTPStatus.INSUFFICIENT_STORAGE:
            raise Unavailable(
                f"{self.server.name}: the service has no room left", hint="give it more space"
            )
        if answer.status in REDIRECTS:
            raise self._strange("sends us to another address, where we do not go")

    def _strange(self, what: str) -> Unavailable:
        return Unavailable(
            f"{self.server.name}: the service {what}",
            hint="check the option `url`, proxies before the service, and docs/http-target.md",
        )

    def _place(self, *parts: str) -> str:
        return "/".join((self._path, *map(_part, parts)))


def _part(text: str) -> str:
    """One part of a path: only letters, digits, `-`, `_` and `~` stay as they are."""
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E")


def _precondition(expected: str | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if expected is None else {"If-Match": expected}


def _is_etag(text: str) -> bool:
    """Whether it is a strong ETag: weak ones cannot be a precondition of a write."""
    return len(text) > 1 and text[0] == text[-1] == '"' and text.isprintable() and text.isascii()


def _is_name(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & set(' ,=/"')


def _digest(body: bytes) -> str:
    return f"{_SHA256}{b64encode(sha256(body).digest()).decode()}:"


def _is_whole(answer: Answer) -> bool:
    """Whether the bytes are those that the service says it sent (RFC 9530)."""
    said = answer.headers.get("content-digest", "") or answer.headers.get("repr-digest", "")
    for each in said.split(","):
        if each.strip().startswith(_SHA256):
            try:
                told = b64decode(each.strip()[len(_SHA256) :].rstrip(":"), validate=True)
            except BinasciiError:
                return False
            return told == sha256(answer.body).digest()
    return False


def _named(header: str) -> list[tuple[str, str]]:
    """Names and hashes of attachments."""
    parts = (each.strip().partition("=") for each in header.split(",") if each.strip())
    return [(name, hashed) for name, _, hashed in parts]


def _listed(ref: str, etag: str, answer: Answer) -> Listed:
    ident = answer.headers.get("item-ident")
    try:
        modified = datetime.fromisoformat(answer.headers.get("item-modified", ""))
    except ValueError:
        modified = None
    return Listed(
        ref=ref,
        etag=etag,
        modified=modified,
        size=len(answer.body),
        ident=None if ident is None else unquote(ident),
    )


def _entry(owner: UserId, listed: Listed) -> Entry:
    modified = listed.modified
    if modified is not None and modified.tzinfo is None:
        modified = modified.replace(tzinfo=UTC)
    return Entry(
        owner=owner,
        ref=listed.ref,
        version=listed.etag,
        ident=None if listed.ident is None else Ident(listed.ident),
        modified=None if modified is None else modified.astimezone(UTC),
        deleted=listed.deleted,
        size=listed.size,
    )
