"""YAML text → values with their places, by YAML 1.2's core schema; every oddity is a problem.

Why not `yaml.safe_load`: it turns `22:30` into 1350 and `no` into False, keeps the last of two
equal keys without a word, expands aliases, and its C composer crashes the process on deep
nesting. This reads libyaml's flat stream of events, which does none of that, and refuses what a
plan has no use for: anchors, aliases, merges, tags, directives, second documents.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from msgspec import Struct

from orchestrator.errors import Problem

MOST_BYTES = 1 << 20
MOST_DEPTH = 32
MOST_VALUES = 100_000
MOST_PROBLEMS = 200
"""Of one kind of trouble with the text; whoever gets these has seen enough."""

_TOO_DEEP = f"nested more than {MOST_DEPTH} levels deep"
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"
"""What libyaml 0.2.6 says before it has told of the first level; its bound is 1,000."""

PlainValue = str | int | float | bool | None

_LINES = re.compile(r"\r\n|\r|\n")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 18
_LONGEST_FLOAT = 40

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]")
"""Characters that no text of a plan needs; the separators would also shift line numbers."""
INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Zero width or of no own direction: a plan with them does not say what its approver reads."""


class Place(Struct, frozen=True, gc=False):
    """Where in the text something stands; line and column count from 1."""

    line: int = 1
    column: int = 1
    length: int = 1
    last: int = 1
    """The line in which it ends."""


class Scalar(Struct, frozen=True):
    """One value, and how it was written."""

    value: PlainValue
    text: str
    place: Place


class Entry(Struct, frozen=True):
    """One key of a mapping, with its value."""

    key: Place
    node: "Node"


class Table(Struct, frozen=True):
    """A mapping, in the order of its text."""

    entries: dict[str, Entry]
    place: Place


class Listing(Struct, frozen=True):
    """A sequence."""

    nodes: list["Node"]
    place: Place


Node = Scalar | Table | Listing


def plain(node: Node) -> Any:
    """The values alone."""
    match node:
        case Scalar():
            return node.value
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case Listing():
            return [plain(item) for item in node.nodes]


def placeless(value: Any) -> Node:
    """The same tree for values that came from no text."""
    match value:
        case Mapping():
            entries = {str(key): Entry(Place(), placeless(part)) for key, part in value.items()}
            return Table(entries, Place())
        case str():
            return Scalar(value, value, Place())
        case Sequence():
            return Listing([placeless(part) for part in value], Place())
        case _:
            return Scalar(value, str(value), Place())


def split_lines(text: str) -> list[str]:
    """The lines as YAML counts them."""
    return _LINES.split(text)


