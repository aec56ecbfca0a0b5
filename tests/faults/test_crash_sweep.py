"""Kill everything at the Nth boundary, for every N, start again, and count what came of it.

A boundary is the begin, the commit and the moment after the commit of every transaction, and every
call of a source or target. A crash takes conductor, worker and all messages at once; the ledger
and the target stay.
"""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from orchestrator.audit import audit
from orchestrator.conductor import Conductor
from orchestrator.ledger.database import Ledger
from orchestrator.lifecycle import RunState
from tests.faults.simulation.population import content
from tests.faults.simulation.schedule import Killed
from tests.faults.simulation.wires import WiredLedger, WiredWorkplace, disturbed
from tests.in_process import Service
from workers.credentials import resolve
from workers.sources import memory as source
from workers.targets import memory as target

RECOVERED = datetime(2009, 9, 1, tzinfo=UTC)
PLAN = """
version: 1
name: sweep
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources: {{core: {{kind: memory, name: sweep}}}}
targets: {{live: {{kind: memory, name: sweep{number}}}}}
waves: [{{name: canary, users: 1}}, {{name: everyone}}]
defaults: {{attempts: 3, on_conflict: newest}}
phases: [{{restore: notes, to: live}}, {{restore: contacts, to: live, scope: user}}]
approvals: 0
"""


class Boundaries:
    """Counts boundaries and kills at one of them."""

    def __init__(self, deadly):
        self.deadly = deadly
        self.passed = 0

    def point(self, _where):
        self.passed += 1
        if self.passed == self.deadly:
            raise Killed

    def transaction(self, moment, _connection):
        self.point(moment)

    def away(self, _what):
        pass

    def reads(self, _category, _owner):
        pass

    def befalls(self, _category, _write):
        return None

    def write(self, to, category, write, disturbance):
        return disturbed(to, category, write, disturbance)

    def read_back(self, _category, _places, found):
        return found


class Sweep:
    """One installation; every run goes into a target of its own."""

    def __init__(self, folder, url=None):
        self.service = Service(folder, ledger_url=url)
        self.lives = count(1)
        source.put(
            "sweep",
            {
                user: {
                    "notes": {
                        "0": content("notes", f"{user}-0", f"{user}xnote0", RECOVERED),
                        "1": content("notes", f"{user}-1", f"{user}xnote1", RECOVERED),
                        "2": content("notes", f"{user}-2", f"{user}xcut", RECOVERED)[:-9],
                    },
                    "contacts": {
                        "0": content("contacts", f"{user}-c", f"{user}xcard", RECOVERED),
                    },
                }
                for user in ("ann", "bob")
            },
        )

    def start(self, boundaries):
        """A conductor and a worker that know nothing of those before."""
        service, life = self.service, next(self.lives)
        wired = WiredLedger(
            service.ledger.url,
            clock=service.clock.ledger,
            points=boundaries,
            engine=service.ledger.engine,
        )
        service.rings.waiting.clear()
        service.conductor = Conductor(wired, service.rings, name=f"life{life}", batch_users=1)
        service.work = WiredWorkplace(
            ledger=wired,
            sealer=service.sealer,
            clock=service.clock,
            secret=resolve,
            name=f"worker{life}",
            monotonic=service.clock.monotonic,
            sleep=service.clock.sleep,
            points=boundaries,
        )

    def run(self, deadly):
        """One run that is killed at that boundary; whether it came so far."""
        service, name = self.service, f"sweep{deadly}"
        self.make_target(name)
        boundaries = Boundaries(deadly)
        self.start(boundaries)
        run_id = service.submit(PLAN.format(number=deadly))
        try:
            service.go_on()
        except Killed:
            self.start(boundaries)
            service.clock.advance(minutes=2)
            service.go_on()
        self.recount(run_id, name)
        return boundaries.passed >= deadly

    def make_target(self, name):
        """A live service that holds an older note."""
        target.forget(name)
        before = RECOVERED - timedelta(days=99)
        old = content("notes", "bob-0", "bobxold", before)
        target.store(name).put("notes", "bob", "bob-0", old, at=before)

    def recount(self, run_id, name):
        """Nothing lost, nothing twice, and the books say so."""
        service = self.service
        assert service.ended(run_id) is RunState.FINISHED
        assert audit(service.ledger, run_id) == []
        books = service.status(run_id).books
        assert (books.restored, books.replaced, books.nameless) == (6, 1, 2)
        assert books.items == books.restored
        for user in ("ann", "bob"):
            notes = target.store(name).contents("notes", user)
            cards = target.store(name).contents("contacts", user)
            found = b" ".join((*notes.values(), *cards.values()))
            assert (len(notes), len(cards)) == (2, 1)
            for token in ("note0", "note1", "card"):
                assert f"{user}x{token}".encode() in found
            assert b"old" not in found


@pytest.fixture
def in_memory():
    """A ledger in memory, there as long as one connection is; the sweep crashes, not the disk."""
    keeper = Ledger("sqlite:///file:sweep?mode=memory&cache=shared&uri=true")
    with keeper.engine.connect():
        yield keeper.url


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    "first", [1, *(pytest.param(first, marks=pytest.mark.long) for first in (2, 3))]
)
def test_killed_at_any_boundary_a_run_ends_in_the_same_books(tmp_path, in_memory, first):
    sweep = Sweep(tmp_path, in_memory)
    last = next(deadly for deadly in count(first, 3) if not sweep.run(deadly))
    assert last > 100


@pytest.mark.long
@pytest.mark.guarantee(6)
def test_killed_at_a_boundary_a_run_on_postgresql_ends_in_the_same_books(tmp_path, fresh_database):
    sweep = Sweep(tmp_path, fresh_database)
    last = next(deadly for deadly in count(1, 11) if not sweep.run(deadly))
    assert last > 100
    sweep.service.ledger.close()
