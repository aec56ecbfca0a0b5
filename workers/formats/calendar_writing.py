"""Calendar components as bytes: what was not touched verbatim, CRLF at every line's end."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from workers.formats.content_lines import Line, fold

PRODUCT: Final = b"-//Reinstate//Restored//EN"
"""The PRODID of an object whose source has none."""

_LONGEST: Final = 998  # octets that mail and old servers take in a line
_LONG_LINE: Final = re.compile(rb"[^\r\n]{999}")


class Writable(Protocol):
    """A component: a name, its lines, what is inside of it."""

    @property
    def name(self) -> str:
        """In upper case."""
        ...

    @property
    def lines(self) -> Sequence[Line]:
        """Its own properties."""
        ...

    @property
    def children(self) -> Sequence["Writable"]:
        """The components inside."""
        ...


def write_component(component: Writable) -> bytes:
    """A component, its lines verbatim but for folds and breaks."""
    title = component.name.encode("ascii", "replace")
    pieces = [b"BEGIN:%s\r\n" % title]
    pieces += [fold(line.head + b":" + line.value) for line in component.lines]
    pieces += map(write_component, component.children)
    pieces.append(b"END:%s\r\n" % title)
    return b"".join(pieces)


def as_written(raw: bytes) -> bytes | None:
    """A component's own bytes with CRLF, where nothing but its line ends would change."""
    returns, feeds = raw.count(b"\r"), raw.count(b"\n")
    if returns:
        if returns != feeds or raw.count(b"\r\n") != feeds:
            return None
    else:
        raw = raw.replace(b"\n", b"\r\n")
    if b"\n\r\n" in raw or not raw.startswith(b"BEGIN:"):
        return None
    if len(raw) > _LONGEST and _LONG_LINE.search(raw) is not None:
        return None
    if not is_utf8(raw):  # a fold cuts a character in two, which servers do not undo
        return None
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def is_utf8(data: bytes) -> bool:
    """Whether it decodes, strictly."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
