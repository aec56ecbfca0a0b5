"""Where the components of an iCalendar file lie, to the byte, also when it is cut or damaged.

Knows RFC 5545 section 3.4 and 3.6: envelopes, components and what may stand inside of what; not
what a property means. Looks at BEGIN and END lines only, so that a calendar of 200,000 events is
not held in memory as properties: `node` reads one component when its turn comes.

A cut costs the component that was cut: reading starts anew at the next component that cannot
stand inside of what is open, and a missing END:VCALENDAR costs nothing.
"""

import re
from typing import Final

from msgspec import Struct

from orchestrator.reasons import Reason
from workers.formats.content_lines import Flaw, Line, lex

DEEPEST: Final = 16
"""Levels of components in each other; a component with more is quarantined whole."""

ENVELOPE: Final = "VCALENDAR"
ZONE: Final = "VTIMEZONE"

TOP_LEVEL: Final = frozenset(
    {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY", "VPOLL", ZONE}
)
"""What stands in a calendar and never inside of each other."""

_BREAK: Final = rb"(?:\r{0,2}\n|\r)"
_FOLDS: Final = rb"(?:" + _BREAK + rb"[ \t][^\r\n]*+)*+"
# Begins with the break before the line, which is what the search is quick to find; or with the
# last of the zeros that storage has put before it.
_EDGE: Final = re.compile(
    rb"[\r\n\0](?:\xef\xbb\xbf)?+(BEGIN|END)[ \t]*+:([^\r\n]*+" + _FOLDS + rb")", re.IGNORECASE
)
_FIRST_EDGE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?+(BEGIN|END)[ \t]*+:([^\r\n]*+" + _FOLDS + rb")", re.IGNORECASE
)
# BEGIN and END as programs do not write them: then every line is looked at.
_LOOSE_EDGE: Final = re.compile(
    rb"[\r\n\0](?:\xef\xbb\xbf)?+(?!BEGIN:[A-Z]|END:[A-Z])(?i:BEGIN|END)[ \t]*+:"
)
_ZEROS: Final = bytes(16)
_AFTER: Final = re.compile(_BREAK + rb"?+")
_FOLD: Final = re.compile(_BREAK + rb"[ \t]")
_UID: Final = re.compile(
    rb"(?:^|(?<=[\r\n]))UID(?:;[^:\r\n]*+)?+:([^\r\n]*+" + _FOLDS + rb")", re.IGNORECASE
)


class Record(Struct, kw_only=True, gc=False):
    """One component below the envelope: `data[offset:offset + length]`, END line included."""

    kind: str
    """In upper case."""
    offset: int
    length: int
    envelope: int
    """Which of the file's envelopes it stands in."""
    reason: Reason | None = None
    """What is wrong with its structure."""
    detail: str = ""
    inside: tuple[int, int] = (0, 0)
    """Where the components inside of it begin and end, counted in the file; equal: none."""

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.offset + self.length


class Envelope(Struct, kw_only=True):
    """What a VCALENDAR says of itself; one without `declared` was never there."""

    declared: bool = False
    properties: dict[str, bytes] = {}
    """The first value of each property, by upper-case name."""


class Stray(Struct, frozen=True, gc=False):
    """Bytes that belong to no component and are no syntax either."""

    offset: int
    length: int
    reason: Reason
    detail: str


class Reading(Struct, kw_only=True):
    """A whole file: every byte is in a record, a stray or the framing, exactly once."""

    records: list[Record]
    strays: list[Stray]
    framing: list[tuple[int, int]]
    """Offset and length."""
    envelopes: list[Envelope]
    recognised: bool = False
    """There is a BEGIN or END line at all."""


class Node(Struct):
    """One component, read: its own properties and the components inside of it."""

    name: str
    lines: list[Line]
    children: list["Node"]
    flaws: list[Flaw]
    """Its lines that are no content lines, and those of its children."""


def node(data: bytes) -> Node | None:
    """One component from its BEGIN through its END; None where these do not match."""
    root: Node | None = None
    stack: list[Node] = []
    for lexeme in lex(data):
        if lexeme.__class__ is Line:
            line: Line = lexeme  # type: ignore[assignment]  # tested by its class
            if line.name == "BEGIN":
                opened = Node(_named(line.value), [], [], [])
                if stack:
                    stack[-1].children.append(opened)
                else:
                    root = opened
                stack.append(opened)
            elif not stack:
                return None
            elif line.name == "END":
                if stack.pop().name != _named(line.value):
                    return None
            else:
                stack[-1].lines.append(line)
        elif lexeme.__class__ is Flaw and root is not None:
            root.flaws.append(lexeme)  # type: ignore[arg-type]  # tested by its class
    return root if not stack else None


