"""TZIDs of all vendors lead to one zone, or to none."""

from datetime import UTC, datetime

import pytest

from workers.formats.time_zones import from_utc, to_utc, zone_name
from workers.formats.windows_zones import WINDOWS_ZONES


@pytest.mark.parametrize(
    ("tzid", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("/Europe/Berlin", "Europe/Berlin"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("eastern standard time", "America/New_York"),
        ("/freeassociation.sourceforge.net/Europe/Berlin", "Europe/Berlin"),
        ("/freeassociation.sourceforge.net/Tzfile/Europe/Berlin", "Europe/Berlin"),
        (
            "/mozilla.org/20050126_1/America/Argentina/Buenos_Aires",
            "America/Argentina/Buenos_Aires",
        ),
        ("America/New York", "America/New_York"),
        ('"Europe/Berlin"', "Europe/Berlin"),
        ("UTC", "UTC"),
        ("UTC+11", "Etc/GMT-11"),
        ("(GMT +01:00)", "Etc/GMT-1"),
        ("GMT-0500", "Etc/GMT+5"),
        ("UTC+0", "Etc/UTC"),
    ],
)
def test_a_known_name_is_found_however_it_is_written(tzid, name):
    assert zone_name(tzid) == name


@pytest.mark.parametrize(
    "tzid",
    [
        "",
        "Bogus",
        "/example.org/Bogus",
        "GMT-05.00/-04.00",
        "UTC+15",
        "UTC+05:30",
        "Customized Time Zone",
        "Europe/../../etc/passwd",
        "x" * 10_000,
    ],
)
def test_an_unknown_name_is_never_guessed(tzid):
    assert zone_name(tzid) is None


def test_every_windows_name_leads_to_a_zone_that_exists():
    for windows, name in WINDOWS_ZONES.items():
        assert zone_name(windows) in (name, windows)  # UTC is a name in both worlds
        assert zone_name(name) == name


def test_wall_clock_and_instant_lead_to_each_other():
    wall = datetime.fromisoformat("2024-07-01T12:00:00")
    instant = to_utc(wall, "America/New_York")
    assert instant == datetime(2024, 7, 1, 16, 0, tzinfo=UTC)
    assert from_utc(instant, "America/New_York") == wall


def test_a_time_that_is_there_twice_is_the_first():
    assert to_utc(datetime.fromisoformat("2024-11-03T01:30:00"), "America/New_York").hour == 5


def test_the_ends_of_time_are_no_trap():
    assert to_utc(datetime.fromisoformat("0001-01-01T00:00:00"), "Asia/Tokyo").tzinfo is UTC
    assert to_utc(datetime.fromisoformat("9999-12-31T23:59:59"), "America/New_York").tzinfo is UTC
