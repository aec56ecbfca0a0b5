"""Which time zone a TZID means: by its name, whoever wrote it.

Knows IANA names, Windows names and the prefixes that vendors put before IANA names; not the
VTIMEZONE components of a file (`calendar_objects` looks there first). Unknown is None: a zone is
never guessed.

The zones come from the `tzdata` package, not from the machine, so that the same release decides
the same everywhere.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from workers.formats.windows_zones import WINDOWS_ZONES

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_LONGEST = 255
_FIXED = re.compile(r"\(?(?:GMT|UTC) ?([+-])(\d{1,2})(?::?00)?\)?", re.ASCII)
_MOST_EAST = 14
_MOST_WEST = 12


@cache
def _names() -> dict[str, str]:
    """Every IANA name by its lower-case form."""
    from importlib.resources import files  # noqa: PLC0415 - reads the disk, only when a zone is asked for

    listed = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return {name.lower(): name for name in listed}


@cache
def _windows_names() -> dict[str, str]:
    return {name.lower(): zone for name, zone in WINDOWS_ZONES.items()}


def zone_name(tzid: str) -> str | None:
    """The IANA name that `tzid` means, itself where it is one; None where it is not known.

    Understands `Europe/Berlin`, `europe/berlin`, `W. Europe Standard Time`, `/Europe/Berlin`,
    `/freeassociation.sourceforge.net/Tzfile/Europe/Berlin`, `America/New York` and offsets of
    full hours (`UTC+11`, `(GMT +01:00)`).
    """
    known = _found.get(tzid)
    if known is None:
        if len(tzid) > _LONGEST:
            return None
        known = _look_up(tzid.strip().strip('"').strip()) or ""
        if len(_found) >= _MOST_FOUND:
            _found.clear()
        _found[tzid] = known
    return known or None


_found: dict[str, str] = {}
_MOST_FOUND = 4_096


def _look_up(tzid: str) -> str | None:
    names = _names()
    plain = tzid.lower()
    direct = names.get(plain) or _windows_names().get(plain) or names.get(plain.replace(" ", "_"))
    if direct is not None:
        return direct
    if plain.startswith("/"):
        parts = plain.split("/")[1:]
        for first in range(len(parts)):
            name = names.get("/".join(parts[first:]))
            if name is not None:
                return name
        return None
    fixed = _FIXED.fullmatch(tzid.upper())
    if fixed is None:
        return None
    hours = int(fixed.group(2))
    east = fixed.group(1) == "+"
    if hours > (_MOST_EAST if east else _MOST_WEST):
        return None
    # The signs of Etc/ are POSIX's: west is positive.
    return "Etc/UTC" if hours == 0 else f"Etc/GMT{'-' if east else '+'}{hours}"


@cache
def zone(name: str) -> "ZoneInfo":
    """The zone of an IANA name as `zone_name` gives it."""
    from importlib.resources import files  # noqa: PLC0415 - reads the disk, only when a zone is asked for
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - the same

    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def to_utc(wall: datetime, name: str) -> datetime:
    """The instant of a wall-clock time in a zone; of a time that is twice, the first."""
    try:
        return wall.replace(tzinfo=zone(name)).astimezone(UTC)
    except OverflowError:
        offset = timedelta(0)  # the first and the last day of all time
        return (wall - offset).replace(tzinfo=UTC)


def from_utc(instant: datetime, name: str) -> datetime:
    """The naive wall-clock time of an aware instant in a zone."""
    return instant.astimezone(zone(name)).replace(tzinfo=None)
