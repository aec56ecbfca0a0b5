"""Dates, times, durations, periods and offsets follow RFC 5545 or are none."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.calendar_times import duration, moment, period, utc_offset, well_formed


@pytest.mark.parametrize(
    ("text", "all_day", "utc"),
    [
        ("20240229", True, False),
        ("20240229T101112", False, False),
        ("20240229T101112Z", False, True),
        ("00010101T000000", False, False),
    ],
)
def test_a_moment_is_read_and_written_the_same(text, all_day, utc):
    found = moment(text)
    assert found is not None
    assert (found.all_day, found.utc, found.text) == (all_day, utc, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "20230229", "20241301", "20240100", "00000101", "2024-02-29", "20240229T"),
        *("20240229T2411", "20240229T240000", "20240229T106000", "20240229T101199", "20131210Z"),
        *("20240229T101112+0100", "٢٠٢٤٠١٠١", "20240229T101112ZZ", " 20240229"),
    ],
)
def test_what_no_calendar_has_is_no_moment(text):
    assert moment(text) is None


def test_a_leap_second_is_the_last_second_of_its_minute():
    found = moment("20161231T235960Z")
    assert found is not None
    assert found.text == "20161231T235959Z"


@settings(deadline=None, max_examples=300)
@given(st.from_regex(r"\d{8}(T\d{6}Z?)?", fullmatch=True))
def test_well_formed_agrees_with_moment(text):
    if text.isascii():
        assert well_formed(text.encode()) == (moment(text) is not None)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P1W", timedelta(weeks=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("-PT15M", timedelta(minutes=-15)),
        ("+PT0S", timedelta(0)),
        ("pt5m", timedelta(minutes=5)),
    ],
)
def test_a_duration_is_as_long_as_it_says(text, length):
    assert duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "1D", "P1", "PT-2H", "P1Y", "P999999999999999999W", "P999999999W"]
)
def test_what_is_no_length_is_no_duration(text):
    assert duration(text) is None


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("20240101T000000Z/20240101T010000Z", True),
        ("20240101T000000/PT1H", True),
        ("20240101T000000/-PT1H", False),
        ("20240101T010000/20240101T000000", False),
        ("20240101T000000Z/20240101T010000", False),
        ("20240101/20240102", False),
        ("199709T180000Z/PT5H30M", False),
        ("20240101T000000Z", False),
    ],
)
def test_a_period_runs_forward(text, sound):
    assert (period(text) is not None) is sound


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("+0100", 60), ("-0330", -210), ("+5328", None), ("+0160", None), ("0100", None)],
)
def test_an_offset_is_less_than_a_day(text, minutes):
    found = utc_offset(text)
    assert found == (None if minutes is None else timedelta(minutes=minutes))
