"""Where the parts of a JSON text stand, byte by byte, also when the text is cut or broken.

Knows offsets and nesting (RFC 8259); decoding a part is msgspec's. What decoders do not tell and
restoring needs: which bytes belong to which record, which records are whole in a file that is
not, and how deep a record nests before anything recursive looks at it.
"""

import re
from typing import Final

from msgspec import Struct

DEEPEST: Final = 64
"""Levels below a part beyond which it is not decoded."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++|"', re.DOTALL)
_CLOSES: Final = {b"{": b"}", b"[": b"]"}


class Part(Struct, frozen=True, gc=False):
    """A direct child of an array or object: its value's bytes are `data[start:end]`."""

    start: int
    end: int
    key: bytes = b""
    """The quoted key as it stands, in an object."""
    key_start: int = -1
    deepest: int = 0
    """Levels of nesting below it."""
    whole: bool = True
    """It ends where its syntax says; a cut one goes on to the end of the data."""


class Outline(Struct, frozen=True, gc=False):
    """The direct children of one array or object."""

    kind: bytes
    """`[` or `{`, or empty where the data holds neither."""
    start: int
    end: int
    """After its closing bracket; the end of the data where there is none."""
    parts: tuple[Part, ...] = ()
    whole: bool = True
    """Brackets match, commas stand where they belong, and the end is there."""

    def named(self, key: bytes) -> Part | None:
        """The last child under an unquoted ASCII key, as decoders take it."""
        quoted = b'"' + key + b'"'
        return next((part for part in reversed(self.parts) if part.key == quoted), None)

    @property
    def doubled(self) -> bool:
        """Whether a key is there twice: decoders would drop one without a word."""
        keys = [part.key for part in self.parts if part.key]
        return len(set(keys)) != len(keys)


def outline(data: bytes, start: int = 0, end: int | None = None) -> Outline:
    """The array or object that begins at `start` (white space may come first). Linear time."""
    stop = len(data) if end is None else end
    tokens = _TOKEN.finditer(data, start, stop)
    first = next(tokens, None)
    if first is None or first[0] not in _CLOSES:
        return Outline(b"", start, stop, whole=False)
    kind = first[0]
    is_object = kind == b"{"
    parts: list[Part] = []
    stack = [_CLOSES[kind]]
    key, key_start = b"", -1
    begun = ended = -1
    deepest = 0
    awaiting_key = is_object

    def cut() -> Outline:
        if begun >= 0 or key_start >= 0:
            where = begun if begun >= 0 else key_start
            parts.append(Part(where, stop, key, key_start, deepest, whole=False))
        return Outline(kind, first.start(), stop, tuple(parts), whole=False)

    for match in tokens:
        token = match[0]
        if len(stack) > 1:  # inside a child: only its brackets count
            if token in _CLOSES:
                stack.append(_CLOSES[token])
                deepest = max(deepest, len(stack) - 1)
            elif token in (b"]", b"}"):
                if stack.pop() != token:
                    return cut()
                ended = match.end()
            elif token == b'"':
                return cut()
        elif token in (b",", stack[0]):
            if begun >= 0:
                parts.append(Part(begun, ended, key, key_start, deepest))
            elif token == b"," or parts or key_start >= 0:
                return cut()  # a comma with nothing before it or nothing after it
            if token != b",":
                return Outline(kind, first.start(), match.end(), tuple(parts))
            key, key_start, begun, deepest, awaiting_key = b"", -1, -1, 0, is_object
        elif awaiting_key:
            if token == b":" and key_start >= 0:
                awaiting_key = False
            elif key_start < 0 and len(token) > 1 and token.startswith(b'"'):
                key, key_start = token, match.start()
            else:
                return cut()
        elif begun >= 0 or token in (b":", b'"', b"]", b"}"):
            return cut()
        else:
            begun, ended = match.start(), match.end()
            if token in _CLOSES:
                stack.append(_CLOSES[token])
                deepest = 1
    return cut()
