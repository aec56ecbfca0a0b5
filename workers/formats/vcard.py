"""A vCard as a list of properties: how a sound one is read at once, and how one is written.

Sound means: nothing has to be repaired, so its bytes can be kept. Whatever is not sound is read
line by line in `workers.formats.vcard_reading`; both give the same card where both can read it.
"""

from typing import Final

from msgspec import Struct

from workers.formats.components import MOST_LINES
from workers.formats.content_lines import FOLD_AT, fold
from workers.formats.vcard_properties import (
    FN,
    REV,
    UID,
    VERSION,
    Fact,
    N,
    fact_of_head,
    known_facts,
)

Property = tuple[Fact, bytes]
"""What the head says, and the value: unfolded, still escaped."""

LONGEST_TEXT: Final = 4 * 1024 * 1024
"""Bytes of one value that is no picture or sound."""

BEGIN: Final = b"BEGIN:VCARD\r\n"
END: Final = b"END:VCARD\r\n"

CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\r\n")
"""What no text may hold."""


class Card(Struct, frozen=True, kw_only=True):
    """One contact. Of the version that it says, with every property in its order."""

    version: str
    """`3.0` or `4.0`."""
    properties: list[Property]

    def values(self, name: str) -> list[bytes]:
        """Every value of a property, in order. `name` in upper case."""
        return [value for fact, value in self.properties if fact.name == name]

    def first(self, name: str) -> bytes:
        """The first value of a property, empty where there is none."""
        return next((value for fact, value in self.properties if fact.name == name), b"")


class Sound(Struct, frozen=True, gc=False):
    """A card of which nothing has to be repaired, but for a UID that may be missing."""

    version: bytes
    uid: bytes
    """Empty where there is none."""
    rev: bytes
    properties: list[Property]


def with_crlf(record: bytes) -> bytes | None:
    """The record with CRLF at the end of each line; None where its line ends are mixed."""
    if b"\r" not in record:
        record = record.replace(b"\n", b"\r\n")
    elif not record.count(b"\r\n") == record.count(b"\n") == record.count(b"\r"):
        return None
    return record if record.endswith(b"\n") else record + b"\r\n"


def sound(record: bytes) -> Sound | None:
    """The card that `record` is, where it is plainly sound; None where it needs a closer look.

    `record`: from BEGIN:VCARD to END:VCARD, each line ended by CRLF.
    """
    if not _is_text(record):
        return None
    if b"\r\n " in record:
        record = record.replace(b"\r\n ", b"")
    if b"\r\n\t" in record:
        record = record.replace(b"\r\n\t", b"")
    lines = record.split(b"\r\n")
    if lines[0] != b"BEGIN:VCARD" or lines[-2] != b"END:VCARD":
        return None
    del lines[0], lines[-2:]
    facts = known_facts()
    found: list[Property] = []
    singles: dict[int, bytes] = {}
    for line in lines:
        head, colon, value = line.partition(b":")
        fact = facts.get(head) or fact_of_head(head)
        if fact is None or not colon or fact.odd:
            return None
        bit = fact.bit
        if bit:
            if bit in singles and bit != FN:
                return None
            singles[bit] = value
        check = fact.check
        if check is not None and check(value) is None:
            return None
        found.append((fact, value))
    version, uid = singles.get(VERSION), singles.get(UID, b"").strip()
    if (
        (not uid and UID in singles)
        or not singles.get(FN, b"").strip()
        or (version != b"4.0" and (version != b"3.0" or N not in singles))
    ):
        return None
    return Sound(version, uid, singles.get(REV, b""), found)


def _is_text(record: bytes) -> bool:
    """UTF-8 within every limit, without control characters."""
    if has_controls(record) or len(record) > LONGEST_TEXT or record.count(b"\n") > MOST_LINES:
        return False
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def write(card: Card) -> bytes:
    """The card with CRLF line endings; heads and values as they are, long lines folded."""
    pieces = [BEGIN]
    for fact, value in card.properties:
        line = fact.head + b":" + value
        pieces.append(line + b"\r\n" if len(line) <= FOLD_AT else fold(line))
    pieces.append(END)
    return b"".join(pieces)


def has_controls(data: bytes) -> bool:
    """Whether there are control characters other than TAB, LF and CR."""
    return len(data.translate(None, CONTROLS)) != len(data)
