"""Problems of a plan as an operator reads them: line, column, the text, a caret and a hint.

What the plan says is shown as it stands, except for two things: a literal secret is masked, and
characters that a terminal would obey are shown as what they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.errors import Problem
from orchestrator.plan_secrets import leaks
from orchestrator.references import SECRET_WORD
from orchestrator.yaml_values import decode, read_yaml, split_lines

_WIDTH = 100
_MASK = "***"
_SECRET_SETTING = re.compile(
    rf"{SECRET_WORD}[\"']?\s*[:=]\s*(?!env:|file:/|\*\*\*)(?P<secret>\S.*)", re.IGNORECASE
)
_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<secret>[^\s/?#@]*:.*)")
_OPEN_SETTING = re.compile(
    rf"{SECRET_WORD}[\"']?\s*:\s*(?:[|>][-+0-9]*\s*|[\"'][^\"']*|)\s*$", re.IGNORECASE
)
_RED, _YELLOW, _CYAN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


class _Shown(NamedTuple):
    """A line as it is shown, and for each of its columns where that begins on screen."""

    text: str
    columns: Sequence[int]


class _Masks:
    """Which stretches of which lines hold secrets."""

    def __init__(self, text: bytes) -> None:
        decoded, unreadable = decode(text)
        decoded = decoded or text[: 1 << 20].decode("utf-8-sig", errors="replace")
        self.lines = split_lines(decoded)
        self.stretches: dict[int, list[tuple[int, int]]] = {}
        self.whole: set[int] = set()
        self.doubtful_from = len(self.lines) + 1
        reading = None if unreadable else read_yaml(decoded)
        if reading is None or reading.root is None:
            self._doubt()
        if reading is not None:
            for leak in leaks(reading):
                place = leak.scalar.place
                if place.last > place.line:
                    self.whole.update(range(place.line, place.last + 1))
                else:
                    start = place.column - 1
                    stretch = (start, start + place.length)
                    self.stretches.setdefault(place.line, []).append(stretch)

    def _doubt(self) -> None:
        """What cannot be read may be a secret of many lines: nothing after its key is shown."""
        for number, line in enumerate(self.lines, start=1):
            if _OPEN_SETTING.search(line):
                self.doubtful_from = number + 1
                return

    def line(self, number: int) -> str | None:
        """The line, None where nothing of it can be shown."""
        if number > len(self.lines) or number in self.whole or number >= self.doubtful_from:
            return None
        return self.lines[number - 1]

    def of(self, number: int) -> list[tuple[int, int]]:
        """What is masked in a line, in order and without overlap."""
        line = self.lines[number - 1]
        known = self.stretches.get(number, [])
        blank = list(line)
        for start, end in known:
            blank[start:end] = "*" * (end - start)
        masked = "".join(blank)
        for pattern in (_SECRET_SETTING, _CREDENTIALS):
            match = pattern.search(masked)
            if match is not None:
                known = [*known, match.span("secret")]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(known):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def render(problems: Sequence[Problem], text: bytes, path: str, *, color: bool = False) -> str:
    """All problems, one below the other, and how many there are; empty where there are none."""
    if not problems:
        return ""
    masks = _Masks(text)
    blocks = [_block(problem, masks, path, color=color) for problem in problems]
    return "\n".join([*blocks, summary(problems)]) + "\n"


def summary(problems: Sequence[Problem]) -> str:
    """`2 errors, 1 warning; nothing was submitted`."""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    parts = [
        f"{count} {word}{'s' if count != 1 else ''}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    return ", ".join(parts) + ("; nothing was submitted" if errors else "")


def _block(problem: Problem, masks: _Masks, path: str, *, color: bool) -> str:
    tone = _RED if problem.severity == "error" else _YELLOW
    where = f"{path}:{problem.line}:{problem.column}"
    within = f"  ({harmless(problem.path)})" if problem.path else ""
    title = _paint(f"{problem.severity}[{problem.code}]", _BOLD + tone, color=color)
    head = [f"{title}: {harmless(problem.message)}", f"  --> {harmless(where)}{within}"]
    line = masks.line(problem.line)
    if line is None:
        return "\n".join([*head, *([f"   = {harmless(problem.hint)}"] if problem.hint else [])])
    number = str(problem.line)
    margin = " " * max(len(number), 2)
    shown = _show(line, masks.of(problem.line))
    start = shown.columns[min(problem.column - 1, len(shown.columns) - 1)]
    end = shown.columns[min(problem.column - 1 + problem.length, len(shown.columns) - 1)]
    excerpt, start, end = _window(shown.text, start, max(end, start + 1))
    caret = _paint("^" * (end - start), tone, color=color)
    hint = f" {_paint(harmless(problem.hint), _CYAN, color=color)}" if problem.hint else ""
    return "\n".join(
        [
            *head,
            f"{margin} |",
            f"{number:>{len(margin)}} | {excerpt}".rstrip(),
            f"{margin} | {' ' * start}{caret}{hint}",
        ]
    )


def _show(line: str, masked: Sequence[tuple[int, int]]) -> _Shown:
    text: list[str] = []
    columns: list[int] = []
    width = 0
    starts = dict(masked)
    hidden_until = 0
    for index, char in enumerate(line):
        columns.append(width)
        if index < hidden_until:
            continue
        if index in starts:
            hidden_until = starts[index]
            piece = _MASK
        else:
            piece = harmless(char)
        columns[-1] = width
        text.append(piece)
        width += sum(_cells(part) for part in piece)
    columns.append(width)
    return _Shown("".join(text), columns)


def _window(text: str, start: int, end: int) -> tuple[str, int, int]:
    """A long line's part around the caret."""
    if len(text) <= _WIDTH:
        return text, start, end
    first = max(0, min(start - _WIDTH // 3, len(text) - _WIDTH))
    part = text[first : first + _WIDTH]
    before, after = "…" if first else "", "…" if first + _WIDTH < len(text) else ""
    start, end = start - first + len(before), end - first + len(before)
    return f"{before}{part}{after}", start, max(start + 1, min(end, len(before) + _WIDTH))


def _cells(char: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def harmless(text: str) -> str:
    """The same text with nothing in it that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char == "\t" else f"<U+{ord(char):04X}>"
        for char in text
    )


def _paint(text: str, tone: str, *, color: bool) -> str:
    return f"{tone}{text}{_PLAIN}" if color else text
