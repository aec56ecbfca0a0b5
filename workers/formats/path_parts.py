"""Any text as one part of a path: safe on every file system, and the text can be had back."""

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final

LONGEST: Final = 200
"""Bytes of a part; leaves room for a suffix below the usual limit of 255."""

_EMPTY: Final = "%"
_CUT: Final = "%~"
_HASH_DIGITS: Final = 32
_REMEMBERED: Final = 4096
"""Texts; each is asked for several times in a row."""
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_@+-]")
_ESCAPED: Final = re.compile(r"(?:[A-Za-z0-9_@+-]|%[0-9A-F]{2})+")
_TRIPLET: Final = re.compile(rb"%([0-9A-F]{2})")


@lru_cache(_REMEMBERED)
def escape(text: str) -> str:
    """`text` as a path part: bytes of its UTF-8 outside `[A-Za-z0-9_@+-]` become %XX.

    Never empty, never longer than 200 bytes, never holds a dot. Different texts give different
    parts; one whose escaped form is too long is cut and ends in `%~` and a hash of the text.
    """
    raw = text.encode("utf-8", "surrogatepass")
    part = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")
    if not part:
        return _EMPTY
    if len(part) <= LONGEST:
        return part
    kept = part[: LONGEST - len(_CUT) - _HASH_DIGITS]
    triplet = kept.rfind("%", -2)
    if triplet >= 0:  # never cut inside of %XX
        kept = kept[:triplet]
    return kept + _CUT + sha256(raw).hexdigest()[:_HASH_DIGITS]


def unescape(part: str) -> str:
    """The text that `escape` made `part` of.

    Raises:
        ValueError: `part` was cut, or is nothing that `escape` writes. Strict on purpose: were
            two spellings read as one user, one of them would get the other's data.
    """
    if part == _EMPTY:
        return ""
    if _CUT in part:
        raise ValueError("the part was cut: only its hash is left")
    if _ESCAPED.fullmatch(part) is None:
        raise ValueError("not an escaped path part")
    raw = _TRIPLET.sub(lambda match: bytes((int(match[1], 16),)), part.encode("ascii"))
    text = raw.decode("utf-8", "surrogatepass")
    if escape(text) != part:
        raise ValueError("not an escaped path part")
    return text
