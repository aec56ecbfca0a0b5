"""Quantities as plans spell them: `30s`, `99.5%`, `200/s`, `200MiB/s`, `30s..10m`, moments.

Every quantity has its unit: a bare number is refused, because nobody can tell what it meant.
Numbers are exact decimals until the last step. `write_…` is what goes into a plan's document;
reading it again gives the same value.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from orchestrator.options.spellings import Misspelt, Spelling

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,40})?"
_DURATION = re.compile(rf"({_NUMBER})\s?(ms|s|m|h|d)")
_SHARE = re.compile(rf"({_NUMBER})\s?%")
_RATE = re.compile(rf"({_NUMBER})\s?/\s?(s|m|h)")
_SIZE = re.compile(rf"({_NUMBER})\s?(B|KiB|MiB|GiB)")
_FLOW = re.compile(rf"({_NUMBER})\s?(B|KiB|MiB|GiB)/(s|m|h)")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_RANGE = "30s..10m"

_MILLISECONDS: Mapping[str, int] = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}
_BYTES: Mapping[str, int] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MOST = timedelta(days=3660)
_MOST_BYTES = 1 << 50


def _text(value: Any, code: str, what: str, example: str) -> str:
    """The text of a quantity; raises `Misspelt` for what is none."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Misspelt(code, f"{what} needs its unit", hint=f"for example {example}")
    raise Misspelt("wrong-type", f"{what} is expected here", hint=f"for example {example}")


def read_duration(value: Any) -> timedelta:
    """`500ms`, `30s`, `10m`, `18h`, `2d`: up to ten years, in whole milliseconds."""
    text = _text(value, "bad-duration", "a duration", "30s")
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Misspelt(
            "bad-duration",
            "this is not a duration",
            hint="a number and one of ms s m h d, for example 30s",
        )
    exact = Decimal(match[1]) * _MILLISECONDS[match[2]]
    if exact != int(exact):
        raise Misspelt("out-of-range", "a duration has whole milliseconds")
    if exact > _MOST // timedelta(milliseconds=1):
        raise Misspelt("out-of-range", "a duration has at most 3660 days")
    return timedelta(milliseconds=int(exact))


def write_duration(duration: timedelta) -> str:
    """In the largest unit that needs no fraction."""
    exact = duration // timedelta(milliseconds=1)
    for unit in ("d", "h", "m", "s"):
        if exact and exact % _MILLISECONDS[unit] == 0:
            return f"{exact // _MILLISECONDS[unit]}{unit}"
    return f"{exact}ms" if exact else "0s"


def read_share(value: Any) -> float:
    """`10%`, `99.5%`, from 0 to 100, as a number from 0 to 1."""
    match = _SHARE.fullmatch(_text(value, "bad-share", "a share", "10%"))
    if match is None:
        raise Misspelt("bad-share", "this is not a share", hint="a number and %, for example 99.5%")
    share = Decimal(match[1]) / 100
    if share > 1:
        raise Misspelt("out-of-range", "a share has at most 100%")
    return float(share)


def write_share(share: float) -> str:
    """In per cent, without a trailing zero."""
    percent = Decimal(repr(share)) * 100
    return f"{percent.normalize():f}%"


def read_rate(value: Any) -> float:
    """`200/s`, `90/m`, `1000/h`, as items a second."""
    match = _RATE.fullmatch(_text(value, "bad-rate", "a rate", "200/s"))
    if match is None:
        raise Misspelt(
            "bad-rate", "this is not a rate", hint="a number and /s, /m or /h, for example 200/s"
        )
    rate = float(Decimal(match[1]) * 1000 / _MILLISECONDS[match[2]])
    if rate <= 0:
        raise Misspelt("out-of-range", "nothing passes at a rate of zero")
    return rate


def write_rate(rate: float) -> str:
    """A second, whatever it was spelled in."""
    return f"{Decimal(repr(rate)).normalize():f}/s"


