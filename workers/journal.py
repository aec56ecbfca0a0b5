"""What a unit is about to change, sealed; and what earlier attempts and runs did by our hand."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from orchestrator.books import Note, Outcome
from orchestrator.items import Attachment, Digest, Ident
from orchestrator.ledger.database import among, within
from orchestrator.ledger.keys import KeyRing, Sealed, opened
from orchestrator.ledger.schema import journal
from orchestrator.ports import Live
from orchestrator.reconcile import Hand, followed
from orchestrator.sealing import Sealer
from workers.packed import Shelf


class Before(Struct, frozen=True, array_like=True, gc=False):
    """The pre-image of something replaced: what undo puts back."""

    content: bytes
    attachments: tuple[Attachment, ...]
    version: str
    modified: datetime | None = None

    @classmethod
    def of(cls, live: Live) -> Self:
        """What is there now."""
        return cls(live.content, live.attachments, live.entry.version, live.entry.modified)


class Undoing(StrEnum):
    """What an undo's change makes of what is by our hand."""

    UNDONE = "undone"
    """Nothing is by our hand there any more."""
    REDONE = "redone"
    """An undo was undone: it is by our hand again."""


class Intent(Struct, frozen=True, array_like=True, gc=False):
    """One change that is about to happen. `ident` is the item's, also when it goes beside.

    Fields are only ever added, at the end: rows of earlier releases lack them.
    """

    ident: str
    ref: str
    digest: bytes
    """Of what is written; empty where something is removed."""
    note: str = ""
    before: Before | None = None
    """None: nothing was there."""
    media: tuple[str, str] = ("", "")
    """Suffix and MIME type of what is written, or was removed."""
    undoing: str = ""
    left: str = ""
    """The version of the tombstone that a removal left."""
    proves: bool = False
    """It was read back; another row holds what was there before."""
    outcome: Outcome = Outcome.RESTORED
    origins: str = ""
    """Of what is merged: what comes from where."""
    dated: datetime | None = None
    """Of what an undo puts back: when its user had changed it."""


HELD_BYTES: Final = 4 * 1024 * 1024
HELD_ROWS: Final = 1_000
"""So many rows of a journal, and of large ones fewer, are held in memory at a time."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Intent]).decode
_decode_hand = msgspec.msgpack.Decoder(Hand).decode

Hands = Shelf[Hand]
"""By ident, what is by our hand of one user's items at one place."""


def no_hands() -> Hands:
    """Nothing is, yet."""
    return Shelf(_encode, _decode_hand)


def seal_intents(ring: KeyRing, user_hash: bytes, intents: Sequence[Intent]) -> bytes:
    """The intents of one unit and chunk as one opaque row."""
    return ring.of(user_hash).seal(_encode(intents), b"journal:" + user_hash)


def open_intents(
    connection: Connection, sealer: Sealer, rows: Sequence[Any]
) -> Iterator[list[Intent] | None]:
    """The intents of rows with `run`, `user_hash` and `sealed`; None where keys were erased.

    One at a time: a row may hold a chunk of pre-images.
    """
    values = [
        Sealed(row.run, row.user_hash, row.sealed, b"journal:" + row.user_hash) for row in rows
    ]
    for data in opened(connection, sealer, values):
        yield None if data is None else _decode(data)


def hands(
    connection: Connection,
    sealer: Sealer,
    *,
    place: bytes,
    users: Iterable[bytes],
    run: str,
) -> dict[bytes, Hands]:
    """By user and ident, what our journals say that we did at this place.

    Step upon step as far down as the last one that was read back. What was undone is not by our
    hand any more; of runs that were closed nobody can tell.
    """
    rows = connection.execute(
        select(journal.c.id, func.length(journal.c.sealed).label("length"))
        .where(among(connection, journal.c.user_hash, list(users)), journal.c.place == place)
        .order_by(journal.c.id)
    )
    listed = [(int(row.id), int(row.length)) for row in rows]
    found: dict[bytes, Hands] = {}
    for row, intents in _told(connection, sealer, listed):
        of_user = found.get(row.user_hash)
        if of_user is None:
            of_user = found[row.user_hash] = no_hands()
        for intent in intents or ():
            ident = Ident(intent.ident)
            known = of_user.get(ident)
            step = _step(intent, known, this_run=row.run == run)
            if not (row.verified or intent.proves):
                of_user.put(ident, followed(known, step))
            elif step.digest or step.buried:
                undone = intent.undoing == Undoing.UNDONE
                of_user.put(ident, replace(step, verified=not undone, earlier=None))
            else:
                of_user.pop(ident)  # taken away, and no tombstone shows it
    return found


def _told(
    connection: Connection, sealer: Sealer, listed: Iterable[tuple[int, int]]
) -> Iterator[tuple[Any, list[Intent] | None]]:
    """Rows with their intents, as many at a time as can be held."""
    for page in that_fit(listed):
        rows = connection.execute(
            select(journal.c.user_hash, journal.c.run, journal.c.verified, journal.c.sealed)
            .where(within(connection, journal.c.id, page))
            .order_by(journal.c.id)
        ).all()
        yield from zip(rows, open_intents(connection, sealer, rows), strict=True)


def that_fit(listed: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """The numbers of rows, given with their lengths, in pages of what can be held at once."""
    page: list[int] = []
    room = HELD_BYTES
    for number, length in listed:
        if page and (length > room or len(page) == HELD_ROWS):
            yield page
            page, room = [], HELD_BYTES
        page.append(number)
        room -= length
    if page:
        yield page


def _step(intent: Intent, known: Hand | None, *, this_run: bool) -> Hand:
    """What one row says of one item; what only proves another row adds to what that one said."""
    if intent.proves and known is not None and known.digest == intent.digest:
        return replace(known, buried=intent.left)
    undone = intent.undoing == Undoing.UNDONE
    return Hand(
        digest=Digest(intent.digest),
        verified=False,
        outcome=Outcome.RESTORED if undone else intent.outcome,
        note=Note(intent.note) if intent.note and not undone else None,
        this_run=this_run and not intent.undoing,
        ref=intent.ref,
        origins="" if undone else intent.origins,
        over=intent.before is not None and bool(intent.digest),
        buried=intent.left,
        returned=undone and bool(intent.digest),
        dated=intent.dated,
    )
