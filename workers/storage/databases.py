"""One database of a target: connections per process, transactions, and what its errors mean.

Every error becomes one of two decisions: `ItemRejected` (the database will never take this row) or
`Unavailable` (try again later). No message holds a parameter, a value or the text that the server
sent: constraint and error codes are the database's own words, the rest may be a user's.
"""

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from orchestrator.errors import ItemRejected, ReinstateError, Unavailable
from orchestrator.reasons import Reason

T = TypeVar("T")

PAUSES: Final = (0.05, 0.2, 0.8, 2.0)
"""Seconds before a transaction is tried again that lost against another one."""

LOCK_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 120

# Every statement looks rows up by their key or their user, whatever a planner without statistics
# (a table that is being filled) thinks of reading the whole table.
_PREFACE: Final = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; "
    "SET LOCAL enable_mergejoin = off; "
    "SET LOCAL TIME ZONE 'UTC'; "
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
    f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
)
_READ: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; " + _PREFACE
# Exact whatever the database's default: unique keys and re-checked versions need no more.
_WRITE: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; " + _PREFACE

_AGAIN: Final = frozenset({"40001", "40P01"})
_ROW: Final = ("22", "23", "44", "54", "P0001")
"""SQLSTATE classes that one row can be guilty of: value, constraint, view, size, trigger."""

_HINTS: Final = {
    "08": "look whether the database runs and can be reached",
    "25": "it is read only: connect to the primary",
    "28": "check the user and password in the URL",
    "3D": "create the database or correct the URL",
    "42": "check the tables and the rights of the user in the URL",
    "53": "it is out of disk, memory or connections",
    "55": "another program holds a lock (look at pg_locks), or it takes no connections now",
    "57": "it is shutting down or cancelled the statement",
}

_ROW_CODES: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}
)


class Database:
    """Where a target's tables are. Connects on first use, once per process, never across a fork."""

    errors = (SQLAlchemyError, psycopg.Error, sqlite3.Error)
    """What `meaning` can tell the meaning of."""

    def __init__(self, address: Callable[[], str], *, folder: Path) -> None:
        self._address = address
        self._folder = folder
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._process = 0

    def url(self) -> URL:
        """The address with its driver, relative paths made absolute.

        Raises:
            Unavailable: it is none, or one of a database that this target does not know.
        """
        try:
            url = make_url(self._address())
            backend = url.get_backend_name()
        except ArgumentError:
            raise Unavailable(
                "sql target: not a database URL", hint="write postgresql://… or sqlite:///path"
            ) from None
        if backend in {"postgresql", "postgres"}:
            return url.set(drivername="postgresql+psycopg")
        if backend == "sqlite" and url.database not in {None, "", ":memory:"}:
            path = self._folder / Path(url.database or "").expanduser()
            return url.set(drivername="sqlite", database=str(path))
        raise Unavailable(
            "sql target: neither PostgreSQL nor an SQLite file",
            hint="write postgresql://… or sqlite:///path",
        )

    def identity(self) -> str:
        """Which database this is, without user and password."""
        url = self.url()
        if url.get_backend_name() == "sqlite":
            return f"sqlite:{Path(url.database or '').resolve()}"
        host = url.host or url.query.get("host") or "localhost"
        port = url.port or url.query.get("port") or 5432
        return f"postgresql:{host}:{port}/{url.database or ''}"

    def birth(self, table: str) -> str:
        """Another one where a table, quoted, was made anew; SQLite tells it of the file only."""

        def ask(cursor: Any) -> Any:
            if self.dialect() == "postgresql":
                cursor.execute("SELECT to_regclass(%s)::oid", (table,))
            else:
                cursor.execute("PRAGMA user_version")
            return cursor.fetchone()[0]

        return str(self.transaction(ask, write=False))

    def engine(self) -> Engine:
        """This process's own pool of connections."""
        with self._lock:
            if self._engine is None or self._process != os.getpid():
                if self._engine is not None:
                    self._engine.dispose(close=False)  # the connections are our parent's
                self._engine = _engine(self.url())
                self._process = os.getpid()
            return self._engine

    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""
        return self.engine().dialect.name

    def make(self) -> None:
        """Make the SQLite file where it is missing; a PostgreSQL database is never made."""
        url = self.url()
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "")
            try:
                path.touch(mode=0o600)
                new = path.stat().st_size == 0
            except OSError as error:
                raise Unavailable(
                    f"sql target: {os.strerror(error.errno or 0)}",
                    hint="check the folder of the SQLite file",
                ) from None
            if new:  # tells it from a file of the same name that was there before
                number = secrets.randbelow(2**31 - 1) + 1
                self.transaction(
                    lambda cursor: cursor.execute(f"PRAGMA user_version = {number:d}"), write=True
                )

    def close(self) -> None:
        """Let go of the connections; the next use makes new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose(close=self._process == os.getpid())
            self._engine = None

    def transaction(self, work: Callable[[Any], T], *, write: bool, keep: bool = True) -> T:
        """What `work` gives, called with the driver's cursor, in one transaction.

        Called again when the transaction loses against another one. `keep` False: nothing of it
        stays.

        Raises:
            ItemRejected: a row is at fault; nothing was written.
            Unavailable: the database is.
        """
        pauses = iter(PAUSES)
        while True:
            try:
                return self._attempt(work, write=write, keep=keep)
            except self.errors as error:
                pause = next(pauses, None)
                if pause is None or _sqlstate(error) not in _AGAIN:
                    raise self.meaning(error) from None
                time.sleep(pause * secrets.SystemRandom().uniform(0.5, 1.5))

    def _attempt(self, work: Callable[[Any], T], *, write: bool, keep: bool) -> T:
        connection = self.engine().raw_connection()
        try:
            if self.engine().dialect.name == "sqlite":
                cursor = connection.cursor()
                cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            else:
                connection.cursor().execute(_WRITE if write else _READ)
                cursor = connection.cursor(binary=True)
            result = work(cursor)
            if keep:
                connection.commit()
            return result
        finally:
            connection.close()  # rolls back what was not committed

    def meaning(self, error: Exception) -> ReinstateError:
        """What has to be done about a driver's error."""
        original = _original(error)
        if isinstance(original, sqlite3.Error):
            return _sqlite_meaning(original)
        state = _sqlstate(error)
        if state.startswith(_ROW) or (not state and isinstance(original, psycopg.DataError)):
            constraint = getattr(getattr(original, "diag", None), "constraint_name", None)
            where = f" ({constraint})" if constraint else ""
            return ItemRejected(
                Reason.REFUSED, f"the database refuses it: {state or 'value'}{where}"
            )
        return Unavailable(
            f"sql target: {type(original).__name__} {state}".rstrip(),
            retry_in=5.0 if state[:2] in {"40", "55"} else 30.0,
            hint=_HINTS.get(state[:2], _HINTS["08"]),
        )


