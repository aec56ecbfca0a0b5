"""Databases opened to be read: nothing is written, and no error message holds what they hold."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    QueuePool,
    Text,
    cast,
    create_engine,
    event,
    func,
    make_url,
)
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError

from orchestrator.errors import Unavailable
from workers.material.row_values import tolerant_text

CONNECT_SECONDS: Final = 10
_WAL: Final = b"\x02\x02"
_WAL_AT: Final = 18
_DAMAGED_STATES: Final = ("22", "XX")
"""SQLSTATE classes: data exception, internal error (index or page corrupted)."""
_DAMAGED_SQLITE: Final = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)
)
_EXACT: Final = {
    "postgresql": "C",
    "sqlite": "BINARY",
    "mysql": "utf8mb4_bin",
    "mariadb": "utf8mb4_bin",
}
"""By dialect, the collation in which two texts are equal only where their bytes are."""


class ValueUnreadable(Exception):
    """The database answers, but cannot give one of the values that were asked for."""


class Misspelled(Exception):
    """The database answers, but has no such table or column, or no right to read it."""


class ReadOnlyDatabase:
    """One database, connected on first use. `url` is resolved: it may hold a password."""

    def __init__(self, url: str, *, folder: Path) -> None:
        self._url = url
        self._folder = folder

    @property
    def dialect(self) -> str:
        """Which sort of database it is, as SQLAlchemy calls it."""
        return self._engine.dialect.name

    def close(self) -> None:
        """Let go of all connections."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection for a moment; what it does is rolled back.

        Raises:
            Unavailable: The database is away.
            ValueUnreadable: It cannot give one of the values.
            Misspelled: It has no such table or column.
        """
        engine = self._engine
        try:
            with engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise _translated(error) from None  # its text may hold content
        except SQLAlchemyError as error:
            raise _away(type(error).__name__) from None
        except UnicodeError:
            raise ValueUnreadable from None

    def exact_text(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        """The column as a text that is equal only to itself, and sorted by its bytes."""
        collation = _EXACT.get(self.dialect)
        text = cast(column, Text)
        return text if collation is None else text.collate(collation)

    def size_of(self, column: ColumnElement[Any], *, binary: bool) -> ColumnElement[int]:
        """How many bytes the column's value has."""
        if self.dialect == "sqlite":  # before 3.43 it knows no octet_length
            return func.length(cast(column, LargeBinary))
        return func.octet_length(column if binary else cast(column, Text))

    @cached_property
    def _engine(self) -> Engine:
        try:
            url = make_url(self._url)
        except (SQLAlchemyError, ValueError):
            raise Unavailable(
                "the database's address is not one",
                hint="write it like postgresql://user@host/name or sqlite:///file.db",
            ) from None
        try:
            return self._created(url)
        except ImportError as error:
            raise Unavailable(
                f"no driver for {url.drivername} is installed",
                hint=f"install the Python package '{error.name}' where the workers run",
            ) from None
        except SQLAlchemyError as error:
            raise _away(type(error).__name__) from None

    def _created(self, url: URL) -> Engine:
        backend = url.get_backend_name()
        if backend == "sqlite":
            path = _sqlite_path(url, self._folder)
            return create_engine(
                "sqlite://",
                creator=partial(_connect_sqlite, path),
                poolclass=QueuePool,
                hide_parameters=True,
            )
        options: dict[str, Any] = {}
        if backend == "postgresql":
            if url.drivername in {"postgresql", "postgres"}:
                url = url.set(drivername="postgresql+psycopg")
            if "connect_timeout" not in url.query:
                options["connect_timeout"] = CONNECT_SECONDS
            options["client_encoding"] = "utf8"
        engine = create_engine(
            url, connect_args=options, pool_pre_ping=True, pool_size=2, hide_parameters=True
        )
        if backend == "postgresql" and engine.driver == "psycopg":
            event.listen(engine, "connect", _prepare_psycopg)
        elif backend == "postgresql":
            event.listen(engine, "connect", _prepare_postgresql)
        elif backend in {"mysql", "mariadb"}:
            event.listen(engine, "connect", _prepare_mysql)
        return engine


def _sqlite_path(url: URL, folder: Path) -> Path:
    if url.database in {None, "", ":memory:"}:
        raise Unavailable(
            "a database in memory holds no recovered material",
            hint="write sqlite:///path/to/file.db",
        )
    return folder / str(url.database)


def _connect_sqlite(path: Path, *_: object) -> sqlite3.Connection:
    """Read only. Without a log to be replayed not even the shared memory file is made."""
    mode = "ro&immutable=1" if _is_at_rest(path) else "ro"
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=CONNECT_SECONDS,
        check_same_thread=False,
    )
    try:
        connection.text_factory = tolerant_text
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # its views and triggers are not ours
        connection.execute("PRAGMA cell_size_check = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_at_rest(path: Path) -> bool:
    """Whether a write-ahead log is declared and none is left."""
    try:
        with path.open("rb") as file:
            header = file.read(_WAL_AT + len(_WAL))
        log = path.with_name(f"{path.name}-wal")
        return header[_WAL_AT:] == _WAL and not (log.exists() and log.stat().st_size)
    except OSError:
        return False


def _prepare_psycopg(connection: Any, _: object) -> None:
    from psycopg.adapt import Buffer, Loader  # noqa: PLC0415 - only where psycopg is used

    class Tolerant(Loader):
        def load(self, data: Buffer) -> str | bytes:
            return tolerant_text(bytes(data))

    for name in ("text", "varchar", "bpchar", "name"):
        connection.adapters.register_loader(name, Tolerant)
    connection.read_only = True  # every transaction begins so, behind a pooler too


def _prepare_postgresql(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    connection.commit()


def _prepare_mysql(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")


def _translated(error: DBAPIError) -> Exception:
    """What an error asks for; nothing of its text, which may hold content."""
    original: Any = error.orig
    state = getattr(original, "sqlstate", None)
    code = getattr(original, "sqlite_errorcode", None)
    if isinstance(state, str) and state.startswith(_DAMAGED_STATES):
        return ValueUnreadable()
    if isinstance(code, int) and code & 0xFF in _DAMAGED_SQLITE:
        return ValueUnreadable()
    if isinstance(state, str) and state.startswith(("42", "3F")):
        return Misspelled()
    if code == sqlite3.SQLITE_ERROR or (isinstance(error, ProgrammingError) and state is None):
        return Misspelled()
    if code == sqlite3.SQLITE_CANTOPEN:
        return Unavailable(
            "the database's file cannot be opened",
            hint="is the path right? One that was left with a -wal file beside it has to be copied,"
            " together with that file, to where a -shm file can be written",
        )
    known = getattr(original, "sqlite_errorname", None) or state
    word = "does not answer" if isinstance(error, OperationalError) else "gives an error"
    return _away(str(known or type(original).__name__), word=word)


def _away(what: str, *, word: str = "does not answer") -> Unavailable:
    return Unavailable(
        f"the database {word}: {what}",
        hint="is it up, is its address right, may this user read from it?",
    )
