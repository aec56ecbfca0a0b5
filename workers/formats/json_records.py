"""Where the records of a JSON file lie, to the byte, also when the file is cut or damaged.

A file is a value, or several one after the other (JSON Lines). A record is an object whose keys
the caller knows; objects and arrays around records are only walked through. What is neither is
given as damage, so that nothing is passed over in silence; gaps between pieces are syntax.

Why two walks: intact files, the common case, are split by msgspec in C. Only where that fails is
the file read token by token, and each record is found again by the next object that is whole.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason

MOST_LEVELS: Final = 64
"""Objects and arrays within each other; deeper JSON is refused before it is parsed."""

_BRACE: Final = ord("{")
_BRACKET: Final = ord("[")
_OPENINGS: Final = b"{["
_CLOSINGS: Final = b"]}"
_BOM: Final = b"\xef\xbb\xbf"
_ZEROS: Final = b"\0" * 16
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+"'
_TOKEN: Final = re.compile(_STRING + rb'|[\[\]{}"]')
_STRING_OR_KEY: Final = re.compile(_STRING + rb"[ \t\r\n]*(:?)")
_KEY: Final = re.compile(rb"(" + _STRING + rb")[ \t\r\n]*:[ \t\r\n]*")
_SCALAR: Final = re.compile(_STRING + rb"|[-+.0-9A-Za-z]+")
_SEPARATOR: Final = re.compile(rb"[ \t\r\n,]*")
_LEFTOVER: Final = re.compile(rb"[ \t\r\n,\]}]*")
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_START: Final = re.compile(rb"[,\[\]\n\x00][ \t\r\n]*(\{)")
_ESCAPED_CONTROL: Final = re.compile(rb"\\(?:u00[01]|[bf])")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")

_any: Final = msgspec.json.Decoder()
_raw: Final = msgspec.json.Decoder(Raw)
_array: Final = msgspec.json.Decoder(list[Raw])
_object: Final = msgspec.json.Decoder(dict[str, Raw])


IsRecord = Callable[[Collection[str]], bool]
"""Says by an object's keys whether it is a record."""


class Piece(Struct, frozen=True, kw_only=True):
    """One record of a file, whole (`fields`) or damaged (`reason`)."""

    offset: int
    length: int
    fields: Mapping[str, Any] | None = None
    reason: Reason | None = None
    detail: str = ""
    path: tuple[str, ...] = ()
    """The keys that lead to it, outermost first; arrays add nothing."""
    around: Mapping[str, Any] = _NOTHING
    """The plain members of the objects around it, the inner ones before the outer."""


def decoded(data: bytes) -> Any:
    """The value of one strict JSON text (RFC 8259).

    Raises:
        ItemRejected: not UTF-8, lone surrogates, control characters, NaN or infinity, a key
            twice in one object, too many levels, or anything else that the grammar refuses.
    """
    if _too_deep(data):
        raise ItemRejected(Reason.TOO_LARGE, f"more than {MOST_LEVELS} levels")
    try:
        value = _any.decode(data)
    except UnicodeDecodeError:
        raise ItemRejected(Reason.ENCODING, "not UTF-8") from None
    except msgspec.DecodeError:
        raise ItemRejected(*_why_undecodable(data)) from None
    if isinstance(value, dict | list):
        keys = _STRING_OR_KEY.findall(data).count(b":")
        if keys != _count_keys(value):  # pyright: ignore[reportUnknownArgumentType]  # JSON is Any
            raise ItemRejected(Reason.STRUCTURE, "a key twice in one object")
    if _ESCAPED_CONTROL.search(data) is not None and _holds_control(value):
        raise ItemRejected(Reason.CONTROL_CHARACTER, "an escaped control character")
    return value


def pieces(data: bytes, is_record: IsRecord) -> list[Piece]:
    """Every record of a file in its order, whole or damaged; what lies between is syntax.

    Pieces never overlap. A file without any record gives a damaged piece, unless its arrays are
    empty or it holds white space only.
    """
    found: list[Piece] = []
    start = _skip(_SPACE, data, len(_BOM) if data.startswith(_BOM) else 0)
    end = len(data.rstrip(b" \t\r\n"))
    if start >= end:
        return found
    walk = _Walk(data, is_record, found)
    if not _too_deep(data) and _is_json(data[start:end]):
        walk.value(start, end, _Place())
    else:
        walk.salvage(start)
    return found


