"""What was answered to which Idempotency-Key, kept in the ledger for a day.

The same key with the same request is answered as it was; with another request it is refused. Only
what succeeded is kept: what was refused may be mended and asked again.
"""

import hashlib
from enum import StrEnum

import msgspec
from msgspec import Struct
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import idempotency
from orchestrator.sealing import Sealer

KEPT_MS = 24 * 60 * 60 * 1000
UNDER_WAY_MS = 60_000
"""After so long without an answer, the process that was at it is taken for dead."""
LONGEST_KEY = 255


class Kept(Struct, frozen=True):
    """An answer, as it was given."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Verdict(StrEnum):
    """What to do with a request that has a key, where there is no answer yet."""

    GO_ON = "go-on"
    UNDER_WAY = "under-way"
    OTHER_REQUEST = "other-request"


class Answers:
    """Remembers answers. Its ledger rows are sealed: an answer may hold a new token."""

    def __init__(self, ledger: Ledger, sealer: Sealer) -> None:
        self._ledger = ledger
        self._sealer = sealer

    def look(self, holder: str, key: str, request: bytes) -> Kept | Verdict:
        """The answer that was given; or what to do, and then the key is taken until `keep`."""
        these = and_(idempotency.c.holder == holder, idempotency.c.key == key)
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            connection.execute(delete(idempotency).where(idempotency.c.at < now - KEPT_MS))
            fresh = {"holder": holder, "key": key, "request": request, "at": now}
            try:
                with connection.begin_nested():
                    connection.execute(insert(idempotency).values(fresh))
            except IntegrityError:  # it was used before, or somebody is just using it
                row = connection.execute(select(idempotency).where(these)).one()
            else:
                return Verdict.GO_ON
            if row.request != request:
                return Verdict.OTHER_REQUEST
            if row.status is None:
                if now - row.at < UNDER_WAY_MS:
                    return Verdict.UNDER_WAY
                connection.execute(update(idempotency).where(these).values(at=now))
                return Verdict.GO_ON
        return msgspec.msgpack.decode(
            self._sealer.open(row.sealed, _context(holder, key)), type=Kept
        )

    def keep(self, holder: str, key: str, answer: Kept) -> None:
        """Answer like this from now on."""
        sealed = self._sealer.seal(msgspec.msgpack.encode(answer), _context(holder, key))
        with self._ledger.begin() as connection:
            connection.execute(
                update(idempotency)
                .where(idempotency.c.holder == holder, idempotency.c.key == key)
                .values(status=answer.status, sealed=sealed)
            )

    def forget(self, holder: str, key: str) -> None:
        """Nothing was done: the key is free."""
        with self._ledger.begin() as connection:
            connection.execute(
                delete(idempotency).where(
                    idempotency.c.holder == holder,
                    idempotency.c.key == key,
                    idempotency.c.status.is_(None),
                )
            )


def fingerprint(method: str, path: str, query: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    parts = (method.encode(), path.encode(), query.encode(), body)
    seed = b"".join(len(part).to_bytes(8) + part for part in parts)
    return hashlib.sha256(seed).digest()


def _context(holder: str, key: str) -> bytes:
    return f"idempotency:{len(holder)}:{holder}:{key}".encode()