def read_size(value: Any) -> int:
    """`512B`, `64KiB`, `200MiB`, `5GiB`, as bytes."""
    match = _SIZE.fullmatch(_text(value, "bad-size", "a size", "200MiB"))
    if match is None:
        raise Misspelt(
            "bad-size", "this is not a size", hint="a number and B, KiB, MiB or GiB, as in 200MiB"
        )
    return _whole_bytes(Decimal(match[1]) * _BYTES[match[2]])


def write_flow(flow: int) -> str:
    """A second, whatever it was spelled in."""
    return f"{write_size(flow)}/s"


def write_size(size: int) -> str:
    """In the largest unit that needs no fraction."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def read_flow(value: Any) -> int:
    """`200MiB/s`, `64KiB/m`, as bytes a second, rounded down."""
    match = _FLOW.fullmatch(_text(value, "bad-rate", "a rate of bytes", "200MiB/s"))
    if match is None:
        raise Misspelt(
            "bad-rate",
            "this is not a rate of bytes",
            hint="a size and /s, /m or /h, for example 200MiB/s",
        )
    exact = Decimal(match[1]) * _BYTES[match[2]] * 1000 / _MILLISECONDS[match[3]]
    flow = _whole_bytes(Decimal(int(exact)))
    if flow < 1:
        raise Misspelt("out-of-range", "less than one byte a second never ends")
    return flow


def _whole_bytes(exact: Decimal) -> int:
    if exact != int(exact):
        raise Misspelt("out-of-range", "a size has whole bytes")
    if exact > _MOST_BYTES:
        raise Misspelt("out-of-range", "a size has at most 1,048,576 GiB")
    return int(exact)


def read_durations(value: Any) -> tuple[timedelta, timedelta]:
    """`30s..10m`: the first and the longest of growing waits; one duration stands for both."""
    text = _text(value, "bad-duration", "a range of durations", _RANGE)
    first, dots, most = text.partition("..")
    low = read_duration(first)
    high = read_duration(most) if dots else low
    if low > high:
        raise Misspelt("out-of-range", "the first wait is longer than the last", hint=_RANGE)
    if low < timedelta(seconds=1):
        raise Misspelt("out-of-range", "a wait has at least one second", hint=_RANGE)
    return low, high


def write_durations(durations: tuple[timedelta, timedelta]) -> str:
    """Both ends, also where they are equal."""
    return f"{write_duration(durations[0])}..{write_duration(durations[1])}"


def read_moment(value: Any) -> datetime:
    """RFC 3339 with its zone, `2009-10-01T00:00:00-07:00`, as UTC."""
    hint = "for example 2009-10-01T00:00:00-07:00"
    if not isinstance(value, str):
        raise Misspelt("bad-time", "a date and time is expected here", hint=hint)
    match = _MOMENT.fullmatch(value)
    if match is None:
        raise Misspelt("bad-time", "this is not a date and time", hint=hint)
    if match[1] is None:
        raise Misspelt("no-zone", "a time without its zone could be any of 26 hours", hint=hint)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Misspelt("bad-time", "there is no such date and time", hint=hint) from None


def write_moment(moment: datetime) -> str:
    """In UTC, with a Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _pattern(pattern: re.Pattern[str]) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{pattern.pattern}$"}


Duration = Annotated[timedelta, Spelling(read_duration, write_duration, _pattern(_DURATION))]
"""A time span with its unit."""

Durations = Annotated[
    tuple[timedelta, timedelta],
    Spelling(
        read_durations,
        write_durations,
        {
            "type": "string",
            "pattern": rf"^{_DURATION.pattern}(\.\.{_DURATION.pattern})?$",
        },
    ),
]
"""The first and the longest of growing waits."""

Share = Annotated[float, Spelling(read_share, write_share, _pattern(_SHARE))]
"""A part of a whole, 0 to 1, spelled in per cent."""

Size = Annotated[int, Spelling(read_size, write_size, _pattern(_SIZE))]
"""Bytes."""

Rate = Annotated[float, Spelling(read_rate, write_rate, _pattern(_RATE))]
"""Items a second."""

Flow = Annotated[int, Spelling(read_flow, write_flow, _pattern(_FLOW))]
"""Bytes a second."""

Moment = Annotated[
    datetime, Spelling(read_moment, write_moment, {"type": "string", "format": "date-time"})
]
"""An aware date and time."""
