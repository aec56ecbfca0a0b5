"""How a run looks: every number where it belongs, and no promise without evidence."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from orchestrator.admission import SOAKS
from orchestrator.books import Books
from orchestrator.cli.exits import Exit, exit_of
from orchestrator.cli.live import is_stuck
from orchestrator.cli.picture import duration, eta, headline, phase_line, picture, span
from orchestrator.lifecycle import CellState, RunState, UnitState
from orchestrator.run_standing import NOT_LED, CauseRow, PhaseProgress, RunRow, Status

EN_DASH = "\N{EN DASH}"


def phase(category, *, units=100, settled=0, failed=0, state=CellState.OPEN, why="", **books):
    return PhaseProgress(
        category=category,
        wave=None,
        state=state,
        units=units,
        settled=settled,
        failed=failed,
        held=0,
        cancelled=0,
        books=Books(**books),
        why=why,
    )


def status(*phases, state=RunState.RUNNING, purpose="restore", **more):
    run = RunRow(
        id="7f3a",
        name="small",
        purpose=purpose,
        state=state,
        author="mia",
        users=100,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        finished=None,
        why=None,
    )
    facts = {
        "run": run,
        "digest": "d1",
        "approvals": ("jo",),
        "approvals_needed": 1,
        "phases": phases,
        "cells": tuple(structs.replace(at, wave="everyone") for at in phases),
        "causes": (),
        "books": sum((at.books for at in phases), Books()),
        "workers": 2,
        "items_per_second": None,
        "seconds_left": None,
        "stalled": "",
        "warnings": (),
        "accepted_by": None,
    }
    return Status(**(facts | more))


def drawn(found, columns=120):
    console = Console(file=io.StringIO(), width=columns, color_system=None)
    console.print(picture(found))
    return console.file.getvalue()


def test_nothing_is_estimated_without_evidence():
    found = status(phase("contacts"), phase("notes", state=CellState.CLOSED))
    assert [eta(found, number) for number in (0, 1)] == ["", ""]
    assert "left" not in headline(found)


def test_what_comes_first_is_done_first():
    phases = (phase("contacts", settled=50), phase("notes", state=CellState.CLOSED))
    found = status(*phases, seconds_left=(300.0, 600.0), measured=30.0, items_per_second=10.0)
    assert eta(found, 0) == f"2{EN_DASH}3 m"
    assert eta(found, 1) == f"5{EN_DASH}10 m"
    assert "10 items/s over 30s" in headline(found)
    assert f"5{EN_DASH}10 m left" not in headline(found)  # it has not started
    begun = structs.replace(found, elapsed=12.0)
    assert f"12s, 5{EN_DASH}10 m left" in headline(begun)


def test_a_gate_is_no_matter_of_time():
    held = phase("contacts", settled=50, state=CellState.HELD, why="canary: waits to be promoted")
    found = status(held, phase("notes", state=CellState.CLOSED), seconds_left=(1.0, 2.0))
    assert [eta(found, number) for number in (0, 1)] == ["waits for a gate"] * 2
    assert "held: canary" in drawn(found)
    assert "‖ contacts, wave everyone: canary: waits to be promoted" in drawn(found)
    assert is_stuck(found)


def test_a_gate_that_soaks_says_until_when():
    why = f"everyone: {SOAKS}2026-01-02 03:04 UTC"
    over = phase("contacts", settled=100, state=CellState.HELD, why=why)
    found = status(over, phase("notes", state=CellState.CLOSED))
    assert eta(found, 0) == "until 2026-01-02 03:04 UTC"
    assert "soaks" in drawn(found)
    cells = tuple(structs.replace(at, why=at.why.partition(": ")[2]) for at in found.cells)
    assert not is_stuck(structs.replace(found, cells=cells))


def test_what_is_done_needs_no_time():
    assert eta(status(phase("contacts", settled=99, failed=1)), 0) == "done"


def test_a_run_that_is_over_shows_no_gate_and_no_time():
    held = phase("contacts", settled=100, state=CellState.HELD, why="everyone: waits")
    text = drawn(status(held, state=RunState.FINISHED))
    assert "settled" in text
    assert "waits" not in text
    assert "ETA" not in text


def test_nobody_at_work_is_said_with_what_helps():
    assert NOT_LED in drawn(status(phase("contacts"), stalled=NOT_LED))


def test_failures_are_summed_and_lead_to_their_causes():
    cause = CauseRow(
        fingerprint="9f2c1a",
        category="contacts",
        code="unavailable",
        sentence="507 Insufficient Storage",
        state=UnitState.FAILED,
        transient=False,
        units=2,
    )
    other = structs.replace(cause, fingerprint="aaaaaa", units=1)
    text = drawn(status(phase("contacts", failed=3), causes=(cause, other)))
    assert "3 units failed in 2 causes · most: 9f2c1a 507 Insufficient Storage (2)" in text
    assert "reinstate failures 7f3a" in text


def test_a_preview_speaks_of_what_would_be():
    found = status(phase("contacts", settled=100, restored=7), purpose="preview")
    assert "WOULD RESTORE" in drawn(found)
    assert "7 would be restored" in phase_line(found, found.phases[0])
    assert "preview 7f3a" in headline(found)


@pytest.mark.parametrize("columns", [72, 80, 100, 120, 200])
def test_the_table_fits_any_terminal(columns):
    many = {"restored": 1_234_567, "lost": 12_345, "quarantined": 1_234, "items": 1_234_567}
    found = status(
        *(phase(name, settled=50, **many) for name in ("contacts", "high_scores")),
        state=RunState.FINISHED,
    )
    for line in drawn(found, columns).splitlines():
        assert len(line) <= columns
    assert "1,234,567" in drawn(found, columns)


@given(st.floats(0, 10**7), st.floats(0, 10**7))
def test_a_span_is_short_and_has_a_unit(one, other):
    text = span(min(one, other), max(one, other))
    assert len(text) <= 12
    assert text.endswith((" s", " m", " h"))


def test_durations_have_two_units_at_most():
    assert [duration(at) for at in (0.4, 59, 60, 3599, 3600, 33_240)] == [
        *("0.4s", "59s", "1m 0s", "59m 59s", "1h 0m", "9h 14m")
    ]


@pytest.mark.parametrize(
    ("state", "more", "status_code", "outcome"),
    [
        (RunState.FINISHED, {}, Exit.DONE, "done"),
        (RunState.FINISHED, {"failed": 1}, Exit.SOME_FAILED, "failed"),
        (RunState.FINISHED, {"lost": 1}, Exit.LOSSES, "losses"),
        (RunState.FINISHED, {"nameless": 1}, Exit.LOSSES, "losses"),
        (RunState.PAUSED, {}, Exit.HELD, None),
        (RunState.RUNNING, {"state": CellState.HELD}, Exit.HELD, None),
        (RunState.RUNNING, {}, Exit.DONE, None),
        (RunState.AWAITING_APPROVAL, {}, Exit.REFUSED, None),
        (RunState.REFUSED, {}, Exit.REFUSED, "refused"),
        (RunState.CANCELLED, {}, Exit.REFUSED, "cancelled"),
    ],
)
def test_every_end_has_its_status_and_word(state, more, status_code, outcome):
    found = status(phase("contacts", **more), state=state)
    assert exit_of(found) == status_code
    assert found.ending == outcome


def test_accepted_losses_are_no_failure():
    found = status(phase("contacts", lost=1), state=RunState.FINISHED, accepted_by="jo")
    assert exit_of(found) == Exit.DONE
