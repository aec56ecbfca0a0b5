"""Browser sessions: a cookie instead of a token, rotated, ended with its token; and login codes.

A login code is a session that nobody has begun yet: good once, for a quarter of an hour. So a link
can log a browser in without a token ever standing in an address.
"""

import json
import secrets
from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, or_, select, update

from orchestrator.errors import NotFound
from orchestrator.identity.roles import Caller
from orchestrator.identity.tokens import alive, caller_of
from orchestrator.ledger import audit_log
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import browser_session, token
from orchestrator.sealing import Sealer

MINUTE_MS = 60_000
LASTS_MS = 12 * 60 * MINUTE_MS
"""However much it is used."""
IDLE_MS = 4 * 60 * MINUTE_MS
ROTATED_MS = 60 * MINUTE_MS
GRACE_MS = MINUTE_MS
"""How long the secret before the last one still opens: requests may be under way."""
CODE_MS = 15 * MINUTE_MS


class Begun(Struct, frozen=True, kw_only=True):
    """A session that was just begun, or whose secret was just changed."""

    secret: str
    """For the cookie."""
    caller: Caller
    seconds: int
    """How long the cookie may live."""


class Sessions:
    """Begins, finds, rotates and ends sessions."""

    def __init__(
        self,
        ledger: Ledger,
        sealer: Sealer,
        *,
        new_secret: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._new_secret = new_secret

    def _hash(self, secret: str) -> bytes:
        return self._sealer.sign(b"session", secret.encode())

    def begin(self, caller: Caller) -> Begun:
        """A session for somebody who has proven who they are."""
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            begun = self._insert(connection, caller, now, lasts=LASTS_MS, offered=False)
            self._log(connection, now, caller, "log_in")
            connection.execute(delete(browser_session).where(browser_session.c.expires_at < now))
        return begun

    def offer(self, caller: Caller) -> str:
        """A login code: good once, soon."""
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            return self._insert(connection, caller, now, lasts=CODE_MS, offered=True).secret

    def redeem(self, code: str) -> Begun | None:
        """The session that a login code stands for; None where it is used, old or none."""
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            row = connection.execute(
                delete(browser_session)
                .where(
                    browser_session.c.hash == self._hash(code),
                    browser_session.c.offered,
                    browser_session.c.expires_at > now,
                )
                .returning(browser_session)
            ).one_or_none()
            if row is None or not self._token_lives(connection, row.token, now):
                return None
            caller = caller_of(row, token_id=row.token or "")
            begun = self._insert(connection, caller, now, lasts=LASTS_MS, offered=False)
            self._log(connection, now, caller, "log_in")
            return begun

    def find(self, secret: str) -> tuple[Caller, Begun | None] | None:
        """Whose session it is, and its new secret when it is time for one; None: no session."""
        hashed = self._hash(secret)
        with self._ledger.read() as connection:
            now = self._ledger.clock(connection)
            row = connection.execute(
                select(browser_session).where(
                    or_(browser_session.c.hash == hashed, browser_session.c.previous == hashed),
                    browser_session.c.offered.is_(False),
                    browser_session.c.expires_at > now,
                    browser_session.c.seen_at > now - IDLE_MS,
                )
            ).one_or_none()
            if row is None or not self._token_lives(connection, row.token, now):
                return None
        former = row.hash != hashed
        if former and now > row.rotated_at + GRACE_MS:
            return None
        caller = caller_of(row, token_id=row.token or "", session=row.id)
        if not former and now - row.rotated_at >= ROTATED_MS:
            return caller, self._rotate(caller, hashed, now, row.expires_at)
        if now - row.seen_at >= MINUTE_MS:
            self._seen(row.id, now)
        return caller, None

    def end(self, session: str, *, who: str) -> None:
        """Log a browser out. Raises `NotFound` where it is not logged in."""
        with self._ledger.begin() as connection:
            gone = connection.execute(
                delete(browser_session).where(browser_session.c.id == session)
            ).rowcount
            if not gone:
                raise NotFound("there is no such session")
            now = self._ledger.clock(connection)
            audit_log.append(connection, now=now, who=who, action="log_out", run=None, detail={})

    def _insert(
        self, connection: Connection, caller: Caller, now: int, *, lasts: int, offered: bool
    ) -> Begun:
        secret, session = self._new_secret(), secrets.token_hex(6)
        connection.execute(
            insert(browser_session).values(
                id=session,
                hash=self._hash(secret),
                offered=offered,
                token=caller.token or None,
                holder=caller.holder,
                role=caller.role,
                scopes=json.dumps(sorted(caller.scopes)),
                runs=None if caller.runs is None else json.dumps(sorted(caller.runs)),
                created_at=now,
                rotated_at=now,
                seen_at=now,
                expires_at=now + lasts,
            )
        )
        return Begun(secret=secret, caller=caller, seconds=lasts // 1000)

    def _rotate(self, caller: Caller, hashed: bytes, now: int, expires_at: int) -> Begun | None:
        """Change the secret, unless another request just did."""
        secret = self._new_secret()
        with self._ledger.begin() as connection:
            changed = connection.execute(
                update(browser_session)
                .where(browser_session.c.id == caller.session, browser_session.c.hash == hashed)
                .values(hash=self._hash(secret), previous=hashed, rotated_at=now, seen_at=now)
            ).rowcount
        if not changed:
            return None
        return Begun(secret=secret, caller=caller, seconds=max(1, (expires_at - now) // 1000))

    def _seen(self, session: str, now: int) -> None:
        with self._ledger.begin() as connection:
            connection.execute(
                update(browser_session).where(browser_session.c.id == session).values(seen_at=now)
            )

    @staticmethod
    def _token_lives(connection: Connection, token_id: str | None, now: int) -> bool:
        if token_id is None:
            return True
        found = select(token.c.id).where(token.c.id == token_id, alive(now))
        return connection.execute(found).first() is not None

    @staticmethod
    def _log(connection: Connection, now: int, caller: Caller, action: str) -> None:
        detail = {"role": caller.role, "token": caller.token or "single sign-on"}
        audit_log.append(
            connection, now=now, who=caller.holder, action=action, run=None, detail=detail
        )