class _Place(Struct, frozen=True, gc=False):
    """Where in the file something stands."""

    path: tuple[str, ...] = ()
    around: Mapping[str, Any] = _NOTHING
    level: int = 0

    def within(self, key: str, around: Mapping[str, Any]) -> "_Place":
        """The place under `key` of an object whose plain members are in `around`."""
        return _Place((*self.path, key), around, self.level + 1)

    def deeper(self) -> "_Place":
        """The place of an array's elements."""
        return _Place(self.path, self.around, self.level + 1)


class _Member(Struct, frozen=True, kw_only=True, gc=False):
    """One member of an object: its key, and where its value lies."""

    key: str
    start: int
    end: int


class _Walk:
    """One reading of one file; what it finds is appended to `found` in the file's order."""

    def __init__(self, data: bytes, is_record: IsRecord, found: list[Piece]) -> None:
        self.data = data
        self.is_record = is_record
        self.found = found
        # A hostile file makes every search run to its end: what a file may cost is bounded.
        self.budget = 4 * len(data) + 8 * 1024 * 1024

    # Intact: [start, end) is known to follow the grammar ------------------------------------

    def value(self, start: int, end: int, place: _Place) -> None:
        """Walk through one value that follows the grammar."""
        opening = self.data[start]
        if opening == _BRACE:
            self.object(start, end, place)
        elif opening == _BRACKET:
            self.array(start, end, place)
        else:
            self.damage(start, end, Reason.STRUCTURE, "neither an object nor an array")

    def array(self, start: int, end: int, place: _Place) -> None:
        """Walk through an array that follows the grammar."""
        data = self.data
        parts = [memoryview(part) for part in _array.decode(memoryview(data)[start:end])]
        if parts and not any(part[0] in _OPENINGS for part in parts):
            self.damage(start, end, Reason.STRUCTURE, "an array without objects")
            return
        offset = start + 1
        for part in parts:
            begin = _skip(_SEPARATOR, data, offset)
            offset = begin + len(part)
            self.value(begin, offset, place)

    def object(self, start: int, end: int, place: _Place) -> None:
        """One record, or an object around records."""
        data = self.data[start:end]
        try:
            keys: Collection[str] = _object.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            keys = [member.key for member in self.members(start + 1)]
        if not self.is_record(keys):
            self.wrapper(start, end, place)
            return
        try:
            fields = decoded(data)
        except ItemRejected as rejected:
            self.damage(start, end, rejected.reason, rejected.detail)
            return
        self.found.append(
            Piece(
                offset=start,
                length=end - start,
                fields=fields,
                path=place.path,
                around=place.around,
            )
        )

    def wrapper(self, start: int, end: int, place: _Place) -> None:
        """An object that is no record: its plain members describe what its others hold."""
        members = self.members_of(start, end)
        inner = [member for member in members if self.data[member.start] in _OPENINGS]
        if not inner:
            reason = Reason.STRUCTURE if members else Reason.EMPTY
            self.damage(start, end, reason, "an object that is no record")
            return
        around = self.plain(members, place)
        for member in inner:
            self.value(member.start, member.end, place.within(member.key, around))

    def members_of(self, start: int, end: int) -> list[_Member]:
        """Each member of an object that follows the grammar."""
        data = self.data
        try:
            values = _object.decode(memoryview(data)[start:end]).values()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.members(start + 1)
        members: list[_Member] = []
        offset = start + 1
        for value in values:
            match = _KEY.match(data, _skip(_SEPARATOR, data, offset))
            if match is None:
                break
            offset = match.end() + len(memoryview(value))
            members.append(_Member(key=_key(match[1]), start=match.end(), end=offset))
        if _skip(_SPACE, data, offset) != end - 1:
            return self.members(start + 1)  # a key twice: the lengths are those of the last
        return members

    def members(self, offset: int) -> list[_Member]:
        """Each member from `offset` on, as far as they can be read."""
        data = self.data
        members: list[_Member] = []
        while (match := _KEY.match(data, _skip(_SEPARATOR, data, offset))) is not None:
            begin = match.end()
            offset = self.end_of(begin)
            if offset < 0:
                break
            members.append(_Member(key=_key(match[1]), start=begin, end=offset))
        return members

    def plain(self, members: list[_Member], place: _Place) -> Mapping[str, Any]:
        """The plain members, and those of the objects around."""
        plain = dict(place.around)
        for member in members:
            if self.data[member.start] in _OPENINGS:
                continue
            try:
                plain[member.key] = decoded(self.data[member.start : member.end])
            except ItemRejected:
                continue  # records are judged; this only describes where they stand
        return plain

    def end_of(self, start: int) -> int:
        """Where the value that starts here ends by its brackets and quotes; -1: it does not."""
        data = self.data
        if data[start : start + 1] not in (b"{", b"["):
            match = _SCALAR.match(data, start)
            return match.end() if match is not None else -1
        level = 0
        end = len(data)
        for match in _TOKEN.finditer(data, start):
            token = data[match.start()]
            end = match.end()
            if token in _OPENINGS:
                level += 1
            elif token in _CLOSINGS:
                level -= 1
                if level == 0:
                    self.budget -= end - start
                    return end
            elif end - match.start() == 1:
                break  # a string that does not end in its line
            if end - start > self.budget:
                break
        self.budget -= end - start
        return -1

    # Damaged: nothing is known ---------------------------------------------------------------

    def salvage(self, offset: int) -> None:
        """Find what is whole in a file whose grammar is broken somewhere."""
        while (offset := _skip(_LEFTOVER, self.data, offset)) < len(self.data):
            offset = self.salvage_value(offset, _Place())

    def salvage_value(self, start: int, place: _Place) -> int:
        """Walk through what starts here; gives where to go on, always further on."""
        opening = self.data[start]
        if place.level > MOST_LEVELS or opening not in _OPENINGS or self.budget < 0:
            return self.skip_damage(start)
        if opening == _BRACKET:
            return self.salvage_array(start, place)
        end = self.end_of(start)
        if end >= 0 and self.follows_grammar(start, end):
            self.object(start, end, place)
            return end
        members = self.members(start + 1)
        if not self.is_record([member.key for member in members]):
            onward = self.salvage_wrapper(start, members, place)
            if onward > start:
                return onward
        return self.skip_damage(start)

    def salvage_array(self, start: int, place: _Place) -> int:
        """Elements one by one until the array ends, or the file does."""
        data = self.data
        offset = start + 1
        while (offset := _skip(_SEPARATOR, data, offset)) < len(data):
            if data[offset] in _CLOSINGS:
                return offset + 1
            offset = self.salvage_value(offset, place.deeper())
        return offset

    def salvage_wrapper(self, start: int, members: list[_Member], place: _Place) -> int:
        """An object around records whose end is missing or broken; -1 where it is none."""
        data = self.data
        onward = _skip(_SEPARATOR, data, members[-1].end if members else start + 1)
        opened = _KEY.match(data, onward)
        if opened is not None and data[opened.end() : opened.end() + 1] not in (b"{", b"["):
            opened = None
        inner = [member for member in members if data[member.start] in _OPENINGS]
        if not inner and opened is None:
            return -1
        around = self.plain(members, place)
        for member in inner:
            within = place.within(member.key, around)
            if self.follows_grammar(member.start, member.end):
                self.value(member.start, member.end, within)
            else:
                reached = self.salvage_value(member.start, within)
                if reached != member.end:
                    return reached  # brackets were lost: the members after it may be none
        if opened is None:
            return max(onward, start + 1)
        return self.salvage_value(opened.end(), place.within(_key(opened[1]), around))

    def follows_grammar(self, start: int, end: int) -> bool:
        """Whether msgspec reads these bytes as one value, not too deep."""
        data = self.data[start:end]
        return not _too_deep(data) and _is_json(data)

    def skip_damage(self, start: int) -> int:
        """Give up what starts here, up to the next object that is a whole record."""
        data = self.data
        balanced = self.end_of(start) if data[start] in _OPENINGS else -1
        limit = balanced if balanced > 0 else len(data)
        onward = self.next_record(start + 1, limit)
        if onward < limit:
            end = start + len(data[start:onward].rstrip(b" \t\r\n,["))
            self.damage(start, end, *_why_undecodable(data[start:end]))
            return onward
        end = start + len(data[start:limit].rstrip(b" \t\r\n"))
        cut = balanced < 0 and data[start] in _OPENINGS
        self.damage(start, end, *_why_undecodable(data[start:end], cut=cut))
        return limit

    def next_record(self, offset: int, limit: int) -> int:
        """Where the next whole record starts; `limit` where there is none before it."""
        data = self.data
        while self.budget >= 0:
            match = _START.search(data, offset - 1, limit)
            if match is None:
                break
            offset = match.start(1)
            end = self.end_of(offset)
            if end >= 0 and self.follows_grammar(offset, end):
                try:
                    keys = _object.decode(data[offset:end])
                except (msgspec.DecodeError, UnicodeDecodeError):
                    keys = {}
                if self.is_record(keys):
                    return offset
            offset += 1
        return limit

    def damage(self, start: int, end: int, reason: Reason, detail: str) -> None:
        """Note a stretch that is no whole record."""
        self.found.append(Piece(offset=start, length=end - start, reason=reason, detail=detail))