def uid_of(data: bytes, record: Record) -> bytes:
    """The value of its first own UID line, unfolded; empty where it has none. A quick look."""
    first, last = record.inside
    stop = first if last else record.end
    at = data.find(b"\nUID:", record.offset, stop)
    if at >= 0:
        end = data.find(b"\n", at + 5, stop)
        if (
            end >= 0
            and data[end + 1 : end + 2] not in (b" ", b"\t")
            and b"\r" not in data[at : end - 1]
        ):
            return data[at + 5 : end].strip()
    match = _UID.search(data, record.offset, stop)
    if match is None and last:
        match = _UID.search(data, last, record.end)
    return _FOLD.sub(b"", match[1]).strip() if match is not None else b""


def reading(data: bytes, *, thorough: bool = False) -> Reading:
    """Every byte of a file of one or more calendars. Never raises; takes linear time.

    `thorough`: look at every line where that is not needed either. Finds the same.
    """
    reader = _Reader(data)
    first = _FIRST_EDGE.match(data)
    if first is not None:
        reader.edge(first, first.start(1))
    plain = not thorough and _LOOSE_EDGE.search(data) is None
    match = _EDGE.search(data)
    while match is not None:
        onward = reader.leap(match) if plain else 0
        if not onward:
            reader.edge(match, match.start(1))
            onward = match.end()
        match = _EDGE.search(data, onward)
    reader.finish()
    return reader.found


# So far is looked for an END: many components without one must not cost the file's length each.
_LONGEST_LEAP: Final = 32_768
_INNER_EDGES: Final = re.compile(rb"\n(BEGIN|END):([^\n]*)(?=\n)")
_INNER_TITLES: Final = frozenset(
    title + end for title in (b"VALARM", b"STANDARD", b"DAYLIGHT") for end in (b"", b"\r")
)
_names: Final = {name.encode(): name for name in (*TOP_LEVEL, ENVELOPE, "VALARM")}


