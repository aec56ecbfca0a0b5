from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.flow_control import (
    AIM_MS,
    CALM_MS,
    FIRST,
    LEAST,
    LONGEST_PAUSE_MS,
    MOST,
    PAUSE_MS,
    STRIKES,
    Answers,
    Circuit,
    Flow,
    Pace,
    adjusted,
    probed,
    room,
    whole_window,
)

WELL = Answers(ended=1, writes=100, spent_ms=1_000)
AWAY = Answers(ended=1, troubled=1)


def told(flow, *answers, now=0):
    for answer in answers:
        flow = adjusted(flow, answer, now=now)
    return flow


def opened(now=0):
    return told(Flow(), *[AWAY] * STRIKES, now=now)


def test_a_window_grows_by_one_in_a_windows_worth_of_answers():
    flow = told(Flow(), Answers(ended=int(FIRST), writes=1))
    assert flow.window == FIRST + 1
    assert told(Flow(), *[WELL] * 100_000).window == MOST


def test_batches_that_wrote_nothing_are_no_burden_and_widen_the_window_each():
    assert told(Flow(), Answers(ended=5)).window == FIRST + 5
    assert told(Flow(), Answers(ended=1_000)).window == MOST


def test_the_pace_of_batches_is_seen_by_how_many_end_from_look_to_look():
    pace = Pace()
    assert pace.look(out=0, running=0, now=1_000) == 0
    assert pace.fitting == 0, "nothing is known yet"
    pace.sent(8, users=80, now=1_000)
    assert pace.look(out=8, running=2, now=1_050) == 0
    assert pace.look(out=4, running=2, now=1_100) == 4
    assert (pace.took_ms, pace.to_do_ms, pace.fitting) == (50, 200, 10 * AIM_MS // 50)
    pace.sent(4, users=200, now=1_100)
    assert pace.users == 30, "of those that are out, on average"
    assert pace.look(out=7, running=2, now=1_100) == 1, "no time passed: nothing is learned"
    assert pace.took_ms == 50
    assert pace.look(out=7, running=2, now=5_000) == 0
    assert pace.look(out=6, running=2, now=7_100) == 1
    assert (pace.took_ms, pace.fitting) == (12_000, 2)


def test_batches_that_all_ended_before_the_first_look_tell_their_pace_too():
    pace = Pace()
    pace.sent(8, users=800, now=1_000)
    assert pace.look(out=0, running=0, now=1_080) == 8
    assert pace.took_ms == 10


def test_trouble_halves_the_window_once_for_all_that_was_sent_before():
    part = Answers(ended=4, troubled=1)
    flow = told(Flow(window=64), part, part, now=10)
    assert flow.window == 32
    assert told(flow, part, now=10 + CALM_MS).window == 16


def test_a_target_that_becomes_slow_gets_less_and_one_that_is_quick_gets_more():
    flow = told(Flow(window=64), WELL)
    slow = Answers(ended=1, writes=100, spent_ms=4_000)
    assert told(flow, slow).window == flow.window / 2
    assert told(flow, WELL).window > flow.window


def test_some_trouble_never_opens_a_circuit():
    flow = Flow()
    for moment in range(100):
        flow = told(flow, Answers(ended=3, troubled=2), now=moment * CALM_MS)
    assert (flow.circuit, flow.window) == (Circuit.CLOSED, LEAST)


def test_a_target_that_answers_nothing_is_left_alone_then_probed_by_one_batch():
    flow = opened(now=1_000)
    assert flow.circuit is Circuit.OPEN
    assert room(flow, out=0, now=1_000 + PAUSE_MS - 1) == 0
    assert room(flow, out=0, now=1_000 + PAUSE_MS) == 1
    assert room(flow, out=1, now=1_000 + PAUSE_MS) == 0
    assert room(probed(flow), out=1, now=1_000 + PAUSE_MS) == 0
    assert room(probed(flow), out=0, now=1_000 + PAUSE_MS) == 1, "the probe was lost"


def test_a_probe_that_fails_doubles_the_pause_and_one_that_comes_through_closes_the_circuit():
    flow = probed(opened())
    again = told(flow, AWAY, now=9_000)
    assert (again.circuit, again.probe_at) == (Circuit.OPEN, 9_000 + 2 * PAUSE_MS)
    for _ in range(20):
        again = told(probed(again), AWAY)
    assert again.pause_ms == LONGEST_PAUSE_MS
    assert told(probed(again), WELL) == Flow(window=LEAST)


def test_what_was_sent_before_a_circuit_opened_does_not_count_as_its_probe():
    flow = opened()
    assert told(flow, AWAY, AWAY, now=1) == flow
    assert told(flow, WELL).circuit is Circuit.CLOSED


def test_a_target_is_not_probed_before_it_asked_to_be():
    flow = told(Flow(), *[Answers(ended=1, troubled=1, retry_at=90_000)] * STRIKES)
    assert room(flow, out=0, now=89_999) == 0
    assert room(flow, out=0, now=90_000) == 1


def test_as_many_batches_wait_as_are_worked_on_from_8_to_256():
    assert [whole_window(running) for running in (0, 4, 20, 1_000)] == [8, 8, 40, 256]
    assert [whole_window(2, ended=ended) for ended in (1, 30, 1_000)] == [8, 60, 256]


answers = st.integers(0, 5).flatmap(
    lambda ended: st.builds(
        Answers,
        ended=st.just(ended),
        troubled=st.integers(0, ended),
        writes=st.integers(0, 500),
        spent_ms=st.integers(0, 10_000),
        retry_at=st.integers(0, 1_000_000),
    )
)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(answers, st.integers(0, 10_000), st.integers(0, 300))))
def test_a_window_stays_in_bounds_and_a_target_is_never_left_alone_for_good(steps):
    flow, now = Flow(), 0
    for answer, later, out in steps:
        now += later
        flow = adjusted(flow, answer, now=now)
        assert LEAST <= flow.window <= MOST
        assert 0 <= room(flow, out=out, now=now) <= MOST
        assert room(flow, out=0, now=max(now, flow.probe_at)) >= 1
        if room(flow, out=0, now=now):
            flow = probed(flow)
