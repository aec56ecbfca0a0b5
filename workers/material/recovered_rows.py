"""Rows of one category's table or query: listed for many users in one statement, read lazily.

Values come along with the listing as long as they are small and a budget lasts; the others are
read again by user and id when their turn comes. So one statement serves a batch of a hundred
users, and a user with 200,000 photos needs no more memory than one with ten.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    inspect,
    select,
)

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from workers.material.databases import Misspelled, ReadOnlyDatabase, ValueUnreadable
from workers.material.row_columns import RowColumns
from workers.material.row_mapping import Rows
from workers.material.row_values import (
    DamagedText,
    bytes_of,
    json_of,
    moment_of,
    name_of,
    user_of,
)

INLINE_BYTES: Final = 256 * 1024
"""A larger value is never read together with the listing."""
BUDGET_BYTES: Final = 32 * 1024 * 1024
"""So many bytes of values one listing keeps."""
OBJECTS: Final = 256
"""Bytes of memory that a value takes besides its data, about."""
BUFFERED_ROWS: Final = 250
"""Rows that come from the server together: with inline values about 16 MiB at most."""


class Value(Struct, frozen=True, gc=False):
    """One column's bytes: NULL has no size; `data` is None where it has to be read on its own."""

    size: int
    data: bytes | None = None
    absent: bool = False
    damaged: tuple[str, ...] = ()
    """Fields whose text is not UTF-8."""


class RecoveredRow(Struct, frozen=True, gc=False):
    """One row. `values` is the data, then what lies beside it, in the plan's order."""

    owner: str | None
    """None: no user, or none that is a text."""
    id: Any
    values: tuple[Value, ...]
    modified: datetime | None = None
    sha256: str | None = None
    unreadable: bool = False
    anonymous: bool = False
    """The user is NULL, not merely damaged."""

    @property
    def order(self) -> tuple[int, int, str, tuple[int, ...], str, str]:
        """Sorts the rows of one user the same everywhere, whatever a database's collation."""
        number = self.id if isinstance(self.id, int) else 0
        rank = 0 if self.id is None else 1 if isinstance(self.id, int) else 2
        sizes = tuple(value.size for value in self.values)
        return rank, number, name_of(self.id), sizes, str(self.modified), self.sha256 or ""

    @property
    def held(self) -> int:
        """Bytes of values that came along, with what their own objects take."""
        return sum(len(value.data) + OBJECTS for value in self.values if value.data is not None)


