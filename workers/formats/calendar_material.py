"""What one calendar file holds, whatever its format: components that are not looked into yet."""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_records import Envelope, Node, Stray, node, reading, uid_of
from workers.formats.calendar_writing import is_utf8

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_ZEROS: Final = b"\0" * 16
_FOLD: Final = re.compile(rb"(?:\r{0,2}\n|\r)[ \t]")


class Part(Struct, kw_only=True, gc=False):
    """One component of a file, not looked into yet."""

    kind: str
    offset: int
    length: int
    envelope: Envelope
    uid: bytes
    """A quick look at its UID, which says what belongs together."""
    load: Callable[[], Node]
    """Reads it. Raises `ItemRejected`."""
    verbatim: bool = False
    """Its bytes are iCalendar, and can be written as they are."""
    clean: bool = False
    """They are UTF-8 without control characters."""


class Material(Struct, kw_only=True):
    """Everything that one file holds; its spans cover the file exactly."""

    name: str
    data: bytes
    parts: list[Part]
    strays: list[Stray]
    framing: list[tuple[int, int]]


def icalendar_material(name: str, data: bytes) -> Material | None:
    """The components of an iCalendar file; None where there is no trace of any."""
    found = reading(data)
    if not found.recognised:
        return None
    suspicious = _CONTROL.search(data) is not None or not is_utf8(data)
    strays = list(found.strays)
    parts: list[Part] = []
    for record in found.records:
        if record.reason is not None:
            strays.append(Stray(record.offset, record.length, record.reason, record.detail))
            continue
        parts.append(
            Part(
                kind=record.kind,
                offset=record.offset,
                length=record.length,
                envelope=found.envelopes[record.envelope],
                uid=uid_of(data, record),
                load=_Loader(data, record.offset, record.end, suspicious=suspicious),
                verbatim=True,
                clean=not suspicious,
            )
        )
    return Material(name=name, data=data, parts=parts, strays=strays, framing=found.framing)


class _Loader:
    """Reads one component when it is needed."""

    __slots__ = ("data", "end", "start", "suspicious")

    def __init__(self, data: bytes, start: int, end: int, *, suspicious: bool) -> None:
        self.data = data
        self.start = start
        self.end = end
        self.suspicious = suspicious

    def __call__(self) -> Node:
        raw = self.data[self.start : self.end]
        if self.suspicious:
            check_text(raw)
        found = node(raw)
        if found is None:
            raise ItemRejected(Reason.STRUCTURE, "BEGIN and END do not match")
        return found


def check_text(raw: bytes) -> None:
    """Refuse what is not UTF-8 or holds control characters; folds may cut characters in two.

    Raises:
        ItemRejected: `ZEROED`, `CONTROL_CHARACTER` or `ENCODING`.
    """
    if _CONTROL.search(raw) is not None:
        if _ZEROS in raw:
            raise ItemRejected(Reason.ZEROED, "a run of zeros")
        raise ItemRejected(Reason.CONTROL_CHARACTER, "a control character")
    if not is_utf8(raw) and not is_utf8(_FOLD.sub(b"", raw)):
        raise ItemRejected(Reason.ENCODING, "not UTF-8")
