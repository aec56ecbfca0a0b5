"""Tables of PostgreSQL or SQLite: our own, one per category, or the operator's, mapped.

What holds:
- A row is created only where no row of that user and ident is, a deleted one included: the table's
  unique key decides, not a look before.
- A row is replaced only in the version that was looked at: PostgreSQL's own row version (`xmin`),
  so that no writer can forget to change it; on SQLite the version column. Where neither is to be
  had, nothing is replaced and the capabilities say so.
- A row that is marked deleted is a tombstone: it is surveyed as one, and only a write that expects
  its version makes it live again.
- A chunk is one transaction. A row that the database refuses is found by halving; the others of
  its chunk are written.

The statements are in `workers/storage/statements.py`, the tables in `docs/targets.md`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Attachment, Digest, Ident, Item, Media, UserId
from orchestrator.options.references import Location
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)
from orchestrator.reasons import Reason
from workers.storage.rows import (
    ROWS,
    Row,
    arrays,
    chunks,
    content_of,
    copied,
    entry,
    fits,
    named,
    removed,
    removed_arrays,
    row_of,
)
from workers.storage.statements import (
    COPIED,
    OWN_VERSION,
    PAGE,
    Statements,
    definitions,
    statements,
)
from workers.storage.tables import Layout, Table, key_fits, own

if TYPE_CHECKING:
    from workers.storage.databases import Database

PROBE: Final = UserId("reinstate-probe")
"""Whose rows the probe makes, in a transaction that is rolled back; never a real user's."""


@dataclass(frozen=True, kw_only=True)
class Sql:
    """Tables of a PostgreSQL or SQLite database."""

    url: Location
    """`postgresql://host/database` or `sqlite:///path`; with a password only by reference, as
    `env:NAME` or `file:/path` of the whole URL. A relative path starts at the plan."""
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    """Categories whose items go into a table that exists already, with its columns."""
    create: bool = True
    """Make our own tables, and an SQLite file, at inspection where they are missing."""
    schema: str | None = None
    """The PostgreSQL schema of our own tables; it exists already."""
    prefix: str = ""
    """What the names of our own tables start with, before the category's name."""

    def open(self, surroundings: Surroundings) -> "SqlTarget":
        """Ready to write; connects on first use."""
        from workers.storage.databases import Database  # noqa: PLC0415 - a heavy import, if used

        return SqlTarget(
            options=self,
            database=Database(lambda: surroundings.secret(self.url), folder=surroundings.folder),
            clock=surroundings.clock,
        )


class _Known(Struct, frozen=True):
    """A category's table, checked, and what is said to it."""

    layout: Layout
    statements: Statements


