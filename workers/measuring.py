"""What a worker measures: batches, attempts, requests to targets; a batch at a time, never an item.

Each process adds up for itself and tells its sums when a batch has ended; the worker's main process
adds up what its children tell, so that a child that is replaced or killed takes nothing with it.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celery.signals import worker_init, worker_process_init, worker_ready

from orchestrator.errors import Unavailable
from orchestrator.items import Ident, Media, UserId
from orchestrator.logs import get_logger
from orchestrator.metrics.tally import Tally
from orchestrator.metrics.telling import Pair, Post, Tell, nowhere
from orchestrator.ports import Capabilities, Entry, Live, Place, Removal, Target, Write, Written
from orchestrator.settings import Settings

log = get_logger("worker")


class MeasuredTarget:
    """A target, with the time that each request takes and what was handed over."""

    def __init__(
        self, target: Target, name: str, tally: Tally, monotonic: Callable[[], float]
    ) -> None:
        self._target = target
        self._name = name
        self._tally = tally
        self._monotonic = monotonic

    def identity(self, category: str) -> str:
        """The target's own."""
        return self._target.identity(category)

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """The target's own."""
        with self._timed("inspect"):
            return self._target.inspect(categories)

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The target's own."""
        return self._target.ref(category, ident, media)

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """The target's own; timed until its first entry, since the rest is taken at our pace."""
        entries = iter(self._target.survey(category, owners))
        with self._timed("survey"):
            first = next(entries, None)
        if first is not None:
            yield first
            yield from entries

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The target's own."""
        with self._timed("fetch"):
            return self._target.fetch(category, places)

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """The target's own."""
        self._tally.count("reinstate_written_items_total", self._name, by=len(writes))
        size = sum(write.item.size for write in writes)
        self._tally.count("reinstate_written_bytes_total", self._name, by=size)
        with self._timed("write"):
            return self._target.write(category, writes)

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """The target's own."""
        with self._timed("remove"):
            return self._target.remove(category, removals)

    def close(self) -> None:
        """The target's own."""
        self._target.close()

    @contextmanager
    def _timed(self, request: str) -> Generator[None]:
        began = self._monotonic()
        try:
            yield
        finally:
            took = self._monotonic() - began
            self._tally.observe("reinstate_target_request_seconds", took, self._name, request)


# What the worker's processes do ------------------------------------------------------------------


_pair: Pair | None = None
"""Made before the first child is forked, so that all of them have it."""
_let_go: Callable[[], None] | None = None


def teller(settings: Settings) -> Tell:
    """To whom this process tells its sums."""
    if isinstance(settings.metrics, Path):
        return Post(settings.metrics).tell
    return nowhere if _pair is None else _pair.tell


@worker_init.connect
def _make_pair(**_: object) -> None:
    global _pair  # noqa: PLW0603  one a process, as signals have no other place
    if isinstance(Settings.read(os.environ).metrics, tuple):
        _pair = Pair()


@worker_ready.connect
def _export(**_: object) -> None:
    from orchestrator.metrics.listening import listen  # noqa: PLC0415  nothing, where not asked for

    global _let_go  # noqa: PLW0603
    settings = Settings.read(os.environ)
    if _pair is None or not isinstance(settings.metrics, tuple):
        return
    tally = Tally()
    _pair.listen(tally)
    try:
        _let_go = listen(settings.metrics, tally.collect)
    except Unavailable as error:  # what it does matters more than that it is seen
        log.error("metrics_refused", error=error)  # noqa: TRY400  its text is not for logs


@worker_process_init.connect
def _let_the_address_go(**_: object) -> None:
    """A child answers nobody; what it inherited would keep the address from the next worker."""
    if _let_go is not None:
        _let_go()
