"""A database as a source: what its tables hold of users, and what an inspection says of it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import column, select, union

from orchestrator.errors import Unavailable
from orchestrator.items import Folder, UserId
from orchestrator.ports import Inventory
from workers.material.databases import Misspelled, ReadOnlyDatabase, ValueUnreadable
from workers.material.inspection import Inspection
from workers.material.recovered_rows import RecoveredRow, RecoveredTable
from workers.material.row_files import RowFiles
from workers.material.row_mapping import Rows
from workers.material.row_values import name_of, user_of
from workers.material.vouching import VOUCHED, Digests

OWNERS_AT_ONCE: Final = 200
"""Users whose rows are listed by one statement."""
USERS_BUFFERED: Final = 5_000


class RowSource:
    """Keeps a small pool of connections."""

    def __init__(
        self,
        url: str,
        categories: Mapping[str, Rows],
        *,
        folder: Path,
        digests: Digests,
        file_bytes: int,
    ) -> None:
        self._database = ReadOnlyDatabase(url, folder=folder)
        self._tables = {
            category: RecoveredTable(self._database, rows, called=category)
            for category, rows in categories.items()
        }
        self._vouching = digests is Digests.BEFORE_LOSS
        self._file_bytes = file_bytes

    def inspect(self) -> Inventory:
        """Reads every row but no large value.

        The manifest covers users, ids, sizes, times and given hashes, and the values of `fields`.
        """
        inspection = Inspection()
        for table in self._tables.values():
            table.check()
        for table in self._tables.values():
            inspection.include(_survey(table, vouching=self._vouching))
        if not self._tables:
            inspection.note("no category is mapped to a table or query: nothing will be read")
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order of the bytes of their ids."""
        if not self._tables:
            return
        for table in self._tables.values():
            table.check()
        owners = union(*(table.users() for table in self._tables.values())).subquery()
        # `union` of a single table is that table: it does not make users distinct.
        statement = select(owners.c.owner).distinct().order_by(column("owner"))
        try:
            with self._database.reading() as connection:
                streamed = connection.execution_options(yield_per=USERS_BUFFERED)
                for owner in streamed.execute(statement).scalars():
                    known = user_of(owner)
                    if known is not None:
                        yield UserId(known)
        except (Misspelled, ValueUnreadable):
            raise Unavailable(
                "the users cannot be listed",
                hint="repair or dump what is left of the database, and name that as the source",
            ) from None

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """The rows of many users are listed at once; large values are read one by one."""
        table = self._tables.get(category)
        if table is None:
            yield from (Folder(owner=owner, files=()) for owner in owners)
            return
        waiting = iter(owners)
        while chunk := list(islice(waiting, OWNERS_AT_ONCE)):
            rows = table.rows(chunk)
            for owner in chunk:
                files = ()
                if listed := rows.pop(owner, None):
                    files = RowFiles(
                        table,
                        owner,
                        listed,
                        file_bytes=self._file_bytes,
                        vouching=self._vouching,
                    )
                yield Folder(owner=owner, files=files)

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()


def _survey(table: RecoveredTable, *, vouching: bool) -> Inspection:
    try:
        inspection = _seen(table, table.everything(), vouching=vouching)
    except ValueUnreadable:
        try:
            inspection = _seen(table, table.users_and_ids(), vouching=False)
        except ValueUnreadable:
            raise table.damaged() from None
        inspection.note(f"{table.called}: some values cannot be read any more")
    if not table.tells_of_changes:
        inspection.note(
            f"{table.called}: the manifest covers users, ids and sizes; "
            "name a column as `modified` or `sha256` so that it covers every change"
        )
    return inspection


def _seen(table: RecoveredTable, rows: Iterator[RecoveredRow], *, vouching: bool) -> Inspection:
    inspection = Inspection()
    empty = vouched = 0
    for row in rows:
        values = (fact for value in row.values for fact in (value.size, value.data))
        id_ = name_of(row.id)
        inspection.piece(table.called, row.owner, id_, str(row.modified), row.sha256, *values)
        inspection.dated(row.modified)
        vouched += vouching and row.sha256 is not None
        empty += any(value.absent for value in row.values[:1])
        if row.owner is None:
            why = "rows without a user" if row.anonymous else "rows whose user id is not UTF-8"
            size = sum(value.size for value in row.values)
            inspection.stray(f"{table.called}: {why}", size)
    if empty:
        inspection.note(f"{table.called}: {empty} rows have no data")
    if vouched:
        inspection.note(f"{table.called}: {vouched} {VOUCHED}")
    return inspection
