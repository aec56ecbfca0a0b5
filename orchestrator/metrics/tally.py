"""Counters and histograms of one process, and of those whose sums it is told.

Why not a registry for many processes over files: children are replaced every 500 batches and may be
killed at any instruction, and each would leave its files behind. Here a child tells its sums after
each batch in one datagram, and whoever listens adds them up; a child that dies takes with it only
what its unfinished batch would have told.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from orchestrator.metrics.families import FAMILIES, Family, Kind

Row = tuple[str, tuple[str, ...], tuple[float, ...]]
"""Name, values of its labels, sums: of a counter one, of a histogram its buckets and the total."""


class Tally:
    """Adds up. Safe between threads; not to be used on both sides of a fork."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._sums: dict[tuple[str, tuple[str, ...]], list[float]] = {}
        self._lock = threading.Lock()

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self._add(name, labels, (by,))

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        buckets = FAMILIES[name].buckets
        sums = [0.0] * (len(buckets) + 2)
        sums[bisect_left(buckets, seconds)] = 1
        sums[-1] = seconds
        self._add(name, labels, sums)

    def take(self) -> bytes:
        """Everything so far, to be added elsewhere; nothing is left here. Empty: there is none."""
        with self._lock:
            sums, self._sums = self._sums, {}
        return (
            msgspec.json.encode([(*key, values) for key, values in sums.items()]) if sums else b""
        )

    def add(self, told: bytes) -> bool:
        """Add what `take` gave elsewhere; False, and nothing is added, where it is not that."""
        try:
            rows = msgspec.json.decode(told, type=list[Row])
        except msgspec.DecodeError:
            return False
        if not all(_fits(row) for row in rows):
            return False
        for name, labels, values in rows:
            self._add(name, labels, values)
        return True

    def collect(self) -> Iterator[Metric]:
        """What there is, for Prometheus."""
        with self._lock:
            found = {key: tuple(values) for key, values in sorted(self._sums.items())}
        made: dict[str, Metric] = {}
        for (name, labels), values in found.items():
            family = FAMILIES[name]
            if name not in made:
                made[name] = _empty(family)
            match made[name]:
                case CounterMetricFamily() as counter:
                    counter.add_metric(labels, values[0])
                case HistogramMetricFamily() as histogram:
                    histogram.add_metric(labels, _cumulated(family, values[:-1]), values[-1])
                case _:
                    raise AssertionError(name)
        yield from made.values()

    def _add(self, name: str, labels: Sequence[str], values: Sequence[float]) -> None:
        key = (name, tuple(labels))
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                self._sums[key] = list(values)
            else:
                for at, value in enumerate(values):
                    sums[at] += value


def _fits(row: Row) -> bool:
    name, labels, values = row
    family = FAMILIES.get(name)
    if family is None or len(labels) != len(family.labels) or min(values, default=0) < 0:
        return False
    match family.kind:
        case Kind.COUNTER:
            return len(values) == 1
        case Kind.HISTOGRAM:
            return len(values) == len(family.buckets) + 2
        case Kind.GAUGE:
            return False


def _empty(family: Family) -> Metric:
    if family.kind is Kind.COUNTER:
        return CounterMetricFamily(family.name, family.says, labels=family.labels)
    return HistogramMetricFamily(family.name, family.says, labels=family.labels)


def _cumulated(family: Family, counts: Sequence[float]) -> list[tuple[str, float]]:
    ends = [*(str(end) for end in family.buckets), "+Inf"]
    so_far, found = 0.0, list[tuple[str, float]]()
    for end, number in zip(ends, counts, strict=True):
        so_far += number
        found.append((end, so_far))
    return found
