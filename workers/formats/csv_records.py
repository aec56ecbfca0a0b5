"""The rows of a CSV file (RFC 4180), to the byte, also when a row is damaged or the file is cut."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from orchestrator.reasons import Reason

_BOM: Final = b"\xef\xbb\xbf"
_ROW: Final = re.compile(rb"(?:[^\"\r\n]++|\"(?:[^\"]++|\"\")*+\")*+")
_LINE: Final = re.compile(rb"[^\r\n]*+")
_BREAKS: Final = re.compile(rb"(?:[ \t]*+[\r\n]++)*+")
_ZEROS: Final = b"\0" * 16
_DELIMITERS: Final = ",;\t"


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """One row without its line break; `cells` are None where it is damaged."""

    offset: int
    length: int
    cells: tuple[str, ...] | None = None
    ended: bool = True
    """A line break follows: it cannot have been cut."""
    reason: Reason | None = None
    detail: str = ""


class Table(Struct, frozen=True, kw_only=True):
    """A header and where it ends; the rows follow."""

    header: tuple[str, ...]
    delimiter: str
    start: int
    """Where the first row can begin."""


def table(data: bytes) -> Table | None:
    """The header of a CSV file; None where its first line cannot be one."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    start = _end(_BREAKS, data, start)
    end = _end(_ROW, data, start)
    try:
        line = data[start:end].decode("utf-8")
    except UnicodeDecodeError:
        return None
    delimiter = max(_DELIMITERS, key=line.count)
    if not line.isprintable() and delimiter != "\t":
        return None
    header = tuple(cell.strip() for cell in _cells(line, delimiter) or ())
    if len(header) < 2 or len(set(header)) != len(header) or not all(header):  # noqa: PLR2004 - one column is a list
        return None
    return Table(header=header, delimiter=delimiter, start=end)


def rows(data: bytes, found: Table) -> Iterator[Row]:
    """Every row after the header. A quote that never ends costs its own line only."""
    offset = found.start
    columns = len(found.header)
    while (offset := _end(_BREAKS, data, offset)) < len(data):
        end = _end(_ROW, data, offset)
        row = _row(data, offset, end, found, columns)
        if row.cells is None:
            # A lost quote swallows lines that are rows of their own.
            end = _end(_LINE, data, offset)
            row = _row(data, offset, end, found, columns)
        yield row
        offset = end


def _row(data: bytes, offset: int, end: int, found: Table, columns: int) -> Row:
    raw = data[offset:end]
    ended = end < len(data)
    reason, detail = Reason.SYNTAX, "a quote in the wrong place"
    cells: tuple[str, ...] | None = None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        reason, detail = Reason.ENCODING, "not UTF-8"
    else:
        if ended and data[end : end + 1] not in (b"\r", b"\n"):
            pass
        elif any(ord(character) < 32 and character not in "\t\r\n" for character in text):  # noqa: PLR2004 - C0
            reason, detail = Reason.CONTROL_CHARACTER, "a control character"
        else:
            cells = _cells(text, found.delimiter)
            if cells is not None and len(cells) != columns:
                detail = f"{len(cells)} columns of {columns}"
                cells, reason = None, Reason.STRUCTURE if ended else Reason.CUT
    if cells is None and _ZEROS in raw:
        reason, detail = Reason.ZEROED, "a run of zeros"
    if cells is not None:
        return Row(offset=offset, length=end - offset, cells=cells, ended=ended)
    return Row(offset=offset, length=end - offset, ended=ended, reason=reason, detail=detail)


def _cells(line: str, delimiter: str) -> tuple[str, ...] | None:
    """The cells of one row; None where its quotes are not balanced."""
    reader = csv.reader(io.StringIO(line, newline=""), delimiter=delimiter, strict=True)
    try:
        parsed: Sequence[Sequence[str]] = list(reader)
    except csv.Error:
        return None
    return tuple(parsed[0]) if len(parsed) == 1 else ()


def _end(pattern: re.Pattern[bytes], data: bytes, offset: int) -> int:
    match = pattern.match(data, offset)
    return match.end() if match is not None else offset
