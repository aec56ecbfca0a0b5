"""Changes of many users at once, each user's in their order, and whose trouble a failure is.

What is wrong with one user's place (rights, quota, credentials) leaves that user's changes
UNKNOWN: they are looked at again, and wait, without holding up anybody else. A server that is slow
or full for several is away for all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from msgspec import Struct

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import UserId
from orchestrator.ports import Fate, Removal, Write, Written
from workers.formats.scheduling import without_invitations
from workers.formats.shaping import shaped
from workers.storage.dav_accounts import addressable
from workers.storage.dav_collections import Collection, NoRoom
from workers.storage.dav_discovery import Visit
from workers.storage.dav_places import Places
from workers.storage.dav_requests import Lost, nameable, together

T = TypeVar("T")

_FULL_WAIT: Final = 300.0
"""Seconds until a full server is tried again."""
_MANY: Final = 8
"""Cards that are worth a request of their own kind."""
_WHOLE_BYTES: Final = 4 * 1024 * 1024
"""Of cards in one request; what is beyond goes by itself."""
_SLOW: Final = 2
"""Users whose calls time out until the server counts as away."""

Change = Callable[[Collection], Awaitable[Written]]


async def each(owners: Sequence[UserId], work: Callable[[UserId], Awaitable[T]]) -> dict[UserId, T]:
    """What each user's work gives; where some fail for themselves alone, all who do are named."""
    alone: list[Unavailable] = []
    found: dict[UserId, T] = {}

    async def one(owner: UserId) -> None:
        try:
            found[owner] = await work(owner)
        except Unavailable as error:
            if not error.owners:
                raise
            alone.append(error)

    await together(one(owner) for owner in owners)
    if alone:
        first = alone[0]
        everyone = len(alone) == len(owners) > 1
        raise Unavailable(
            first.message,
            retry_in=first.retry_in,
            hint=first.hint,
            owners=() if everyone else [owner for error in alone for owner in error.owners],
        )
    return found


class Plight(Struct):
    """What went wrong so far in one call, over all its users."""

    done: int = 0
    full: int = 0
    disk: bool = False
    late: int = 0

    async def during(self, visit: Visit, work: Awaitable[None]) -> str:
        """What ended the work before its time; empty where it went through.

        Raises `Unavailable` for what is wrong with more than the place of the user who visits.
        """
        try:
            await work
        except NoRoom as full:
            self.full += 1
            self.disk |= full.disk
            return str(full)
        except Lost as lost:
            self.late += 1
            if self.late >= _SLOW:
                raise visit.away(lost) from None
            return str(lost)
        except Unavailable as error:
            if not error.owners:
                raise
            return error.message
        return ""

    def check_room(self, name: str) -> None:
        """Raise `Unavailable` where the server is full, and not one user's quota used up."""
        if self.disk or (self.full > 1 and not self.done):
            raise Unavailable(
                f"{name}: no room left (status {HTTPStatus.INSUFFICIENT_STORAGE.value})",
                retry_in=_FULL_WAIT,
                hint="make room on the server, or raise its quotas",
            )


async def carried_out(
    places: Places,
    category: str,
    changes: Mapping[UserId, Sequence[tuple[int, Change]]],
    *,
    make: bool,
    whole: Callable[[], Awaitable[bool]],
) -> dict[int, Written]:
    """The answers to numbered changes; `make`: their collections are made where missing.

    `whole`: whether the server makes an address book of all its cards in one request. Raises
    `Unavailable` when the server is away, or full, for more than one user.
    """
    answers: dict[int, Written] = {}
    plight, asking = Plight(), asyncio.Lock()

    async def asked() -> bool:
        async with asking:
            return await whole()

    async def all_of(owner: UserId) -> None:
        collection = await places.collection(owner, category)
        async with collection.turn:
            if make and collection.there is None:
                await collection.look()
            if make and not collection.there:
                answers.update(await _filled(collection, changes[owner], asked))
            if make and not collection.there:
                await collection.make()
            for number, change in changes[owner]:
                if number not in answers:
                    answers[number] = await change(collection)
                plight.done += answers[number].fate is Fate.DONE

    async def one(owner: UserId) -> None:
        said = await plight.during(places.visit(owner), all_of(owner))
        for number, _ in changes[owner]:
            answers.setdefault(number, Written(fate=Fate.UNKNOWN, detail=said))

    await together(one(owner) for owner in changes)
    plight.check_room(places.server.name)
    return answers


async def _filled(
    collection: Collection,
    changes: Sequence[tuple[int, Change]],
    whole: Callable[[], Awaitable[bool]],
) -> dict[int, Written]:
    """The answers of a new address book that was made with all it gets; none where it was not."""
    if collection.form.component or len(changes) < _MANY or not await whole():
        return {}
    numbers: dict[str, int] = {}
    cards: dict[str, bytes] = {}
    size = 0
    for number, change in changes:
        if not isinstance(change, Creation) or not change.named_after_its_uid(collection):
            continue
        with suppress(ItemRejected):  # it will be told so by itself
            content = change.content(collection)
            size += len(content)
            if size <= _WHOLE_BYTES:
                cards.setdefault(change.write.ref, content)
                numbers.setdefault(change.write.ref, number)
    try:
        there = await collection.fill(cards) if len(cards) >= _MANY else None
    except Lost as lost:
        if lost.late:
            raise
        return {number: Written(fate=Fate.UNKNOWN, detail=str(lost)) for number in numbers.values()}
    if there is None:
        return {}
    elsewhere = Written(fate=Fate.UNKNOWN, detail="it may be there under another name")
    return {
        number: Written(fate=Fate.DONE, version=there[name]) if name in there else elsewhere
        for name, number in numbers.items()
    }


@dataclass(frozen=True, slots=True)
class Creation:
    """A write as a change."""

    category: str
    write: Write

    async def __call__(self, collection: Collection) -> Written:
        """Put it into its place."""
        try:
            content = self.content(collection)
        except ItemRejected as rejected:
            return _refused(str(rejected))
        return await collection.put(self.write.ref, content, self.write.expected)

    def content(self, collection: Collection) -> bytes:
        """In the form that servers take. Raises `ItemRejected`."""
        content = shaped(self.category, self.write.item)
        return without_invitations(content) if collection.form.component else content

    def named_after_its_uid(self, collection: Collection) -> bool:
        """Whether a server that chooses the name would choose ours."""
        uid, suffix = self.write.item.ident, f".{collection.form.suffix}"
        plain = not uid.lower().endswith((suffix, "~"))
        return plain and self.write.expected is None and self.write.ref == uid + suffix


def creation(category: str, write: Write) -> Creation | Written:
    """A write as a change, or why it can never be one."""
    if not addressable(write.owner):
        return _refused("the user's id cannot be part of an address")
    if not nameable(write.ref):
        return _refused("not a name that a server keeps")
    if write.item.attachments and category != "notes":
        return _refused("attachments")
    return Creation(category, write)


def removal(asked: Removal) -> Change | Written:
    """A removal as a change, or its answer where nothing can be there."""
    if not addressable(asked.owner) or not nameable(asked.ref):
        return Written(fate=Fate.CONFLICT)

    async def change(collection: Collection) -> Written:
        return await collection.delete(asked.ref, asked.expected)

    return change


def _refused(detail: str) -> Written:
    return Written(fate=Fate.REFUSED, detail=detail)
