"""A value of a property that servers do not know, so that they read what is meant."""

import re
from typing import Final

_COMMA_OR_ESCAPE: Final = re.compile(rb"\\(.?)|,", re.DOTALL)
_ESCAPES: Final = frozenset((b"\\", b",", b";", b"n", b"N"))


def with_commas_escaped(value: bytes) -> bytes:
    r"""Bare commas escaped, escapes that mean nothing undone, the rest verbatim.

    Programs built on vobject take a property that they do not know for a list of texts and keep
    the first; of `\:` they make `\\:`.
    """
    return _COMMA_OR_ESCAPE.sub(_kept, value)


def _kept(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    if escaped is None:
        return b"\\,"
    if not escaped:
        return b"\\\\"  # at the end of the value, where it escapes nothing
    return match[0] if escaped in _ESCAPES else escaped