class _Reader:
    """One pass over the BEGIN and END lines of one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.found = Reading(records=[], strays=[], framing=[], envelopes=[Envelope()])
        self.done = 0  # everything before is accounted for
        self.open: Record | None = None
        self.stack: list[str] = []
        self.too_deep = 0

    def edge(self, match: re.Match[bytes], start: int) -> None:
        """A BEGIN or END line."""
        self.found.recognised = True
        after = match.end()
        if self.data.startswith(b"\r\n", after):
            after += 2
        else:
            after = _AFTER.match(self.data, after).end()  # type: ignore[union-attr]  # may be empty
        raw = match[2]
        name = _names.get(raw) or _named(raw)
        if match[1][:1] in b"Bb":
            self.begin(name, start, after)
        else:
            self.end(name, start, after)

    def leap(self, match: re.Match[bytes]) -> int:
        """Pass over a whole component with alarms or observances; where to go on, 0: it is not.

        What `edge` would find line by line, for the shape that nearly all components have.
        """
        name = _names.get(match[2])
        if self.open is not None or name not in TOP_LEVEL or match[1] != b"BEGIN":
            return 0
        data, begun = self.data, match.end()
        end = data.find(b"\nEND:" + match[2], begun - 1, begun + _LONGEST_LEAP)
        if end < 0 or data.find(b"\nBEGIN:" + match[2], begun - 1, end) >= 0:
            return 0
        after = data.find(b"\n", end + 1) + 1
        edge = data[end + 5 : after]
        if edge.rstrip(b"\r\n") != match[2] or data[after : after + 1] in (b" ", b"\t"):
            return 0
        body = data[begun : end + 1]
        if b"\0" in body:
            return 0
        if b"\r" in body and body.count(b"\r") != body.count(b"\r\n"):
            return 0
        inside = (0, 0)
        if b"\nBEGIN:" in body or b"\nEND:" in body:
            inner = _INNER_EDGES.findall(body)
            if [edge for edge, _ in inner] != [b"BEGIN", b"END"] * (len(inner) // 2):
                return 0
            titles = [title for _, title in inner]
            if titles[::2] != titles[1::2] or not _INNER_TITLES.issuperset(titles):
                return 0
            last = data.find(b"\n", begun + body.rfind(b"\nEND:") + 1) + 1
            inside = (begun + body.find(b"\nBEGIN:") + 1, last)
        start = match.start(1)
        self.between(start)
        self.found.records.append(
            Record(
                kind=name,
                offset=start,
                length=after - start,
                envelope=len(self.found.envelopes) - 1,
                inside=inside,
            )
        )
        self.found.recognised = True
        self.done = after
        return after - 1

    def begin(self, name: str, start: int, after: int) -> None:
        """A BEGIN line."""
        if self.open is not None and (name == ENVELOPE or name in TOP_LEVEL):
            self.cut(start)
        if self.open is None:
            self.between(start)
            if name == ENVELOPE:
                self.found.framing.append((start, after - start))
                self.found.envelopes.append(Envelope(declared=True, properties={}))
                self.done = after
            else:
                envelope = len(self.found.envelopes) - 1
                self.open = Record(kind=name, offset=start, length=0, envelope=envelope)
                self.stack.append(name)
                self.done = start
        elif len(self.stack) >= DEEPEST:
            self.too_deep += 1
            self.blame(Reason.TOO_LARGE, f"more than {DEEPEST} levels of components")
        else:
            self.stack.append(name)
            if not self.open.inside[1]:
                self.open.inside = (start, after)

    def end(self, name: str, start: int, after: int) -> None:
        """An END line."""
        record = self.open
        if record is None:
            self.between(start)
            self.done = after
            if name == ENVELOPE:
                self.found.framing.append((start, after - start))
                # What follows stands outside, until the next BEGIN:VCALENDAR.
                self.found.envelopes.append(Envelope(properties={}))
            else:
                self.stray(start, after, Reason.STRUCTURE, "END without BEGIN")
        elif name == ENVELOPE:
            self.cut(start)
            self.end(name, start, after)
        elif self.too_deep and name != record.kind:
            self.too_deep -= 1
        elif name not in self.stack:
            self.blame(Reason.STRUCTURE, "END without BEGIN")
        else:
            if self.stack[-1] != name:
                self.blame(Reason.STRUCTURE, "a component inside of it does not end")
            while self.stack.pop() != name:
                pass
            if self.stack:
                record.inside = (record.inside[0], after)
            else:
                self.close(record, after)

    def blame(self, reason: Reason, detail: str) -> None:
        """The open record is damaged; the first finding stands."""
        if self.open is not None and self.open.reason is None:
            self.open.reason, self.open.detail = reason, detail

    def close(self, record: Record, after: int) -> None:
        """The open record ends."""
        record.length = after - record.offset
        self.found.records.append(record)
        self.open = None
        self.stack.clear()
        self.too_deep = 0
        self.done = after

    def cut(self, where: int) -> None:
        """The open record has no end: it goes as far as something else begins."""
        if self.open is None:
            return
        if self.open.kind not in TOP_LEVEL:
            self.open.reason, self.open.detail = Reason.STRUCTURE, "not a component of a calendar"
        elif _ZEROS in self.data[self.open.offset : where]:
            self.open.reason, self.open.detail = Reason.ZEROED, "zeros, and no END"
        else:
            self.open.reason, self.open.detail = Reason.CUT, "no END"
        self.close(self.open, where)

    def finish(self) -> None:
        """The data ends."""
        self.cut(len(self.data))
        self.between(len(self.data))

    def between(self, where: int) -> None:
        """What lies between records, up to `where`: the envelope's properties, space, or junk."""
        if where <= self.done:
            return
        properties = self.found.envelopes[-1].properties
        declared = self.found.envelopes[-1].declared
        begun = self.done
        for lexeme in lex(self.data, self.done, where):
            blame: tuple[Reason, str] | None = None
            if _ZEROS in self.data[lexeme.offset : lexeme.offset + lexeme.length]:
                blame = Reason.ZEROED, "zeros"
            elif isinstance(lexeme, Flaw):
                blame = lexeme.reason, lexeme.detail
            elif isinstance(lexeme, Line):
                if declared:
                    properties.setdefault(lexeme.name, lexeme.value.strip())
                else:
                    blame = Reason.STRUCTURE, "a property outside of any component"
            if blame is not None:
                self.frame(begun, lexeme.offset)
                begun = lexeme.offset + lexeme.length
                self.stray(lexeme.offset, begun, *blame)
        self.frame(begun, where)
        self.done = where

    def frame(self, start: int, end: int) -> None:
        """Syntax and white space."""
        if end > start:
            self.found.framing.append((start, end - start))

    def stray(self, start: int, end: int, reason: Reason, detail: str) -> None:
        """Bytes of no component; neighbours are one."""
        last = self.found.strays[-1] if self.found.strays else None
        if last is not None and last.offset + last.length == start and last.detail == detail:
            self.found.strays[-1] = Stray(last.offset, end - last.offset, reason, detail)
        else:
            self.found.strays.append(Stray(start, end - start, reason, detail))


def _named(value: bytes) -> str:
    if b"\n" in value or b"\r" in value:
        value = _FOLD.sub(b"", value)
    return value.strip().upper().decode("ascii", "replace")
