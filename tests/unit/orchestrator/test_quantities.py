from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from orchestrator.options.quantities import (
    Duration,
    Durations,
    Flow,
    Moment,
    Rate,
    Share,
    Size,
    read_duration,
    read_durations,
    read_flow,
    read_moment,
    read_rate,
    read_share,
    read_size,
    write_duration,
    write_durations,
    write_flow,
    write_moment,
    write_rate,
    write_share,
    write_size,
)
from orchestrator.options.spellings import Misspelt


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_duration, "500ms", timedelta(milliseconds=500)),
        (read_duration, "1.5h", timedelta(minutes=90)),
        (read_duration, "2 d", timedelta(days=2)),
        (read_duration, "0s", timedelta(0)),
        (read_durations, "30s..10m", (timedelta(seconds=30), timedelta(minutes=10))),
        (read_durations, "30s .. 10m", (timedelta(seconds=30), timedelta(minutes=10))),
        (read_share, "99.5%", 0.995),
        (read_share, "0%", 0.0),
        (read_share, "100 %", 1.0),
        (read_rate, "200/s", 200.0),
        (read_rate, "90/m", 1.5),
        (read_rate, "3600/h", 1.0),
        (read_size, "200MiB", 200 << 20),
        (read_size, "0.5KiB", 512),
        (read_size, "0B", 0),
        (read_flow, "200MiB/s", 200 << 20),
        (read_flow, "1MiB/m", (1 << 20) // 60),
        (read_moment, "2009-10-01T00:00:00-07:00", datetime(2009, 10, 1, 7, tzinfo=UTC)),
        (read_moment, "2009-10-01 00:00z", datetime(2009, 10, 1, tzinfo=UTC)),
        (read_moment, "2009-10-01T00:00:00.25Z", datetime(2009, 10, 1, 0, 0, 0, 250000, UTC)),
    ],
)
def test_a_quantity_means_what_it_says(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_duration, "30"),
        (read_duration, "-1s"),
        (read_duration, "1w"),
        (read_duration, "1M"),
        (read_duration, "0.1ms"),
        (read_duration, "1e3s"),
        (read_duration, "9" * 5000 + "s"),
        (read_duration, "3661d"),
        (read_duration, "\u0663s"),
        (read_durations, "30s...10m"),
        (read_durations, "..10m"),
        (read_durations, "10m..1m"),
        (read_share, "0.5"),
        (read_share, "101%"),
        (read_share, "nan%"),
        (read_rate, "200"),
        (read_rate, "0/s"),
        (read_rate, "200/d"),
        (read_size, "200MB"),
        (read_size, "200mib"),
        (read_size, "0.3B"),
        (read_size, "9999999GiB"),
        (read_flow, "200MiB"),
        (read_flow, "0B/s"),
        (read_moment, "2009-10-01T00:00:00"),
        (read_moment, "2009-13-01T00:00:00Z"),
        (read_moment, "2009-10-01T24:00:00Z"),
        (read_moment, "20091001T000000Z"),
        (read_moment, "9999-12-31T23:59:59-01:00"),
    ],
)
def test_what_could_mean_two_things_is_misspelt(read, text):
    with pytest.raises(Misspelt):
        read(text)
    for value in (5, 5.0, True, None, [], {}):
        with pytest.raises(Misspelt):
            read(value)


durations = st.integers(0, 3660 * 86_400_000).map(lambda ms: timedelta(milliseconds=ms))
waits = (
    st.tuples(durations, durations).map(sorted).filter(lambda pair: pair[0].total_seconds() >= 1)
)


@settings(max_examples=200, deadline=None)
@given(
    duration=durations,
    wait=waits,
    share=st.decimals(0, 100, places=6),
    rate=st.floats(1e-6, 1e12),
    size=st.integers(0, 1 << 50),
    moment=st.datetimes(
        datetime(1970, 1, 1),  # noqa: DTZ001  the strategy adds the zone
        datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from(
            [UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=13))]
        ),
    ),
)
def test_what_is_written_is_read_as_the_same(duration, wait, share, rate, size, moment):
    assert read_duration(write_duration(duration)) == duration
    assert read_durations(write_durations(tuple(wait))) == tuple(wait)
    value = read_share(f"{share}%")
    assert read_share(write_share(value)) == value
    assert read_rate(write_rate(rate)) == rate
    assert read_size(write_size(size)) == size
    assert read_flow(write_flow(size or 1)) == (size or 1)
    assert read_moment(write_moment(moment)) == moment


def test_equal_quantities_have_one_spelling():
    assert write_duration(read_duration("5400s")) == write_duration(read_duration("1.5h")) == "90m"
    assert write_share(read_share("99.50%")) == "99.5%"
    assert write_size(read_size("1024KiB")) == "1MiB"
    assert write_rate(read_rate("12000/m")) == "200/s"
    assert write_moment(read_moment("2009-10-01T00:00:00-07:00")) == "2009-10-01T07:00:00Z"


@pytest.mark.parametrize("kind", [Duration, Durations, Share, Size, Rate, Flow, Moment])
@given(value=st.text(max_size=12) | st.integers() | st.floats() | st.none() | st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_value_is_read_or_misspelt(kind, value):
    adapter = TypeAdapter(kind)
    read = kind.__metadata__[0].read
    try:
        expected = read(value)
    except Misspelt as wrong:
        with pytest.raises(ValueError, match=wrong.message[:10]):
            adapter.validate_python(value)
    else:
        assert adapter.validate_python(value) == expected
