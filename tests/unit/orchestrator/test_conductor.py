"""How long the conductor rests between two looks."""

import pytest

from orchestrator.conductor import keep_going
from orchestrator.errors import Unavailable
from orchestrator.metrics.tally import Tally


class Scripted:
    """Stands in for a conductor and for what stops it: each look is told beforehand."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.rests = []
        self.tally = Tally()
        self.at_ease = 0.0

    def tick(self):
        moved, self.at_ease = self.looks.pop(0)
        if moved is None:
            raise Unavailable("away", retry_in=3.0)
        return moved

    def is_set(self):
        return not self.looks

    def wait(self, seconds):
        self.rests.append(seconds)


def rests(*looks):
    scripted = Scripted(*looks)
    keep_going(scripted, stopped=scripted)
    return scripted.rests


def test_while_things_move_it_looks_again_when_half_of_what_is_out_is_likely_to_be_done():
    assert rests((True, 0.0), (True, 0.06), (True, 0.4), (True, 90.0)) == [0.05, 0.05, 0.2, 0.5]


def test_it_rests_longer_the_longer_nothing_moves_and_as_long_as_it_is_told_to():
    assert rests((True, 0.0), *[(False, 0.0)] * 7, (None, 0.0)) == pytest.approx(
        [0.05, 0.075, 0.1125, 0.16875, 0.253125, 0.3796875, 0.5, 0.5, 3.0]
    )
