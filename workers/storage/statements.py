"""All the SQL of the sql target, in two dialects.

Values are bound, never written into a statement; names come quoted from the real schema.

PostgreSQL takes a chunk in one statement. New rows of our own tables are given by COPY, which takes
all or none; where one of them is there already, and for tables of others, they go as arrays:
`unnest` is as fast as COPY into a temporary table (96,000 rows/s against 85,000 in chunks of 300),
needs no right to make one, and works behind PgBouncer. Its row versions are `xmin`, which changes
with every update whoever makes it; a row that is changed while we wait for its lock is compared
again. SQLite takes one row a statement, in one transaction that nobody else writes in; an incoming
row is bound by name.
"""

# ruff: noqa: S608 - every name is quoted by the dialect, every value is bound

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from workers.storage.tables import Column, Family, Layout

PAGE: Final = 5000
"""Rows of a survey that are read at once."""


class Statements(Struct, frozen=True, kw_only=True):
    """What is said to one table."""

    survey: str
    """Of users, from the start → user, ident, version, modified, deleted, deleted at, size."""
    survey_on: str
    """The same after a user and ident."""
    fetch: str
    """Of places → number, version, modified, content (or the fields as a JSON text)."""
    create: str
    """→ user, ident, version of what was created."""
    copy: str | None = None
    """Takes new rows in binary form, all or none: user, ident, content, media, revised, modified;
    None: it cannot."""
    replace: str | None
    """→ user, ident, version of what was replaced; None: versions cannot be compared."""
    remove: str | None
    """→ user, ident, version of the tombstone; None: versions cannot be compared."""
    attachments: str | None
    """Of places → number, name, content, in this order."""
    drop_attachments: str | None
    """All those of places."""
    add_attachments: str | None


def statements(layout: Layout, dialect: str) -> Statements:
    """What is said to that table, in `postgresql` or `sqlite`."""
    return _postgresql(layout) if dialect == "postgresql" else _sqlite(layout)


class _Words(Struct, frozen=True, kw_only=True):
    """How a dialect says the parts of a statement."""

    given: Mapping[str, str]
    """The incoming row's media, content, revised and now."""
    into: Callable[[Column, str], str]
    """An incoming text as a value of that column."""
    time_into: Callable[[Column, str], str]
    later: Callable[[Column, str], str]
    """Now, or a little after the time that is there already."""
    field_into: Callable[[str, Column], str]
    """A field of the incoming content as a value of that column."""


def _assignments(layout: Layout, words: _Words) -> list[tuple[str, str]]:
    """Columns other than the key, with what goes into them."""
    key = {layout.user.name, layout.ident.name}
    listed = [
        (column.name, words.field_into(name, column))
        for name, column in layout.fields
        if column.name not in key
    ]
    if layout.content is not None:
        listed.append((layout.content.name, words.into(layout.content, words.given["content"])))
    if layout.media is not None:
        listed.append((layout.media.name, words.given["media"]))
    if layout.revised is not None:
        listed.append(
            (layout.revised.name, words.time_into(layout.revised, words.given["revised"]))
        )
    if layout.modified is not None and not _same(layout.modified, layout.version):
        listed.append((layout.modified.name, words.time_into(layout.modified, words.given["now"])))
    if layout.deleted is not None:
        boolean = layout.deleted.family is Family.BOOLEAN
        listed.append((layout.deleted.name, "FALSE" if boolean else "NULL"))
    return listed


def _insertion(layout: Layout, words: _Words) -> list[tuple[str, str]]:
    """Columns of a new row. Our own tables give the first version by themselves."""
    listed = _assignments(layout, words)
    if layout.version is not None and layout.attachments is None:
        counts = layout.version.family is Family.INTEGER
        first = "1" if counts else words.time_into(layout.version, words.given["now"])
        listed.append((layout.version.name, first))
    return listed


def _changes(layout: Layout, words: _Words, version: str) -> str:
    """All assignments of a replace; `version` is the version column as the dialect says it."""
    listed = [f"{name} = {value}" for name, value in _assignments(layout, words)]
    if layout.version is not None:
        listed.append(f"{layout.version.name} = {_next(layout.version, words, version)}")
    return ", ".join(listed)


def _next(column: Column, words: _Words, version: str) -> str:
    """The version after this one."""
    return f"{version} + 1" if column.family is Family.INTEGER else words.later(column, version)


def _same(one: Column, other: Column | None) -> bool:
    return other is not None and one.name == other.name


