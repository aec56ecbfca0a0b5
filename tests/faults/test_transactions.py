"""PostgreSQL ends transactions of every kind: deadlocks, conflicts, timeouts, killed backends."""

import sys
from collections import Counter

import pytest

from orchestrator.errors import Unavailable
from tests.faults.test_crash_sweep import PLAN, Boundaries, Sweep

ENDS = {
    "deadlock": "40P01",
    "serialization failure": "40001",
    "lock timeout": "55P03",
    "statement timeout": "57014",
    "read-only server": "25006",
    "killed backend": None,
}
"""How a transaction ends, by SQLSTATE; None: with its connection."""
OURS = ("wires.py", "contextlib.py", "test_transactions.py")
PASSED_ON = "Tenure.transaction"
KINDS = {"Conductor._tick", "_claim", "_record", "Writing._journal", "Tenure.finish"}
"""Where transactions of the data path are begun: to conduct, claim, inspect, journal, settle."""


class Ends(Boundaries):
    """Lets each kind of transaction fail at its end: the first, and the `later`th one."""

    def __init__(self, code, later):
        super().__init__(deadly=0)
        self.code = code
        self.later = later
        self.begun = Counter()

    def transaction(self, moment, connection):
        if moment == "commit":
            kind = begun_by()
            self.begun[kind] += 1
            if self.begun[kind] in {1, self.later}:
                fail(connection, self.code)


def begun_by():
    frame = sys._getframe()
    while frame.f_code.co_filename.endswith(OURS) or frame.f_code.co_qualname == PASSED_ON:
        frame = frame.f_back
    return frame.f_code.co_qualname


def fail(connection, code):
    if code is None:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.exec_driver_sql(
        f"DO $$ BEGIN RAISE EXCEPTION 'by the test' USING ERRCODE = '{code}'; END $$"
    )


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("how", ENDS)
def test_however_a_transaction_of_whatever_kind_fails_nothing_is_lost_and_nothing_is_twice(
    tmp_path, fresh_database, how
):
    sweep = Sweep(tmp_path, fresh_database)
    service, ends = sweep.service, Ends(ENDS[how], later=2 + list(ENDS).index(how))
    sweep.make_target("sweep0")
    sweep.start(ends)
    run_id = service.submit(PLAN.format(number=0))
    try:
        while not go_on(service):
            pass
        sweep.recount(run_id, "sweep0")
    finally:
        service.ledger.close()
    assert set(ends.begun) >= KINDS


def go_on(service):
    """Whether it came to rest; False where the conductor could not do its work."""
    try:
        service.go_on()
    except Unavailable as error:
        service.clock.advance(seconds=error.retry_in)
        return False
    return True
