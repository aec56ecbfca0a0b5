"""Recurrence rules are judged by a table, never by expanding them."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.recurrence import Flaw, Rule, rule


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY",
        "FREQ=SECONDLY",  # every second for ever is legal: it is never expanded
        "freq=weekly;byday=mo,we",
        "FREQ=MONTHLY;BYDAY=-1FR;INTERVAL=2;COUNT=10",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=DAILY;UNTIL=20241231T235959Z",
        "FREQ=DAILY;UNTIL=20241231",
        "FREQ=HOURLY;BYMINUTE=0,15,30,45;BYSECOND=0",
        "RSCALE=HEBREW;FREQ=YEARLY;BYMONTH=5L;BYMONTHDAY=8;SKIP=FORWARD",
    ],
)
def test_a_sound_rule_is_accepted(text):
    found = rule(text)
    assert isinstance(found, Rule)
    assert rule(found.text) == found


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL is out of range"),
        ("FREQ=HOURLY;BYMONTH=13", "BYMONTH is out of range"),
        ("FREQ=DAILY;COUNT=5;UNTIL=20240101", "COUNT and UNTIL together"),
        ("FREQ=DAILY;COUNT=0", "COUNT is out of range"),
        ("FREQ=DAILY;FREQ=WEEKLY", "FREQ twice"),
        ("FREQ=FORTNIGHTLY", "FREQ is out of range"),
        ("INTERVAL=2", "no FREQ"),
        ("FREQ=DAILY;BYEASTER=0", "a part that RFC 5545 does not know"),
        ("FREQ=DAILY;", "a part that RFC 5545 does not know"),
        ("", "a part that RFC 5545 does not know"),
        ("FREQ=MONTHLY;BYDAY=+1,3MO", "BYDAY is out of range"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY with numbers in a WEEKLY rule"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY in a WEEKLY rule"),
        ("FREQ=DAILY;BYWEEKNO=1", "BYWEEKNO in a DAILY rule"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS without another BY part"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR is out of range"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY is out of range"),
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "BYMONTHDAY never falls into BYMONTH"),
        ("FREQ=DAILY;UNTIL=20240230", "UNTIL is out of range"),
        ("FREQ=DAILY;INTERVAL=" + "9" * 5000, "INTERVAL is out of range"),
        ("FREQ=DAILY;BYHOUR=" + "1," * 2000 + "1", "BYHOUR has too many values"),
        ("FREQ=DAILY;X=" + "y" * 20_000, "the rule is too long"),
        ("RSCALE=FOOBAR;FREQ=YEARLY", "RSCALE is out of range"),
        ("RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FOOBAR", "SKIP is out of range"),
        ("FREQ=YEARLY;SKIP=OMIT", "SKIP without RSCALE"),
    ],
)
def test_a_rule_that_contradicts_itself_is_not_accepted(text, detail):
    assert rule(text) == Flaw(detail)


def test_rules_that_mean_the_same_have_one_canonical_form():
    forms = [
        "FREQ=WEEKLY;BYDAY=MO,WE",
        "BYDAY=WE,MO;FREQ=WEEKLY;INTERVAL=1",
        "freq=weekly;wkst=MO;byday=we,mo",
    ]
    found = [rule(form) for form in forms]
    assert len({each.canonical for each in found if isinstance(each, Rule)}) == 1


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="FREQDAILYUNTCO=;,0123456789TZBYMHS+-", max_size=80))
def test_any_text_is_a_rule_or_a_flaw(text):
    found = rule(text)
    if isinstance(found, Rule):
        assert "FREQ" in found.parts
    else:
        assert found.detail


def test_judging_takes_no_time_however_long_the_rule_would_run():
    began = time.perf_counter()
    for _ in range(1_000):
        rule("FREQ=SECONDLY;INTERVAL=1")
        rule("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30")
    assert time.perf_counter() - began < 5
