"""Data on stdout in the form that was asked for; everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

Format = Annotated[
    Literal["table", "json", "jsonl"],
    Parameter(name=["--output", "-o"], help="Form of the data on stdout."),
]


@cache
def console() -> "Console":
    """Where data for people goes."""
    from rich.console import Console

    return Console(highlight=False, width=_width(sys.stdout))


@cache
def notices() -> "Console":
    """Where everything else goes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, width=_width(sys.stderr))


def _width(stream: TextIO) -> int | None:
    """A terminal's own; a file has room for every column."""
    return None if stream.isatty() else 160


def show_rows(
    rows: Iterable[Mapping[str, Any]], form: str, columns: Sequence[str], *, empty: str
) -> None:
    """Rows as a table of `columns`, or every field of them as JSON."""
    match form:
        case "json":
            print_json(list(rows))
        case "jsonl":
            for row in rows:
                sys.stdout.write(json.dumps(plain(row), ensure_ascii=False) + "\n")
        case _:
            _table(list(rows), columns, empty)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    if not rows:
        notices().print(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column.replace("_", " ").upper(), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    console().print(table)


def cell(value: object) -> str:
    """One value for people: nothing in it that a terminal obeys."""
    from orchestrator.diagnostics import harmless

    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case _:
            return harmless(str(value))


def print_json(value: object) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2) + "\n")


def plain(value: object) -> Any:
    """JSON values of anything that the use cases return; bytes are left out."""
    match value:
        case Mapping():
            parts: Mapping[object, object] = value
            return {str(k): plain(v) for k, v in parts.items() if not isinstance(v, bytes)}
        case list() | tuple():
            return [plain(part) for part in value]
        case _:
            import msgspec

            return msgspec.to_builtins(value)
