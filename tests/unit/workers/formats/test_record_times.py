from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ports import Rules
from workers.formats.record_times import from_microseconds, possible, read_time

LOSS = datetime(2009, 10, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2009-09-12T10:00:00Z",
        "20090912T100000Z",
        "2009-09-12 10:00:00",
        " 2009-09-12T12:00:00+02:00 ",
        1252749600,
        1252749600.0,
        "1252749600",
        "1252749600.0",
        1252749600000,
        "1252749600000000",
    ],
)
def test_a_moment_is_read_however_it_is_written(written):
    assert read_time(written) == datetime(2009, 9, 12, 10, tzinfo=UTC)


NO_TIMES = ["", "soon", "2009-13-01", "0000-00-00", "9999-12-31T23:59:59-14:00", "9" * 19]
NO_NUMBERS = [None, True, [], 1e300, float("nan"), float("inf"), 10**30]


@pytest.mark.parametrize("written", [*NO_TIMES, *NO_NUMBERS])
def test_what_is_no_moment_is_none(written):
    assert read_time(written) is None


@given(st.integers() | st.floats() | st.text(max_size=30))
def test_nothing_makes_it_raise(written):
    moment = read_time(written)
    assert moment is None or moment.tzinfo is UTC


def test_a_number_beyond_the_calendar_is_none():
    assert from_microseconds(10**18) is None


def test_a_moment_lies_between_the_services_start_and_the_loss():
    start = datetime(2008, 1, 1, tzinfo=UTC)
    rules = Rules(repairs=frozenset(), loss=LOSS, service_start=start)
    assert possible(start, rules)
    assert possible(datetime(2009, 10, 2, 23, tzinfo=UTC), rules)
    assert not possible(datetime(2009, 10, 3, 1, tzinfo=UTC), rules)
    assert not possible(datetime(2007, 12, 31, tzinfo=UTC), rules)


def test_without_a_start_only_the_epochs_of_computers_are_impossible():
    rules = Rules(repairs=frozenset(), loss=LOSS)
    assert not possible(datetime(1970, 1, 1, tzinfo=UTC), rules)
    assert possible(datetime(1985, 1, 1, tzinfo=UTC), rules)
