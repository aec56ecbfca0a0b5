"""Rows as aligned text: as wide as they are in a file, never wider than a terminal."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from orchestrator.cli.cells import cell

BLOCK = 200
"""So many rows are measured together; a later block may be wider than the one before."""
GAP = 2
LEAST = 24
"""A column is never cut to less."""


class Column(Struct, frozen=True):
    """One field of the rows: what heads it, and on which side it lines up."""

    field: str
    title: str = ""
    right: bool = False
    prose: bool = False
    """A sentence: where a terminal is too narrow it is cut, or wrapped in the last column.

    Ids and numbers are never cut: they are there to be copied.
    """
    moment: bool = False
    """A time, as JSON spells it."""

    @property
    def heading(self) -> str:
        """What stands above it."""
        return (self.title or self.field.replace("_", " ")).upper()


def text(*fields: str) -> tuple[Column, ...]:
    """Columns of words."""
    return tuple(Column(field) for field in fields)


def prose(*fields: str) -> tuple[Column, ...]:
    """Columns of sentences."""
    return tuple(Column(field, prose=True) for field in fields)


def moments(*fields: str) -> tuple[Column, ...]:
    """Columns of times."""
    return tuple(Column(field, moment=True) for field in fields)


def numbers(*fields: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(field, right=True) for field in fields)


def lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> Iterator[str]:
    """A heading and one line a row, as they come."""
    given = iter(rows)
    widths = [measure(column.heading) for column in columns]
    heading = [column.heading for column in columns]
    while block := [[_cell(row, c) for c in columns] for row in islice(given, BLOCK)]:
        for number in range(len(columns)):
            widths[number] = max(widths[number], *(measure(row[number]) for row in block))
        fitting = fitted(widths, columns)
        for row in [heading, *block] if heading else block:
            yield from _lines_of(row, fitting, columns)
        heading = []


def _cell(row: Mapping[str, Any], column: Column) -> str:
    value = row.get(column.field)
    return cell(datetime.fromisoformat(value) if column.moment and value else value)


def _lines_of(
    row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]
) -> Iterator[str]:
    *parts, last = row
    wrapped = [last]
    if columns[-1].prose and measure(last) > widths[-1]:
        wrapped = textwrap.wrap(last, widths[-1])
    yield _line([*parts, wrapped[0]], widths, columns)
    for more in wrapped[1:]:
        yield _line([*([""] * len(parts)), more], widths, columns)


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    parts = [
        _aligned(value, width, right=column.right)
        for value, width, column in zip(row, widths, columns, strict=True)
    ]
    return (" " * GAP).join(parts).rstrip()


def _aligned(value: str, width: int, *, right: bool) -> str:
    value = cut(value, width)
    space = " " * (width - measure(value))
    return space + value if right else value + space


def fitted(widths: Sequence[int], columns: Sequence[Column]) -> list[int]:
    """The widths, with the widest columns of prose made narrower until a terminal holds them."""
    found = list(widths)
    if not sys.stdout.isatty():
        return found
    over = sum(found) + GAP * (len(found) - 1) - shutil.get_terminal_size().columns
    able = [number for number, column in enumerate(columns) if column.prose]
    while over > 0 and able:
        widest = max(able, key=lambda number: found[number])
        if found[widest] <= LEAST:
            break
        found[widest] -= 1
        over -= 1
    return found


def measure(value: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(value) if value.isascii() else sum(_cells(char) for char in value)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(value: str, width: int) -> str:
    """The text, with an ellipsis where it is too long."""
    if measure(value) <= width:
        return value
    kept: list[str] = []
    room = width - 1
    for char in value:
        room -= _cells(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + "…"
