"""Problems of a plan as an operator reads them: line, column, the text, a caret and a hint.

What the plan says is shown as it stands, except for two things: a literal secret is masked, and
characters that a terminal would obey are shown as what they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.errors import Problem
from orchestrator.options.references import SECRET_WORD
from orchestrator.plan_text.leaks import leaks
from orchestrator.plan_text.yaml_values import decode, read_yaml, split_lines

_WIDTH = 100
_MASK = "***"
_KEY = rf"(?:{SECRET_WORD}|\bpass|\bsig)[\"']?\s*"
_SECRET_SETTING = re.compile(rf"{_KEY}[:=]\s*(?!env:|file:/|\*\*\*)(?P<secret>\S.*)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}://(?P<secret>[^\s/?#@]*:.*)")
_OPEN_SETTING = re.compile(rf"{_KEY}:\s*(?:[|>][-+0-9]*\s*|[\"'][^\"']*|)\s*$", re.IGNORECASE)
_RED, _YELLOW, _CYAN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


class _Shown(NamedTuple):
    """A part of a line as it is shown, and where its carets begin and end on screen."""

    text: str
    start: int
    end: int


class _Masks:
    """Which stretches of which lines hold secrets."""

    def __init__(self, text: bytes) -> None:
        decoded, unreadable = decode(text)
        decoded = decoded or text[: 1 << 20].decode("utf-8-sig", errors="replace")
        self.lines = split_lines(decoded)
        self.stretches: dict[int, list[tuple[int, int]]] = {}
        self.whole: set[int] = set()
        self.doubtful_from = len(self.lines) + 1
        self.merged: dict[int, list[tuple[int, int]]] = {}
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
        if number not in self.merged:
            self.merged[number] = self._merge(number)
        return self.merged[number]

    def _merge(self, number: int) -> list[tuple[int, int]]:
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
    shown = _show(line, masks.of(problem.line), problem.column - 1, problem.length)
    caret = _paint("^" * (shown.end - shown.start), tone, color=color)
    hint = f" {_paint(harmless(problem.hint), _CYAN, color=color)}" if problem.hint else ""
    return "\n".join(
        [
            *head,
            f"{margin} |",
            f"{number:>{len(margin)}} | {shown.text}".rstrip(),
            f"{margin} | {' ' * shown.start}{caret}{hint}",
        ]
    )


def _show(line: str, masked: Sequence[tuple[int, int]], column: int, length: int) -> _Shown:
    """The part of a line around a column that counts from 0; a long line is cut on both sides."""
    first = max(0, min(column - _WIDTH // 3, len(line) - _WIDTH))
    last = min(len(line), first + _WIDTH)
    text = ["…"] if first else []
    width = len(text)
    start = end = -1
    masks = dict(masked)
    hidden_until = max((end for start, end in masked if start < first), default=0)
    if hidden_until > first:
        text.append(_MASK)
        width += len(_MASK)
    for index in range(first, last):
        if index == column:
            start = width
        if index == column + length:
            end = width
        if index < hidden_until:
            continue
        piece = harmless(line[index])
        if index in masks:
            hidden_until = masks[index]
            piece = _MASK
        text.append(piece)
        width += sum(_cells(char) for char in piece)
    if last < len(line):
        text.append("…")
    start = width if start < 0 else start
    end = width if end < 0 else end
    return _Shown("".join(text), start, max(end, start + 1))


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
