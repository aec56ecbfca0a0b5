"""Which table or query holds a category's rows, and what its columns mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One category's rows: each becomes one file. Names count exactly as they are spelled."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    table: str | None = None
    """The table or view; this or `query`."""
    schema: str | None = None
    """Where the table is; by default where the database looks first."""
    query: str | None = None
    """A SELECT whose columns the other options name, instead of a table."""
    user: str
    """The column with the user id. Rows without one are reported as nobody's."""
    id: str
    """The column that tells a user's rows apart; it becomes the file's name."""
    data: str | None = None
    """The column that holds the file's bytes or text; this or `fields`."""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names and their columns, which become one JSON object."""
    modified: str | None = None
    """The column that says when the row last changed: a time, or seconds since 1970."""
    sha256: str | None = None
    """The column with the data's SHA-256, hexadecimal or as bytes; it is checked on reading."""
    beside: Mapping[str, str] = field(default_factory=dict[str, str])
    """Columns that lie beside the data as files of their own, by the suffix of their names."""
    lazy: bool = False
    """Never read values together with the listing. Large ones never are."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if (self.table is None) == (self.query is None):
            raise ValueError("exactly one of 'table' and 'query' is needed")
        if (self.data is None) == (not self.fields):
            raise ValueError("exactly one of 'data' and 'fields' is needed")
        if self.schema is not None and self.table is None:
            raise ValueError("'schema' goes with 'table'")
        if self.sha256 is not None and self.data is None:
            raise ValueError("'sha256' goes with 'data'")
