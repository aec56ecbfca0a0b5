"""What is asked of a database about one category's rows: columns, conditions, their types."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    bindparam,
    case,
    cast,
    column,
    false,
    func,
    null,
    select,
    table,
    text,
)
from sqlalchemy.sql import quoted_name

from orchestrator.items import UserId
from workers.material.databases import ReadOnlyDatabase
from workers.material.row_mapping import Rows
from workers.material.row_values import tolerant_text

INLINE_BYTES: Final = 64 * 1024
"""A larger value is never read together with the listing."""

_BYTEA: Final = 17
_INTEGERS: Final = frozenset((20, 21, 23))
_UUID: Final = 2950
_TEXTS: Final = frozenset((18, 19, 25, 1042, 1043))
"""Numbers of types in PostgreSQL's catalogue, the same in every database."""

UNCHECKED: Final = "SQL_ASCII"
"""The encoding of servers that take any bytes for text."""


class RowColumns:
    """The parts of statements for the rows that `mapped` describes.

    Everything raises what `ReadOnlyDatabase.reading` raises: the types of columns are asked for
    once.
    """

    def __init__(self, database: ReadOnlyDatabase, mapped: Rows) -> None:
        self._database = database
        self._mapped = mapped

    @cached_property
    def source(self) -> FromClause:
        """The table or query."""
        mapped = self._mapped
        names = {mapped.user, mapped.id, *mapped.fields.values(), *self.files}
        names.update(name for name in (mapped.modified, mapped.sha256) if name is not None)
        columns = [column(quoted_name(name, quote=True)) for name in sorted(names)]
        if mapped.table is not None:
            schema = None if mapped.schema is None else quoted_name(mapped.schema, quote=True)
            return table(quoted_name(mapped.table, quote=True), *columns, schema=schema)
        query = (mapped.query or "").strip().rstrip(";").replace(":", r"\:")
        return text(query).columns(*columns).subquery("recovered")

    @property
    def files(self) -> list[str]:
        """The columns that are files of their own: the data, then what lies beside it."""
        data = [] if self._mapped.data is None else [self._mapped.data]
        return [*data, *self._mapped.beside.values()]

    @property
    def owner(self) -> ColumnElement[Any]:
        """The user as a text that is equal only to itself, sorted by its bytes; or those bytes."""
        user = self._column(self._mapped.user)
        if self._is_unchecked(self._mapped.user):
            return user
        return self._database.exact_text(user)

    @property
    def has_owner(self) -> ColumnElement[bool]:
        """Whether a row names a user at all."""
        return self.source.c[self._mapped.user].is_not(None)

    def keys(self) -> list[ColumnElement[Any]]:
        """Nothing but whose a row is, and which."""
        return [self.owner.label("owner"), self._column(self._mapped.id).label("id")]

    def facts(self) -> list[ColumnElement[Any]]:
        """Keys, time, hash, fields and the sizes of values."""
        mapped = self._mapped
        chosen = self.keys()
        for name, label in ((mapped.modified, "modified"), (mapped.sha256, "sha256")):
            chosen.append((null() if name is None else self._column(name)).label(label))
        for number, name in enumerate(mapped.fields.values()):
            chosen.append(self._column(name).label(f"field{number}"))
        for number, name in enumerate(self.files):
            chosen.append(self._value(name)[1].label(f"size{number}"))
        return chosen

    def values(self, *, whole: bool) -> list[ColumnElement[Any]]:
        """The values themselves; NULL for large ones unless they are wanted whole."""
        chosen: list[ColumnElement[Any]] = []
        for number, name in enumerate(self.files):
            value, size = self._value(name)
            small = value if whole else case((size <= INLINE_BYTES, value), else_=null())
            chosen.append(small.label(f"value{number}"))
        return chosen

    def field_value(self, name: str, value: Any) -> Any:
        """A column's value as the database means it, whatever it was read as."""
        if isinstance(value, bytes) and self._is_unchecked(name):
            return tolerant_text(value)
        return value

    def of_users(self, owners: Sequence[UserId]) -> ColumnElement[bool] | None:
        """A condition that holds of these users' rows, and perhaps of others'; None: of none."""
        user = self.source.c[self._mapped.user]
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
            return cast(user, Text).in_(spelled) if spelled else None
        return _among(user, known) if known else None

    def of_ids(self, ids: Sequence[Any]) -> ColumnElement[bool]:
        """A condition that holds of the rows with these ids."""
        return _among(self._column(self._mapped.id), ids)

    def check(self) -> None:
        """Raise where there is no such table or column."""
        self._types  # noqa: B018 - asking for the types is the proof

    def _column(self, name: str) -> ColumnElement[Any]:
        """A column, as bytes where the server never checked that its texts are texts."""
        plain = self.source.c[name]
        if self._is_unchecked(name):
            return func.convert_to(cast(plain, Text), UNCHECKED)
        return plain

    def _value(self, name: str) -> tuple[ColumnElement[Any], ColumnElement[int]]:
        """A column as it is read, and its size in bytes."""
        plain = self._column(name)
        binary = self._types.get(name) == _BYTEA or self._is_unchecked(name)
        if self._database.dialect == "postgresql" and not binary:
            plain = cast(plain, Text)  # JSON as it is written, not as a driver understands it
        return plain, self._database.size_of(plain, binary=binary)

    def _is_unchecked(self, name: str) -> bool:
        return self._types.get(name) in _TEXTS and self._server_encoding == UNCHECKED

    @cached_property
    def _server_encoding(self) -> str:
        with self._database.reading() as connection:
            return str(connection.exec_driver_sql("SHOW server_encoding").scalar())

    @cached_property
    def _types(self) -> dict[str, int]:
        """PostgreSQL's number of each column's type; elsewhere nothing."""
        columns = list(self.source.c)
        with self._database.reading() as connection:
            result = connection.execute(select(*columns).where(false()))
            described = [] if result.cursor is None else list(result.cursor.description or ())
            result.close()
        if self._database.dialect != "postgresql":
            return {}
        return {one.name: int(str(kind[1])) for one, kind in zip(columns, described, strict=True)}


def _among(asked: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a column holds one of these values; whole numbers are sent as 64 bits."""
    if all(isinstance(value, int) for value in values):
        return asked.in_(bindparam(None, list(values), type_=BigInteger(), expanding=True))
    return asked.in_(values)


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
