"""What `--help` says, made of each command's signature and docstring.

Plain text without a library: it has to be there at once, and docs/cli.md is held to it.
"""

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from cyclopts import Parameter

Command = Callable[..., Any]
Groups = Mapping[str, Mapping[str, Command]]
"""Commands by name, under the headings of the overview."""

WIDEST = 96
NAME = "reinstate"


class Takes(NamedTuple):
    """Annotates a parameter with the word that stands for its value."""

    word: str


class _Entry(NamedTuple):
    """One argument or option as it is explained."""

    shown: str
    said: str
    positional: bool
    required: bool
    many: bool


def overview(groups: Groups, *, width: int | None = None) -> str:
    """Every command in one line each."""
    width = width or _width()
    indent = max(len(name) for names in groups.values() for name in names) + 4
    parts = [
        textwrap.fill(
            "Puts users' data back after a service lost it, and proves what it did.", width
        )
        + "\n",
        f"Usage: {NAME} COMMAND [arguments] [options]\n",
    ]
    for heading, commands in groups.items():
        rows = ((name, _first_sentence(command)) for name, command in commands.items())
        parts.append(f"{heading}:\n" + "".join(_rows(rows, indent, width)))
    parts.append(f"More of each: {NAME} COMMAND --help\n")
    return "\n".join(parts)


def page(name: str, command: Command, *, width: int | None = None) -> str:
    """Everything about one command."""
    width = width or _width()
    entries = list(_entries(command))
    arguments = [entry for entry in entries if entry.positional]
    options = [entry for entry in entries if not entry.positional]
    usage = [f"Usage: {NAME} {name}", *map(_in_usage, arguments), *(["[options]"] * bool(options))]
    parts = [" ".join(usage) + "\n", *_paragraphs(inspect.getdoc(command) or "", width)]
    indent = max((len(entry.shown) for entry in entries), default=0) + 4
    for heading, listed in (("Arguments", arguments), ("Options", options)):
        if listed:
            rows = ((entry.shown, entry.said) for entry in listed)
            parts.append(f"{heading}:\n" + "".join(_rows(rows, indent, width)))
    return "\n".join(parts)


def _width() -> int:
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)


def _rows(rows: Iterable[tuple[str, str]], indent: int, width: int) -> Iterator[str]:
    for left, right in rows:
        yield (
            textwrap.fill(
                right,
                max(width, indent + 24),
                initial_indent=f"  {left}".ljust(indent),
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
            + "\n"
        )


def _paragraphs(text: str, width: int) -> Iterator[str]:
    """Paragraphs wrapped; what is indented stays as it is."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("    "):
            yield textwrap.indent(textwrap.dedent(paragraph), "  ") + "\n"
        else:
            yield textwrap.fill(" ".join(paragraph.split()), width, break_on_hyphens=False) + "\n"


def _first_sentence(command: Command) -> str:
    return " ".join((inspect.getdoc(command) or "").split("\n\n", 1)[0].split())


def _in_usage(entry: _Entry) -> str:
    name = f"{entry.shown}…" if entry.many else entry.shown
    return name if entry.required else f"[{name}]"


# Parameters ---------------------------------------------------------------------------------------


def _entries(command: Command) -> Iterator[_Entry]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind, notes = _parts(hints[name])
        settings = next((note for note in notes if isinstance(note, Parameter)), Parameter())
        value = next((note.word for note in notes if isinstance(note, Takes)), _value_of(kind))
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        yield _Entry(
            shown=name.upper() if positional else _option(settings, name, value, kind),
            said=_said(settings, kind, parameter.default),
            positional=positional,
            required=parameter.default is parameter.empty
            and parameter.kind is not parameter.VAR_POSITIONAL,
            many=parameter.kind is parameter.VAR_POSITIONAL,
        )


def _parts(hint: Any) -> tuple[Any, Sequence[Any]]:
    """A type without None, and its annotations."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return _parts(kind)[0], notes
    if get_origin(hint) in {Union, UnionType}:
        return next(part for part in get_args(hint) if part is not type(None)), ()
    return hint, ()


def _value_of(kind: Any) -> str:
    if kind is int:
        return "N"
    return "FILE" if kind is Path else "TEXT"


def _option(settings: Parameter, name: str, value: str, kind: Any) -> str:
    names: Sequence[str] = tuple(settings.name or ()) or ("--" + name.replace("_", "-"),)
    shown = ", ".join(sorted(names, key=len))
    if kind is bool:
        return shown
    return f"{shown} {'FORM' if get_origin(kind) is Literal and value == 'TEXT' else value}"


def _said(settings: Parameter, kind: Any, default: object) -> str:
    said = (settings.help or "").strip()
    if get_origin(kind) is Literal:
        words = [str(word) for word in get_args(kind)]
        said += f" One of: {', '.join(words)}."
    if default not in {None, inspect.Parameter.empty, False, ""} and "efault" not in said:
        said += f" Default: {default}."
    return said
