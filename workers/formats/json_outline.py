"""Where the parts of a JSON text stand, byte by byte, also when the text is cut or broken.

Knows offsets and nesting (RFC 8259); decoding a part is msgspec's. What decoders do not tell and
restoring needs: which bytes belong to which record, which records are whole in a file that is
not, and how deep a record nests before anything recursive looks at it.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

DEEPEST: Final = 64
"""Levels below a part beyond which it is not decoded."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++|"', re.DOTALL)
_CLOSES: Final = {b"{": b"}", b"[": b"]"}
_BRACKETS: Final = frozenset((b"]", b"}"))
_KEYED: Final = 3  # key, colon, value


class Part(Struct, frozen=True, gc=False):
    """A direct child of an array or object: its value's bytes are `data[start:end]`."""

    start: int
    end: int
    key: bytes = b""
    """The quoted key as it stands, in an object."""
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
    first = _TOKEN.search(data, start, stop)
    if first is None or first[0] not in _CLOSES:
        return Outline(b"", start, stop, whole=False)
    kind = first[0]
    closes = _CLOSES[kind]
    parts: list[Part] = []
    pending: list[_Piece] = []
    for piece in _pieces(data, first.end(), stop):
        if not piece.whole or piece.token not in (b",", closes):
            pending.append(piece)
            if piece.whole:
                continue
            break
        part = _part(pending, keyed=kind == b"{")
        last = piece.token == closes
        if part is None and not (last and not parts and not pending):
            break
        if part is not None:
            parts.append(part)
        pending = []
        if last:
            return Outline(kind, first.start(), piece.end, tuple(parts))
    if pending:
        parts.append(Part(pending[0].start, stop, whole=False))
    return Outline(kind, first.start(), stop, tuple(parts), whole=False)


class _Piece(Struct, frozen=True, gc=False):
    """One token at the level of interest; what is nested below is one piece."""

    token: bytes
    start: int
    end: int
    deepest: int = 0
    whole: bool = True


def _pieces(data: bytes, start: int, stop: int) -> Iterator[_Piece]:
    """The tokens between a bracket and its partner, the partner included."""
    expected: list[bytes] = []
    begun, deepest = -1, 0
    for match in _TOKEN.finditer(data, start, stop):
        token = match[0]
        closing = _CLOSES.get(token)
        if closing is not None:
            if not expected:
                begun, deepest = match.start(), 0
            expected.append(closing)
            deepest = max(deepest, len(expected))
        elif token == b'"' or (expected and token in _BRACKETS and token != expected[-1]):
            yield _Piece(token, begun if expected else match.start(), stop, deepest, whole=False)
            return
        elif not expected:
            yield _Piece(token, match.start(), match.end())
        elif token == expected[-1]:
            expected.pop()
            if not expected:
                yield _Piece(b"[", begun, match.end(), deepest)
    if expected:
        yield _Piece(b"[", begun, stop, deepest, whole=False)


def _part(pieces: list[_Piece], *, keyed: bool) -> Part | None:
    """The child that these pieces are, or None where they are none."""
    value = pieces[-1] if pieces else None
    if value is None or value.token in (b":", b"]", b"}"):
        return None
    if not keyed:
        return Part(value.start, value.end, deepest=value.deepest) if len(pieces) == 1 else None
    if len(pieces) != _KEYED or pieces[1].token != b":" or not pieces[0].token.startswith(b'"'):
        return None
    key = pieces[0]
    return Part(value.start, value.end, key.token, value.deepest)
