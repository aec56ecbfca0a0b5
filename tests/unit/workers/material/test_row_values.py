import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.material.row_values import (
    DamagedText,
    bytes_of,
    json_of,
    moment_of,
    name_of,
    tolerant_text,
    user_of,
)

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.binary(),
    st.binary().map(DamagedText),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.lists(st.integers() | st.text(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats(), max_size=3),
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=5))
@settings(deadline=None, max_examples=300)
def test_whatever_a_database_gives_becomes_strict_json(fields):
    data, damaged = json_of(fields)
    assert set(damaged) == {name for name, one in fields.items() if isinstance(one, DamagedText)}
    read = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(read) == set(fields)
    assert json_of(dict(reversed(fields.items())))[0] == data, "the order of columns is no matter"


@given(VALUES)
@settings(deadline=None, max_examples=300)
def test_no_value_raises(value):
    assert isinstance(bytes_of(value), bytes)
    assert isinstance(name_of(value), str)
    assert user_of(value) is None or isinstance(user_of(value), str)
    moment = moment_of(value)
    assert moment is None or moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (9007199254740993, b"9007199254740993"),
        (Decimal(100), b"100"),
        (Decimal("1E+2"), b"100"),
        (Decimal("12.50"), b"12.50"),
        (Decimal("NaN"), b'"NaN"'),
        (float("-inf"), b'"-inf"'),
        (b"\x00\xff", b'"AP8="'),
        (memoryview(b"\x00"), b'"AA=="'),
        (datetime(2009, 9, 30, 12, tzinfo=timezone(timedelta(hours=-7))), None),
        (date(2009, 9, 30), b'"2009-09-30"'),
        (time(12, 30), b'"12:30:00"'),
        (UUID(int=0), b'"00000000-0000-0000-0000-000000000000"'),
        (None, b"null"),
        (True, b"true"),
    ],
)
def test_values_are_written_as_exactly_as_json_can(value, written):
    expected = b'"2009-09-30T12:00:00-07:00"' if written is None else written
    assert json_of({"v": value})[0] == b'{"v":' + expected + b"}"


def test_a_million_digits_are_not_written_out():
    assert len(json_of({"v": Decimal("1E+1000000")})[0]) < 50


def test_text_that_is_not_utf_8_keeps_its_bytes():
    assert tolerant_text(b"caf\xc3\xa9") == "café"
    assert tolerant_text(b"caf\xe9") == DamagedText(b"caf\xe9")
    assert bytes_of(tolerant_text(b"caf\xe9")) == b"caf\xe9"
    assert user_of(tolerant_text(b"caf\xe9")) is None
    assert user_of("caf\u00e9") == "caf\u00e9"
    assert user_of("cafe\u0301") == "cafe\u0301"
