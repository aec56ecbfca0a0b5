"""A CSV file row by row, each with the place of its bytes (RFC 4180, as spreadsheets write it)."""

import csv
import re
from typing import Final

from msgspec import Struct

LONGEST_CELL: Final = 4 * 1024 * 1024
"""Characters. More is no cell but a quote that was never closed."""

_BOM: Final = b"\xef\xbb\xbf"
_ROW: Final = re.compile(rb"(?:[^\"\r\n]++|\"(?:[^\"]++|\"\")*+(?:\"|\Z))++(?:\r?\n|\r)?+|\r?\n|\r")
_SEPARATORS: Final = (",", ";", "\t")


class Row(Struct, frozen=True, kw_only=True):
    """One row: its bytes with their line break, and its cells; None where it cannot be read."""

    offset: int
    length: int
    cells: tuple[str, ...] | None


def rows(data: bytes, separator: str = ",") -> list[Row]:
    """Every byte of the file in rows; a byte order mark belongs to the first.

    A row whose quotes do not match, or that is not UTF-8, has no cells. Blank rows have none, but
    an empty tuple. A quote that is not closed swallows at most what follows up to the next quote.
    """
    found: list[Row] = []
    offset = 0
    if data.startswith(_BOM):
        offset = len(_BOM)
    for raw in _ROW.findall(data, offset):
        start = 0 if not found else offset
        offset += len(raw)
        found.append(Row(offset=start, length=offset - start, cells=_cells(raw, separator)))
    return found


def separator_of(data: bytes) -> str:
    """What stands between the cells of the first row."""
    line = data[: data.find(b"\n") + 1 or len(data)].decode("utf-8", "replace")
    return max(_SEPARATORS, key=line.count)


def _cells(raw: bytes, separator: str) -> tuple[str, ...] | None:
    if not raw.strip():
        return ()
    if len(raw) > LONGEST_CELL:
        return None
    try:
        text = raw.decode()
        csv.field_size_limit(LONGEST_CELL)
        parsed = list(csv.reader([text], delimiter=separator, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return tuple(parsed[0]) if len(parsed) == 1 else None
