"""The repairs of calendar components: their names, what each does, and which were applied.

Knows repairs by name and the mending of single lines; which line needs which is decided in
`calendar_checks`.
"""

import quopri
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_properties import made, tidy_values
from workers.formats.content_lines import Line

REPAIRS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "wrap-in-calendar": "A component without a calendar around it, or in one without VERSION, "
        "is put into a calendar of version 2.0.",
        "fix-product-id": "A missing PRODID becomes a fixed one.",
        "drop-method": "METHOD is left out: it belongs to a message, not to a stored object.",
        "derive-uid": "A missing UID is derived from user, category and content.",
        "fix-dtstamp": "A missing or malformed DTSTAMP becomes a fixed one.",
        "escape-text": "Unescaped commas, semicolons and backslashes in text are escaped.",
        "fix-mojibake": "Text that was encoded twice is decoded once, where that is certain.",
        "decode-quoted-printable": "Quoted-printable text (vCalendar 1.0) is decoded.",
        "tidy-values": "White space around a date, number or rule is left out, and superfluous "
        "semicolons and backslashes of a rule.",
        "tidy-parameters": "Empty and repeated parameters are left out, and white space and "
        "stray quotes around their values.",
        "declare-dates": "A value that is a DATE or a PERIOD is declared as one.",
        "drop-empty-properties": "A UID, date, number or address without a value is left out.",
        "drop-repeated-properties": "A property that is repeated word by word is kept once.",
        "set-aside-doubled-properties": "The second of two contradicting texts becomes an X- "
        "property.",
        "drop-idle-zones": "TZID is left out of dates and of times in UTC, where it means nothing.",
        "map-time-zones": "Names of zones by Windows and other vendors become IANA names; the "
        "original is kept as a parameter.",
        "drop-broken-time-zones": "A broken VTIMEZONE is left out where its name is known.",
        "drop-empty-end": "An end equal to the start is left out, which means the same.",
        "drop-redundant-length": "DURATION is left out where the end says the same.",
        "align-until": "UNTIL is written in the form that DTSTART asks for.",
        "write-in-utc": "COMPLETED, CREATED, LAST-MODIFIED and DTSTAMP in a known zone are written "
        "in UTC.",
        "drop-impossible-times": "CREATED, LAST-MODIFIED and COMPLETED, malformed or outside the "
        "service's life, and a malformed SEQUENCE, are left out; the field is noted as missing.",
        "one-override-an-instance": "Of several overrides of one instance the newest is kept.",
        "drop-unreadable-lines": "Lines that are no properties are left out.",
        "drop-broken-alarms": "Alarms that do not follow the rules are left out.",
    }
)
LOSSY: Final = frozenset({"drop-unreadable-lines", "drop-broken-alarms"})


class Mending:
    """The repairs of one copy: which may be applied, which were, and what is missing since."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.applied: list[str] = []
        self.degraded: list[str] = []

    def use(self, repair: str, reason: Reason, detail: str) -> None:
        """Note a repair that is about to be applied.

        Raises:
            ItemRejected: with `reason`, where the plan has not switched it on.
        """
        if repair in self.applied:
            return
        if repair not in self.allowed:
            raise ItemRejected(reason, f"{detail}; the repair {repair} would help")
        self.applied.append(repair)

    def missing(self, field: str) -> None:
        """Note a field that is left empty."""
        if field not in self.degraded:
            self.degraded.append(field)


# Text ------------------------------------------------------------------------------------------

_SOUND_TEXT: Final = re.compile(rb"(?:[^\\,;]++|\\[\\,;nN])*+")
_SOUND_TEXTS: Final = re.compile(rb"(?:[^\\;]++|\\[\\,;nN])*+")
_LOOSE: Final = re.compile(rb"\\[\\,;nN]|[,;]|\\(.)|\\", re.DOTALL)
_LOOSE_IN_LIST: Final = re.compile(rb"\\[\\,;nN]|,|;|\\(.)|\\", re.DOTALL)


def sound_text(value: bytes, *, several: bool = False) -> bool:
    """Whether a TEXT (or a list of them) is escaped as RFC 5545 section 3.3.11 asks for."""
    return (_SOUND_TEXTS if several else _SOUND_TEXT).fullmatch(value) is not None


def escaped(value: bytes, *, several: bool = False) -> bytes:
    r"""The same text, escaped.

    A backslash before punctuation is taken for an escape of another language (`\"` is `"`), one
    before anything else for itself, as the programs that wrote it showed it.
    """

    def repaired(match: re.Match[bytes]) -> bytes:
        found = match[0]
        if found in (b",", b";"):
            return found if several and found == b"," else b"\\" + found
        after = match[1]
        if after is None:
            return found if len(found) > 1 else b"\\\\"
        is_word = after.isalnum() or after in b" _" or after >= b"\x80"
        return b"\\\\" + after if is_word else after

    return (_LOOSE_IN_LIST if several else _LOOSE).sub(repaired, value)


def decoded_printable(line: Line) -> Line:
    """A quoted-printable line as plain text in UTF-8.

    Raises:
        ItemRejected: its bytes are not in the charset that it declares, nor in UTF-8.
    """
    charset = line.param("CHARSET") or "utf-8"
    raw = quopri.decodestring(line.value)
    try:
        text = raw.decode(charset)
    except (UnicodeDecodeError, LookupError):
        raise ItemRejected(Reason.ENCODING, f"{line.name} is not in its charset") from None
    escaped_breaks = text.replace("\r\n", "\n").replace("\n", "\\n")
    params = tuple(
        (key, values) for key, values in line.params if key not in ("ENCODING", "CHARSET")
    )
    value = escaped_breaks.encode()
    return made(line.name, value if sound_text(value) else escaped(value), params)


def tidied(line: Line) -> Line:
    """The line without empty and without repeated parameters.

    Raises:
        ItemRejected: a parameter has no name, or contradicts another.
    """
    kept: dict[str, tuple[str, ...]] = {}
    for key, values in line.params:
        if not key and not values:
            continue
        plain = tidy_values(line, values)
        if not values or kept.setdefault(key, plain) != plain:
            raise ItemRejected(Reason.SYNTAX, f"{line.name} has a parameter that cannot be read")
    return made(line.name, line.value, tuple(kept.items()))


def tidy_rule(text: str) -> str:
    """A rule without white space, backslashes before separators, and empty parts."""
    plain = text.replace("\\;", ";").replace("\\,", ",").replace(" ", "")
    return ";".join(part for part in plain.split(";") if part)