def _burial(layout: Layout, words: _Words, version: str) -> str:
    """All assignments of a removal; of a row in our own tables the content goes, too."""
    deleted = layout.deleted
    if deleted is None:
        return ""
    now = words.time_into(deleted, words.given["now"])
    listed = [f"{deleted.name} = {'TRUE' if deleted.family is Family.BOOLEAN else now}"]
    if layout.modified is not None and not _same(layout.modified, layout.version):
        at = words.time_into(layout.modified, words.given["now"])
        listed.append(f"{layout.modified.name} = {at}")
    if layout.version is not None and not _same(deleted, layout.version):
        listed.append(f"{layout.version.name} = {_next(layout.version, words, version)}")
    if layout.attachments is not None and layout.content is not None:
        listed.append(f"{layout.content.name} = ''")
    return ", ".join(listed)


def _alive(deleted: Column | None) -> str:
    """True of rows that are not deleted."""
    if deleted is None:
        return "TRUE"
    return f"t.{deleted.name} IS {'NOT TRUE' if deleted.family is Family.BOOLEAN else 'NULL'}"


def _deleted(layout: Layout, time: Callable[[Column], str]) -> str:
    """Whether a row is deleted, and since when as far as it says."""
    deleted = layout.deleted
    at = "NULL"
    if deleted is not None and deleted.family is not Family.BOOLEAN:
        at = time(deleted)
    return f"NOT ({_alive(deleted)}), {at}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# PostgreSQL ----------------------------------------------------------------------------------


def _postgresql(layout: Layout) -> Statements:
    user, ident = layout.user, layout.ident
    into, now = _postgresql_into, "CAST(%(now)b AS timestamptz)"
    words = _Words(
        given={"media": "p.m", "content": "p.c", "revised": "p.r", "now": now},
        into=into,
        time_into=_postgresql_time,
        later=lambda column, old: (
            f"GREATEST({_postgresql_time(column, now)}, {old} + INTERVAL '{column.tick}')"
        ),
        field_into=_postgresql_field,
    )
    version = _postgresql_version(layout)
    kind = "bytea" if layout.binary else "text"
    arrays = (
        "CAST(%(users)b AS text[]), CAST(%(idents)b AS text[]), CAST(%(medias)b AS text[]),"
        f" CAST(%(contents)b AS {kind}[]), CAST(%(reviseds)b AS timestamptz[])"
    )
    incoming = f"unnest({arrays}) AS p(u, i, m, c, r)"
    expecting = f"unnest({arrays}, CAST(%(expecteds)b AS text[])) AS p(u, i, m, c, r, x)"
    # As JSON: the driver makes an array of texts one by one, which took as long as the look itself.
    places = (
        "ROWS FROM (json_array_elements_text(CAST(%(users)s AS json)),"
        " json_array_elements_text(CAST(%(idents)s AS json)))"
    )
    here = f"t.{user.name} = {into(user, 'p.u')} AND t.{ident.name} = {into(ident, 'p.i')}"
    key = f"CAST(t.{user.name} AS text), CAST(t.{ident.name} AS text)"
    modified = "NULL" if layout.modified is None else _epoch(layout.modified)
    owners = into(user, "%(owners)s") if user.cast is None else f"CAST(%(owners)s AS {user.cast}[])"

    def page(after: str) -> str:
        return (
            f"SELECT {key}, {version}, {modified}, {_deleted(layout, _epoch)},"
            f" {_postgresql_size(layout)} FROM {layout.table} AS t"
            f" WHERE t.{user.name} = ANY({owners}) AND t.{ident.name} IS NOT NULL"
            f"{after}"
            f" ORDER BY t.{user.name}, t.{ident.name} LIMIT {PAGE}"
        )

    after = (
        f" AND (t.{user.name}, t.{ident.name})"
        f" > ({into(user, '%(user)s')}, {into(ident, '%(ident)s')})"
    )
    new = _insertion(layout, words)
    columns = ", ".join([user.name, ident.name, *(name for name, _ in new)])
    values = ", ".join([into(user, "p.u"), into(ident, "p.i"), *(value for _, value in new)])
    parts = layout.attachments
    at = "a.user_id = p.u AND a.ident = p.i"
    return Statements(
        survey=page(""),
        survey_on=page(after),
        fetch=(
            # LIMIT keeps the order of the join: a planner that takes a table which is being filled
            # for an empty one compared every place with every row.
            f"SELECT p.n - 1, found.* FROM {places} WITH ORDINALITY AS p(u, i, n)"
            f" CROSS JOIN LATERAL (SELECT {version}, {modified}, {_postgresql_content(layout)}"
            f" FROM {layout.table} AS t WHERE {here} AND {_alive(layout.deleted)} LIMIT 1) AS found"
        ),
        create=(
            f"INSERT INTO {layout.table} AS t ({columns}) SELECT {values} FROM {incoming}"
            f" ON CONFLICT ({user.name}, {ident.name}) DO NOTHING RETURNING {key}, {version}"
        ),
        copy=_copying(layout) if layout.copies else None,
        replace=None
        if not layout.versioned
        else (
            f"UPDATE {layout.table} AS t SET {_changes(layout, words, _version_column(layout))}"
            f" FROM {expecting} WHERE {here} AND {version} = p.x RETURNING {key}, {version}"
        ),
        remove=_postgresql_removal(layout, words, version, here=here, key=key),
        attachments=parts
        and (
            # Asked once for all: most users of most categories have none.
            f"SELECT p.n - 1, a.name, a.content FROM {places} WITH ORDINALITY AS p(u, i, n)"
            f" JOIN {parts} AS a ON {at} WHERE EXISTS (SELECT FROM {parts} WHERE user_id = ANY("
            "ARRAY(SELECT DISTINCT json_array_elements_text(CAST(%(users)s AS json)))))"
            " ORDER BY p.n, a.name"
        ),
        drop_attachments=parts and f"DELETE FROM {parts} AS a USING {places} AS p(u, i) WHERE {at}",
        add_attachments=parts
        and (
            f"INSERT INTO {parts} (user_id, ident, name, content) SELECT * FROM"
            " unnest(CAST(%(users)b AS text[]), CAST(%(idents)b AS text[]),"
            " CAST(%(names)b AS text[]), CAST(%(contents)b AS bytea[]))"
        ),
    )


