"""What a pool's main process does between forks."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from orchestrator.ledger.database import Ledger
from workers import starvation


def inherited(name):
    """Whether this process has a file of that name open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if name in str(descriptor.readlink()):
                return True
    return False


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # as billiard does
def test_no_child_inherits_an_open_ledger_from_the_watch_for_starvation(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    ledger.prepare()
    ledger.close()
    over = threading.Event()
    looks = []

    def watch():
        while not over.is_set():
            looks.append(starvation._dispatched(url))

    thread = threading.Thread(target=watch)
    thread.start()
    statuses = []
    for _ in range(40):
        child = os.fork()
        if not child:
            os._exit(inherited("ledger.db"))
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    over.set()
    thread.join()
    assert looks
    assert statuses == [0] * 40
