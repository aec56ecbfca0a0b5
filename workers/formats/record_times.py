"""Times as records write them: ISO 8601, or a number of seconds, milli- or microseconds.

Knows which of them can be true: data cannot be older than its service or younger than its loss.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.ports import Rules

SKEW: Final = timedelta(days=1)
"""How far the clocks of devices may run ahead of the service's."""

EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""Where a plan does not say when the service began: before it lie 0, 1601 and 1970 only."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[+-]?\d{1,19}(?:\.\d{1,9})?")
_ISO: Final = re.compile(r"\d{4}-?\d\d-?\d\d(?:[T ].*)?", re.ASCII)

# A number's unit by its size: seconds until the year 5138, then milliseconds, then microseconds.
_SECONDS_BELOW: Final = 10**11
_MILLISECONDS_BELOW: Final = 10**14
_MICROSECONDS_BELOW: Final = 10**18


def read_time(value: object) -> datetime | None:
    """The moment in UTC, or None where the value is none; without a zone it is UTC.

    Numbers count from 1970; their unit follows from their size, which is unambiguous between
    1973 and 5138.
    """
    if isinstance(value, str):
        text = value.strip()
        if _ISO.fullmatch(text) and not _NUMBER.fullmatch(text):
            return _from_iso(text)
        if _NUMBER.fullmatch(text) is None:
            return None
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    size = abs(value)
    if size < _SECONDS_BELOW:
        return from_microseconds(round(value * 1_000_000))
    if size < _MILLISECONDS_BELOW:
        return from_microseconds(round(value * 1_000))
    return from_microseconds(round(value)) if size < _MICROSECONDS_BELOW else None


def from_microseconds(number: int) -> datetime | None:
    """The moment so many microseconds after 1970; None where no calendar has it."""
    try:
        return _EPOCH + timedelta(microseconds=number)
    except OverflowError:
        return None


def possible(moment: datetime, rules: Rules) -> bool:
    """Whether something recovered can be of that moment."""
    return (rules.service_start or EARLIEST) <= moment <= rules.loss + SKEW


def _from_iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