COPIED: Final = ("text", "text", "bytea", "text", "timestamptz", "timestamptz")
"""The types of what `copy` takes."""

OWN_VERSION: Final = "SELECT CAST(txid_current() & 4294967295 AS text)"
"""The version (xmin) of every row that the transaction at hand makes."""


def _copying(layout: Layout) -> str:
    roles = (layout.content, layout.media, layout.revised, layout.modified)
    columns = [layout.user, layout.ident, *(column for column in roles if column is not None)]
    names = ", ".join(column.name for column in columns)
    return f"COPY {layout.table} ({names}) FROM STDIN (FORMAT BINARY)"


def _postgresql_removal(
    layout: Layout, words: _Words, version: str, *, here: str, key: str
) -> str | None:
    if not layout.versioned:
        return None
    given = (
        "unnest(CAST(%(users)b AS text[]), CAST(%(idents)b AS text[]),"
        " CAST(%(expecteds)b AS text[])) AS p(u, i, x)"
    )
    which = f"{here} AND {version} = p.x"
    if layout.deleted is None:
        return f"DELETE FROM {layout.table} AS t USING {given} WHERE {which} RETURNING {key}, ''"
    return (
        f"UPDATE {layout.table} AS t SET {_burial(layout, words, _version_column(layout))}"
        f" FROM {given} WHERE {which} AND {_alive(layout.deleted)} RETURNING {key}, {version}"
    )


def _version_column(layout: Layout) -> str:
    return "NULL" if layout.version is None else f"t.{layout.version.name}"


def _postgresql_version(layout: Layout) -> str:
    """A row's version as a text."""
    column = layout.version
    if layout.system_version:
        return "CAST(t.xmin AS text)"
    if column is None:
        return "NULL"
    name = f"t.{column.name}"
    if column.family is Family.TIME and column.zoned:
        name = f"({name} AT TIME ZONE 'UTC')"  # whatever the session's zone
    return f"CAST({name} AS text)"


def _postgresql_time(column: Column, value: str) -> str:
    return value if column.zoned else f"({value} AT TIME ZONE 'UTC')"


def _postgresql_into(column: Column, value: str) -> str:
    return value if column.cast is None else f"CAST({value} AS {column.cast})"


def _postgresql_field(name: str, column: Column) -> str:
    arrow = "->" if column.family is Family.JSON else "->>"
    value = f"(CAST(p.c AS json) {arrow} {_postgresql_literal(name)})"
    if column.family is Family.TIME and not column.zoned:
        return f"CAST({value} AS timestamptz) AT TIME ZONE 'UTC'"
    return _postgresql_into(column, value)


