"""Tokens: `rst_`, 256 random bits and a checksum; the ledger holds a keyed hash of each only.

    rst_ + 43 characters of base62 + 6 characters of their CRC-32

The checksum tells a mistyped token, and a secret scanner a real one, without asking the ledger.
The hash is HMAC-SHA-256 under a key derived from the master key (`REINSTATE_KEY`): who reads the
ledger alone can neither use a token nor try guesses at it.
"""

import json
import secrets
import zlib
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Row, and_, insert, or_, select, update

from orchestrator.errors import NotFound, PlanInvalid
from orchestrator.identity.roles import Caller, Role, Scope
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import moment
from orchestrator.ledger.schema import browser_session, token
from orchestrator.sealing import Sealer

PREFIX = "rst_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET, _CHECK = 43, 6
LENGTH = len(PREFIX) + _SECRET + _CHECK
NOTED_EVERY_MS = 60_000
"""How exact `last_used` is."""
LONGEST_NAME = 100
DAY_MS = 24 * 60 * 60 * 1000


class TokenRow(Struct, frozen=True, kw_only=True):
    """A token as lists show it; never the token itself."""

    id: str
    purpose: str
    holder: str
    role: Role
    scopes: list[Scope]
    runs: list[str] | None
    created: str
    created_by: str
    expires: str | None
    revoked: str | None
    last_used: str | None


def new_token(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A token that nobody has seen."""
    secret = _base62(int.from_bytes(randomness(32)), _SECRET)
    return PREFIX + secret + _checksum(secret)


def well_formed(text: str) -> bool:
    """Whether this can be a token at all: prefix, length and checksum are right."""
    if len(text) != LENGTH or not text.startswith(PREFIX) or not text.isascii():
        return False
    secret = text[len(PREFIX) : -_CHECK]
    return text[-_CHECK:] == _checksum(secret)


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECK)


def _base62(number: int, digits: int) -> str:
    found: list[str] = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        found.append(_ALPHABET[digit])
    return "".join(reversed(found))


class Tokens:
    """Makes, finds and revokes tokens; each change leaves a line in the audit log."""

    def __init__(self, ledger: Ledger, sealer: Sealer) -> None:
        self._ledger = ledger
        self._sealer = sealer

    def hash(self, text: str) -> bytes:
        """What the ledger keeps of a token."""
        return self._sealer.sign(b"token", text.encode())

    def create(
        self,
        *,
        holder: str,
        role: Role,
        purpose: str = "",
        scopes: Collection[Scope] = (),
        runs: Collection[str] | None = None,
        days: int | None = None,
        who: str,
    ) -> tuple[str, TokenRow]:
        """A new token and its row; the token is shown this once. Raises `PlanInvalid`."""
        holder = holder_name(holder)
        text, token_id = new_token(), secrets.token_hex(6)
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            values = {
                "id": token_id,
                "hash": self.hash(text),
                "purpose": _printable(purpose),
                "holder": holder,
                "role": role,
                "scopes": json.dumps(sorted(set(scopes))),
                "runs": None if runs is None else json.dumps(sorted(set(runs))),
                "created_at": now,
                "created_by": who,
                "expires_at": None if days is None else now + days * DAY_MS,
            }
            connection.execute(insert(token).values(**values))
            audit_log.append(
                connection,
                now=now,
                who=who,
                action="create_token",
                run=None,
                detail={"token": token_id, "holder": holder, "role": role},
            )
            row = connection.execute(select(token).where(token.c.id == token_id)).one()
        return text, _row(row)

    def find(self, text: str) -> Caller | None:
        """Whoever a token belongs to; None for one that is unknown, revoked or expired."""
        if not well_formed(text):
            return None
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            row = connection.execute(
                select(token).where(token.c.hash == self.hash(text), alive(now))
            ).one_or_none()
        if row is None:
            return None
        if row.last_used_at is None or now - row.last_used_at >= NOTED_EVERY_MS:
            self._note(row.id, now)
        return caller_of(row, token_id=row.id)

    def _note(self, token_id: str, now: int) -> None:
        with self._ledger.begin() as connection:
            connection.execute(update(token).where(token.c.id == token_id).values(last_used_at=now))

    def holder_of(self, token_id: str) -> Caller:
        """Whoever a token that is valid belongs to, by its id. Raises `NotFound`."""
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            row = connection.execute(
                select(token).where(token.c.id == token_id, alive(now))
            ).one_or_none()
        if row is None:
            raise _no_token()
        return caller_of(row, token_id=row.id)

    def rows(self, *, holder: str | None = None) -> list[TokenRow]:
        """Every token, or those of one holder; the newest first."""
        chosen = select(token).order_by(token.c.created_at.desc(), token.c.id)
        if holder is not None:
            chosen = chosen.where(token.c.holder == holder)
        with self._ledger.read() as connection:
            return [_row(row) for row in connection.execute(chosen)]

    def revoke(self, token_id: str, *, who: str, holder: str | None = None) -> None:
        """End a token, and every session that was begun with it; `holder`: only one of theirs.

        Raises `NotFound`. Repeating it changes nothing.
        """
        these: list[ColumnElement[bool]] = [token.c.id == token_id]
        if holder is not None:
            these.append(token.c.holder == holder)
        with self._ledger.begin() as connection:
            row = connection.execute(select(token).where(*these)).one_or_none()
            if row is None:
                raise _no_token()
            if row.revoked_at is not None:
                return
            now = self._ledger.clock(connection)
            connection.execute(update(token).where(token.c.id == token_id).values(revoked_at=now))
            connection.execute(
                update(browser_session)
                .where(browser_session.c.token == token_id)
                .values(expires_at=now)
            )
            audit_log.append(
                connection,
                now=now,
                who=who,
                action="revoke_token",
                run=None,
                detail={"token": token_id, "holder": row.holder},
            )


def _no_token() -> NotFound:
    return NotFound("there is no such token", hint="list them: reinstate token list")


def alive(now: int) -> ColumnElement[bool]:
    """Of tokens: neither revoked nor expired."""
    return and_(
        token.c.revoked_at.is_(None),
        or_(token.c.expires_at.is_(None), token.c.expires_at > now),
    )


def caller_of(row: Any, *, token_id: str, session: str = "") -> Caller:
    """Whom a row of tokens or sessions stands for."""
    return Caller(
        holder=row.holder,
        role=Role(row.role),
        scopes=frozenset(Scope(scope) for scope in json.loads(row.scopes)),
        runs=None if row.runs is None else frozenset(json.loads(row.runs)),
        token=token_id,
        session=session,
    )


def _row(row: Row[Any]) -> TokenRow:
    def at(milliseconds: int | None) -> str | None:
        return None if milliseconds is None else moment(milliseconds).isoformat()

    return TokenRow(
        id=row.id,
        purpose=row.purpose,
        holder=row.holder,
        role=Role(row.role),
        scopes=[Scope(scope) for scope in json.loads(row.scopes)],
        runs=None if row.runs is None else json.loads(row.runs),
        created=moment(row.created_at).isoformat(),
        created_by=row.created_by,
        expires=at(row.expires_at),
        revoked=at(row.revoked_at),
        last_used=at(row.last_used_at),
    )


def holder_name(text: str) -> str:
    """A name as approvals will show it. Raises `PlanInvalid`."""
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise PlanInvalid(
            f"a holder is a name of up to {LONGEST_NAME} characters", hint="who will use the token"
        )
    return name


def _printable(text: str) -> str:
    return "".join(part if part.isprintable() else " " for part in text)[:200].strip()
