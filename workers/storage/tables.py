"""A table that holds items: which of its columns holds what. Our own tables are one such choice."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final
from uuid import UUID

from msgspec import Struct


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of a table that exists already, by what they hold. It needs `content` or `fields`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    table: str
    """The table, with its schema before a dot where it has one."""
    user: str
    """Whose row it is: text, a whole number or a UUID."""
    ident: str
    """Which of the user's items it is; together with `user` the table's unique key."""
    content: str | None = None
    """The item as it is: bytes, text or JSON."""
    fields: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """Instead of `content`: JSON field → column. A field mapped to nothing is left out; an item
    with a field that is not named here is refused."""
    media: str | None = None
    """The content's MIME type."""
    revised: str | None = None
    """When its user last changed the item, as the recovered data says."""
    modified: str | None = None
    """When the row last changed. Without it every live row counts as the user's own."""
    deleted: str | None = None
    """A time (when it was deleted) or a truth value; without it there are no tombstones."""
    version: str | None = None
    """A whole number that every change adds one to, or the time of the last change (which may be
    `modified`, too)."""


def own(category: str, *, schema: str | None, prefix: str) -> Table:
    """Our own table of a category."""
    name = f"{prefix}{category}"
    return Table(
        table=f"{schema}.{name}" if schema else name,
        user="user_id",
        ident="ident",
        content="content",
        media="media",
        revised="revised",
        modified="modified",
        deleted="deleted_at",
        version="version",
    )


class Family(StrEnum):
    """What kind of values a column takes, as far as this target tells them apart."""

    TEXT = "text"
    INTEGER = "whole number"
    UUID = "UUID"
    BYTES = "bytes"
    JSON = "JSON"
    TIME = "time"
    BOOLEAN = "truth value"
    OTHER = "other"


class Column(Struct, frozen=True, kw_only=True):
    """A column of the real schema."""

    name: str
    """Quoted."""
    family: Family
    cast: str | None
    """The type that a text has to be cast to, or None where none is needed."""
    zoned: bool = True
    """Of a time: it bears its zone; else it is taken for UTC."""
    tick: str = "1 microsecond"
    """Of a time: the least by which two differ."""


class Layout(Struct, frozen=True, kw_only=True):
    """A table of items, checked against the real schema."""

    table: str
    """Quoted, with its schema."""
    user: Column
    ident: Column
    content: Column | None
    fields: tuple[tuple[str, Column], ...]
    dropped: frozenset[str]
    """JSON fields that are left out on purpose."""
    media: Column | None
    revised: Column | None
    modified: Column | None
    deleted: Column | None
    version: Column | None
    system_version: bool
    """PostgreSQL's own row version (xmin) is to be had: no writer can forget it."""
    attachments: str | None
    """The table of attachments, quoted; None: items with attachments are refused."""

    by_user: bool = True
    """An index finds a user's rows."""
    copies: bool = False
    """New rows can be given by COPY: it is a table of ours, of the types that we give columns."""

    @property
    def versioned(self) -> bool:
        """Whether a row's version can be told."""
        return self.system_version or self.version is not None

    @property
    def versioned_by_time(self) -> bool:
        """Whether two changes at one moment would be one version."""
        counts = self.version is None or self.version.family is Family.INTEGER
        return not self.system_version and not counts

    @property
    def binary(self) -> bool:
        """Whether contents are bytes to the table; else text."""
        return self.content is not None and self.content.family is Family.BYTES


_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LARGEST: Final = 2**63 - 1


def key_fits(text: str, column: Column) -> bool:
    """Whether a user or an ident, spelled like this, can stand in that column and come back so.

    Strict on purpose: were " 7" and "7" one number, one user would get the other's data.
    """
    match column.family:
        case Family.TEXT:
            return text_fits(text)
        case Family.INTEGER:
            return _INTEGER.fullmatch(text) is not None and -_LARGEST <= int(text) <= _LARGEST
        case Family.UUID:
            try:
                return str(UUID(text)) == text
            except ValueError:
                return False
        case _:
            return text_fits(text)


def field_fits(value: Any, column: Column) -> bool:
    """Whether a field of a JSON content is of its column's kind.

    Strict on purpose: databases take "yesterday" for a time and "12" for a number.
    """
    match column.family:
        case Family.JSON:
            return True
        case Family.TEXT:
            return isinstance(value, str) and text_fits(value)
        case Family.BOOLEAN:
            return isinstance(value, bool)
        case Family.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case Family.UUID:
            return isinstance(value, str) and key_fits(value, column)
        case Family.TIME:
            return isinstance(value, str) and _is_time(value)
        case Family.BYTES:
            return False
        case Family.OTHER:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number or (isinstance(value, str) and _is_time(value))


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def text_fits(text: str) -> bool:
    """Whether databases take it as a text: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
