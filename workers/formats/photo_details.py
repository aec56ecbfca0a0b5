"""The `Photo Details.csv` of an iCloud export: a row for each photo of its folder.

Rows are kept as they are, byte for byte; a photo's row goes where the photo goes.
"""

import csv
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from workers.formats.image_layout import zero_run

_NAME: Final = "imgName"
_FILE_NAME: Final = re.compile(r"Photo Details(?:-\d+)?\.csv", re.IGNORECASE)
_OWN_NAME: Final = re.compile(r"\.csv(?:-\d{1,3})?$", re.IGNORECASE)
_RECORD: Final = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+(?:\r\n|\n|\r|\Z)')  # possessive: linear
_BOM: Final = b"\xef\xbb\xbf"
_BOOKKEEPING: Final = frozenset({"viewCount", "importDate"})


class Row(Struct, frozen=True, gc=False):
    """One photo's row: the name it gives, and its bytes with the line end."""

    photo: str
    start: int
    end: int


class Details(Struct, frozen=True, kw_only=True):
    """A file of photo details. Rows, header, blank and bad stretches cover all of its bytes."""

    header: bytes
    rows: tuple[Row, ...]
    framing: tuple[tuple[int, int], ...]
    damaged: tuple[tuple[int, int], ...]
    """From and to: rows that cannot be read, or have another number of columns."""


def is_details_name(name: str) -> bool:
    """Whether an export calls its file of photo details like this."""
    return _FILE_NAME.fullmatch(name.rpartition("/")[2]) is not None


def photo_of_table(name: str) -> str:
    """The photo that a table of one row is named after, as we write it: `IMG.jpg.csv`."""
    return _OWN_NAME.sub("", name)


def read_details(data: bytes) -> Details | None:
    """The rows of such a file; None where its first line is not that of one."""
    first = _RECORD.match(data)
    if first is None:
        return None
    columns = _fields(first[0].removeprefix(_BOM))
    if columns is None or _NAME not in columns:
        return None
    place = columns.index(_NAME)
    rows: list[Row] = []
    framing, damaged = [(0, first.end())], list[tuple[int, int]]()
    at = first.end()
    while at < len(data):
        found = _RECORD.match(data, at)
        end = found.end() if found else len(data)
        fields = _fields(data[at:end]) if found else None
        if fields == []:
            framing.append((at, end))
        elif fields is None or len(fields) != len(columns) or zero_run(data, at, end) >= 0:
            damaged.append((at, end))
        else:
            rows.append(Row(fields[place], at, end))
        at = end
    return Details(
        header=first[0], rows=tuple(rows), framing=tuple(framing), damaged=tuple(damaged)
    )


def details_meaning(attachment: bytes) -> Mapping[str, str] | None:
    """What a header and one row say, without how often the photo was looked at."""
    details = read_details(attachment)
    if details is None or len(details.rows) != 1:
        return None
    row = details.rows[0]
    columns = _fields(details.header.removeprefix(_BOM)) or []
    fields = _fields(attachment[row.start : row.end]) or []
    return {
        column: field
        for column, field in zip(columns, fields, strict=True)
        if column not in _BOOKKEEPING
    }


def _fields(line: bytes) -> list[str] | None:
    """The fields of one record, [] for a blank one; None where it is no text or no CSV."""
    if not line.strip():
        return []
    try:
        found = list(csv.reader([line.decode().rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return found[0] if len(found) == 1 else None
