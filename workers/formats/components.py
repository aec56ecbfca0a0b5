"""Records of content lines, BEGIN to END, nested or not, and what is left of them after a cut.

A cut costs only the record that was cut: reading starts anew at the next BEGIN that cannot stand
inside of what is open.
"""

from typing import Final

from msgspec import Struct

from orchestrator.reasons import Reason
from workers.formats.content_lines import Blank, Flaw, Line, lex

MOST_LINES: Final = 20_000
"""Own lines of one component. One with more is read to its end, but flawed as too large."""

DEEPEST: Final = 16
"""Levels of nesting. One that goes deeper is read to its end, but flawed."""

# Any of these inside of any other is the trace of a cut, as is any component inside of its like.
_SIBLINGS: Final = frozenset(
    {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE", "VAVAILABILITY"}
)


class Component(Struct, kw_only=True):
    """One BEGIN…END. Its bytes are those two lines, its own lines, blanks and flaws, its children.

    Treat it as frozen: only `components` builds it up.
    """

    name: str
    """In upper case."""
    offset: int
    length: int = 0
    """From BEGIN through END with its line break; through the last byte before a cut."""
    begin: int
    """Length of the BEGIN line."""
    end: int = 0
    """Length of the END line; 0 where the component was cut."""
    lines: list[Line]
    """Its own properties, without BEGIN and END, in their order."""
    children: list["Component"]
    blanks: list[Blank]
    """Its own white space."""
    flaws: list[Flaw]
    """What is wrong with it: damaged lines, a cut, a limit. What is wrong in a child is there."""

    @property
    def whole(self) -> bool:
        """BEGIN and END are there, and nothing of it or in it is flawed."""
        return not self.flaws and all(child.whole for child in self.children)


Top = Component | Flaw | Blank


def components(data: bytes) -> list[Top]:
    """Every byte of `data` in components, garbage and white space: in order, without a gap.

    Garbage between two components is one flaw. Never raises; takes linear time.
    """
    building = _Building()
    for lexeme in lex(data):
        if isinstance(lexeme, Line):
            if lexeme.name == "BEGIN":
                building.begin(lexeme)
            elif lexeme.name == "END":
                building.finish(lexeme)
            elif building.open_ones:
                building.open_ones[-1].lines.append(lexeme)
            else:
                building.stray(lexeme)
        elif isinstance(lexeme, Blank):
            building.blank(lexeme)
        else:
            building.stray(lexeme)
    building.cut(0, len(data))
    return building.tops


class _Building:
    """What is finished, and what is open, outermost first."""

    def __init__(self) -> None:
        self.tops: list[Top] = []
        self.open_ones: list[Component] = []
        self.buried = 0

    def begin(self, line: Line) -> None:
        """Open a component, after whatever was cut before it."""
        kind = _kind(line)
        if not _is_agent(kind, self.open_ones):
            self.cut(_first_impossible(self.open_ones, kind), line.offset)
        if len(self.open_ones) == DEEPEST:
            self.buried += 1
            flaw = Flaw(Reason.STRUCTURE, line.offset, line.length, "nested too deeply")
            self.open_ones[-1].flaws.append(flaw)
            return
        opened = Component(
            name=kind,
            offset=line.offset,
            begin=line.length,
            lines=[],
            children=[],
            blanks=[],
            flaws=[],
        )
        if self.open_ones:
            self.open_ones[-1].children.append(opened)
        else:
            self.tops.append(opened)
        self.open_ones.append(opened)

    def finish(self, line: Line) -> None:
        """Close the innermost component of that kind; what is open inside of it was cut."""
        if self.buried:
            self.buried -= 1
            self.open_ones[-1].lines.append(line)
            return
        kind = _kind(line)
        for level in range(len(self.open_ones) - 1, -1, -1):
            if self.open_ones[level].name == kind:
                self.cut(level + 1, line.offset)
                _close(self.open_ones.pop(), line.offset + line.length, line.length)
                return
        self.stray(line)

    def cut(self, level: int, at: int) -> None:
        """Close whatever is open from that level inwards: it was cut before offset `at`."""
        while len(self.open_ones) > level:
            self.buried = 0
            component = self.open_ones.pop()
            component.flaws.append(Flaw(Reason.CUT, at, 0, f"{component.name} without END"))
            _close(component, at, 0)

    def blank(self, blank: Blank) -> None:
        """White space belongs to what is open."""
        if self.open_ones:
            self.open_ones[-1].blanks.append(blank)
        else:
            self.tops.append(blank)

    def stray(self, lexeme: Line | Flaw) -> None:
        """A damaged line, an END without BEGIN, or what lies outside of any component."""
        if isinstance(lexeme, Flaw):
            flaw = lexeme
        elif lexeme.name == "END":
            flaw = Flaw(Reason.CUT, lexeme.offset, lexeme.length, "END without BEGIN")
        else:
            flaw = Flaw(Reason.STRUCTURE, lexeme.offset, lexeme.length, "outside of any record")
        if self.open_ones:
            self.open_ones[-1].flaws.append(flaw)
            return
        tops = self.tops
        if len(tops) > 1 and isinstance(tops[-1], Blank) and isinstance(tops[-2], Flaw):
            tops.pop()
        before = tops[-1] if tops else None
        if isinstance(before, Flaw):
            told = flaw if flaw.reason is Reason.CUT else before
            length = flaw.offset + flaw.length - before.offset
            tops[-1] = Flaw(told.reason, before.offset, length, told.detail)
        else:
            tops.append(flaw)


def _close(component: Component, at: int, end: int) -> None:
    component.length = at - component.offset
    component.end = end
    if len(component.lines) > MOST_LINES:
        detail = f"more than {MOST_LINES} lines"
        component.flaws.append(Flaw(Reason.TOO_LARGE, component.offset, 0, detail))


def _kind(line: Line) -> str:
    return line.value.strip().upper().decode("ascii", "replace")


def _is_agent(kind: str, open_ones: list[Component]) -> bool:
    """In vCard 2.1 (§2.6.1) a card may stand inside of another right after `AGENT:`."""
    if kind != "VCARD" or not open_ones or open_ones[-1].name != "VCARD":
        return False
    lines = open_ones[-1].lines
    return bool(lines) and lines[-1].name == "AGENT" and not lines[-1].value.strip()


def _first_impossible(open_ones: list[Component], kind: str) -> int:
    """The outermost open component that a BEGIN of that kind cannot stand inside of."""
    for level, component in enumerate(open_ones):
        if component.name == kind or (kind in _SIBLINGS and component.name in _SIBLINGS):
            return level
    return len(open_ones)
