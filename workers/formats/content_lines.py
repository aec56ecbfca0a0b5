"""The content lines of vCard and iCalendar: bytes in, bytes out, every byte accounted for.

Knows RFC 6350 §3.2 and §3.3, RFC 5545 §3.1 and §3.2, RFC 6868, RFC 2426 §2, and what vCard 2.1 does
differently: quoted-printable with soft line breaks, parameters without a name. Knows nothing of
what a property means; `workers.formats.components` builds records of its lines.

Why an own lexer: libraries throw at the first bad line, keep no offsets, and rewrite what they
have read. Here a bad line is a value with its place, and what is not touched stays verbatim.
"""

import re
from typing import Final

from msgspec import Struct, structs

from orchestrator.reasons import Reason

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes of one logical line, folds included. More is a `Flaw`, unread."""

FOLD_AT: Final = 75
"""Octets of a written line without its break (RFC 6350 §3.2, RFC 5545 §3.1)."""

Params = tuple[tuple[str, tuple[str, ...]], ...]
"""Parameters in their order: upper-case name and its values, unquoted, RFC 6868 undone.

A vCard 2.1 parameter without a name (`TEL;WORK:`) is ("WORK", ()).
"""


class Line(Struct, frozen=True, gc=False):
    """One property: what it says, and where it stands with its line break and its folds."""

    name: str
    """In upper case."""
    params: Params
    value: bytes
    """Unfolded, otherwise as it is: still escaped, still encoded."""
    offset: int
    length: int
    group: str = ""
    """As written, without its dot (vCard only)."""
    head: bytes = b""
    """Everything before the colon, unfolded: equal heads mean equal name, params and group."""
    joined: bool = False
    """It goes on in lines that are not folded as the RFCs fold (vCard 2.1)."""

    def param(self, name: str) -> str | None:
        """The first value of a parameter, None where there is none. `name` in upper case."""
        for key, values in self.params:
            if key == name:
                return values[0] if values else ""
        return None


class Flaw(Struct, frozen=True, gc=False):
    """Bytes that are no content line; `detail` never quotes them."""

    reason: Reason
    offset: int
    length: int
    detail: str


class Blank(Struct, frozen=True, gc=False):
    """White space between lines, or the byte order mark."""

    offset: int
    length: int


Lexeme = Line | Flaw | Blank


# Reading ---------------------------------------------------------------------------------------


class _Head(Struct, frozen=True, gc=False):
    name: str
    params: Params
    group: str
    goes_on: bool
    """Quoted-printable or base64: the next lines may belong to the value."""
    base64: bool


_BOM: Final = b"\xef\xbb\xbf"
_BREAK: Final = rb"(?:\r{0,2}\n|\r)"  # CRCRLF is what text-mode copying makes of CRLF
_FOLDS: Final = rb"(?:" + _BREAK + rb"[ \t][^\r\n]*+)*+"
_LOGICAL: Final = re.compile(rb"[^\r\n]++" + _FOLDS + _BREAK + rb"?+|" + _BREAK)
_CRLF_LINE: Final = re.compile(rb"\r\n(?![ \t])")
_LF_LINE: Final = re.compile(rb"\n(?![ \t])")
_FOLD: Final = re.compile(_BREAK + rb"[ \t]")
_FOLD_21: Final = re.compile(_BREAK + rb"(?=[ \t])")
_SOFT_BREAK: Final = re.compile(rb"=[ \t]*" + _BREAK)
_WHOLE_HEAD: Final = re.compile(rb"[^\":]*+(?:\"[^\"]*+\"[^\":]*+)*+(?=:)")
_HEAD: Final = re.compile(
    rb"(?:([A-Za-z0-9_.-]+)\.)?"
    rb"([A-Za-z0-9_-]+|[Xx]-[^;:\"\x00-\x1f\x7f]*)"
    rb"((?:;(?:[^\";]++|\"[^\"]*+\")*+)*+)"
)
_PARAM: Final = re.compile(r";((?:[^\";]++|\"[^\"]*+\")*+)")
_PARAM_VALUE: Final = re.compile(r",((?:[^\",]++|\"[^\"]*+\")*+)")
_PARAM_NAME: Final = re.compile(r"[A-Za-z0-9_-]*")
_CIRCUMFLEX: Final = re.compile(r"\^[n'^]")
_CIRCUMFLEX_MEANS: Final = {"^n": "\n", "^'": '"', "^^": "^"}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_DELIMITER: Final = re.compile(rb"(?:BEGIN|END):", re.IGNORECASE)
_BEGIN_AFTER_ZEROS: Final = re.compile(rb"\0(?=BEGIN:)", re.IGNORECASE)

# Heads repeat: a thousand cards share about forty. Bounded, because data is hostile.
_MOST_HEADS: Final = 4096
_LONGEST_KEPT_HEAD: Final = 256
_heads: dict[bytes, _Head] = {}


def lex(data: bytes, start: int = 0, end: int | None = None, *, old: bool = False) -> list[Lexeme]:
    """Every byte of `data[start:end]` as lines, blanks and flaws: in order, without a gap.

    Tolerates CRLF, LF, CR and CRCRLF, folds by space or tab, a byte order mark, blank lines,
    lower-case names, and the unfolded continuations of quoted-printable and base64. `old`: the
    white space of a fold belongs to the value (vCard 2.1 §2.1.3). Offsets count in `data`.
    Zeros before a BEGIN end a line: where storage was zeroed, or padded to its block, what comes
    after is whole. Never raises; takes linear time.
    """
    if data.find(b"\0", start, end) < 0:
        return _lexemes(data, start, end, old=old)
    stop = len(data) if end is None else end
    found: list[Lexeme] = []
    for match in _BEGIN_AFTER_ZEROS.finditer(data, start, stop):
        found += _lexemes(data, start, match.end(), old=old)
        start = match.end()
    return found + _lexemes(data, start, stop, old=old)


def _lexemes(data: bytes, start: int, end: int | None, *, old: bool) -> list[Lexeme]:
    found: list[Lexeme] = []
    offset = start
    if data.startswith(_BOM, start, len(data) if end is None else end):
        found.append(Blank(offset, len(_BOM)))
        offset += len(_BOM)
    raws, gap = _logical_lines(data if not offset and end is None else data[offset:end])
    fold = _FOLD_21 if old else _FOLD
    heads, append = _heads, found.append
    taken = 0
    for index, raw in enumerate(raws):
        if taken:  # by the line before
            taken -= 1
            continue
        head, colon, value = raw.partition(b":")
        length = len(raw) + gap
        known = heads.get(head)
        if known is None or not colon or length > LONGEST_LINE:
            fresh = _unfamiliar(raw, offset, length, fold)
            if not isinstance(fresh, tuple):
                append(fresh)
                offset += length
                continue
            known, head, value = fresh
        joined = False
        if known.goes_on:
            whole = _whole_base64 if known.base64 else _whole_printable
            value, taken, joined = whole(value, raws, index)
            length += sum(map(len, raws[index + 1 : index + 1 + taken])) + gap * taken
        if not gap:
            value = value.rstrip(b"\r\n")
        if b"\n" in value or b"\r" in value:
            value = fold.sub(b"", value)
        append(Line(known.name, known.params, value, offset, length, known.group, head, joined))
        offset += length
    if raws and gap and offset - gap == (len(data) if end is None else min(end, len(data))):
        found[-1] = _shorter(found[-1], gap)  # the last line has no break
    return found


def _logical_lines(data: bytes) -> tuple[list[bytes], int]:
    """Lines with their folds; each without its break of that many bytes, or with it where 0."""
    feeds, returns = data.count(b"\n"), data.count(b"\r")
    if not returns:
        lines, gap = _LF_LINE.split(data), 1
    elif feeds == returns == data.count(b"\r\n"):
        lines, gap = _CRLF_LINE.split(data), 2
    else:
        return _LOGICAL.findall(data), 0
    if not lines[-1]:
        lines.pop()
    return lines, gap


def _shorter(lexeme: Lexeme, by: int) -> Lexeme:
    return structs.replace(lexeme, length=lexeme.length - by)


def _unfamiliar(
    raw: bytes, offset: int, length: int, fold: re.Pattern[bytes]
) -> tuple[_Head, bytes, bytes] | Blank | Flaw:
    """A head that was not met before, unfolded, with its value; or what else the line is."""
    if not raw.strip():
        return Blank(offset, length)
    if length > LONGEST_LINE:
        return Flaw(Reason.TOO_LARGE, offset, length, "line too long")
    whole = _WHOLE_HEAD.match(raw)
    head = whole[0] if whole is not None else b""
    if b"\n" in head or b"\r" in head:
        head = fold.sub(b"", head)
    known = _parsed(head)
    if whole is None or known is None:
        return Flaw(Reason.SYNTAX, offset, length, "not a content line")
    return known, head, raw[whole.end() + 1 :]


def _parsed(head: bytes) -> _Head | None:
    """What a head says; None where it is none."""
    known = _heads.get(head)
    if known is not None:
        return known
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    written = match[3].decode("utf-8", "surrogateescape")
    params = tuple(param for text in _PARAM.findall(written) for param in _params(text))
    if not all(_PARAM_NAME.fullmatch(name) for name, _ in params):
        return None
    encodings = {
        value.upper()
        for name, values in params
        for value in ((name,) if not values else values if name == "ENCODING" else ())
    }
    base64 = not encodings.isdisjoint({"B", "BASE64"})
    known = _Head(
        name=match[2].decode("utf-8", "surrogateescape").upper(),
        params=params,
        group=(match[1] or b"").decode("ascii"),
        goes_on=base64 or "QUOTED-PRINTABLE" in encodings,
        base64=base64,
    )
    if len(head) <= _LONGEST_KEPT_HEAD:
        if len(_heads) >= _MOST_HEADS:
            _heads.clear()
        _heads[head] = known
    return known


def _params(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """One parameter with its values; or the ones without names that stand between commas."""
    name, equals, values = text.partition("=")
    if not equals:
        return [(each.strip().upper(), ()) for each in name.split(",")]
    return [(name.strip().upper(), tuple(map(_unquoted, _PARAM_VALUE.findall("," + values))))]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == '"' == value[-1]:
        value = value[1:-1]
    if "^" in value:
        value = _CIRCUMFLEX.sub(lambda match: _CIRCUMFLEX_MEANS[match[0]], value)
    return value


def _whole_printable(value: bytes, raws: list[bytes], index: int) -> tuple[bytes, int, bool]:
    """The value with what follows it, how many further lines that took, and whether any.

    Soft line breaks are undone before folds: after one, white space at the start is text.
    """
    pieces, taken = [value.rstrip(b"\r\n")], 0
    while pieces[-1].rstrip().endswith(b"=") and index + taken + 1 < len(raws):
        following = raws[index + taken + 1]
        if _DELIMITER.match(following):
            break
        pieces.append(following.rstrip(b"\r\n"))
        taken += 1
    whole = b"\n".join(pieces)
    joined = _SOFT_BREAK.sub(b"", whole)
    return joined, taken, len(joined) != len(whole)


def _whole_base64(value: bytes, raws: list[bytes], index: int) -> tuple[bytes, int, bool]:
    """The same for base64: lines of nothing else belong to it, blank ones between them too."""
    pieces, taken, seen = [value.rstrip()], 0, 0
    for position in range(index + 1, len(raws)):
        seen += 1
        text = raws[position].strip()
        if not text:
            continue
        if _BASE64.fullmatch(b"".join(text.split())) is None:
            break
        pieces.append(text)
        taken = seen
    return b"".join(pieces), taken, taken > 0


# Values ----------------------------------------------------------------------------------------

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(rb"\r\n?|[\n\\,;]")
_ESCAPE_OF: Final = {b"\\": b"\\\\", b",": b"\\,", b";": b"\\;"}
_FIELDS: Final = {
    b";": re.compile(rb";((?:[^\\;]++|\\.|\\\Z)*+)", re.DOTALL),
    b",": re.compile(rb",((?:[^\\,]++|\\.|\\\Z)*+)", re.DOTALL),
}


def unescape(value: bytes) -> bytes:
    r"""Text as it is meant: `\n` and `\N` are line feeds, any other escaped byte is itself."""
    if b"\\" not in value:
        return value
    if b"\\\\" not in value:  # the usual case, without a call for each escape
        plain = value.replace(b"\\,", b",").replace(b"\\;", b";").replace(b"\\n", b"\n")
        if b"\\" not in plain:
            return plain
    return _ESCAPED.sub(lambda match: b"\n" if match[1] in b"nN" else match[1], value)


def escape(text: bytes) -> bytes:
    """One TEXT value of one line (RFC 6350 §3.4, RFC 5545 §3.3.11); all line breaks are equal."""
    if _TO_ESCAPE.search(text) is None:
        return text
    return _TO_ESCAPE.sub(lambda match: _ESCAPE_OF.get(match[0], b"\\n"), text)


def fields(value: bytes, separator: bytes) -> list[bytes]:
    """The parts of a value between unescaped separators (`;` or `,`), still escaped."""
    if b"\\" not in value:
        return value.split(separator)
    return _FIELDS[separator].findall(separator + value)


# Writing ---------------------------------------------------------------------------------------

_PARAM_SPECIAL: Final = re.compile(r"[\n\"^]")
_TOP_BITS: Final = 0b11000000
_CONTINUES: Final = 0b10000000  # the top bits of every further byte of an UTF-8 character
_CIRCUMFLEX_OF: Final = {"\n": "^n", '"': "^'", "^": "^^"}
_NEEDS_QUOTES: Final = re.compile(r"[,;:]")


def write_params(params: Params) -> bytes:
    """`;NAME=value,"value: quoted"` for each parameter; line breaks and quotes by RFC 6868."""
    written: list[str] = []
    for name, values in params:
        written.append(f";{name}={','.join(map(_quoted, values))}" if values else f";{name}")
    return "".join(written).encode("utf-8", "surrogateescape")


def _quoted(value: str) -> str:
    if _PARAM_SPECIAL.search(value):
        value = _PARAM_SPECIAL.sub(lambda match: _CIRCUMFLEX_OF[match[0]], value)
    return f'"{value}"' if _NEEDS_QUOTES.search(value) else value


def write_line(name: str, value: bytes, params: Params = (), group: str = "") -> bytes:
    """One content line, folded, with its CRLF. `value` is escaped or encoded already."""
    prefix = f"{group}.{name}" if group else name
    return fold(prefix.encode("utf-8", "surrogateescape") + write_params(params) + b":" + value)


def fold(line: bytes) -> bytes:
    """The line in pieces of at most 75 octets, no character cut in two, with its CRLF."""
    if len(line) <= FOLD_AT:
        return line + b"\r\n"
    pieces: list[bytes] = []
    start, room = 0, FOLD_AT
    while len(line) - start > room:
        end = start + room
        while end > start + room - 3 and line[end] & _TOP_BITS == _CONTINUES:
            end -= 1
        pieces.append(line[start:end])
        start, room = end, FOLD_AT - 1  # the space counts
    pieces.append(line[start:])
    return b"\r\n ".join(pieces) + b"\r\n"
