"""Runs one seed and says what came of it; the same seed says the same."""

import gc
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from tests.faults.simulation.checkers import violations
from tests.faults.simulation.plants import Plant
from tests.faults.simulation.schedule import START
from tests.faults.simulation.world import World


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of one simulation."""

    seed: int
    violations: tuple[str, ...]
    hours: float
    steps: int
    faults: Counter[str]
    history: tuple[tuple[float, str, str], ...]
    fingerprint: str

    def lines(self) -> Iterator[str]:
        """The whole history and what was wrong, for a person."""
        for moment, who, what in self.history:
            yield f"{moment - START:10.2f}  {who:<11} {what}"
        yield from (f"VIOLATION   {violation}" for violation in self.violations)


def simulate(seed: int, plant: type[Plant] = Plant) -> Report:
    """Live through one seed and judge it."""
    with silence(), _litter():
        world = World(seed, plant())
        try:
            world.run()
            found = violations(world)
        finally:
            world.close()
    return Report(
        seed=seed,
        violations=tuple(found),
        hours=(world.schedule.now - START) / 3600,
        steps=world.schedule.steps,
        faults=world.weather.seen,
        history=tuple(world.schedule.history),
        fingerprint=world.fingerprint(),
    )


@contextmanager
def silence() -> Generator[None]:
    """Log lines of thousands of runs help nobody; the history says more."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def _litter() -> Generator[None]:
    """Cyclic garbage waits for the seed's end: looking for it costs a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _drop(_logger: object, _name: str, _event: object) -> str:
    raise structlog.DropEvent
