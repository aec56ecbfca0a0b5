"""Rows of one category's table or query: listed for many users in one statement, read lazily.

Values come along with the listing as long as they are small and a budget lasts; the others are
read again by user and id when their turn comes. So one statement serves a batch of a hundred
users, and a user with 200,000 photos needs no more memory than one with ten.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    Text,
    bindparam,
    case,
    cast,
    column,
    false,
    inspect,
    null,
    select,
    table,
    text,
)
from sqlalchemy.sql import quoted_name

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from workers.material.databases import Misspelled, ReadOnlyDatabase, ValueUnreadable
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
BUFFERED_ROWS: Final = 1000

_BYTEA: Final = 17
_INTEGERS: Final = frozenset((20, 21, 23))
_UUID: Final = 2950
_TEXTS: Final = frozenset((18, 19, 25, 1042, 1043))
"""Numbers of types in PostgreSQL's catalogue, the same in every database."""


class Value(Struct, frozen=True, gc=False):
    """One column's bytes: NULL has no size; `data` is None where it has to be read on its own."""

    size: int
    data: bytes | None = None
    absent: bool = False
    damaged: tuple[str, ...] = ()
    """Fields whose text is not UTF-8."""


class RecoveredRow(Struct, frozen=True):
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
        """Bytes of values that came along."""
        return sum(len(value.data) for value in self.values if value.data is not None)

    def light(self) -> "RecoveredRow":
        """The same row without its bytes."""
        values = tuple(
            Value(value.size, None if value.size else value.data, value.absent, value.damaged)
            for value in self.values
        )
        return RecoveredRow(
            self.owner, self.id, values, self.modified, self.sha256, self.unreadable, self.anonymous
        )