class SqlTarget:
    """A database, opened."""

    def __init__(
        self, *, options: Sql, database: "Database", clock: Callable[[], datetime]
    ) -> None:
        self._options = options
        self._database = database
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def identity(self, category: str) -> str:
        """Dialect, host and database, or the file; and which table it is by the server's count."""
        birth = self._database.birth(self._table(category).layout.table)
        return f"sql:{self._database.identity()}:{birth}"

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Make what is missing, check the schema, and probe in transactions that are undone."""
        notes: list[str] = []
        if self._options.create:
            self._database.make()
        compare_and_set = tombstones = True
        for category in categories:
            self._create_own(category)
            with self._lock:
                self._known.pop(category, None)
            known = self._table(category)
            compare_and_set = compare_and_set and known.statements.replace is not None
            tombstones = tombstones and known.layout.deleted is not None
            notes.extend(self._probe(category, known))
            if known.layout.versioned_by_time:
                notes.append(
                    f"{category}: versions are times of change; what is changed without changing "
                    "that time is not noticed"
                )
            if not known.layout.by_user:
                notes.append(f"{category}: slow, no index of its table starts with the user")
        return Capabilities(
            create_only=True,
            compare_and_set=compare_and_set,
            tombstones=tombstones,
            notes=tuple(notes),
        )

    def _create_own(self, category: str) -> None:
        from workers.storage import reflection  # noqa: PLC0415 - a heavy import, if used

        if category in self._options.tables or not self._options.create:
            return
        engine = self._database.engine()
        table = own(category, schema=self._options.schema, prefix=self._options.prefix)
        try:
            if reflection.exists(engine, table):
                return
            names = reflection.quoted(engine, table, "", "_attachments", "_changed")
        except self._database.errors as error:
            raise self._database.meaning(error) from None
        table_name, attachments, trigger = names
        commands = definitions(table_name, attachments, trigger, engine.dialect.name)

        def make(cursor: Any) -> None:
            for command in commands:
                cursor.execute(command, ())

        self._database.transaction(make, write=True)

    def _table(self, category: str) -> _Known:
        """The category's table as it really is; looked at once per process."""
        from workers.storage import reflection  # noqa: PLC0415 - a heavy import, if used

        with self._lock:
            known = self._known.get(category)
            if known is not None:
                return known
            mapped = self._options.tables.get(category)
            table = mapped or own(
                category, schema=self._options.schema, prefix=self._options.prefix
            )
            engine = self._database.engine()
            try:
                layout = reflection.layout(engine, table, attachments=mapped is None)
            except self._database.errors as error:
                raise self._database.meaning(error) from None
            known = _Known(layout, statements(layout, engine.dialect.name))
            self._known[category] = known
            return known

    def _probe(self, category: str, known: _Known) -> list[str]:
        """Create twice, replace a stale and the right version; nothing of it stays."""
        layout, say = known.layout, known.statements
        one, other, elsewhere = (
            Row(write=_probe_write(owner, ident, None), content="{}")
            for owner, ident in (
                (PROBE, "Probe"),
                (PROBE, "probe"),
                (UserId(PROBE.swapcase()), "Probe"),
            )
        )
        rows = [one, other, elsewhere]
        if not all(fits(row.write, layout) for row in rows):
            return [
                f"{category}: not probed, a probe's keys do not fit; its unique key was checked"
            ]
        if layout.binary:
            for row in rows:
                row.content = b"{}"

        def probe(cursor: Any) -> list[int]:
            made = self._create(cursor, say, rows)
            again = self._create(cursor, say, rows)
            if say.replace is None:
                return [len(made), len(again)]
            replaced: list[int] = []
            for version in ("stale", made.get((PROBE, "Probe"), "")):
                row = Row(write=_probe_write(PROBE, "Probe", version), content=one.content)
                replaced.append(len(self._replace(cursor, say, [row])))
            return [len(made), len(again), *replaced]

        try:
            answers = self._database.transaction(probe, write=True, keep=False)
        except ItemRejected as rejected:
            told = f"{category}: the table's own rules refuse a probe ({rejected.detail})"
            return [f"{told}; its unique key was checked"]
        if answers[0] != len(rows):
            raise Unavailable(
                f"sql target: the table of {category} takes different users or idents for one",
                hint="its user and ident columns must tell upper from lower case",
            )
        if answers[1:] not in ([0], [0, 0, 1]):
            raise Unavailable(
                f"sql target: the table of {category} did not keep what was written",
                hint="look for rules and triggers on it",
            )
        return []

    # Looking -----------------------------------------------------------------------------------

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The ident itself."""
        del category, media
        return str(ident)

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Every row of these users, deleted ones as tombstones; read in pages."""
        known = self._table(category)
        wanted = {owner for owner in owners if key_fits(owner, known.layout.user)}
        if not wanted:
            return
        given: dict[str, Any] = {"owners": self._owners(sorted(wanted))}
        query = known.statements.survey
        while True:
            rows = self._read(query, given)
            for owner, ident, *told in rows:
                if owner in wanted:  # whatever the column takes for equal
                    yield entry(owner, ident, *told)
            if len(rows) < PAGE:
                return
            given = {**given, "user": rows[-1][0], "ident": rows[-1][1]}
            query = known.statements.survey_on

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents of live rows, attachments by name, all as of one moment."""
        known = self._table(category)
        layout, say = known.layout, known.statements
        numbers = [
            number
            for number, place in enumerate(places)
            if key_fits(place.owner, layout.user) and key_fits(place.ref, layout.ident)
        ]
        found: list[Live | None] = [None] * len(places)
        if not numbers:
            return found
        given = self._places([(places[n].owner, places[n].ref) for n in numbers])

        def read(cursor: Any) -> tuple[list[Any], list[Any]]:
            rows = cursor.execute(say.fetch, given).fetchall()
            if say.attachments is None or not rows:
                return rows, []
            return rows, cursor.execute(say.attachments, given).fetchall()

        rows, parts = self._database.transaction(read, write=False)
        attachments: dict[int, list[Attachment]] = {}
        for number, name, data in parts:
            attachments.setdefault(number, []).append(Attachment(name=name, data=bytes(data)))
        for number, version, modified, told in rows:
            place = places[numbers[number]]
            content, beside = content_of(told, layout), tuple(attachments.get(number, ()))
            size = len(content) + sum(len(part.data) for part in beside)
            found[numbers[number]] = Live(
                entry=entry(place.owner, place.ref, version, modified, False, None, size),
                content=content,
                attachments=beside,
            )
        return found

    def _read(self, query: str, given: dict[str, Any]) -> list[Any]:
        return self._database.transaction(
            lambda cursor: cursor.execute(query, given).fetchall(), write=False
        )

    # Writing -----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each row by itself, a chunk at a time."""
        known = self._table(category)
        rows = [
            row_of(write, known.layout, replaces=known.statements.replace is not None)
            for write in writes
        ]
        for chunk in chunks([row for row in rows if row.answer is None]):
            self._write(known, chunk)
        return [row.answer or Written(fate=Fate.UNKNOWN) for row in rows]

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each row by itself, a chunk in a transaction; by a tombstone where the table has them."""
        layout, say = self._table(category).layout, self._table(category).statements
        command = say.remove
        if command is None:
            refusal = Written(fate=Fate.REFUSED, detail="the table's versions cannot be compared")
            return [refusal for _ in removals]
        answers = [Written(fate=Fate.CONFLICT) for _ in removals]
        numbers = {
            (removal.owner, removal.ref): number
            for number, removal in reversed(list(enumerate(removals)))
            if key_fits(removal.owner, layout.user) and key_fits(removal.ref, layout.ident)
        }
        keys = sorted(numbers)  # two who lock the same rows in one order do not deadlock
        for start in range(0, len(keys), ROWS):
            chunk = [removals[numbers[key]] for key in keys[start : start + ROWS]]
            for key, answer in self._remove(say, command, chunk).items():
                answers[numbers[key]] = answer
        return answers

    def _remove(
        self, say: Statements, command: str, chunk: Sequence[Removal]
    ) -> dict[tuple[UserId, str], Written]:
        """Answers of what went, or was refused: then each half by itself."""
        try:
            gone = self._take_away(say, command, chunk)
        except ItemRejected as rejected:
            if len(chunk) == 1:
                refusal = Written(fate=Fate.REFUSED, detail=rejected.detail)
                return {(chunk[0].owner, chunk[0].ref): refusal}
            half = len(chunk) // 2
            one, other = chunk[:half], chunk[half:]
            return self._remove(say, command, one) | self._remove(say, command, other)
        return {key: Written(fate=Fate.DONE, version=version) for key, version in gone.items()}

    def _take_away(self, say: Statements, command: str, chunk: Sequence[Removal]) -> "_Versions":
        now = self._clock().astimezone(UTC)

        def take_away(cursor: Any) -> "_Versions":
            if self._database.dialect() == "sqlite":
                rows = [r for one in chunk for r in cursor.execute(command, removed(one, now))]
            else:
                rows = cursor.execute(command, removed_arrays(chunk, now)).fetchall()
            gone = {(UserId(user), ident): version or "" for user, ident, version in rows}
            self._detach(cursor, say, list(gone))
            return gone

        return self._database.transaction(take_away, write=True)

    def _write(self, known: _Known, rows: Sequence[Row]) -> None:
        """Write the rows in one transaction, at first by COPY if all are new."""
        say = known.statements
        if say.copy is not None and all(row.write.expected is None for row in rows):
            # One is there already, or refused: the other way tells which.
            with suppress(ItemRejected):
                self._database.transaction(lambda cursor: self._copy(cursor, say, rows), write=True)
                return
        self._write_some(known, rows)

    def _write_some(self, known: _Known, rows: Sequence[Row]) -> None:
        """The same row by row; where one of them is refused, each half by itself."""
        try:
            self._database.transaction(
                lambda cursor: self._put(cursor, known.statements, rows), write=True
            )
        except ItemRejected as rejected:
            if len(rows) == 1:
                rows[0].answer = Written(fate=Fate.REFUSED, detail=rejected.detail)
                return
            half = len(rows) // 2
            self._write_some(known, rows[:half])
            self._write_some(known, rows[half:])

    def _copy(self, cursor: Any, say: Statements, rows: Sequence[Row]) -> None:
        """Create all rows in the given transaction. Raises `ItemRejected` where that cannot be."""
        now = self._clock().astimezone(UTC)
        with cursor.copy(say.copy) as copy:
            copy.set_types(COPIED)
            for row in rows:
                copy.write_row(copied(row, now))
        if cursor.rowcount != len(rows):
            raise ItemRejected(Reason.REFUSED, "the table does not keep every row")
        version = cursor.execute(OWN_VERSION).fetchone()[0]
        done = {(row.write.owner, row.write.ref): version for row in rows}
        self._attach(cursor, say, rows, done, {})
        for row in rows:
            row.answer = Written(fate=Fate.DONE, version=version)

    def _put(self, cursor: Any, say: Statements, rows: Sequence[Row]) -> None:
        """All rows in the given transaction; their keys differ."""
        new = [row for row in rows if row.write.expected is None]
        old = [row for row in rows if row.write.expected is not None]
        done = self._create(cursor, say, new)
        replaced = self._replace(cursor, say, old)
        self._attach(cursor, say, rows, done, replaced)
        done.update(replaced)
        for row in rows:
            version = done.get((row.write.owner, row.write.ref))
            row.answer = (
                Written(fate=Fate.CONFLICT)
                if version is None
                else Written(fate=Fate.DONE, version=version)
            )

    def _create(self, cursor: Any, say: Statements, rows: Sequence[Row]) -> "_Versions":
        return self._run(cursor, say.create, rows)

    def _replace(self, cursor: Any, say: Statements, rows: Sequence[Row]) -> "_Versions":
        return {} if say.replace is None else self._run(cursor, say.replace, rows)

    def _run(self, cursor: Any, command: str, rows: Sequence[Row]) -> "_Versions":
        """Give the rows to a statement; the versions of those it took."""
        if not rows:
            return {}
        now = self._clock().astimezone(UTC)
        if self._database.dialect() == "sqlite":
            taken = [t for row in rows for t in cursor.execute(command, named(row, now))]
        else:
            taken = cursor.execute(command, arrays(rows, now)).fetchall()
        return {(UserId(user), ident): version or "" for user, ident, version in taken}

    def _attach(
        self,
        cursor: Any,
        say: Statements,
        rows: Sequence[Row],
        created: "_Versions",
        replaced: "_Versions",
    ) -> None:
        if say.add_attachments is None:
            return
        parts = [
            (row.write.owner, row.write.ref, part.name, part.data)
            for row in rows
            for part in row.write.item.attachments
            if (key := (row.write.owner, row.write.ref)) in created or key in replaced
        ]
        self._detach(cursor, say, list(replaced))
        if self._database.dialect() == "sqlite":
            names = ("user", "ident", "name", "content")
            cursor.executemany(
                say.add_attachments, [dict(zip(names, part, strict=True)) for part in parts]
            )
            return
        if parts:
            users, idents, named, contents = (list(column) for column in zip(*parts, strict=True))
            given = {"users": users, "idents": idents, "names": named, "contents": contents}
            cursor.execute(say.add_attachments, given)

    def _detach(self, cursor: Any, say: Statements, keys: Sequence[tuple[UserId, str]]) -> None:
        """Drop the attachments of these rows."""
        if say.drop_attachments is None or not keys:
            return
        if self._database.dialect() == "sqlite":
            for user, ident in keys:
                cursor.execute(say.drop_attachments, {"user": user, "ident": ident})
            return
        cursor.execute(say.drop_attachments, self._places(keys))

    def _owners(self, owners: list[UserId]) -> Any:
        """Users as the statements take them: an array, or a JSON text."""
        if self._database.dialect() == "sqlite":
            return _json(owners)
        return owners

    def _places(self, places: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Keys as the statements take them."""
        if self._database.dialect() == "sqlite":
            return {"places": msgspec.json.encode(places).decode()}
        users, idents = ([place[at] for place in places] for at in (0, 1))
        return {"users": _json(users), "idents": _json(idents)}


def _json(texts: Sequence[str]) -> str:
    return msgspec.json.encode(texts).decode()


_Versions = dict[tuple[UserId, str], str]
"""Of what a statement took: user and ident → its version now."""


def _probe_write(owner: UserId, ident: str, expected: str | None) -> Write:
    item = Item(
        ident=Ident(ident),
        digest=Digest(bytes(32)),
        media=Media("json", "application/json"),
        content=b"{}",
    )
    return Write(owner=owner, item=item, ref=ident, expected=expected)


KIND = Sql
