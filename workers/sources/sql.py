"""Recovered rows of any database that SQLAlchemy speaks to: each row is one file.

For each category a table or query and what its columns mean. A row's data is a file's bytes, or a
few columns become one JSON object. Only ever read: SQLite is opened read only, PostgreSQL's and
MySQL's transactions are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.options.references import Location
from orchestrator.ports import Surroundings
from workers.material.file_trees import FILE_BYTES
from workers.material.row_mapping import Rows
from workers.material.vouching import Digests

if TYPE_CHECKING:
    from workers.material.row_source import RowSource


@dataclass(frozen=True, kw_only=True)
class Sql:
    """Rows of a database."""

    url: Location
    """The database, as SQLAlchemy writes it; with a password only as env:NAME or file:/path."""
    categories: Mapping[str, Rows]
    """By category, where its rows are."""
    digests: Digests = Digests.UNDATED
    """When what the columns named `sha256` hold was recorded. `before-loss`: while the service
    still worked, so that data that match are what it had accepted, and pictures need not be decoded
    again. Of `undated` ones nobody can say; they only show what changed since."""
    file_bytes: int = FILE_BYTES
    """A value larger than this is quarantined unread."""

    def open(self, surroundings: Surroundings) -> "RowSource":
        """Ready to read; connects on first use."""
        from workers.material.row_source import RowSource  # noqa: PLC0415 - SQLAlchemy is heavy

        return RowSource(
            surroundings.secret(self.url),
            self.categories,
            folder=surroundings.folder,
            digests=self.digests,
            file_bytes=self.file_bytes,
        )


KIND = Sql