def _key(quoted: bytes) -> str:
    """A key as text; one that is no valid UTF-8 keeps what can be read of it."""
    try:
        return str(_any.decode(quoted))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return quoted[1:-1].decode("utf-8", "replace")


def _is_json(data: bytes) -> bool:
    """Whether it follows the grammar; the text inside of strings is not looked at."""
    try:
        _raw.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _skip(pattern: re.Pattern[bytes], data: bytes, offset: int) -> int:
    match = pattern.match(data, offset)
    return match.end() if match is not None else offset


def _too_deep(data: bytes) -> bool:
    """Whether brackets lie in each other more than `MOST_LEVELS` deep."""
    if data.count(b"{") + data.count(b"[") <= MOST_LEVELS:
        return False
    level = 0
    for match in _TOKEN.finditer(data):
        token = data[match.start()]
        if token in b"{[":
            level += 1
            if level > MOST_LEVELS:
                return True
        elif token in b"]}":
            level -= 1
    return False


def _count_keys(value: dict[Any, Any] | list[Any]) -> int:
    """Keys of all objects in a decoded value, whose levels are bounded."""
    if isinstance(value, dict):
        count = len(value)
        parts = value.values()
    else:
        count = 0
        parts = value
    for part in parts:
        if part.__class__ is dict or part.__class__ is list:
            count += _count_keys(part)
    return count


def _holds_control(value: Any) -> bool:
    if isinstance(value, str):
        return _CONTROL.search(value) is not None
    if isinstance(value, dict):
        return any(_holds_control(key) or _holds_control(part) for key, part in value.items())  # pyright: ignore[reportUnknownVariableType]  # JSON is Any
    if isinstance(value, list):
        return any(_holds_control(part) for part in value)  # pyright: ignore[reportUnknownVariableType]  # JSON is Any
    return False


def _why_undecodable(data: bytes, *, cut: bool = False) -> tuple[Reason, str]:
    """The reason that says most about bytes which are no JSON."""
    if _ZEROS in data:
        return Reason.ZEROED, "a run of zeros"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if not (cut and error.end == len(data) and error.reason == "unexpected end of data"):
            return Reason.ENCODING, "not UTF-8"
        return Reason.CUT, "ends inside of a record"
    if _CONTROL.search(text) is not None:
        return Reason.CONTROL_CHARACTER, "a control character"
    if _too_deep(data):
        return Reason.TOO_LARGE, f"more than {MOST_LEVELS} levels"
    if cut:
        return Reason.CUT, "ends inside of a record"
    return Reason.SYNTAX, "not JSON"