def _postgresql_content(layout: Layout) -> str:
    if layout.content is not None:
        name = f"t.{layout.content.name}"
        return name if layout.binary else f"CAST({name} AS text)"
    pairs = ", ".join(
        f"{_postgresql_literal(name)}, t.{column.name}"
        + (" AT TIME ZONE 'UTC'" if column.family is Family.TIME and not column.zoned else "")
        for name, column in layout.fields
    )
    return f"CAST(json_build_object({pairs}) AS text)"


def _postgresql_size(layout: Layout) -> str:
    if layout.content is None:
        return "0"
    size = f"octet_length({_postgresql_content(layout)})"
    if layout.attachments is None:
        return size
    return (
        f"{size} + COALESCE((SELECT SUM(octet_length(a.content)) FROM {layout.attachments} AS a"
        f" WHERE a.user_id = t.{layout.user.name} AND a.ident = t.{layout.ident.name}), 0)"
    )


def _postgresql_literal(text: str) -> str:
    return _literal(text).replace("%", "%%")  # the driver's own sign


def _epoch(column: Column) -> str:
    """Seconds since 1970 as a float: the driver refuses infinite times, and years over 9999."""
    return f"CAST(EXTRACT(EPOCH FROM t.{column.name}) AS float8)"


# SQLite --------------------------------------------------------------------------------------


def _sqlite(layout: Layout) -> Statements:
    user, ident = layout.user, layout.ident
    into = _sqlite_into
    words = _Words(
        given={"media": ":media", "content": ":content", "revised": ":revised", "now": ":now"},
        into=lambda _, value: value,
        time_into=lambda _, value: value,
        later=lambda _, old: (
            f"CASE WHEN :now > {old} THEN :now"
            f" ELSE strftime('%Y-%m-%d %H:%M:%f', {old}, '+0.001 seconds') || '000' END"
        ),
        field_into=lambda name, _: f"json_extract(:content, {_path(name)})",
    )
    version = "NULL"
    if layout.version is not None:
        version = f"CAST({layout.version.name} AS TEXT)"
    key = f"CAST({user.name} AS TEXT), CAST({ident.name} AS TEXT)"
    modified = "NULL" if layout.modified is None else f"t.{layout.modified.name}"

    def page(after: str) -> str:
        return (
            f"SELECT {key}, {version}, {modified}, {_deleted(layout, lambda c: f't.{c.name}')},"
            f" {_sqlite_size(layout)} FROM {layout.table} AS t"
            f" WHERE t.{user.name} IN (SELECT value FROM json_each(:owners))"
            f" AND t.{ident.name} IS NOT NULL"
            f"{after}"
            f" ORDER BY t.{user.name}, t.{ident.name} LIMIT {PAGE}"
        )

    after = (
        f" AND (t.{user.name}, t.{ident.name}) > ({into(user, ':user')}, {into(ident, ':ident')})"
    )
    places = "json_each(:places) AS p CROSS JOIN"
    place = ("json_extract(p.value, '$[0]')", "json_extract(p.value, '$[1]')")
    here = f"t.{user.name} = {into(user, place[0])} AND t.{ident.name} = {into(ident, place[1])}"
    new = _insertion(layout, words)
    columns = ", ".join([user.name, ident.name, *(name for name, _ in new)])
    values = ", ".join([into(user, ":user"), into(ident, ":ident"), *(value for _, value in new)])
    parts = layout.attachments
    return Statements(
        survey=page(""),
        survey_on=page(after),
        fetch=(
            f"SELECT p.key, {version}, {modified}, {_sqlite_content(layout)}"
            f" FROM {places} {layout.table} AS t ON {here} WHERE {_alive(layout.deleted)}"
        ),
        create=(
            f"INSERT INTO {layout.table} ({columns}) VALUES ({values})"
            f" ON CONFLICT ({user.name}, {ident.name}) DO NOTHING RETURNING {key}, {version}"
        ),
        replace=layout.version
        and (
            f"UPDATE {layout.table} SET {_changes(layout, words, layout.version.name)}"
            f" WHERE {user.name} = {into(user, ':user')} AND {ident.name} = {into(ident, ':ident')}"
            f" AND {version} = :expected RETURNING {key}, {version}"
        ),
        remove=_sqlite_removal(layout, words, key=key),
        attachments=parts
        and (
            f"SELECT p.key, a.name, CAST(a.content AS BLOB) FROM {places} {parts} AS a"
            f" ON a.user_id = {place[0]} AND a.ident = {place[1]} ORDER BY p.key, a.name"
        ),
        drop_attachments=parts and f"DELETE FROM {parts} WHERE user_id = :user AND ident = :ident",
        add_attachments=parts
        and (
            f"INSERT INTO {parts} (user_id, ident, name, content)"
            " VALUES (:user, :ident, :name, :content)"
        ),
    )


