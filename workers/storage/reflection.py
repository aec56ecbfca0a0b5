"""Checks a plan's idea of a table against the real schema, and names every difference at once."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, text, types
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import NoSuchTableError, UnsupportedCompilationError

from orchestrator.errors import Unavailable
from workers.storage.tables import Column, Family, Layout, Table

_FAMILIES: Final = (
    (types.Boolean, Family.BOOLEAN),
    (types.Integer, Family.INTEGER),
    (types.Uuid, Family.UUID),
    (types.LargeBinary, Family.BYTES),
    (types.JSON, Family.JSON),
    (types.DateTime, Family.TIME),
    (types.String, Family.TEXT),
)
_KEYS: Final = frozenset({Family.TEXT, Family.INTEGER, Family.UUID})
_ALLOWED: Final[Mapping[str, frozenset[Family]]] = {
    "user": _KEYS,
    "ident": _KEYS,
    "content": frozenset({Family.BYTES, Family.TEXT, Family.JSON}),
    "media": frozenset({Family.TEXT}),
    "revised": frozenset({Family.TIME}),
    "modified": frozenset({Family.TIME}),
    "deleted": frozenset({Family.TIME, Family.BOOLEAN}),
    "version": frozenset({Family.INTEGER, Family.TIME}),
}
_OURS: Final = {
    "user": Family.TEXT,
    "ident": Family.TEXT,
    "content": Family.BYTES,
    "media": Family.TEXT,
    "revised": Family.TIME,
    "modified": Family.TIME,
}
_TICKS: Final = {None: "1 microsecond", 6: "1 microsecond", 5: "10 microseconds"} | {
    4: "100 microseconds",
    3: "1 millisecond",
}
"""By the digits that a time has after its seconds."""
_ORDINARY: Final = "r"
ATTACHMENTS: Final = ("user_id", "ident", "name", "content")


def exists(engine: Engine, table: Table) -> bool:
    """Whether there is a table (or view) of that name."""
    schema, name = _split(engine, table)
    return inspect(engine).has_table(name, schema=schema)


def quoted(engine: Engine, table: Table, *endings: str) -> list[str]:
    """The table's name with each of the endings, as it stands in a statement."""
    schema, name = _split(engine, table)
    return [_quoted(engine, schema, f"{name}{ending}") for ending in endings]


def layout(engine: Engine, table: Table, *, attachments: bool) -> Layout:
    """The table as it really is. `attachments`: it has a table for them, as ours have.

    Raises:
        Unavailable: it does not fit; the message names every difference.
    """
    with engine.connect() as connection:
        return _Reflection(connection, table).layout(attachments=attachments)


def _split(bound: Engine | Connection, table: Table) -> tuple[str | None, str]:
    """Schema and name; SQLite has no schemas."""
    schema, dot, name = table.table.partition(".")
    if not dot or bound.dialect.name == "sqlite":
        return None, table.table
    return schema, name


def _quoted(bound: Engine | Connection, schema: str | None, name: str) -> str:
    quote = bound.dialect.identifier_preparer.quote_identifier
    return quote(name) if schema is None else f"{quote(schema)}.{quote(name)}"