class RecoveredTable:
    """The rows of one category. `called` is the category's name, for messages."""

    def __init__(self, database: ReadOnlyDatabase, mapped: Rows, *, called: str) -> None:
        self._database = database
        self._mapped = mapped
        self.called = called
        self.suffixes = tuple(mapped.beside)
        self.tells_of_changes = mapped.data is None or bool(mapped.modified or mapped.sha256)
        """Whether a change that leaves a row's size as it was shows in its listing."""

    def users(self) -> Select[Any]:
        """A statement for every user id, as exact text under the name `owner`; some repeated."""
        user = self._column(self._mapped.user)
        owner = self._database.exact_text(user).label("owner")
        return select(owner).where(user.is_not(None))

    def everything(self) -> Iterator[RecoveredRow]:
        """All rows in no order, without the bytes of values; fields are read and included."""
        yield from self._read(self._columns(values=False), None)

    def users_and_ids(self) -> Iterator[RecoveredRow]:
        """All rows in no order, with nothing but user and id: where values cannot be read."""
        yield from self._read(self._columns(values=None), None)

    def rows(self, owners: Sequence[UserId]) -> dict[str, list[RecoveredRow]]:
        """The rows of each of these users, in a stable order; users without rows are left out.

        Raises:
            Unavailable: The database is away, or there is no such table.
        """
        try:
            return self._listed(owners)
        except ValueUnreadable:
            return self._one_by_one(owners)

    def load(self, owner: UserId, ids: Collection[Any]) -> list[RecoveredRow]:
        """Rows of one user with all of their bytes, in a stable order.

        Raises:
            ValueUnreadable: The database cannot give one of them.
        """
        condition = self._of_users([owner])
        if condition is None:
            return []
        names = {name_of(one) for one in ids}
        plain = [one for one in ids if one is not None and not isinstance(one, DamagedText | float)]
        if len(plain) == len(ids):  # what cannot be compared exactly is looked for among all
            condition = condition & _among(self._column(self._mapped.id), plain)
        found = self._read(self._columns(values=True, whole=True), condition)
        kept = [row for row in found if row.owner == owner and name_of(row.id) in names]
        return sorted(kept, key=lambda row: (row.order, [value.data for value in row.values]))

    def check(self) -> None:
        """Prove that table and columns are there.

        Raises:
            Unavailable: They are not, or the database is away.
        """
        try:
            self._types  # noqa: B018 - asking for them is the proof
        except ValueUnreadable as error:
            raise self.damaged() from error

    # Listing ---------------------------------------------------------------------------------

    def _listed(self, owners: Sequence[UserId]) -> dict[str, list[RecoveredRow]]:
        condition = self._of_users(owners)
        if condition is None:
            return {}
        budget = BUDGET_BYTES
        found: dict[str, list[RecoveredRow]] = {}
        wanted = frozenset(owners)
        for row in self._read(self._columns(values=not self._mapped.lazy), condition):
            if row.owner is None or row.owner not in wanted:  # equal only by a loose collation
                continue
            budget -= row.held
            found.setdefault(row.owner, []).append(row if budget >= 0 else row.light())
        for rows in found.values():
            rows.sort(key=_order)
        return found

    def _one_by_one(self, owners: Sequence[UserId]) -> dict[str, list[RecoveredRow]]:
        """The listing where some value cannot be read: each row on its own."""
        condition = self._of_users(owners)
        found: dict[str, list[RecoveredRow]] = {}
        if condition is None:
            return found
        try:
            keys = list(self._read(self._columns(values=None), condition))
        except ValueUnreadable as error:
            raise self.damaged() from error
        budget = BUDGET_BYTES
        for owner in owners:
            ids = {name_of(row.id): row.id for row in keys if row.owner == owner}
            for one in ids.values():
                for row in self._alone(owner, one):
                    budget -= row.held
                    found.setdefault(owner, []).append(row if budget >= 0 else row.light())
        for rows in found.values():
            rows.sort(key=_order)
        return found

    def _alone(self, owner: UserId, one: Any) -> list[RecoveredRow]:
        try:
            return self.load(owner, [one])
        except ValueUnreadable:
            return [RecoveredRow(owner, one, (Value(0),), unreadable=True)]

    def _read(
        self, columns: Iterable[ColumnElement[Any]], condition: ColumnElement[bool] | None
    ) -> Iterator[RecoveredRow]:
        statement = select(*columns).select_from(self._from)
        if condition is not None:
            statement = statement.where(condition)
        try:
            with self._database.reading() as connection:
                result = connection.execution_options(
                    stream_results=True, max_row_buffer=BUFFERED_ROWS
                ).execute(statement)
                for row in result.mappings():
                    yield self._recovered(row)
        except Misspelled as error:
            raise self._misspelled() from error

    # Columns and conditions ------------------------------------------------------------------

    def _columns(self, *, values: bool | None, whole: bool = False) -> list[ColumnElement[Any]]:
        """User, id and, unless `values` is None, times, hashes, sizes and (if true) values.

        `whole`: large values too.
        """
        mapped = self._mapped
        user = self._column(mapped.user)
        chosen: list[ColumnElement[Any]] = [
            self._database.exact_text(user).label("owner"),
            self._column(mapped.id).label("id"),
        ]
        if values is None:
            return chosen
        for name, label in ((mapped.modified, "modified"), (mapped.sha256, "sha256")):
            chosen.append((null() if name is None else self._column(name)).label(label))
        chosen.extend(
            self._column(name).label(f"field{number}")
            for number, name in enumerate(mapped.fields.values())
        )
        for number, name in enumerate(self._valued()):
            value, size = self._value(name)
            chosen.append(size.label(f"size{number}"))
            if values:
                small = value if whole else case((size <= INLINE_BYTES, value), else_=null())
                chosen.append(small.label(f"value{number}"))
        return chosen

    def _valued(self) -> list[str]:
        """The columns that are files of their own."""
        data = [] if self._mapped.data is None else [self._mapped.data]
        return [*data, *self._mapped.beside.values()]

    def _value(self, name: str) -> tuple[ColumnElement[Any], ColumnElement[int]]:
        """A column as it is read, and its size in bytes."""
        plain = self._column(name)
        binary = self._types.get(name) == _BYTEA
        if self._database.dialect == "postgresql" and not binary:
            plain = cast(plain, Text)  # JSON as it is written, not as a driver understands it
        return plain, self._database.size_of(plain, binary=binary)

    def _of_users(self, owners: Sequence[UserId]) -> ColumnElement[bool] | None:
        """A condition that holds of these users' rows, and perhaps of others'; None: of none."""
        user = self._column(self._mapped.user)
        spelled = [owner for owner in owners if _storable(owner)]
        if self._database.dialect == "sqlite":  # a column may hold numbers and texts
            known: list[Any] = [*spelled, *map(int, filter(_is_integer, spelled))]
            return _among(user, known) if known else None
        spelled = [owner for owner in spelled if "\0" not in owner]
        kind = self._types.get(self._mapped.user)
        if self._database.dialect != "postgresql" or kind in _TEXTS:
            known = list(spelled)
        elif kind in _INTEGERS:
            known = [int(owner) for owner in spelled if _is_integer(owner)]
        elif kind == _UUID:
            known = [UUID(owner) for owner in spelled if _is_uuid(owner)]
        else:
            return _among(cast(user, Text), spelled) if spelled else None
        return _among(user, known) if known else None

    def _column(self, name: str) -> ColumnElement[Any]:
        return self._from.c[name]

    @cached_property
    def _from(self) -> FromClause:
        mapped = self._mapped
        names = {mapped.user, mapped.id, *mapped.fields.values(), *self._valued()}
        names.update(name for name in (mapped.modified, mapped.sha256) if name is not None)
        columns = [column(quoted_name(name, quote=True)) for name in sorted(names)]
        if mapped.table is not None:
            schema = None if mapped.schema is None else quoted_name(mapped.schema, quote=True)
            return table(quoted_name(mapped.table, quote=True), *columns, schema=schema)
        query = (mapped.query or "").strip().rstrip(";").replace(":", r"\:")
        return text(query).columns(*columns).subquery("recovered")

    @cached_property
    def _types(self) -> dict[str, int]:
        """PostgreSQL's number of each column's type; elsewhere nothing."""
        columns = list(self._from.c)
        try:
            with self._database.reading() as connection:
                result = connection.execute(select(*columns).where(false()))
                described = [] if result.cursor is None else list(result.cursor.description or ())
                result.close()
        except Misspelled as error:
            raise self._misspelled() from error
        if self._database.dialect != "postgresql":
            return {}
        return {one.name: int(str(kind[1])) for one, kind in zip(columns, described, strict=True)}

    # Rows ------------------------------------------------------------------------------------

    def _recovered(self, got: RowMapping) -> RecoveredRow:
        owner = got["owner"]
        values: list[Value] = []
        if self._mapped.fields and "modified" in got:
            fields = {
                name: got[f"field{number}"] for number, name in enumerate(self._mapped.fields)
            }
            data, damaged = json_of(fields)
            values.append(Value(len(data), data, damaged=damaged))
        values.extend(
            _value(got[f"size{number}"], got.get(f"value{number}"))
            for number in range(len(self._valued()))
            if f"size{number}" in got
        )
        return RecoveredRow(
            user_of(owner),
            got["id"],
            tuple(values),
            moment_of(got.get("modified")),
            _hexadecimal(got.get("sha256")),
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
        wanted = [one.name for one in self._from.c]
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

    def damaged(self) -> Unavailable:
        """What to raise where not even users and ids can be read."""
        return Unavailable(
            f"the rows of {self.called} cannot even be listed: the database is damaged there",
            hint="repair or dump what is left of it, and name that as the source",
        )


def _among(asked: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a column holds one of these values; whole numbers are sent as 64 bits."""
    if all(isinstance(value, int) for value in values):
        return asked.in_(bindparam(None, list(values), type_=BigInteger(), expanding=True))
    return asked.in_(values)


def _order(row: RecoveredRow) -> tuple[int, int, str, tuple[int, ...], str, str]:
    return row.order


def _value(size: Any, value: Any) -> Value:
    if size is None:
        return Value(0, b"", absent=True)
    if value is None:
        return Value(int(size), b"" if size == 0 else None)
    data = bytes_of(value)
    return Value(len(data), data)


def _hexadecimal(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes) and not isinstance(value, DamagedText):
        return value.hex() if len(value) == 32 else value.decode("ascii", "replace").lower()  # noqa: PLR2004 - bytes of SHA-256
    return str(value).strip().lower()


def _storable(owner: str) -> bool:
    """Whether a database could hold this text at all."""
    try:
        owner.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_integer(owner: str) -> bool:
    """Whether it is spelled exactly as a database spells a 64-bit integer."""
    digits = owner.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):  # noqa: PLR2004
        return False
    return str(int(owner)) == owner and -(1 << 63) <= int(owner) < 1 << 63


def _is_uuid(owner: str) -> bool:
    try:
        return str(UUID(owner)) == owner
    except ValueError:
        return False
