"""What pages make of numbers: shapes that add up, ranges with a reason, no number that lies."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.books import Books
from orchestrator.dashboard import figures
from orchestrator.lifecycle import CellState, RunState
from orchestrator.run_standing import PhaseProgress, RunRow, Status

BEGUN = datetime(2009, 10, 20, tzinfo=UTC)


def phase(category="contacts", *, units=100, settled=0, failed=0, wave=None, **more):
    return PhaseProgress(
        category=category,
        wave=wave,
        units=units,
        settled=settled,
        failed=failed,
        held=0,
        cancelled=0,
        books=Books(),
        **{"state": CellState.OPEN} | more,
    )


def status(*phases, cells=(), seconds_left=None, stalled="", state=RunState.RUNNING):
    row = RunRow(
        id="7f3a",
        name="x",
        purpose="restore",
        state=state,
        author="mia",
        users=100,
        created=BEGUN,
        finished=None,
        why=None,
    )
    return Status(
        run=row,
        digest=None,
        approvals=(),
        approvals_needed=1,
        phases=phases,
        cells=cells,
        causes=(),
        books=Books(),
        workers=0,
        items_per_second=None,
        seconds_left=seconds_left,
        stalled=stalled,
        warnings=(),
        accepted_by=None,
    )


def test_phases_are_done_one_after_the_other_and_the_last_one_ends_with_the_run():
    found = figures.left_of_phases(
        status(phase(settled=100), phase("notes"), phase("tasks"), seconds_left=(100, 200))
    )
    assert [one.text for one in found] == ["done", "50 s to 1 min", "1 min to 3 min"]
    assert found[-1].start + found[-1].width == pytest.approx(100)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"seconds_left": None}, "not known yet"),
        ({"seconds_left": (1, 2), "stalled": "no worker"}, "not known yet"),
        ({"seconds_left": (1, 2), "state": RunState.CANCELLED}, figures.NOTHING),
    ],
)
def test_nothing_is_promised_without_evidence(given, text):
    assert figures.left_of_phases(status(phase(), **given))[0].text == text


def test_a_held_phase_waits_for_its_gate_whatever_the_pace():
    held = phase(state=CellState.HELD)
    assert figures.left_of_phases(status(held, seconds_left=(1, 2)))[0].text == "waits for a gate"


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=40))
def test_waves_share_a_row_by_their_size_and_the_smallest_can_be_seen(sizes):
    cells = [phase(wave=f"w{n}", units=size) for n, size in enumerate(sizes)]
    [(_, row)] = figures.wavefront(status(phase(units=sum(sizes)), cells=tuple(cells)))
    assert sum(at.width for at in row) == pytest.approx(100)
    assert min(at.squares for at in row) >= figures.FEWEST
    assert all(one.start + one.width == pytest.approx(two.start) for one, two in pairwise(row))


@given(st.integers(1, 1_000_000), st.data())
def test_a_single_failure_among_a_million_is_seen_and_nothing_overflows(units, data):
    failed = data.draw(st.integers(0, units))
    settled = data.draw(st.integers(0, units - failed))
    cell = phase(wave="everyone", units=units, settled=settled, failed=failed)
    [(_, [at])] = figures.wavefront(status(phase(units=units), cells=(cell,)))
    ends = [part.start + part.width for part in at.parts]
    assert not ends or ends[-1] <= 100 + 1e-6
    red = [part for part in at.parts if part.kind == "failed"]
    assert bool(red) == bool(failed)
    assert all(part.width > 0.1 for part in red)


def test_a_curve_is_calm_ends_at_a_round_number_and_needs_three_points():
    points = [figures.Point(BEGUN + timedelta(seconds=n), n * 100 + n % 2 * 90) for n in range(300)]
    found = figures.curve(points)
    assert len(found.line.split("L")) <= 2 * figures.POINTS_OF_A_CURVE
    assert found.fastest == found.top == 100
    assert found.until == points[-1].at
    assert figures.curve(points[:2]) is None


@given(st.floats(1e-6, 1e12))
def test_the_end_of_an_axis_is_round_and_not_far(top):
    assert top <= figures.nice(top) * (1 + 1e-9) <= top * 2.01


@pytest.mark.parametrize("purpose", ["restore", "preview", "verify", "undo"])
def test_whatever_a_run_is_for_its_outcomes_fill_the_bar(purpose):
    words = figures.words_of(purpose)
    books = Books(
        **dict.fromkeys(words.outcomes, 1),
        items=len(words.outcomes) - ("lost" in words.outcomes),
    )
    bar = figures.outcomes_bar(books, words.outcomes)
    assert bar[-1].start + bar[-1].width == pytest.approx(100)
