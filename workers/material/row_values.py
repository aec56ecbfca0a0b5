"""What a database gives for a column, as bytes, text, JSON or a time; never raises for content."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from msgspec import json

from workers.material.file_trees import text_of as text_of_bytes

_ENCODER: Final = json.Encoder(order="sorted", decimal_format="number")
_SAFE_INTEGER: Final = 1 << 63
_MILLISECONDS_FROM: Final = 1e11
"""As seconds this would be the year 5138."""
_MICROSECONDS_FROM: Final = 1e14

_DIGITS: Final = 40
"""A decimal with more is not written out: 1E+1000000 would be a megabyte of zeros."""


class DamagedText(bytes):
    """The bytes of a text that is not UTF-8."""

    __slots__ = ()


def tolerant_text(raw: bytes) -> "str | DamagedText":
    """A database's text, whatever was done to it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return DamagedText(raw)


def bytes_of(value: Any) -> bytes:
    """A column's value as the bytes of a file; nothing where it is NULL."""
    match value:
        case None:
            return b""
        case bytes():
            return bytes(value)
        case bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode("utf-8", "surrogatepass")
        case _:
            return str(value).encode()


def user_of(value: Any) -> str | None:
    """A user id exactly as the database spells it; None where it is no text."""
    if value is None or isinstance(value, DamagedText):
        return None
    if isinstance(value, bytes):
        text = tolerant_text(value)
        return text if isinstance(text, str) else None
    return str(value)


def name_of(value: Any) -> str:
    """A row's id as the name of a file."""
    match value:
        case None:
            return "(no id)"
        case bytes():
            return text_of_bytes(value)
        case _:
            return str(value)


def json_of(fields: Mapping[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    """A compact JSON object of the fields, the same on every run; and which texts are damaged.

    Times are ISO 8601, bytes base64, numbers as exact as the database has them. What JSON cannot
    say (NaN, infinity) becomes a text; damaged text becomes `{"base64": …}`.
    """
    damaged = tuple(name for name, value in fields.items() if isinstance(value, DamagedText))
    plain = {name: _plain(value) for name, value in fields.items()}
    return _ENCODER.encode(plain), damaged


def moment_of(value: Any) -> datetime | None:
    """A time, however the column holds it; without a zone it is UTC. None where it is none.

    Numbers are seconds since 1970, or milliseconds or microseconds where they are too large.
    """
    try:
        match value:
            case datetime():
                return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
            case date():
                return datetime.combine(value, time(), UTC)
            case str():
                return moment_of(datetime.fromisoformat(value.strip()))
            case bool():
                return None
            case int() | float() | Decimal():
                return datetime.fromtimestamp(_seconds(float(value)), UTC)
            case _:
                return None
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(number: float) -> float:
    if abs(number) >= _MICROSECONDS_FROM:
        return number / 1e6
    return number / 1e3 if abs(number) >= _MILLISECONDS_FROM else number


def _plain(value: Any) -> Any:
    match value:
        case DamagedText():
            return {"base64": b64encode(value).decode()}
        case None | bool():
            return value
        case int():
            return value if -_SAFE_INTEGER <= value < 2 * _SAFE_INTEGER else Decimal(value)
        case str():
            return value.encode("utf-8", "replace").decode()
        case float():
            return value if isfinite(value) else str(value)
        case Decimal():
            if not value.is_finite():
                return str(value)
            whole = value.adjusted() <= _DIGITS and value == value.to_integral_value()
            return int(value) if whole else value
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)
