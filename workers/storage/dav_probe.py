"""What a DAV server does with preconditions, seen by writing into a designated place.

The probe makes a collection of its own in the probe user's home; where the server lets nobody make
one it uses items of its own in the collection that is there. All names tell which process made
them, so that what a killed probe left is removed by the next, and a living one is left alone.
"""

import uuid
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from orchestrator.errors import Unavailable
from orchestrator.ports import Fate
from workers.storage.dav_answers import LISTING, BadAnswer, propfind
from workers.storage.dav_collections import Collection, Form
from workers.storage.dav_discovery import Visit
from workers.storage.dav_requests import Lost, TooLarge
from workers.storage.probe_names import is_abandoned, probe_name

_STALE: Final = '"reinstate-stale"'


class Proof(Struct, frozen=True, kw_only=True):
    """What the server did."""

    create_only: bool
    compare_and_set: bool
    dated: bool
    """It tells when something changed."""


async def probe(visit: Visit, home: str, form: Form, fallback: str) -> Proof:
    """Create twice, replace and delete in a stale and in the right version, read back.

    `fallback`: the collection that is used where none can be made. Raises `Unavailable` where
    nothing can be written or what was written is not there.
    """
    mine = probe_name()
    collection = Collection(visit, f"{home}{mine}/", form)
    own = True
    try:
        await collection.make()
    except Unavailable as error:
        collection = Collection(visit, fallback, form)
        own = False
        if not error.owners or not await collection.look():
            raise _unwritable(error) from None
    try:
        return await _prove(collection, f"{mine}.{form.suffix}", mine)
    finally:
        if own:
            await collection.remove()
        await _sweep(visit, home, None if own else collection)


async def takes_whole(visit: Visit, home: str, form: Form) -> bool:
    """Whether the server makes an address book of all its cards in one request (Radicale does).

    Only where nothing is in its place, with each card under its UID, and all or none of them.
    """
    collection = Collection(visit, f"{home}{probe_name()}/", form)
    uids = [uuid.uuid4().hex for _ in range(3)]
    cards = {f"{uid}.{form.suffix}": _content(form, uid, uid) for uid in uids}
    *first, last = cards
    try:
        made = await collection.fill({name: cards[name] for name in first})
        found = await collection.read(list(cards)) if made else {}
        again = await collection.fill({last: cards[last]})
        return (
            made is not None
            and made.keys() == found.keys() == {*first}
            and all(
                uid.encode() in (found[f"{uid}.{form.suffix}"].content or b"") for uid in uids[:2]
            )
            and again is None
            and {member.name for member in await collection.listing()} == {*first}
        )
    except (Unavailable, Lost) as error:
        if isinstance(error, Unavailable) and not error.owners:
            raise
        return False
    finally:
        await collection.remove()


async def _prove(collection: Collection, name: str, uid: str) -> Proof:
    form = collection.form
    first = await collection.put(name, _content(form, uid, "first"), None)
    if first.fate is not Fate.DONE:
        raise _unkept(collection.visit, f"a probe was not taken ({first.fate}; {first.detail})")
    second = await collection.put(name, _content(form, uid, "second"), None)
    stale = await collection.put(name, _content(form, uid, "stale"), _STALE)
    there = (await collection.read([name])).get(name)
    if there is None or there.content is None or uid.encode() not in there.content:
        raise _unkept(collection.visit, "a probe was taken and is not there")
    listed = {member.name: member.etag for member in await collection.listing()}
    if listed.get(name) != there.etag or not there.etag:
        raise _unkept(collection.visit, "the server tells no versions, or not always the same")
    right = await collection.put(name, _content(form, uid, "right"), there.etag)
    late = await collection.delete(name, there.etag)
    now = (await collection.read([name])).get(name)
    gone = await collection.delete(name, now.etag) if now is not None else None
    return Proof(
        dated=there.modified is not None,
        create_only=second.fate is Fate.CONFLICT,
        compare_and_set=(
            stale.fate is late.fate is Fate.CONFLICT
            and right.fate is Fate.DONE
            and gone is not None
            and gone.fate is Fate.DONE
        ),
    )


def _content(form: Form, uid: str, text: str) -> bytes:
    if not form.component:
        lines = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{text}", f"N:{text};;;;")
        return _lines((*lines, "END:VCARD"))
    start = ("DTSTART:20091001T090000Z",) if form.component == "VEVENT" else ()
    return _lines(
        (
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//reinstate//probe//EN",
            f"BEGIN:{form.component}",
            f"UID:{uid}",
            "DTSTAMP:20091001T090000Z",
            *start,
            f"SUMMARY:{text}",
            f"END:{form.component}",
            "END:VCALENDAR",
        )
    )


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


# Leftovers -------------------------------------------------------------------------------------


async def _sweep(visit: Visit, home: str, collection: Collection | None) -> None:
    """Remove what killed probes of this machine left, in the home or in the collection."""
    place = home if collection is None else collection.path
    try:
        members = await visit.report("PROPFIND", place, body=propfind(LISTING), depth=1)
    except (BadAnswer, TooLarge):
        raise visit.strange() from None
    for member in members or ():
        if is_abandoned(member.name):
            await visit.ask("DELETE", member.path)


def _unwritable(error: Unavailable) -> Unavailable:
    if not error.owners:
        return error
    return Unavailable(
        error.message,
        retry_in=error.retry_in,
        hint=f"{error.hint}; inspection writes into the account of `probe_user`, and cleans up",
    )


def _unkept(visit: Visit, message: str) -> Unavailable:
    return Unavailable(
        f"{visit.server.name}: {message}", hint="look at the server's log and at proxies before it"
    )
