"""Recurrence rules (RRULE): their grammar and ranges, by table. Never expands one.

Why never: `FREQ=DAILY;INTERVAL=0` and `FREQ=HOURLY;BYMONTH=13` make common libraries loop for
ever. A rule that passes here is finite to look at; a rule every second for ever is legal and
costs nothing.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from workers.formats.calendar_times import Moment, moment


class Rule(Struct, frozen=True, kw_only=True):
    """A rule that holds to RFC 5545 section 3.3.10 (and RFC 7529 for other calendars)."""

    parts: Mapping[str, str]
    """By upper-case name, as written but in upper case."""
    until: Moment | None = None

    @property
    def text(self) -> str:
        """As iCalendar writes it, parts in the order in which they came."""
        return ";".join(f"{name}={value}" for name, value in self.parts.items())

    @property
    def canonical(self) -> str:
        """The same for rules that mean the same: sorted, without what is the default anyway."""
        return ";".join(
            f"{name}={_canonical_list(name, value)}"
            for name, value in sorted(self.parts.items())
            if (name, value) not in _DEFAULTS
        )


class Flaw(Struct, frozen=True):
    """Why a rule cannot stand; `detail` names parts and numbers, nothing else of the rule."""

    detail: str


_FREQUENCIES = ("SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_WEEKDAYS = frozenset(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DEFAULTS = frozenset({("INTERVAL", "1"), ("WKST", "MO"), ("SKIP", "OMIT")})
_MOST_VALUES = 1_000
_MOST_BYTES = 10_000

# CLDR's calendar systems, which RFC 7529 points to.
_CALENDARS = frozenset(
    {
        *("BUDDHIST", "CHINESE", "COPTIC", "DANGI", "ETHIOAA", "ETHIOPIC", "ETHIOPIC-AMETE-ALEM"),
        *("GREGORIAN", "GREGORY", "HEBREW", "INDIAN", "ISLAMIC", "ISLAMICC", "ISLAMIC-CIVIL"),
        *("ISLAMIC-RGSA", "ISLAMIC-TBLA", "ISLAMIC-UMALQURA", "ISO8601", "JAPANESE", "PERSIAN"),
        "ROC",
    }
)

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_SIGNED = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_BY_DAY = re.compile(r"(?:([+-]?)(\d{1,2}))?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_MONTH = re.compile(r"(\d{1,2})(L)?", re.ASCII)


def _count(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None and int(value) >= 1


def _between(low: int, high: int) -> Callable[[str], bool]:
    def holds(value: str) -> bool:
        return all(
            _NUMBER.fullmatch(number) is not None and low <= int(number) <= high
            for number in value.split(",")
        )

    return holds


def _either_way(high: int) -> Callable[[str], bool]:
    def holds(value: str) -> bool:
        return all(
            _SIGNED.fullmatch(number) is not None and 1 <= abs(int(number)) <= high
            for number in value.split(",")
        )

    return holds


def _by_day(value: str) -> bool:
    for entry in value.split(","):
        match = _BY_DAY.fullmatch(entry)
        if match is None:
            return False
        if match.group(2) is not None and not 1 <= int(match.group(2)) <= 53:  # noqa: PLR2004 - weeks of a year
            return False
    return True


def _by_month(value: str) -> bool:
    for entry in value.split(","):
        match = _MONTH.fullmatch(entry)
        if match is None or not 1 <= int(match.group(1)) <= 13:  # noqa: PLR2004 - some calendars have 13
            return False
    return True


_PARTS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "FREQ": _FREQUENCIES.__contains__,
        "UNTIL": lambda value: moment(value) is not None,
        "COUNT": _count,
        "INTERVAL": _count,
        "BYSECOND": _between(0, 60),
        "BYMINUTE": _between(0, 59),
        "BYHOUR": _between(0, 23),
        "BYDAY": _by_day,
        "BYMONTHDAY": _either_way(31),
        "BYYEARDAY": _either_way(366),
        "BYWEEKNO": _either_way(53),
        "BYMONTH": _by_month,
        "BYSETPOS": _either_way(366),
        "WKST": _WEEKDAYS.__contains__,
        "RSCALE": _CALENDARS.__contains__,
        "SKIP": frozenset(("OMIT", "BACKWARD", "FORWARD")).__contains__,
    }
)

# Parts that RFC 5545 forbids for a frequency.
_FORBIDDEN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "BYWEEKNO": frozenset(_FREQUENCIES) - {"YEARLY"},
        "BYYEARDAY": frozenset(("DAILY", "WEEKLY", "MONTHLY")),
        "BYMONTHDAY": frozenset(("WEEKLY",)),
    }
)


def rule(text: str) -> Rule | Flaw:
    """The rule that `text` holds, or what is wrong with it."""
    if len(text) > _MOST_BYTES:
        return Flaw("the rule is too long")
    parts: dict[str, str] = {}
    for part in text.upper().split(";"):
        name, equals, value = part.partition("=")
        check = _PARTS.get(name)
        if not equals or check is None:
            return Flaw("a part that RFC 5545 does not know")
        if name in parts:
            return Flaw(f"{name} twice")
        if value.count(",") >= _MOST_VALUES:
            return Flaw(f"{name} has too many values")
        if not check(value):
            return Flaw(f"{name} is out of range")
        parts[name] = value
    flaw = _contradiction(parts)
    if flaw is not None:
        return flaw
    until = parts.get("UNTIL")
    return Rule(parts=parts, until=None if until is None else moment(until))


def _contradiction(parts: Mapping[str, str]) -> Flaw | None:
    """What no single part shows: parts that exclude each other."""
    frequency = parts.get("FREQ")
    if frequency is None:
        return Flaw("no FREQ")
    if "COUNT" in parts and "UNTIL" in parts:
        return Flaw("COUNT and UNTIL together")
    if "SKIP" in parts and "RSCALE" not in parts:
        return Flaw("SKIP without RSCALE")
    for name, frequencies in _FORBIDDEN.items():
        if name in parts and frequency in frequencies:
            return Flaw(f"{name} in a {frequency} rule")
    by_day = parts.get("BYDAY", "")
    if any(sign.isdigit() for sign in by_day) and (
        frequency not in ("MONTHLY", "YEARLY") or (frequency == "YEARLY" and "BYWEEKNO" in parts)
    ):
        return Flaw(f"BYDAY with numbers in a {frequency} rule")
    if "BYSETPOS" in parts and not any(
        name.startswith("BY") and name != "BYSETPOS" for name in parts
    ):
        return Flaw("BYSETPOS without another BY part")
    if "RSCALE" not in parts:
        return _never(parts)
    return None


def _never(parts: Mapping[str, str]) -> Flaw | None:
    """A Gregorian rule that no day of any year satisfies: what hangs those who expand it."""
    months = parts.get("BYMONTH")
    if months is None:
        return None
    if any(month.endswith("L") or int(month) > 12 for month in months.split(",")):  # noqa: PLR2004 - Gregorian months
        return Flaw("BYMONTH is out of range")
    days = parts.get("BYMONTHDAY")
    longest = max(_DAYS_OF_MONTH[int(month) - 1] for month in months.split(","))
    if days is not None and all(abs(int(number)) > longest for number in days.split(",")):
        return Flaw("BYMONTHDAY never falls into BYMONTH")
    return None


def _canonical_list(name: str, value: str) -> str:
    if name == "UNTIL" or "," not in value:
        return value.lstrip("+") if name.startswith("BY") else value
    return ",".join(sorted({entry.lstrip("+") for entry in value.split(",")}))
