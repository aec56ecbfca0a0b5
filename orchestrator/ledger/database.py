"""How the ledger talks to its database; everything that differs between the two sits here."""

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVarTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Insert,
    Integer,
    LargeBinary,
    Select,
    SmallInteger,
    Table,
    and_,
    any_,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    false,
    func,
    insert,
    literal,
    literal_column,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import NullType

from orchestrator.errors import Refused, Unavailable
from orchestrator.ledger import schema, versions
from orchestrator.ledger.versions import REVISIONS, Age, Standing

IDLE = "10s"
"""So long a transaction of ours may do nothing. Ours only compute between their statements."""

Found = TypeVarTuple("Found")
"""The types of the columns that a statement finds."""

Clock = Callable[[Connection], int]
"""The ledger's time in milliseconds, asked inside a transaction."""

_NOW = {
    "postgresql": "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}


MIGRATION_WAITS = "15s"
"""For a lock; longer, and every worker would queue behind the migration."""


def database_clock(connection: Connection) -> int:
    """The database's own time, the one that all hosts agree on: when this transaction began.

    Where it then waited, its leases end the earlier for it, and nobody else's is over too soon.
    """
    if connection.dialect.name == "postgresql":
        if not connection.in_transaction():  # a look begins with its first statement
            connection.begin()
        began: int | None = connection.info.get(_BEGAN)
        if began is not None:
            return began
    return int(connection.exec_driver_sql(_NOW[connection.dialect.name]).scalar_one())


DATABASE_TIME: ColumnElement[int] = literal_column(
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint", BigInteger
)
"""PostgreSQL's own time in milliseconds, as part of a statement."""


@contextmanager
def _understood() -> Generator[None]:
    """Trouble with the database as what it asks for: to wait, or to put the ledger back."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _away(error) from error
    except DBAPIError as error:
        if error.connection_invalidated or _read_only(error):
            raise _away(error) from error
        if _damaged(error):
            raise _no_ledger() from error
        raise


_INHERITED: Final[list[Engine]] = []
"""Engines of a process that this one was forked from: to close them would speak for it."""


class Ledger:
    """The database, opened lazily and once per process; never shared across a fork.

    Every method that writes runs in one short transaction. Raises `Unavailable` when the
    database is away, and `Refused` when its schema is of another version.
    """

    def __init__(self, url: str, *, clock: Clock = database_clock) -> None:
        self.url = url
        self.clock = clock
        self._engine: Engine | None = None
        self._pid = 0

    @property
    def engine(self) -> Engine:
        """This process's engine."""
        if self._engine is None or self._pid != os.getpid():
            if self._engine is not None:
                _INHERITED.append(self._engine)
            self._engine = _engine(self.url)
            self._pid = os.getpid()
        return self._engine

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """One transaction; committed at the end, rolled back on any exception."""
        with _understood(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One consistent look at what is committed; no writer waits for it."""
        with _understood(), self.engine.connect() as connection:
            yield connection.execution_options(**{_READING: True})

    @contextmanager
    def at_once(self) -> Generator[Connection]:
        """Statements one by one, each a transaction of its own: done for good when it returns.

        For a change that is one statement, and for looks of which each may see something newer
        than the one before. A transaction costs two round trips more.
        """
        with _understood(), self.engine.connect() as connection:
            yield connection.execution_options(**{_AT_ONCE: True})

    def moment(self, connection: Connection) -> int | ColumnElement[int]:
        """The ledger's time for use in a statement: where the database tells it, at no cost."""
        if self.clock is database_clock and connection.dialect.name == "postgresql":
            return DATABASE_TIME
        return self.clock(connection)

    def now(self) -> int:
        """The ledger's time in milliseconds."""
        with self.read() as connection:
            return self.clock(connection)

    def prepare(self, *, key_check: bytes | None = None) -> None:
        """Make the tables where there are none; refuse those of another release or key.

        An embedded ledger of an older release is migrated; a shared one only by `migrate`, since
        others may be at work. `key_check` is the `Sealer`'s: with another key nothing that is
        sealed could be read, and nobody on the decline list would be found.
        """
        with self.read() as connection:
            found = versions.standing(connection)
        embedded = self.engine.dialect.name == "sqlite"
        if found.age is Age.EMPTY or (embedded and found.age is Age.BEHIND):
            self._advance(None)
        else:
            versions.usable(found)
        if key_check is not None:
            self._hold_to(key_check, found.key_check)

    def migrate(self, *, key_check: bytes | None = None, folder: Path = REVISIONS) -> Standing:
        """Bring the ledger to this release's newest revision; what it was before.

        Repeating it changes nothing. Raises `Refused` for another key or a newer release's
        ledger, and `Unavailable` where a lock cannot be had within `MIGRATION_WAITS`.
        """
        with self.read() as connection:
            found = versions.standing(connection, folder=folder)
        if key_check is not None:
            _same_key(key_check, found.key_check)
        if found.age in {Age.EMPTY, Age.BEHIND}:
            self._advance(folder)
        else:
            versions.usable(found)
        if key_check is not None:
            self._hold_to(key_check, None)
        return found

    def _advance(self, folder: Path | None) -> None:
        """Make or migrate the tables, unless somebody else just did."""
        with self.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_WAITS}'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(7205759403792793)"))
            match versions.standing(connection, folder=folder or REVISIONS).age:
                case Age.EMPTY:
                    versions.create(connection)
                case Age.BEHIND:
                    versions.upgrade(connection, folder=folder or REVISIONS)
                case _:
                    pass

    def _hold_to(self, key_check: bytes, known: bytes | None) -> None:
        """Keep what tells keys apart, the first time; compare it from then on."""
        if known is None:
            kept = schema.schema_version.c.key_check
            with self.begin() as connection:
                connection.execute(
                    update(schema.schema_version).where(kept.is_(None)).values(key_check=key_check)
                )
                known = connection.execute(select(kept)).scalar_one()
        _same_key(key_check, known)

    def close(self) -> None:
        """Let go of connections."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
        self._engine = None


def _same_key(key_check: bytes, known: bytes | None) -> None:
    if known not in {None, key_check}:
        raise Refused(
            "the key is not the one that this ledger was made with",
            hint="restore <home>/key or REINSTATE_KEY from where it is kept safe",
        )


def _engine(url: str) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "postgresql":
        engine = create_engine(
            address.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_size=2,
            max_overflow=2,
            connect_args={"connect_timeout": 5, "prepare_threshold": None, **_NOTICES_SILENCE},
        )
        event.listen(engine, "connect", _leave_begin_to_us)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", _ask_after_rest)
        event.listen(engine, "begin", _begin_at)
        event.listen(engine, "before_cursor_execute", _choose_format)
        return engine
    engine = create_engine(
        address, hide_parameters=True, poolclass=QueuePool, pool_size=4, max_overflow=-1
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "connect", partial(_note_file, address.database))
    event.listen(engine, "checkout", partial(_stay_with_file, address.database))
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _ask_after_rest(connection: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection that rested whether it still lives; one just used is not asked again.

    Why not `pool_pre_ping`: it asks before every transaction, a seventh of a batch's round trips.
    """
    if time.monotonic() - record.info.get("used", -RESTED_SECONDS) < RESTED_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except connection.OperationalError as error:
        raise DisconnectionError from error


RESTED_SECONDS = 1.0


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: see _begin_immediate
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL can lose the journal on power loss
    cursor.close()


def _note_file(path: str | None, _connection: Any, record: Any) -> None:
    record.info["file"] = _file(path)


def _stay_with_file(path: str | None, _connection: Any, record: Any, _proxy: Any) -> None:
    """Leave a file that was removed, or replaced by a backup, to those who still have it open.

    Why connections are kept: the last one to close writes everything back into the file and
    removes the log, which cost more than a third of the processor time of small runs.
    """
    if record.info["file"] != _file(path):
        raise DisconnectionError


def _file(path: str | None) -> tuple[int, int] | None:
    try:
        found = Path(path or "").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_NOTICES_SILENCE = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A database whose host went away is noticed in half a minute, not in two hours."""


def _leave_begin_to_us(connection: Any, _record: Any) -> None:
    connection.autocommit = True  # BEGIN is ours: see _begin_at


_BEGAN = "reinstate_began"
_BEGIN_WRITING = f"""{_NOW["postgresql"]}; BEGIN;
SET LOCAL idle_in_transaction_session_timeout = '{IDLE}'"""
_BEGIN_READING = f"""{_NOW["postgresql"]}; BEGIN READ ONLY"""


def _begin_at(connection: Connection) -> None:
    """Begin, and note by the database's clock when: one round trip for what was three.

    Whoever freezes or vanishes in the middle of writing loses the transaction, with all that others
    wait for. That is said in each transaction anew, since a pooler (PgBouncer) hands sessions from
    one to another.
    """
    options = connection.get_execution_options()
    if options.get(_AT_ONCE, False) or options.get("isolation_level") == "AUTOCOMMIT":
        connection.info.pop(_BEGAN, None)
        return
    said = _BEGIN_READING if options.get(_READING, False) else _BEGIN_WRITING
    connection.info[_BEGAN] = int(connection.exec_driver_sql(said).scalar_one())


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock first: an upgrade in mid-transaction fails without waiting."""
    options = connection.get_execution_options()
    if not options.get(_AT_ONCE, False):
        reading = options.get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


_READING = "reinstate_reading"
_AT_ONCE = "reinstate_at_once"


def _read_only(error: DBAPIError) -> bool:
    """A standby, or a primary that is being switched over: writing is for later."""
    return getattr(error.orig, "sqlstate", None) == "25006"


def _damaged(error: DBAPIError) -> bool:
    """A file that is no database, or not a whole one."""
    return type(error.orig) is sqlite3.DatabaseError


def _no_ledger() -> Unavailable:
    return Unavailable(
        "the ledger's file is damaged, or is no ledger",
        hint="put it back from its backup; every restored item is still in its target",
    )


def _away(error: DBAPIError) -> Unavailable:
    return Unavailable(
        f"the ledger did not answer ({type(error.orig).__name__})",
        retry_in=2.0,
        hint="check REINSTATE_LEDGER_URL and the database behind it: reinstate doctor",
    )


def tuples(
    connection: Connection, statement: Select[*Found], given: Mapping[str, Any]
) -> Sequence[tuple[*Found]]:
    """What a statement finds, where that is thousands of rows: each costs less than `execute`'s.

    As the driver reads them, so none of the columns may be of a type that only SQLAlchemy can read.
    """
    if connection.dialect.name != "postgresql":
        return connection.execute(statement, given).all()
    found = connection.execute(statement, given, execution_options={_IN_BINARY: True})
    cursor: Any = found.cursor
    rows: Sequence[tuple[*Found]] = cursor.fetchall()
    found.close()
    return rows


_IN_BINARY = "reinstate_in_binary"


def _choose_format(_connection: Any, cursor: Any, *about: Any) -> None:
    """Have bytes and numbers sent as they are, where that was asked for."""
    _statement, _parameters, context, _many = about
    if context.execution_options.get(_IN_BINARY, False):
        cursor.format = _BINARY


_BINARY = 1
"""What the protocol calls it."""


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    add: bool = False,
    ignore: bool = False,
) -> None:
    """Insert `rows`, which all have the same keys; where the primary key exists, update.

    `add`: numbers are added to what is there. `ignore`: what is there stays.
    """
    if not rows:
        return
    statement = _upserting(connection.dialect.name, table, tuple(rows[0]), add, ignore)
    if ignore:
        connection.execute(statement, list(rows)).close()
    else:  # a list of one would be prepared for as if it were long
        connection.execute(statement, rows[0] if len(rows) == 1 else list(rows))


