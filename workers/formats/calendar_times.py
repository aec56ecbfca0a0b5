"""The value types of calendars that tell time: DATE, DATE-TIME, DURATION, PERIOD, UTC-OFFSET.

Knows the grammar of RFC 5545 section 3.3 and nothing of properties or zones. What does not follow
the grammar is None, never an error: the caller knows what a bad value means where it stands.
"""

import re
from datetime import date, datetime, timedelta

from msgspec import Struct

_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?", re.ASCII)
_DURATION = re.compile(
    r"([+-]?)P(?:(\d{1,9})W|(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?)",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?", re.ASCII)
_MOMENT_BYTES = re.compile(rb"\d{8}(?:T\d{6}Z?)?")
# Days that every month has, so that nothing has to be counted.
_PLAIN_MOMENT = re.compile(
    rb"[1-9]\d{3}(?:0[1-9]|1[0-2])(?:0[1-9]|1\d|2[0-8])(?:T(?:[01]\d|2[0-3])[0-5]\d[0-5]\dZ?)?"
)


class Moment(Struct, frozen=True, gc=False):
    """A DATE, or a DATE-TIME that is floating, in UTC, or in the zone that its property names."""

    at: datetime
    """Wall-clock time, naive; midnight for a DATE."""
    all_day: bool = False
    utc: bool = False

    @property
    def text(self) -> str:
        """As iCalendar writes it."""
        if self.all_day:
            return self.at.strftime("%Y%m%d").rjust(8, "0")
        return self.at.strftime("%Y%m%dT%H%M%S").rjust(15, "0") + ("Z" if self.utc else "")


def moment(text: str) -> Moment | None:
    """A DATE or DATE-TIME; a leap second counts as the 59th. None where it is neither."""
    match = _MOMENT.fullmatch(text.upper())
    if match is None:
        return None
    year, month, day, hour, minute, second, zulu = match.groups()
    try:
        if hour is None:
            return Moment(datetime(int(year), int(month), int(day)), all_day=True)  # noqa: DTZ001 - wall clock
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59))  # noqa: DTZ001 - wall clock
    except ValueError:
        return None
    if int(second) > 60:  # noqa: PLR2004 - the leap second
        return None
    return Moment(at, utc=zulu is not None)


def day(text: str) -> date | None:
    """A DATE, or None."""
    found = moment(text)
    return found.at.date() if found is not None and found.all_day else None


def well_formed(value: bytes) -> bool:
    """Whether it is a DATE or a DATE-TIME in upper case; `moment` without making one."""
    if _PLAIN_MOMENT.fullmatch(value) is not None:
        return True
    return _MOMENT_BYTES.fullmatch(value) is not None and moment(value.decode("ascii")) is not None


def duration(text: str) -> timedelta | None:
    """A DURATION, or None; one that is longer than a calendar can say is none."""
    match = _DURATION.fullmatch(text.upper())
    if match is None:
        return None
    sign, weeks, days, hours, minutes, seconds = match.groups()
    if not (weeks or days or hours or minutes or seconds):
        return None
    try:
        length = timedelta(
            weeks=int(weeks or 0),
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
        )
    except OverflowError:
        return None
    if length > timedelta(days=366 * 10_000):
        return None
    return -length if sign == "-" else length


def period(text: str) -> tuple[Moment, Moment | timedelta] | None:
    """A PERIOD as start and end, or start and length; None where it is not one or runs backward."""
    first, slash, second = text.partition("/")
    start = moment(first)
    if not slash or start is None or start.all_day:
        return None
    length = duration(second)
    if length is not None:
        return (start, length) if length > timedelta(0) else None
    end = moment(second)
    if end is None or end.all_day or end.utc != start.utc or end.at < start.at:
        return None
    return start, end


def utc_offset(text: str) -> timedelta | None:
    """A UTC-OFFSET, less than a day either way, or None."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    sign, hours, minutes, seconds = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:  # noqa: PLR2004 - a clock's limits
        return None
    offset = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0))
    return -offset if sign == "-" else offset
