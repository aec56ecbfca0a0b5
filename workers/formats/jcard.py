"""jCard (RFC 7095): vCards as JSON arrays, one or many, also in files that were cut."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.content_lines import Params, escape
from workers.formats.json_records import decoded
from workers.formats.vcard import Property
from workers.formats.vcard_properties import Kind, fact_of

_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_GROUP: Final = re.compile(r"[A-Za-z0-9_.-]*")
_START: Final = re.compile(rb"\[\s*\"vcard\"\s*,", re.IGNORECASE)
_FIRST: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:\[\s*)?\"vcard\"\s*,", re.IGNORECASE)
_AFTER: Final = b" \t\r\n,]"
_MOST_CLOSING: Final = 3
_FEWEST_PARTS: Final = 4
_FULL_DATE: Final = 10
_VERSIONS: Final = ("3.0", "4.0")

# Types of values that need no VALUE parameter, by kind of property: they are its default.
_DEFAULT: Final = {
    Kind.TEXT: {"text", "language-tag", "phone-number"},
    Kind.LIST: {"text"},
    Kind.FIELDS: {"text", "float"},
    Kind.DATE: {"date", "time", "date-time", "date-and-or-time"},
    Kind.MOMENT: {"timestamp", "date", "date-time"},
    Kind.URI: {"uri"},
    Kind.BINARY: {"binary"},
    Kind.PLACE: {"uri", "float"},
    Kind.FREE: {"text", "vcard"},
}
_TIMES: Final = frozenset({"date", "time", "date-time", "date-and-or-time", "timestamp"})


class JsonCard(Struct, frozen=True, kw_only=True):
    """Where a card stands, and what it holds, or why it cannot be read."""

    offset: int
    length: int
    value: Any = None
    reason: Reason | None = None
    detail: str = ""


def is_jcard(data: bytes) -> bool:
    """Whether the file is a jCard or an array of them."""
    return _FIRST.match(data) is not None


def json_cards(data: bytes) -> list[JsonCard]:
    """Every card of the file; what lies between them is syntax."""
    starts = [match.start() for match in _START.finditer(data)]
    found: list[JsonCard] = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        found.append(_card(data, start, end))
    return found


def _card(data: bytes, start: int, end: int) -> JsonCard:
    """One card: a value, followed by what closes or separates it from the next."""
    segment = data[start:end].rstrip(b" \t\r\n,")
    rejected = ItemRejected(Reason.CUT)
    for _ in range(_MOST_CLOSING):
        try:
            return JsonCard(offset=start, length=len(segment), value=decoded(segment))
        except ItemRejected as problem:
            rejected = problem
        if not segment.endswith(b"]"):
            break
        segment = segment[:-1].rstrip(b" \t\r\n,")
    length = len(data[start:end].rstrip(_AFTER)) or end - start
    return JsonCard(offset=start, length=length, reason=rejected.reason, detail=rejected.detail)


def properties_of(card: Any) -> tuple[str, list[Property]]:
    """The version that a jCard says, and its properties as a vCard writes them.

    Raises:
        ItemRejected: it does not have the shape of RFC 7095 §3.
    """
    match card:
        case ["vcard" | "VCARD", [*properties], *_]:
            pass
        case _:
            raise ItemRejected(Reason.STRUCTURE, "not the shape of a jCard")
    version = next((_version(each) for each in properties if _name(each) == "VERSION"), "4.0")
    if version not in _VERSIONS:
        raise ItemRejected(Reason.UNSUPPORTED, "a version that does not exist")
    written = [_property(each, version) for each in properties if _name(each) != "VERSION"]
    return version, [(fact_of("VERSION"), version.encode()), *written]


def _name(item: Any) -> str:
    match item:
        case [str() as name, *_]:
            return name.upper()
        case _:
            raise ItemRejected(Reason.STRUCTURE, "a property without a name")


def _version(item: list[Any]) -> str:
    return str(item[3]) if len(item) >= _FEWEST_PARTS else ""


def _property(item: Any, version: str) -> Property:
    match item:
        case [str() as name, dict() as given, str() as kind, first, *more]:
            pass
        case _:
            raise ItemRejected(Reason.STRUCTURE, "a property without its four parts")
    if _WORD.fullmatch(name) is None or name.upper() in {"BEGIN", "END"}:
        raise ItemRejected(Reason.SYNTAX, "a name with characters that none may have")
    group, params = _params(given)  # pyright: ignore[reportUnknownArgumentType] # JSON
    plain = fact_of(name.upper(), params)
    kind = kind.lower()
    if kind not in _DEFAULT[plain.kind] | {"unknown"} and (
        plain.kind is not Kind.BINARY or kind != "uri" or version == "3.0"
    ):
        params = (*params, ("VALUE", (kind,)))
    if kind == "binary" and not plain.base64:
        params = (*params, ("ENCODING", ("b",)))
    separator = b"," if plain.kind is not Kind.FIELDS else b";"
    value = separator.join(_value(each, kind, version) for each in (first, *more))  # pyright: ignore[reportUnknownVariableType] # JSON
    return fact_of(name.upper(), params, group), value


def _params(given: Mapping[str, Any]) -> tuple[str, Params]:
    group = ""
    params: list[tuple[str, tuple[str, ...]]] = []
    for name, value in given.items():
        values = tuple(map(str, value)) if isinstance(value, list) else (str(value),)
        if name.upper() == "GROUP":
            group = values[0]
        elif name.upper() != "VALUE":
            params.append((name.upper(), values))
    if _GROUP.fullmatch(group) is None or not all(_WORD.fullmatch(name) for name, _ in params):
        raise ItemRejected(Reason.SYNTAX, "a name with characters that none may have")
    return group, tuple(params)


def _value(value: Any, kind: str, version: str) -> bytes:
    match value:
        case list():
            return b";".join(_field(each, kind, version) for each in value)  # pyright: ignore[reportUnknownVariableType] # JSON
        case _:
            return _scalar(value, kind, version)


def _field(value: Any, kind: str, version: str) -> bytes:
    if isinstance(value, list):
        return b",".join(_scalar(each, kind, version) for each in value)  # pyright: ignore[reportUnknownVariableType] # JSON
    return _scalar(value, kind, version)


def _scalar(value: Any, kind: str, version: str) -> bytes:
    match value:
        case bool():
            return b"TRUE" if value else b"FALSE"
        case int() | float():
            return str(value).encode()
        case str():
            raw = value.encode("utf-8", "surrogateescape")
        case _:
            raise ItemRejected(Reason.VALUE, "a value that is neither text nor number")
    if kind in _TIMES and version == "4.0":
        return _basic(raw)
    if kind == "utc-offset" and version == "4.0":
        return raw.replace(b":", b"")
    if kind in {"uri", "binary", "utc-offset", "unknown", *_TIMES}:
        return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\\n")
    return escape(raw)


def _basic(value: bytes) -> bytes:
    """JSON writes dates with hyphens and colons, vCard 4.0 without (RFC 7095 §3.5)."""
    date, mark, time = value.partition(b"T")
    if len(date) == _FULL_DATE or date.startswith(b"--"):
        date = (
            date[:2] + date[2:].replace(b"-", b"") if date[:2] == b"--" else date.replace(b"-", b"")
        )
    return date + mark + time.replace(b":", b"")
