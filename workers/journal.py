"""What a unit is about to change, sealed; and what earlier attempts and runs did by our hand."""

from collections.abc import Iterable, Sequence

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


class Intent(Struct, frozen=True, array_like=True):
    """One write that is about to happen. `ident` is the item's, also when it goes beside."""

    ident: str
    ref: str
    digest: bytes
    note: str = ""
    before: Before | None = None


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
            known = of_user.get(ident)
            if known is not None and known.verified and not row.verified and row.run != run:
                continue
            of_user[ident] = Hand(
                digest=Digest(intent.digest),
                verified=row.verified or (known is not None and known.verified),
                outcome=Outcome.RESTORED,
                note=Note(intent.note) if intent.note else None,
                this_run=row.run == run,
            )
    return found
