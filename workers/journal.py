"""What a unit is about to change, sealed; and what earlier attempts and runs did by our hand."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from orchestrator.books import Note, Outcome
from orchestrator.items import Attachment, Digest, Ident
from orchestrator.ledger.database import among
from orchestrator.ledger.schema import journal
from orchestrator.reconcile import Hand
from orchestrator.sealing import Sealer


class Before(Struct, frozen=True, array_like=True):
    """The pre-image of something replaced: what undo puts back."""

    content: bytes
    attachments: tuple[Attachment, ...]
    version: str


class Undoing(StrEnum):
    """What an undo's change makes of what is by our hand."""

    UNDONE = "undone"
    """Nothing is by our hand there any more."""
    REDONE = "redone"
    """An undo was undone: it is by our hand again."""


class Intent(Struct, frozen=True, array_like=True):
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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Intent]).decode


def seal_intents(sealer: Sealer, user_hash: bytes, intents: Sequence[Intent]) -> bytes:
    """The intents of one unit and chunk as one opaque row."""
    return sealer.seal(_encode(intents), b"journal:" + user_hash)


def hands(
    connection: Connection,
    sealer: Sealer,
    *,
    place: bytes,
    users: Iterable[bytes],
    run: str,
) -> dict[bytes, dict[Ident, Hand]]:
    """By user and ident, what our journals say that we did at this place.

    Later rows count more than earlier ones, but what was verified stays verified.
    """
    rows = connection.execute(
        select(journal.c.user_hash, journal.c.run, journal.c.verified, journal.c.sealed)
        .where(among(connection, journal.c.user_hash, list(users)), journal.c.place == place)
        .order_by(journal.c.id)
    )
    found: dict[bytes, dict[Ident, Hand]] = {}
    for row in rows:
        of_user = found.setdefault(row.user_hash, {})
        for intent in _decode(sealer.open(row.sealed, b"journal:" + row.user_hash)):
            ident = Ident(intent.ident)
            if intent.undoing == Undoing.UNDONE:
                of_user.pop(ident, None)
                continue
            known = of_user.get(ident)
            if known is not None and known.verified and not row.verified and row.run != run:
                continue
            of_user[ident] = Hand(
                digest=Digest(intent.digest),
                verified=row.verified or (known is not None and known.verified),
                outcome=intent.outcome,
                note=Note(intent.note) if intent.note else None,
                this_run=row.run == run and not intent.undoing,
                ref=intent.ref,
                origins=intent.origins,
            )
    return found
