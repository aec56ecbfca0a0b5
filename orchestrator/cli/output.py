"""Data on stdout in the form that was asked for; everything else on stderr.

Nothing that comes from plans, data or people reaches a terminal as something that it obeys.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from orchestrator.cli import streams
from orchestrator.cli.cells import cell

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.tables import Column

Format = Annotated[
    Literal["table", "json", "jsonl"],
    Parameter(name=["--output", "-o"], help="Form of the data on stdout."),
]
WIDE = 200
"""Columns of pictures that go to a file."""


@cache
def console() -> "Console":
    """Where pictures go that are data."""
    return _console(stderr=False)


@cache
def notices() -> "Console":
    """Where pictures go that are not data."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class PipeConsole(Console):
        """Does not end the process when its reader is gone."""

        def on_broken_pipe(self) -> None:
            if not stderr:
                raise BrokenPipeError
            streams.mute(sys.stderr)  # whoever does not read notices does not stop the work

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE  # a file has room for every column
    return PipeConsole(stderr=stderr, highlight=False, emoji=False, markup=False, width=width)


def print_line(text: str) -> None:
    """One line of data at once, before whatever takes long. A reader that is gone ends nothing."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        streams.mute(sys.stdout)


def say(text: str, *, tone: Literal["", "red", "yellow", "dim"] = "") -> None:
    """One or more lines on stderr."""
    shown = "\n".join(cell(line) for line in text.split("\n"))
    tell(painted(shown, tone) + "\n")


def tell(text: str) -> None:
    """Text as it is on stderr. A reader that is gone does not matter."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        streams.mute(sys.stderr)


def hint(text: str) -> None:
    """What to do next, on a line of its own."""
    say(f"hint: {text}")


_TONES = {"red": "\x1b[31m", "yellow": "\x1b[33m", "dim": "\x1b[2m"}


def painted(text: str, tone: str) -> str:
    """The text in a colour, where stderr is a terminal that wants any."""
    return f"{_TONES[tone]}{text}\x1b[0m" if tone and colourful() else text


def colourful() -> bool:
    """Whether stderr shows colours (https://no-color.org)."""
    return (
        sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in {"dumb", "unknown"}
    )


# Rows -------------------------------------------------------------------------------------------


def show_rows(
    rows: Iterable[Mapping[str, Any]],
    form: str,
    columns: Sequence["Column"],
    *,
    empty: str,
    limit: int = 0,
) -> Mapping[str, Any] | None:
    """Rows as a table of `columns`, or every field of them as JSON, as they come.

    At most `limit` of them, where it is not 0. Returns the last one that was shown where there
    are more, else None.
    """
    given = iter(rows)
    last: Mapping[str, Any] | None = None

    def shown() -> Iterable[Mapping[str, Any]]:
        nonlocal last
        for row in islice(given, limit or None):
            last = row
            yield row

    match form:
        case "json":
            _json_array(shown())
        case "jsonl":
            for row in shown():
                sys.stdout.write(_json(row) + "\n")
        case _:
            _table(shown(), columns, empty)
    return last if next(given, None) is not None else None


def _table(rows: Iterable[Mapping[str, Any]], columns: Sequence["Column"], empty: str) -> None:
    from orchestrator.cli.tables import lines

    given = iter(rows)
    first = next(given, None)
    if first is None:
        say(empty)
        return
    for line in lines(chain([first], given), columns):
        sys.stdout.write(line + "\n")


def _json_array(rows: Iterable[Mapping[str, Any]]) -> None:
    lead = "[\n  "
    for row in rows:
        sys.stdout.write(lead + _json(row, indent=2).replace("\n", "\n  "))
        lead = ",\n  "
    sys.stdout.write("\n]\n" if lead.startswith(",") else "[]\n")


# Values -----------------------------------------------------------------------------------------


def print_document(value: object, form: str) -> None:
    """One JSON document: readable, or on one line as `jsonl`."""
    sys.stdout.write(_json(value, indent=None if form == "jsonl" else 2) + "\n")


def _json(value: object, *, indent: int | None = None) -> str:
    return json.dumps(
        plain(value), ensure_ascii=not streams.writes_unicode(sys.stdout), indent=indent
    )


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