def _sqlite_removal(layout: Layout, words: _Words, *, key: str) -> str | None:
    if layout.version is None:
        return None
    version = f"CAST({layout.version.name} AS TEXT)"
    which = (
        f"{layout.user.name} = {_sqlite_into(layout.user, ':user')}"
        f" AND {layout.ident.name} = {_sqlite_into(layout.ident, ':ident')}"
        f" AND {version} = :expected"
    )
    if layout.deleted is None:
        return f"DELETE FROM {layout.table} WHERE {which} RETURNING {key}, ''"
    return (
        f"UPDATE {layout.table} AS t SET {_burial(layout, words, layout.version.name)}"
        f" WHERE {which} AND {_alive(layout.deleted)} RETURNING {key}, {version}"
    )


def _sqlite_into(column: Column, value: str) -> str:
    return f"CAST({value} AS INTEGER)" if column.family is Family.INTEGER else value


def _path(name: str) -> str:
    return _literal(f'$."{name}"')


def _sqlite_content(layout: Layout) -> str:
    if layout.content is not None:
        return f"CAST(t.{layout.content.name} AS BLOB)"
    pairs: list[str] = []
    for name, column in layout.fields:
        value = f"t.{column.name}"
        if column.family is Family.BOOLEAN:  # SQLite has only 0 and 1
            value = f"CASE WHEN {value} IS NOT NULL THEN json(iif({value}, 'true', 'false')) END"
        elif column.family is Family.JSON:
            value = f"json({value})"
        pairs.append(f"{_literal(name)}, {value}")
    return f"json_object({', '.join(pairs)})"


def _sqlite_size(layout: Layout) -> str:
    if layout.content is None:
        return "0"
    size = (
        f"length(t.{layout.content.name})"
        if layout.binary
        else f"length({_sqlite_content(layout)})"
    )
    if layout.attachments is None:
        return size
    return (
        f"{size} + COALESCE((SELECT SUM(length(a.content)) FROM {layout.attachments} AS a"
        f" WHERE a.user_id = t.{layout.user.name} AND a.ident = t.{layout.ident.name}), 0)"
    )


# Our own tables ------------------------------------------------------------------------------


def definitions(table: str, attachments: str, trigger: str, dialect: str) -> list[str]:
    """What makes a category's tables where they are missing. All names come quoted."""
    if dialect == "postgresql":
        text, blob, time, first = "text", "bytea", "timestamptz", "bigint NOT NULL DEFAULT 1"
        now = "now()"
    else:
        text, blob, time, now = "TEXT", "BLOB", "TIMESTAMP", "CURRENT_TIMESTAMP"
        # By chance: a row that is deleted and made again never has its old version.
        first = "INTEGER NOT NULL DEFAULT (abs(random() % 9007199254740991))"
    items = f"""CREATE TABLE IF NOT EXISTS {table} (
  user_id {text} NOT NULL,
  ident {text} NOT NULL,
  media {text} NOT NULL,
  content {blob} NOT NULL,
  revised {time},
  modified {time} NOT NULL DEFAULT {now},
  version {first},
  deleted_at {time},
  PRIMARY KEY (user_id, ident)
)"""
    parts = f"""CREATE TABLE IF NOT EXISTS {attachments} (
  user_id {text} NOT NULL,
  ident {text} NOT NULL,
  name {text} NOT NULL,
  content {blob} NOT NULL,
  PRIMARY KEY (user_id, ident, name),
  FOREIGN KEY (user_id, ident) REFERENCES {table} (user_id, ident)
    ON UPDATE CASCADE ON DELETE CASCADE
)"""
    if dialect == "postgresql":
        # Two who inspect at once do not make the tables at once.
        return ["SELECT pg_advisory_xact_lock(7216523)", items, parts]
    bump = f"""CREATE TRIGGER IF NOT EXISTS {trigger} AFTER UPDATE ON {table}
WHEN NEW.version = OLD.version
BEGIN
  UPDATE {table} SET version = OLD.version + 1
  WHERE user_id = NEW.user_id AND ident = NEW.ident;
END"""
    return [items, parts, bump]
