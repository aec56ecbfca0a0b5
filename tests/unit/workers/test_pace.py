"""A target gets so much at once that the lease outlives it."""

import itertools
from types import SimpleNamespace

import pytest

from workers.pace import FIRST_STRIDE, Stride


@pytest.mark.guarantee(11)
@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.02, 0.5, 3.0])
def test_a_heart_beats_in_time_however_slow_the_target_is(seconds):
    """From the second portion on; of the first nothing is known but that it is small."""
    now, beats = [0.0], [0.0]
    work = SimpleNamespace(lease_ms=60_000, monotonic=lambda: now[0])
    stride = Stride(work, lambda: beats.append(now[0]))
    given = []
    for _ in range(2):
        for some in stride.portions(range(3_000)):
            given.extend(some)
            now[0] += seconds * len(some)
    assert given == [*range(3_000)] * 2
    pauses = [later - earlier for earlier, later in itertools.pairwise(beats)]
    assert max(pauses[1:]) <= max(60 / 8, seconds) + 1e-6
    assert pauses[0] <= FIRST_STRIDE * seconds + 1e-6
    if seconds < 60 / 8 / 3_000:
        assert len(pauses) == 3  # it costs a quick one next to nothing


def test_a_target_that_slows_down_gets_less():
    now = [0.0]
    work = SimpleNamespace(lease_ms=8_000, monotonic=lambda: now[0])
    stride, sizes = Stride(work, lambda: None), []
    for number, some in enumerate(stride.portions(range(5_000))):
        sizes.append(len(some))
        now[0] += len(some) * (0.001 if number < 2 else 0.01)
    assert sizes[0] == FIRST_STRIDE
    assert sizes[1] == 1_000
    assert sizes[3] == 100