class _Reflection:
    """One table, looked at."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.connection = connection
        self.dialect = connection.dialect
        self.inspector = inspect(connection)
        self.table = table
        self.schema, self.name = _split(connection, table)
        # PostgreSQL pads the one and ignores the case of the other; SQLite does neither.
        self._loose = {"CHAR", "CITEXT"} if self.dialect.name == "postgresql" else set[str]()
        self.problems: list[str] = []
        self.by_user = False
        self.columns = self._columns(self.name)

    def _columns(self, name: str) -> dict[str, ReflectedColumn]:
        try:
            found = self.inspector.get_columns(name, schema=self.schema)
        except NoSuchTableError:
            raise Unavailable(
                f"sql target: there is no table {self.table.table}",
                hint="create it, correct its name, or let inspection create our own (create: true)",
            ) from None
        return {column["name"]: column for column in found}

    def layout(self, *, attachments: bool) -> Layout:
        """Every check, then the layout."""
        roles = {role: self._column(role, getattr(self.table, role)) for role in _ALLOWED}
        fields: list[tuple[str, Column]] = []
        dropped: set[str] = set()
        for name, column in self.table.fields.items():
            known = None if column is None else self._column(f"fields.{name}", column)
            if known is not None:
                fields.append((name, known))
            elif column is None:
                dropped.add(name)
        if (self.table.content is None) == (not fields):
            self.problems.append("it needs either content or fields, and not both")
        self._check_keys()
        self._check_rest()
        ours = self._attachments() if attachments else None
        user, ident = roles.pop("user"), roles.pop("ident")
        if self.problems or user is None or ident is None:
            raise Unavailable(
                f"sql target: table {self.table.table} does not fit: " + "; ".join(self.problems),
                hint="correct the plan's tables, or the table",
            )
        kind, guarded = self._kind()
        return Layout(
            table=_quoted(self.connection, self.schema, self.name),
            user=user,
            ident=ident,
            fields=tuple(fields),
            dropped=frozenset(dropped),
            system_version=kind == _ORDINARY,
            attachments=ours,
            by_user=self.by_user,
            copies=attachments
            and kind == _ORDINARY
            and not guarded
            and _typed_as_ours({"user": user, "ident": ident, **roles}),
            **roles,
        )

    def _column(self, role: str, name: str | None) -> Column | None:
        if name is None:
            return None
        found = self.columns.get(name)
        if found is None:
            self.problems.append(f"it has no column {name} ({role})")
            return None
        kind = found["type"]
        family = _family(kind)
        if not _suits(role, family, postgresql=self.dialect.name == "postgresql"):
            wanted = " or ".join(sorted(_ALLOWED[role]))
            self.problems.append(f"column {name} ({role}) is no {wanted}")
        if role in {"user", "ident"} and type(kind).__name__ in self._loose:
            self.problems.append(f"column {name} ({role}) takes different texts for one")
        tick = _TICKS.get(getattr(kind, "precision", None) if family is Family.TIME else None)
        if tick is None and role == "version":
            self.problems.append(f"column {name} (version) is too coarse: give it milliseconds")
        plain = family is Family.TEXT and not isinstance(kind, types.Enum)
        return Column(
            name=self.dialect.identifier_preparer.quote_identifier(name),
            family=family,
            cast=None if plain or self.dialect.name == "sqlite" else self._compiled(kind),
            zoned=getattr(kind, "timezone", False) is True,
            tick=tick or "1 second",
        )

    def _compiled(self, kind: types.TypeEngine[Any]) -> str | None:
        try:
            return kind.compile(self.dialect)
        except UnsupportedCompilationError:
            return None

    def _check_keys(self) -> None:
        """User and ident together must be unique: that is what makes creating exact."""
        wanted = {self.table.user, self.table.ident}
        look, name, schema = self.inspector, self.name, self.schema
        keys = [look.get_pk_constraint(name, schema)["constrained_columns"]]
        keys += [key["column_names"] for key in look.get_unique_constraints(name, schema)]
        others: list[list[str]] = []
        for index in look.get_indexes(name, schema):
            partial = {"postgresql_where", "sqlite_where"} & set(index.get("dialect_options", {}))
            columns = [column or "" for column in index["column_names"]]
            if not partial:
                (keys if index["unique"] else others).append(columns)
        self.by_user = any(columns[:1] == [self.table.user] for columns in (*keys, *others))
        if wanted not in [set(columns) for columns in keys]:
            self.problems.append(
                f"{self.table.user} and {self.table.ident} together are not its unique key"
            )

    def _check_rest(self) -> None:
        """A column that must have a value which nobody gives would refuse every row."""
        given = {getattr(self.table, role) for role in _ALLOWED} | {*self.table.fields.values()}
        for name, column in self.columns.items():
            filled = (
                column["nullable"]
                or column.get("default") is not None
                or column.get("identity") is not None
                or column.get("computed") is not None
                or column.get("autoincrement") is True
                or (self.dialect.name == "sqlite" and bool(column.get("primary_key")))
            )
            if name not in given and not filled:
                self.problems.append(f"column {name} must have a value and nothing is mapped to it")

    def _attachments(self) -> str:
        name = f"{self.name}_attachments"
        if not self.inspector.has_table(name, schema=self.schema):
            self.problems.append(f"there is no table {name}")
            return ""
        missing = [column for column in ATTACHMENTS if column not in self._columns(name)]
        self.problems += [f"{name} has no column {column}" for column in missing]
        return _quoted(self.connection, self.schema, name)

    def _kind(self) -> tuple[str, bool]:
        """What PostgreSQL says that it is, and whether it looks at rows who may see them.

        Views have no xmin, partitions cannot return it; empty elsewhere.
        """
        if self.dialect.name != "postgresql":
            return "", False
        kind, guarded = self.connection.execute(
            text(
                "SELECT relkind::text, relrowsecurity FROM pg_class WHERE oid = to_regclass(:name)"
            ),
            {"name": _quoted(self.connection, self.schema, self.name).replace("%%", "%")},
        ).one()
        return str(kind), bool(guarded)


def _typed_as_ours(columns: Mapping[str, Column | None]) -> bool:
    """Whether the columns that we fill take the binary form of what we put into them."""
    return all(
        (column := columns[role]) is not None
        and column.family is family
        and (family is not Family.TEXT or column.cast is None)
        and (family is not Family.TIME or column.zoned)
        for role, family in _OURS.items()
    )


def _family(kind: types.TypeEngine[Any]) -> Family:
    for base, family in _FAMILIES:
        if isinstance(kind, base):
            return family
    return Family.OTHER


def _suits(role: str, family: Family, *, postgresql: bool) -> bool:
    allowed = _ALLOWED.get(role)
    if allowed is None or family in allowed:
        return True
    # SQLite has no times: whoever declared them as text meant the same; a version may be any text.
    loose = not postgresql and role != "version"
    return loose and family is Family.TEXT and Family.TIME in allowed
