"""The values of a vCard: what is well-formed as it stands, and what makes two of them equal.

Each pattern matches a value of which nothing has to be repaired. Each function takes a value and
gives its canonical form. Both work on whole values at once: they are the hot path.
"""

import binascii
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from workers.formats.content_lines import unescape

Check = Callable[[bytes], object]
"""Gives None for a value that needs a closer look."""
Meaning = Callable[[bytes], bytes]

_FIELD: Final = b"\x02"
PART: Final = b"\x03"
"""Between the parts of a canonical list."""
_COMMA: Final = b"\x04"
_SEMICOLON: Final = b"\x05"
_EMPTY_PARTS: Final = re.compile(rb"\x03+(?=\x02|\Z)|(?:(?<=[\x02\x03])|\A)\x03+")
_SPACE: Final = re.compile(rb"\s+")
_ESCAPED_SEPARATOR: Final = re.compile(rb"\A([^\\;]*+)\\;")
_DATA_URI: Final = re.compile(rb"data:[^,]*;base64,(.*)", re.IGNORECASE | re.DOTALL)
_DATE_PUNCTUATION: Final = re.compile(rb"(?<=\d)[-:](?=\d)")

_MONTH: Final = rb"(?:0[1-9]|1[0-2])"
_DAY: Final = rb"(?:0[1-9]|[12]\d|3[01])"
_YEAR: Final = rb"(?!0000)\d{4}"
_TIME: Final = (
    rb"T(?:[01]\d|2[0-3]|-)(?::?[0-5]\d|-)?(?::?(?:[0-5]\d|60))?(?:[.,]\d+)?"
    rb"(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?"
)

TEXT: Final = re.compile(rb"(?:[^\\,;]++|\\.)*+\\?", re.DOTALL)
"""One text: no bare comma, no bare semicolon (RFC 6350 §3.4)."""

VERSION: Final = re.compile(rb"[34]\.0")

DATE: Final = re.compile(
    rb"(?:" + _YEAR + rb"-?" + _MONTH + rb"-?" + _DAY + rb"|" + _YEAR + rb"(?:-" + _MONTH + rb")?"
    rb"|--" + _MONTH + rb"-?" + _DAY + rb"|--" + _MONTH + rb"|---" + _DAY + rb")"
    rb"(?:" + _TIME + rb")?|" + _TIME + rb"|"
)
"""A date, a time or both, whole or in part (RFC 6350 §4.3, RFC 2426 §3.1.5); or nothing."""

WEB_ADDRESS: Final = re.compile(rb"https?:[!-~]*")


def fields_pattern(*most: int) -> re.Pattern[bytes]:
    """Matches values of up to `most[0]` fields, or of exactly one of the other numbers."""
    field = rb"(?:[^\\;]++|\\.)*+"
    counts = (rb"%s(?:;%s){0,%d}" % (field, field, most[0] - 1),)
    counts += tuple(rb"%s(?:;%s){%d}" % (field, field, number - 1) for number in most[1:])
    return re.compile(rb"(?:" + rb"|".join(counts) + rb")\\?", re.DOTALL)


def fields_meaning(value: bytes) -> bytes:
    """Structured: fields and the parts of each, without empty parts and empty fields at the end."""
    if b"\\" not in value:
        plain = value.rstrip(b";").replace(b";", _FIELD)
        return _without_empty_parts(plain.replace(b",", PART)) if b"," in value else plain
    protected = (
        value.replace(b"\\\\", b"\x06")
        .replace(b"\\,", _COMMA)
        .replace(b"\\;", _SEMICOLON)
        .rstrip(b";")
        .replace(b";", _FIELD)
        .replace(b",", PART)
        .replace(_COMMA, b",")
        .replace(_SEMICOLON, b";")
    )
    return _without_empty_parts(unescape(protected).replace(b"\x06", b"\\"))


def _without_empty_parts(meant: bytes) -> bytes:
    return _EMPTY_PARTS.sub(b"", meant).rstrip(_FIELD) if PART in meant else meant


def coded_meaning(value: bytes) -> bytes:
    """A letter or number, and a text: GENDER, CLIENTPIDMAP.

    Servers that do not know them escape the semicolon, which neither letter nor number can hold.
    """
    code, _, text = _ESCAPED_SEPARATOR.sub(rb"\1;", value).partition(b";")
    return unescape(code) + _FIELD + unescape(text) if text else unescape(code)


def list_meaning(value: bytes) -> bytes:
    """Texts between commas; semicolons are text."""
    if b"\\" not in value:
        return _without_empty_parts(value.replace(b",", PART))
    protected = (
        value.replace(b"\\\\", b"\x06")
        .replace(b"\\,", _COMMA)
        .replace(b",", PART)
        .replace(_COMMA, b",")
    )
    return _without_empty_parts(unescape(protected).replace(b"\x06", b"\\"))


def date_meaning(value: bytes) -> bytes:
    """Without hyphens and colons between digits: 3.0 and 4.0 spell the same date differently."""
    return _DATE_PUNCTUATION.sub(b"", value.strip()).upper()


def place_meaning(value: bytes) -> bytes:
    """`latitude,longitude`, also of 3.0's `latitude;longitude` and of a `geo:` URI."""
    meant = unescape(value).lower().removeprefix(b"geo:").replace(b";", b",")
    return _SPACE.sub(b"", meant)


def telephone_meaning(value: bytes) -> bytes:
    """The number, whether it is a text or a `tel:` URI."""
    meant = unescape(value)
    return meant[4:] if meant[:4].lower() == b"tel:" else meant


def kind_meaning(value: bytes) -> bytes:
    """An individual is what every card is that says nothing else (RFC 6350 §6.1.4)."""
    meant = value.strip().lower()
    return b"" if meant == b"individual" else meant


def base64_meaning(value: bytes) -> bytes:
    """Of the bytes, however they are written down."""
    try:
        return PART + sha256(from_base64(value)).digest()
    except ValueError:  # of a live card: we write none like it
        return value


def link_meaning(value: bytes) -> bytes:
    """A URI; of a data URI the bytes."""
    meant = unescape(value)
    try:
        data = from_data_uri(meant)
    except ValueError:
        data = None
    return meant if data is None else PART + sha256(data).digest()


def from_base64(value: bytes) -> bytes:
    """The bytes, whatever white space stands in between.

    Raises:
        ValueError: it is no base64, or it is cut.
    """
    return binascii.a2b_base64(_SPACE.sub(b"", value), strict_mode=True)


def from_data_uri(value: bytes) -> bytes | None:
    """The bytes of an unescaped `data:` URI in base64; None where it is something else.

    Raises:
        ValueError: it is no base64, or it is cut.
    """
    uri = _DATA_URI.fullmatch(value)
    return None if uri is None else from_base64(uri[1])