@cache
def _upserting(
    dialect: str,
    table: Table,
    names: tuple[str, ...],
    add: bool,  # noqa: FBT001  a part of the cache's key
    ignore: bool,  # noqa: FBT001
) -> Insert:
    statement = (postgresql_insert if dialect == "postgresql" else sqlite_insert)(table)
    keys: list[Column[Any]] = list(table.primary_key.columns)
    if ignore:  # what is returned lets SQLAlchemy send a thousand rows at once
        return statement.on_conflict_do_nothing(index_elements=keys).returning(keys[0])
    given = statement.excluded
    changes = {
        name: table.c[name] + given[name] if add else given[name]
        for name in names
        if name not in table.primary_key.columns
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def among(
    connection: Connection, column: ColumnElement[Any], values: Sequence[Any]
) -> ColumnElement[bool]:
    """Whether `column` is one of `values`; one parameter where the database takes lists."""
    if connection.dialect.name != "postgresql":
        return column.in_(values)
    if isinstance(column.type, LargeBinary | Integer):  # the driver takes 4 µs for each of them
        listed = literal(_listed(values), NullType())  # untyped, so that the planner sees the list
        return column == any_(cast(listed, ARRAY(column.type)))
    return column == any_(bindparam(None, list(values), type_=ARRAY(column.type)))


def _listed(values: Sequence[bytes] | Sequence[int]) -> str:
    """Numbers or bytes as PostgreSQL writes a list."""
    texts = (f'"\\\\x{v.hex()}"' if isinstance(v, bytes) else str(v) for v in values)
    return "{" + ",".join(texts) + "}"


def within(
    connection: Connection, column: ColumnElement[int], numbers: Sequence[int]
) -> ColumnElement[bool]:
    """Whether `column` is one of these numbers, which are all different.

    Why the range is said, and not only the numbers: then an index leads there whatever the planner
    knows. Of a run that was just expanded it knows nothing, and read all units for each batch.
    """
    if not numbers:
        return false()
    first, last = min(numbers), max(numbers)
    spanned = column.between(first, last)
    if last - first + 1 == len(numbers):
        return spanned
    return and_(spanned, among(connection, column, numbers))


def change_each(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    at: Mapping[str, Any],
    by: str,
) -> set[int]:
    """Update many rows, each to values of its own, by one statement; which of them there were.

    `rows` all have the same keys: the column `by`, a number that says of which row they are among
    those whose columns are as in `at`, and the columns to change. Numbers, texts and None only.
    A value that all of them share is sent once.
    """
    if not rows:
        return set()
    numbers = [row[by] for row in rows]
    own = [name for name in rows[0] if name != by and len({row[name] for row in rows}) > 1]
    shared = {name: rows[0][name] for name in rows[0] if name != by and name not in own}
    statement = (
        update(table)
        .where(*(table.c[name] == value for name, value in at.items()))
        .where(within(connection, table.c[by], numbers))
        .returning(table.c[by])
    )
    if own:
        given = _given(connection, [table.c[name] for name in (by, *own)], rows)
        statement = statement.where(table.c[by] == given.c[by])
        shared |= {name: given.c[name] for name in own}
    return set(connection.execute(statement.values(shared)).scalars().all())


def _given(
    connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> FromClause:
    """Some columns of `rows` as a table to join with, sent as one parameter."""
    names = [one.name for one in columns]
    sent = msgspec.json.encode([{name: row[name] for name in names} for row in rows]).decode()
    if connection.dialect.name == "postgresql":
        return (
            func.json_to_recordset(cast(literal(sent), JSON))
            .table_valued(*(column(one.name, one.type) for one in columns))
            .render_derived(name="given", with_types=True)
        )
    each = func.json_each(sent).table_valued("value", name="each")
    return select(
        *(func.json_extract(each.c.value, f"$.{name}").label(name) for name in names)
    ).subquery("given")


def insert_all(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Insert any number of new rows, given as values of the columns `names`, without a result.

    Streams: `rows` may be longer than memory. COPY where the database has it, which is ten times
    faster than inserting; then a row that is there already fails everything.
    """
    if connection.dialect.name != "postgresql":
        remaining = iter(rows)
        while chunk := list(islice(remaining, ROWS_AT_ONCE)):
            connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in chunk])
        return
    quoted = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quoted(name) for name in names)
    driver = connection.dialect.loaded_dbapi
    raw = connection.connection.cursor()
    try:
        with raw.copy(f"COPY {quoted(table.name)} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([_wire_type(table.c[name]) for name in names])
            for row in rows:
                copy.write_row(row)
    except (driver.OperationalError, driver.InterfaceError) as error:
        raise Unavailable(
            f"the ledger did not answer ({type(error).__name__})", retry_in=2.0
        ) from error
    finally:
        raw.close()


ROWS_AT_ONCE = 5_000


def _wire_type(column: Column[Any]) -> str:
    """What PostgreSQL calls the column's type; its binary form has to be met exactly."""
    match column.type:
        case SmallInteger():
            return "int2"
        case BigInteger():
            return "int8"
        case Integer():
            return "int4"
        case Boolean():
            return "bool"
        case LargeBinary():
            return "bytea"
        case _:
            return "text"


def learn(connection: Connection, *tables: Table) -> None:
    """Let the planner know what is in these tables now, not when it next looks by itself."""
    if connection.dialect.name == "postgresql":
        quoted = connection.dialect.identifier_preparer.quote
        connection.exec_driver_sql(f"ANALYZE {', '.join(quoted(table.name) for table in tables)}")


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those of `rows` whose primary key is new."""
    upsert(connection, table, rows, ignore=True)
