"""Every metric there is: its name, labels, unit and what it says. No label ever names a user.

Names follow Prometheus: base units (seconds, bytes), counters end in `_total`. What stands in
docs/operations.md, in the dashboard and in the alert rules is compared with this table by tests.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """How a metric is read."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Program(StrEnum):
    """Which processes export a metric."""

    LEDGER = "API, conductor"
    """Read from the ledger, so every one of them says the same: take the maximum, not the sum."""
    CONDUCTOR = "conductor"
    WORKER = "workers"
    API = "API"


class Family(Struct, frozen=True, kw_only=True):
    """One metric."""

    name: str
    kind: Kind
    of: Program
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper ends, of a histogram; infinity is not among them."""


QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds, of what should be over before anybody notices."""
LONG = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds, of work and of what others take their time for."""

_G, _C, _H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM
_L, _O, _W, _A = Program.LEDGER, Program.CONDUCTOR, Program.WORKER, Program.API


def _family(  # a row of the table below
    name: str, kind: Kind, of: Program, says: str, *labels: str, buckets: tuple[float, ...] = ()
) -> Family:
    return Family(
        name=f"reinstate_{name}", kind=kind, of=of, says=says, labels=labels, buckets=buckets
    )


_ALL = (
    # Runs: those under way, and for a day those that are over
    _family("run_info", _G, _L, "1 for each run", "run", "plan", "purpose", "state"),
    _family("run_users", _G, _L, "users in scope", "run"),
    _family("items", _G, _L, "items by what became of them", "run", "category", "outcome"),
    _family("lost_items", _G, _L, "items of the census that no source holds", "run", "category"),
    _family("units", _G, _L, "units by state; together all in scope", "run", "category", "state"),
    _family("open_units", _G, _L, "units that have not ended where gates are open", "run"),
    _family(
        "read_bytes", _G, _L, "bytes read from sources by what they were", "run", "category", "part"
    ),
    _family("cells", _G, _L, "phases in waves by state", "run", "state"),
    _family("batches_out", _G, _L, "batches handed out", "run", "state"),
    _family("window_batches", _G, _L, "so many batches may be out at once"),
    _family(
        "oldest_ready_unit_seconds", _G, _L, "how long the oldest unit waits that may go", "run"
    ),
    _family("progress_timestamp_seconds", _G, _L, "when a unit was last settled", "run"),
    _family("unbalanced_books", _G, _L, "laws that sums or units break: must be 0", "run"),
    _family("circuit_open", _G, _L, "1 for what does not answer and is left alone", "run", "of"),
    _family(
        "promise_due_timestamp_seconds", _G, _L, "when the next public update was promised", "run"
    ),
    _family("promise_missed", _G, _L, "1 where that moment has passed", "run"),
    # What is told outside
    _family("waiting_deliveries", _G, _L, "notices that did not arrive yet"),
    _family("oldest_delivery_seconds", _G, _L, "how old the oldest of them is"),
    # The installation
    _family("build_info", _G, _L, "1, with the release", "version"),
    _family("leaders", _G, _L, "1 where a conductor leads, 0 where nobody does"),
    _family("ledger_clock_skew_seconds", _G, _L, "the host's clock minus the ledger's"),
    _family(
        "ledger_answer_seconds", _H, _L, "from asking the ledger to its first answer", buckets=QUICK
    ),
    # Conductors
    _family("conductor_leading", _G, _O, "1 where this conductor leads"),
    _family("conductor_tick_seconds", _H, _O, "one round of the loop", buckets=QUICK),
    _family("dispatched_batches_total", _C, _O, "batches handed to the broker"),
    _family("reclaimed_batches_total", _C, _O, "batches split or failed after their worker died"),
    _family("ledger_clock_set_back_total", _C, _O, "how often the ledger's clock went back"),
    # Workers
    _family(
        "batch_seconds", _H, _W, "one attempt of a batch", "kind", "category", "end", buckets=LONG
    ),
    _family(
        "attempts_total", _C, _W, "attempts of units by how they ended", "kind", "category", "state"
    ),
    _family(
        "target_request_seconds",
        _H,
        _W,
        "one request to a target, for many items where it takes many",
        "target",
        "request",
        buckets=LONG,
    ),
    _family("written_items_total", _C, _W, "items handed to a target to write", "target"),
    _family("written_bytes_total", _C, _W, "their bytes", "target"),
    _family("delivery_seconds", _H, _W, "one attempt to tell somebody", "channel", buckets=LONG),
    _family("delivery_attempts_total", _C, _W, "such attempts by how they ended", "channel", "end"),
    # API
    _family(
        "request_seconds",
        _H,
        _A,
        "one request, by its route's pattern",
        "method",
        "route",
        "status",
        buckets=QUICK,
    ),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""By name."""
