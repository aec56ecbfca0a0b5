"""Tables: aligned whatever the letters; only sentences give way to a narrow terminal."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import tables
from orchestrator.cli.tables import Column, cut, lines, measure, numbers, prose, text

ROWS = [
    {"user": "ann", "items": 7, "why": "a short one"},
    {"user": "山田太郎", "items": 12_345, "why": None},
]


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 40 columns."""

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(tables, "sys", SimpleNamespace(stdout=Terminal()))
    monkeypatch.setenv("COLUMNS", "40")


def test_columns_line_up_whatever_the_letters():
    assert list(lines(ROWS, (*text("user"), *numbers("items"), *text("why")))) == [
        "USER       ITEMS  WHY",
        "ann            7  a short one",
        "山田太郎  12,345  -",
    ]


def test_a_column_can_have_a_title_of_its_own():
    assert next(lines(ROWS, (Column("user", "who"),))) == "WHO"


def test_rows_come_as_they_are_read(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 1)
    taken = []

    def given_one_by_one():
        for row in ROWS:
            taken.append(row)
            yield row

    shown = lines(given_one_by_one(), text("user"))
    assert [next(shown), next(shown)] == ["USER", "ann"]
    assert len(taken) == 1


@pytest.mark.usefixtures("narrow")
def test_sentences_are_wrapped_in_the_last_column_and_cut_in_others():
    rows = [{"name": "x" * 10, "found": "word " * 8, "fix": "one two three four five six seven"}]
    shown = list(lines(rows, (*text("name"), *prose("found", "fix"))))
    assert "…" in shown[1]
    assert " ".join(" ".join(line[-24:] for line in shown[1:]).split()).endswith("six seven")


@pytest.mark.usefixtures("narrow")
def test_what_is_to_be_copied_is_never_cut():
    rows = [{"user": "u" * 60, "count": 10**12}]
    (_, line) = lines(rows, (*text("user"), *numbers("count")))
    assert line == "u" * 60 + "  1,000,000,000,000"


@given(st.text(), st.integers(1, 40))
def test_what_is_cut_has_the_width_that_it_may_have(value, width):
    shown = cut(value, width)
    assert measure(shown) <= width
    assert shown == value or shown.endswith("…")


@given(st.lists(st.text(), max_size=5))
def test_no_line_ends_in_blanks_and_none_is_added(values):
    rows = [{"value": value} for value in values]
    shown = list(lines(rows, text("value")))
    assert len(shown) == (len(rows) + 1 if rows else 0)
    assert all(line == line.rstrip() for line in shown)
