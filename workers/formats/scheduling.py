"""Restoring an event must not invite anybody: how a server is told to keep quiet.

A server with automatic scheduling (RFC 6638) mails everyone named in an event that is put into a
calendar. `SCHEDULE-AGENT=CLIENT` at each of them says that it is not the server's business. The
digest of an object is the same with and without.
"""

import re
from typing import Final

from workers.formats.calendar_properties import with_params
from workers.formats.content_lines import Line, fold, lex

AGENT: Final = "SCHEDULE-AGENT"
_PEOPLE: Final = re.compile(rb"^(?:ATTENDEE|ORGANIZER)[;:]", re.IGNORECASE | re.MULTILINE)


def without_invitations(content: bytes) -> bytes:
    """The same object, for servers that would mail invitations; idempotent."""
    if _PEOPLE.search(content) is None:
        return content
    pieces: list[bytes] = []
    for lexeme in lex(content):
        raw = content[lexeme.offset : lexeme.offset + lexeme.length]
        if not isinstance(lexeme, Line) or lexeme.name not in ("ATTENDEE", "ORGANIZER"):
            pieces.append(raw)
            continue
        others = tuple(pair for pair in lexeme.params if pair[0] != AGENT)
        line = with_params(lexeme, (*others, (AGENT, ("CLIENT",))))
        pieces.append(fold(line.head + b":" + line.value))
    return b"".join(pieces)