class RecoveredTable:
    """The rows of one category. `called` is the category's name, for messages."""

    def __init__(self, database: ReadOnlyDatabase, mapped: Rows, *, called: str) -> None:
        self._database = database
        self._mapped = mapped
        self._columns = RowColumns(database, mapped)
        self._fields = tuple(mapped.fields.items())
        self._files = len(self._columns.files)
        self.called = called
        self.suffixes = tuple(mapped.beside)
        self.tells_of_changes = mapped.data is None or bool(mapped.modified or mapped.sha256)
        """Whether a change that leaves a row's size as it was shows in its listing."""

    def check(self) -> None:
        """Prove that table and columns are there.

        Raises:
            Unavailable: They are not, or the database is away.
        """
        try:
            self._columns.check()
        except Misspelled:
            raise self._misspelled() from None
        except ValueUnreadable:
            raise self.damaged() from None

    def users(self) -> Select[Any]:
        """A statement for every user id under the name `owner`; some repeated."""
        return select(self._columns.owner.label("owner")).where(self._columns.has_owner)

    def everything(self) -> Iterator[RecoveredRow]:
        """All rows in no order, without the bytes of values; fields are read and included."""
        yield from self._read(self._columns.facts(), None)

    def users_and_ids(self) -> Iterator[RecoveredRow]:
        """All rows in no order, with nothing but user and id: where values cannot be read."""
        yield from self._read(self._columns.keys(), None)

    def rows(self, owners: Sequence[UserId]) -> dict[str, list[RecoveredRow]]:
        """The rows of each of these users, in a stable order; users without rows are left out.

        Raises:
            Unavailable: The database is away, or there is no such table.
        """
        self.check()
        condition = self._columns.of_users(owners)
        if condition is None:
            return {}
        try:
            return self._listed(owners, condition)
        except ValueUnreadable:
            return self._one_by_one(owners, condition)

    def load(self, owner: UserId, ids: Collection[Any]) -> list[RecoveredRow]:
        """Rows of one user with all of their bytes, in a stable order.

        Raises:
            Unavailable: The database is away.
            ValueUnreadable: It cannot give one of the values.
        """
        condition = self._columns.of_users([owner])
        if condition is None:
            return []
        names = {name_of(one) for one in ids}
        plain = [one for one in ids if one is not None and not isinstance(one, DamagedText | float)]
        if len(plain) == len(ids):  # what cannot be compared exactly is looked for among all
            condition = condition & self._columns.of_ids(plain)
        columns = [*self._columns.facts(), *self._columns.values(whole=True)]
        found = self._read(columns, condition)
        kept = [row for row in found if row.owner == owner and name_of(row.id) in names]
        return sorted(kept, key=lambda row: (row.order, [value.data for value in row.values]))

    def damaged(self) -> Unavailable:
        """What to raise where not even users and ids can be read."""
        return Unavailable(
            f"the rows of {self.called} cannot even be listed: the database is damaged there",
            hint="repair or dump what is left of it, and name that as the source",
        )

    # Listing ---------------------------------------------------------------------------------

    def _listed(
        self, owners: Sequence[UserId], condition: ColumnElement[bool]
    ) -> dict[str, list[RecoveredRow]]:
        columns = self._columns.facts()
        if not self._mapped.lazy:
            columns.extend(self._columns.values(whole=False))
        shelves = _Shelves(owners)
        for row in self._read(columns, condition):
            shelves.add(row)
        return shelves.sorted()

    def _one_by_one(
        self, owners: Sequence[UserId], condition: ColumnElement[bool]
    ) -> dict[str, list[RecoveredRow]]:
        """The listing where some value cannot be read: each row on its own."""
        try:
            keys = list(self._read(self._columns.keys(), condition))
        except ValueUnreadable:
            raise self.damaged() from None
        shelves = _Shelves(owners)
        for owner in owners:
            ids = {name_of(row.id): row.id for row in keys if row.owner == owner}
            for one in ids.values():
                for row in self._alone(owner, one):
                    shelves.add(row)
        return shelves.sorted()

    def _alone(self, owner: UserId, one: Any) -> list[RecoveredRow]:
        try:
            return self.load(owner, [one])
        except ValueUnreadable:
            return [RecoveredRow(owner, one, (Value(0),), unreadable=True)]

    def _read(
        self, columns: Iterable[ColumnElement[Any]], condition: ColumnElement[bool] | None
    ) -> Iterator[RecoveredRow]:
        statement = select(*columns).select_from(self._columns.source)
        if condition is not None:
            statement = statement.where(condition)
        try:
            with self._database.reading() as connection:
                result = connection.execution_options(yield_per=BUFFERED_ROWS).execute(statement)
                for row in result:
                    yield self._recovered(row)
        except Misspelled:
            raise self._misspelled() from None

    # Rows ------------------------------------------------------------------------------------

    def _recovered(self, row: Row[Any]) -> RecoveredRow:
        """A row of `keys`, of `facts`, or of `facts` and `values`: the length tells which."""
        owner, id_, *facts = tuple(row)
        if not facts:
            return RecoveredRow(user_of(owner), id_, (), anonymous=owner is None)
        modified, given_hash, *columns = facts
        values: list[Value] = []
        if self._fields:
            fields = {
                name: self._columns.field_value(column, value)
                for (name, column), value in zip(self._fields, columns, strict=False)
            }
            data, damaged = json_of(fields)
            values.append(Value(len(data), data, damaged=damaged))
        first = len(self._fields)
        for at in range(first, first + self._files):
            value = columns[at + self._files] if len(columns) > first + self._files else None
            values.append(_value(columns[at], value))
        return RecoveredRow(
            user_of(owner),
            id_,
            tuple(values),
            None if modified is None else moment_of(modified),
            None if given_hash is None else _hexadecimal(given_hash),
            anonymous=owner is None,
        )

    # Errors ----------------------------------------------------------------------------------

    def _misspelled(self) -> Unavailable:
        """What exactly is not there: tables and columns are the plan's words, not content."""
        mapped = self._mapped
        if mapped.table is None:
            return Unavailable(
                f"the query for {self.called} cannot be run, or lacks a column",
                hint="run it by hand as the same user; column names count as they are spelled",
            )
        wanted = [one.name for one in self._columns.source.c]
        try:
            with self._database.reading() as connection:
                inspector = inspect(connection)
                if not inspector.has_table(mapped.table, schema=mapped.schema):
                    return Unavailable(
                        f"there is no table '{mapped.table}' for {self.called}",
                        hint="names count as they are spelled; another schema is named by schema:",
                    )
                there = {
                    one["name"] for one in inspector.get_columns(mapped.table, schema=mapped.schema)
                }
        except (Misspelled, ValueUnreadable):
            there = set(wanted)
        missing = [name for name in wanted if name not in there]
        if missing:
            return Unavailable(
                f"the table '{mapped.table}' for {self.called} has no column "
                + ", ".join(f"'{name}'" for name in missing),
                hint=f"it has: {', '.join(sorted(there))}",
            )
        return Unavailable(
            f"the table '{mapped.table}' for {self.called} cannot be read",
            hint="may this user SELECT from it?",
        )


