"""A ledger in memory that thousands of simulations can afford: same tables, same SQL, no disk.

One engine serves every simulation of a process, so that SQLAlchemy compiles a statement once and
not once a seed; what a seed adds to it (listeners of planted bugs) ends with the seed.
"""

import sqlite3
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from orchestrator.ledger.database import Clock, Ledger, database_clock


class MemoryLedger:
    """The database of one simulation: one connection, since one actor at a time uses it."""

    def __init__(self) -> None:
        """As `Ledger.prepare` leaves it."""
        prepared = _prepared()
        _shared_engine().dispose()
        self.engine: Engine = _shared_engine().execution_options()
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
        self._driver: sqlite3.Connection = driver
        prepared.backup(self._driver)

    def look(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows as they are at this moment, in an open transaction too: for whoever judges."""
        return self._driver.execute(sql, values).fetchall()

    def close(self) -> None:
        """Forget everything."""
        _shared_engine().dispose()


class SharedLedger(Ledger):
    """The ledger without yield points, for those who only look on."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """On an engine that is not its own."""
        super().__init__("sqlite://", clock=clock)
        self._shared = engine

    @property
    def engine(self) -> Engine:
        """The simulation's."""
        return self._shared


@cache
def _shared_engine() -> Engine:
    engine = create_engine(
        "sqlite://",
        poolclass=StaticPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


@cache
def _prepared() -> sqlite3.Connection:
    """What every simulation begins with."""
    engine = _shared_engine()
    SharedLedger(engine, database_clock).prepare()
    prepared = sqlite3.connect(":memory:")
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
    driver.backup(prepared)
    return prepared