def _engine(url: URL) -> Engine:

    if url.get_backend_name() == "sqlite":
        # Opened for each transaction: a connection that is kept would go on writing to a file
        # that somebody has moved away.
        engine = create_engine(
            url, hide_parameters=True, poolclass=NullPool, creator=lambda: _sqlite(url)
        )
    else:
        given = {
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "tcp_user_timeout": 30_000,  # a server that vanished is noticed
            "prepare_threshold": None,  # PgBouncer may give every transaction another session
        }
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={name: value for name, value in given.items() if name not in url.query},
        )
    return engine


def _sqlite(url: URL) -> sqlite3.Connection:
    """Never makes the file: a mistyped path must not become an empty database."""
    connection = sqlite3.connect(
        f"{Path(url.database or '').as_uri()}?mode=rw",
        uri=True,
        timeout=LOCK_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    # Others' texts may be no UTF-8: one such row must not end a survey.
    connection.text_factory = _readable
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _original(error: BaseException) -> BaseException:
    """The driver's own error, where SQLAlchemy wrapped it."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def _sqlstate(error: BaseException) -> str:
    return str(getattr(_original(error), "sqlstate", None) or "")


def _readable(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _sqlite_meaning(error: sqlite3.Error) -> ReinstateError:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name: str = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if code & 0xFF in _ROW_CODES:
        return ItemRejected(Reason.REFUSED, f"the database refuses it: {name}")
    hints = {
        sqlite3.SQLITE_BUSY: "another program holds a lock on the file",
        sqlite3.SQLITE_FULL: "free some space; the run goes on by itself",
        sqlite3.SQLITE_READONLY: "let the worker's user write the file and its folder",
        sqlite3.SQLITE_CANTOPEN: "check the path; the file is made at inspection only",
        sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
        sqlite3.SQLITE_CORRUPT: "the file is damaged",
    }
    return Unavailable(
        f"sql target: {name}",
        retry_in=5.0 if code & 0xFF == sqlite3.SQLITE_BUSY else 30.0,
        hint=hints.get(code & 0xFF, "check the tables"),
    )