def decode(data: bytes) -> tuple[str, list[Problem]]:
    """The text of a plan, and what is wrong with it before it is YAML at all."""
    if len(data) > MOST_BYTES:
        size = f"the plan has {len(data):,} bytes, at most {MOST_BYTES:,} are read"
        hint = "lists of users belong into a file of their own: users: {from: affected.csv}"
        return "", [Problem(code="too-large", message=size, line=1, column=1, hint=hint)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        lines = split_lines(before)
        problem = Problem(
            code="not-utf-8",
            message="the plan is not UTF-8 from here on",
            line=len(lines),
            column=len(lines[-1]) + 1,
            hint="save it as UTF-8",
        )
        return "", [problem]
    if not text.strip():
        empty = "the plan is empty"
        hint = "start with version: 1"
        return text, [Problem(code="empty", message=empty, line=1, column=1, hint=hint)]
    return text, list(_unwanted_characters(text))


def _unwanted_characters(text: str) -> Iterator[Problem]:
    if not CONTROL.search(text) and not INVISIBLE.search(text) and "\t" not in text:
        return
    found = 0
    for number, line in enumerate(split_lines(text), start=1):
        for column, char in enumerate(line, start=1):
            if char == "\t":
                code, what = "tab", "a tab"
                hint = "indent with spaces; in a text write \\t between double quotes"
            elif CONTROL.match(char):
                code, what, hint = "control-character", "a control character", "remove it"
            elif INVISIBLE.match(char):
                code, what = "invisible-character", "an invisible character"
                hint = "remove it; where a path needs it, escape it between double quotes"
            else:
                continue
            found += 1
            if found > MOST_PROBLEMS:
                return
            message = f"{what} (U+{ord(char):04X})"
            yield Problem(code=code, message=message, line=number, column=column, hint=hint)


class _Refused(Exception):
    """Nothing after this can be understood."""


class _Key(Struct, frozen=True):
    """A key that waits for its value; no `name`: it was refused, and its value goes with it."""

    name: str | None
    place: Place


class _Open(Struct):
    """A mapping or sequence whose end is still to come."""

    node: Table | Listing
    key: _Key | None = None


class _Reader:
    """Builds the tree from events, without recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Node | None = None
        self.open: list[_Open] = []
        self.problems: list[Problem] = []
        self.dropped: list[tuple[str, Node]] = []
        self.values = 0

    def report(self, code: str, message: str, place: Place, hint: str = "") -> None:
        self.problems.append(
            Problem(
                code=code,
                message=message,
                line=place.line,
                column=place.column,
                length=place.length,
                hint=hint,
            )
        )

    def read(self) -> Node | None:
        try:
            return self._read()
        except _Refused:
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place()
            if error.problem == _LIBYAML_TOO_DEEP:
                self.report("too-deep", _TOO_DEEP, place)
            else:
                self.report("syntax", _sentence(error), place, _syntax_hint(error))
        except yaml.reader.ReaderError as error:
            before = split_lines(self.text[: error.position])
            place = Place(len(before), len(before[-1]) + 1)
            self.report("control-character", "a character that YAML does not allow", place)
        return None

    def _read(self) -> Node | None:
        documents = 0
        for event in yaml.parse(self.text, Loader=yaml.CLoader):
            if isinstance(event, yaml.NodeEvent):
                self._grow(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.report("second-document", "a plan is one document", _place(event))
                    raise _Refused
                if event.tags:
                    self.report("tag", "a plan declares no tags", _place(event))
        return self.root

    def _grow(self, event: Any) -> None:
        """Hang one node where it belongs."""
        node = self._node(event)
        if not self.open:
            self.root = node
        else:
            parent = self.open[-1]
            if isinstance(parent.node, Listing):
                parent.node.nodes.append(node)
            elif parent.key is None:
                parent.key = self._key(event, node)
            else:
                self._add(parent.node, parent.key, node)
                parent.key = None
        if isinstance(node, Table | Listing):
            if len(self.open) >= MOST_DEPTH:
                self.report("too-deep", _TOO_DEEP, node.place)
                raise _Refused
            self.open.append(_Open(node))

    def _node(self, event: Any) -> Node:
        self.values += 1
        place = _place(event)
        if self.values > MOST_VALUES:
            self.report("too-many-values", f"more than {MOST_VALUES:,} values", place)
            raise _Refused
        if isinstance(event, yaml.AliasEvent):
            hint = "write the value again; a plan has no aliases"
            self.report("alias", "an alias", place, hint)
            return Scalar(None, "", place)
        if event.anchor is not None:
            self.report("anchor", "an anchor", place, "a plan has no anchors and aliases")
        if event.tag is not None:
            self.report("tag", "a tag", place, "a plan has no tags; quote a text instead")
        if isinstance(event, yaml.MappingStartEvent):
            return Table({}, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Listing([], place)
        if event.style not in ("", None):  # libyaml says "" for plain scalars, not None
            return Scalar(event.value, event.value, place)
        return Scalar(self._core(event.value, place), event.value, place)

    def _core(self, text: str, place: Place) -> PlainValue:
        """A plain scalar's value by YAML 1.2's core schema."""
        if not text or text[0] not in "~nNtTfF+-.0123456789":
            return text or None
        if text in _NULL:
            return None
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        base = 10 if _INT.fullmatch(text) else 8 if _OCTAL.fullmatch(text) else 16
        if base != 16 or _HEX.fullmatch(text):  # noqa: PLR2004  hexadecimal
            if len(text) > _LONGEST_NUMBER:
                self.report("number-too-long", f"a number of {len(text):,} digits", place)
                return 0
            return int(text, base)
        if _FLOAT.fullmatch(text):
            number = float(text) if len(text) <= _LONGEST_FLOAT else None
            if number is None or number in (float("inf"), float("-inf")):
                self.report("number-too-long", "a number beyond every range", place)
                return 0
            return number
        if _NOT_FINITE.fullmatch(text):
            self.report("not-finite", "a number that is infinite or none", place)
            return 0
        return text

    def _key(self, event: Any, node: Node) -> _Key:
        """A key is the text as it is written: `no`, `22:30` and `2009` are names here."""
        if not isinstance(node, Scalar) or isinstance(event, yaml.AliasEvent):
            self.report("bad-key", "a key has to be a plain text", node.place)
            return _Key(None, node.place)
        if node.text == "<<" and event.style in ("", None):
            self.report("merge-key", "a merge", node.place, "a plan has no merges")
            return _Key(None, node.place)
        return _Key(node.text, node.place)

    def _add(self, parent: Table, key: _Key, node: Node) -> None:
        if key.name is None:
            self.dropped.append(("", node))
        elif key.name in parent.entries:
            self.dropped.append((key.name, node))
            line = parent.entries[key.name].key.line
            hint = f"first in line {line}"
            self.report("duplicate-key", "this key is given twice", key.place, hint)
        else:
            parent.entries[key.name] = Entry(key.place, node)


def _place(event: Any) -> Place:
    start, end = event.start_mark, event.end_mark
    same_line = start.line == end.line
    length = end.column - start.column if same_line and end.column > start.column else 1
    last = end.line if end.column and not same_line else max(start.line, end.line - 1)
    return Place(start.line + 1, start.column + 1, length, last + 1)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """What libyaml says; it names characters and structure, never values."""
    said = ", ".join(part for part in (error.problem, error.context) if part)
    return f"this is not YAML: {said}" if said else "this is not YAML"


def _syntax_hint(error: yaml.MarkedYAMLError) -> str:
    if error.context_mark and error.problem_mark and error.context:
        return f"what it belongs to begins in line {error.context_mark.line + 1}"
    return ""


class Reading(Struct, frozen=True, kw_only=True):
    """What a text says."""

    root: Node | None
    """None where there is no telling."""
    problems: Sequence[Problem]
    dropped: Sequence[tuple[str, Node]]
    """Keys and values that were refused and are not in the tree."""


def read_yaml(text: str) -> Reading:
    """The tree of one document, and every problem with it.

    `text` is what `decode` gave without problems. Problems of single values leave a harmless
    value in the tree, so that the rest is checked as well.
    """
    reader = _Reader(text)
    root = reader.read()
    return Reading(root=root, problems=reader.problems, dropped=reader.dropped)