class _Shelves:
    """Rows by owner, with the bytes of their values as long as a budget lasts."""

    def __init__(self, owners: Sequence[UserId]) -> None:
        self._wanted: dict[str, str] = {owner: owner for owner in owners}
        self._sizes: dict[tuple[Value, ...], tuple[Value, ...]] = {}
        """Values without bytes: many rows share them."""
        self._left = BUDGET_BYTES
        self._rows: dict[str, list[RecoveredRow]] = {}

    def add(self, row: RecoveredRow) -> None:
        owner = None if row.owner is None else self._wanted.get(row.owner)
        if owner is None:
            return  # equal to a wanted one only by a loose collation
        self._left -= row.held
        self._rows.setdefault(owner, []).append(row if self._left >= 0 else self._light(row, owner))

    def _light(self, row: RecoveredRow, owner: str) -> RecoveredRow:
        """The same row without its bytes."""
        values = tuple(
            Value(value.size, None if value.size else value.data, value.absent, value.damaged)
            for value in row.values
        )
        if len(self._sizes) < SIZES:
            values = self._sizes.setdefault(values, values)
        else:
            values = self._sizes.get(values, values)
        return replace(row, owner=owner, values=values)

    def sorted(self) -> dict[str, list[RecoveredRow]]:
        for rows in self._rows.values():
            _sort(rows)
        return self._rows


SIZES: Final = 10_000
"""So many different sizes of values are kept once for all rows."""


def _sort(rows: list[RecoveredRow]) -> None:
    """Into their order; where ids are plain and differ they alone tell it, and no keys are made."""
    if all(type(row.id) is str for row in rows):
        rows.sort(key=_id)
        if all(one.id < other.id for one, other in pairwise(rows)):
            return
    rows.sort(key=_order)


def _id(row: RecoveredRow) -> str:
    return row.id


def _order(row: RecoveredRow) -> tuple[int, int, str, tuple[int, ...], str, str]:
    return row.order


def _value(size: Any, value: Any) -> Value:
    if size is None:
        return Value(0, b"", absent=True)
    if value is None:
        return Value(int(size), b"" if size == 0 else None)
    data = bytes_of(value)
    return Value(len(data), data)


def _hexadecimal(value: Any) -> str:
    if isinstance(value, bytes) and not isinstance(value, DamagedText):
        return value.hex() if len(value) == 32 else value.decode("ascii", "replace").lower()  # noqa: PLR2004 - bytes of SHA-256
    return str(value).strip().lower()
