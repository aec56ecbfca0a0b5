"""One simulated service: real conductors, ledger and workers, a hostile world, everything seeded.

`World(seed).run()` lives through a whole run of a plan and comes back when nothing moves any more;
then `checkers.violations` judges. What must hold at every moment is judged here, while it happens.
"""

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.conductor import Conductor
from orchestrator.errors import Unavailable
from orchestrator.items import Ident, UserId
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import unit
from orchestrator.lifecycle import TERMINAL_RUNS, BatchState, RunState
from orchestrator.planner import read_plan
from orchestrator.ports import Entry, Fate, Live, Place, Target, Write, Written
from orchestrator.progress import Progress
from orchestrator.query import parse
from orchestrator.runs import Runs
from orchestrator.sealing import Sealer
from orchestrator.submitting import Submission
from tests.faults.simulation.broker import Broker
from tests.faults.simulation.memory_ledger import MemoryLedger, SharedLedger
from tests.faults.simulation.plants import Plant
from tests.faults.simulation.population import (
    READERS,
    Population,
    Truth,
    as_item,
    content,
    populate,
)
from tests.faults.simulation.schedule import Actor, Schedule
from tests.faults.simulation.watching import Watching
from tests.faults.simulation.weather import Weather
from tests.faults.simulation.wires import WiredLedger, WiredWorkplace, away, disturbed
from workers.credentials import resolve
from workers.jobs import perform
from workers.sources import memory as source
from workers.targets import memory as target
from workers.targets.memory import Disturbance, Held

LEASE_MS = 60_000
PATIENCE = 7 * 86_400.0
"""Simulated seconds after the last fault until a run counts as never ending."""
MOST_STEPS = 60_000
PLAN = """
version: 1
name: simulation
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: memory, name: simulated-core}}
  devices: {{kind: memory, name: simulated-devices}}
targets:
  live: {{kind: memory, name: simulated-live}}
waves: [{{name: canary, users: {canary}}}, {{name: everyone}}]
defaults:
  attempts: {attempts}
  backoff: 30s..10m
  on_conflict: {policy}
  gate: {{failed: {failed}}}
phases:
  - {{restore: contacts, to: live}}
  - {{restore: notes, to: live, scope: {scope}}}
approvals: {approvals}
"""


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, plant: Plant | None = None) -> None:
        self.seed = seed
        self.plant = plant or Plant()
        self.rng = rng = random.Random(f"reinstate {seed}")
        self.schedule = Schedule(rng, restlessness=rng.choice((0.1, 0.3, 0.6)))
        self.weather = Weather.drawn(rng, seed=seed, now=self.schedule.now)
        self.population: Population = populate(rng, rng.randrange(3, 7))
        self.policy = rng.choice(("newest", "newest", "newest", "keep-live", "keep-both"))
        self.scope = rng.choice(("wave", "wave", "user"))
        self.canary = rng.choice((1, 2))
        self.failed = rng.choice((0, 50, 100))
        self.approvals = rng.choice((0, 0, 1))
        self.batch_users = rng.choice((1, 2, 3))
        self.broker = Broker(self.schedule, self.weather, self._wake_workers)
        self.sealer = Sealer(bytes(range(32)))
        self._memory = MemoryLedger()
        self.look = self._memory.look
        self.plant.on_engine(self._memory.engine)
        self.ledger = self._wire(None)
        self.progress = Progress(self.ledger, self.sealer)
        self.runs = Runs(self.ledger, self.sealer, new_id=lambda: "simulated")
        self.run_id = ""
        self.at_rest = False
        self.user_last: dict[tuple[str, UserId, str], bytes | None] = {}
        """By category, owner and ref, what its user made of it; None: deleted."""
        self.declined: dict[UserId, int] = {}
        """At which step; 0: before the run was submitted."""
        self.skew = 0.0
        """Seconds by which the ledger's clock differs from the world's."""
        self.watching = Watching(self)
        self.numbers = {user: number for number, user in enumerate(self.population.users)}
        self.imagined: dict[tuple[str, UserId, str], Write] = {}
        """What a planted bug takes for written."""
        self.owed: dict[tuple[str, int], list[tuple[Target, str, Write]]] = {}
        """What a planted bug is going to write later."""
        self._user_chance = rng.choice((0.0, 0.01, 0.05))
        self._haste = rng.choice((0.0, 0.0, 0.1))
        self.poisonous = self._poison() if rng.random() < 0.1 else None
        """Whose files of which category end every process that reads them."""
        self._retries = 0
        self.beside = {self.beside_of(truth): truth.ident for truth in self.population.truths}
        """Idents of what may be put beside, and of the items that it is put beside."""
        self._edits = 0
        self._operated = False
        self._workers: list[Actor] = []
        self._conductors: list[Actor] = []
        self.store = self._target()
        source.put("simulated-core", self.population.core)
        source.put("simulated-devices", self.population.devices)

    # The cast -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until everything rests; raises what breaks the simulation itself."""
        add, rng = self.schedule.add, self.rng
        for number in range(rng.choice((1, 1, 2))):
            self._conductors.append(add(f"conductor{number}", self._conduct))
        for number in range(rng.choice((1, 2, 3))):
            self._workers.append(add(f"worker{number}", self._work))
        add("operator", self._operate, mortal=False)
        self.schedule.run(self._over)

    def close(self) -> None:
        """Forget the ledger."""
        self._memory.close()

    def _conduct(self) -> None:
        me = self._me()
        conductor = Conductor(
            self._wire(me),
            self.broker,
            name=f"{me.name}:{me.lives}",
            lease_ms=LEASE_MS,
            window=self.rng.choice((1, 4, 16)),
            batch_users=self.batch_users,
        )
        while True:
            moved = False
            try:
                moved = conductor.tick()
                self.plant.after_tick(self)
            except Unavailable as error:
                self.schedule.note(f"conductor waits: {error.message}")
            self.schedule.sleep(0.05 if moved else self._until_due())

    def _work(self) -> None:
        me = self._me()
        work = WiredWorkplace(
            ledger=self._wire(me),
            sealer=self.sealer,
            clock=self.clock,
            secret=resolve,
            name=f"{me.name}:{me.lives}",
            lease_ms=LEASE_MS,
            monotonic=lambda: self.schedule.now,
            sleep=self.schedule.sleep,
            points=self,
            recast=self.plant.recast,
        )
        while True:
            ring = self.broker.take()
            if ring is None:
                self.schedule.sleep(self.broker.next_due() - self.schedule.now)
                continue
            self.schedule.note(f"takes batch {ring.batch} epoch {ring.epoch}")
            self.watching.takes(me, ring, work.name)
            perform(work, ring)
            self._wake(self._conductors, self.schedule.now + 0.2)

    def _operate(self) -> None:
        rng, sleep = self.rng, self.schedule.sleep
        sleep(rng.random())
        plan_text = PLAN.format(
            canary=self.canary,
            attempts=rng.choice((2, 4)),
            policy=self.policy,
            failed=f"{self.failed}%",
            scope=self.scope,
            approvals=self.approvals,
        )
        if rng.random() < 0.3:
            self.declined[rng.choice(self.population.users)] = 0
        plan = read_plan(plan_text.encode(), path="plan.yaml", base=Path(), clock=self.clock)
        self.run_id = self.runs.submit(
            Submission(
                plan=plan,
                text=plan_text,
                folder=".",
                author="mia",
                declined=list(self.declined),
            )
        )
        errands = [(rng.random() * 300, self._decline)] if rng.random() < 0.5 else []
        if rng.random() < 0.3:
            errands.append((rng.random() * 200, self._pause))
        began = self.schedule.now
        while not self._operated:
            sleep(5 if errands else 120)
            for errand in list(errands):
                if self.schedule.now - began > errand[0]:
                    errands.remove(errand)
                    errand[1]()
            self._steer()

    def _steer(self) -> None:
        """Approve, promote what is held, and at last retry what has failed."""
        state = self.state()
        if state is RunState.AWAITING_APPROVAL and self.approvals:
            self.runs.approve(self.run_id, who="jo", reason="")
        elif state is RunState.RUNNING:
            cells = self.watching.held_cells()
            if cells:
                self.watching.promoted |= cells
                self.runs.promote(self.run_id, who="jo", reason="")
        elif state is RunState.REFUSED:
            self._operated = True
            return
        elif state is RunState.FINISHED:
            if self._rough():
                return
            everything = parse((), self.progress.plan(self.run_id))
            self._retries += 1
            if self.poisonous and self._retries > 2:
                self._operated = True
                return
            self.watching.retried()
            if self.runs.retry(self.run_id, everything, who="jo") == 0:
                self._operated = True
                return
        else:
            return
        self._wake(self._conductors, self.schedule.now + 0.1)

    def _decline(self) -> None:
        user = self.rng.choice(self.population.users)
        if user not in self.declined and self.run_id:
            self.runs.decline(self.run_id, [user], who="law")
            self.declined[user] = self.schedule.steps
            self.schedule.note(f"{user} is declined")

    def _pause(self) -> None:
        if self.state() is not RunState.RUNNING:
            return
        self.runs.pause(self.run_id, who="jo", reason="look")
        self.schedule.sleep(self.rng.random() * 100)
        self.runs.resume(self.run_id, who="jo", reason="go")
        self._wake(self._conductors, self.schedule.now + 0.1)

    # What happens at a boundary (wires.Points) ----------------------------------------------------

    def point(self, where: str) -> None:
        """Somebody may be killed, frozen, or have to wait; a user may be faster."""
        if not self.schedule.is_actor():
            return
        self.schedule.pause()
        me = self._me()
        if me.mortal:
            if self._strikes("kill"):
                self.schedule.kill()
            if self._strikes("stall"):
                self.schedule.stall(self.rng.choice((20, 70, 200)))
        if where in {"surveyed", "write", "written", "fetched"}:
            self._user_acts()

    def transaction(self, moment: str, connection: Connection | None) -> None:
        """The boundaries of a transaction."""
        if not self.schedule.is_actor():  # a thread that goes by real time: not of this world
            raise away("ledger")
        me = self._me()
        match moment:
            case "commit":
                assert connection is not None
                self.watching.committing(me)
                if me.mortal and self._strikes("kill"):
                    self.schedule.kill()
            case "committed":
                self.plant.committed(self)
                self.watching.committed(me)
                self.point(moment)
                if me.mortal and self._strikes("commit-unanswered"):
                    raise away("ledger")
            case _:
                self.point(moment)
                if me.mortal and self._strikes("ledger-away"):
                    raise away("ledger")

    def away(self, what: str) -> None:
        """A source or target may be away."""
        if self._strikes(f"{what}-away"):
            raise away(what)

    def reads(self, category: str, owner: UserId) -> None:
        """What is poisonous kills its reader, whatever the weather."""
        if (category, owner) == self.poisonous:
            self.schedule.note(f"{category} of {owner} are poison")
            self.schedule.kill()

    def befalls(self, category: str, write: Write) -> Disturbance | None:
        """What becomes of a write on its way."""
        del category
        if self._strikes("unknown-applied"):
            return Disturbance(fate=Fate.UNKNOWN, stored=True)
        if self._strikes("unknown-not-applied"):
            return Disturbance(fate=Fate.UNKNOWN, stored=False)
        if self._strikes("conflict"):
            return Disturbance(fate=Fate.CONFLICT)
        if write.owner == target.PROBE:
            return None
        if self._strikes("refused"):
            return Disturbance(fate=Fate.REFUSED)
        if self._strikes("altered"):
            return Disturbance(altered=lambda data: data.replace(b"recovered", b"recov"))
        return None

    def write(
        self, to: Target, category: str, write: Write, disturbance: Disturbance | None
    ) -> Written:
        """The write itself, watched; sometimes the target forgets it right after."""
        key = (category, write.owner, write.ref)
        if write.ref in self.beside.values() and self._rough() and self.rng.random() < self._haste:
            self._edit(*key)
        before = self.store.held.get(key)
        answer = self.plant.write(self, to, category, write, disturbance)
        after = self.store.held.get(key)
        self.schedule.note(f"writes {'/'.join(key)} {answer.fate}")
        self.watching.wrote(self._me(), category, write, before, after, disturbance)
        if after is not before and self._strikes("lost-write"):
            self.schedule.note("which is lost again")
            if before is None:
                del self.store.held[key]
            else:
                self.store.held[key] = before
        return answer

    def watched_write(self, to: Target, category: str, write: Write) -> None:
        """What a planted bug writes late."""
        key = (category, write.owner, write.ref)
        before = self.store.held.get(key)
        disturbed(to, category, write, None)
        self.watching.wrote(self._me(), category, write, before, self.store.held.get(key), None)

    def read_back(self, category: str, places: Sequence[Place], found: list[Live | None]) -> Any:
        """What the target shows; of what a planted bug imagines, that."""
        if not self.imagined:
            return found
        return [
            live if imagined is None else _imagined(imagined)
            for live, imagined in zip(
                found, (self.imagined.get((category, p.owner, p.ref)) for p in places), strict=True
            )
        ]

    # Users, and what they do meanwhile ------------------------------------------------------------

    def _user_acts(self) -> None:
        if not self._rough() or self.rng.random() >= self._user_chance:
            return
        rng = self.rng
        truth = rng.choice(self.population.truths) if self.population.truths else None
        if truth is None:
            return
        category, owner, ref = truth.category, truth.owner, str(truth.ident)
        if rng.random() < 0.2:
            ref = f"{owner}-{category}-own{self._edits + 1}"
        held = self.store.held.get((category, owner, ref))
        if held is not None and not held.deleted and rng.random() < 0.4:
            self.store.delete(category, owner, ref, at=self.clock())
            self.user_last[category, owner, ref] = None
            self.schedule.note(f"{owner} deletes {ref}")
            return
        self._edit(category, owner, ref)

    def _edit(self, category: str, owner: UserId, ref: str) -> None:
        """The user writes it anew, a moment before we would."""
        self._edits += 1
        data = content(category, ref, f"{owner}xedit{self._edits}", self.clock())
        self.store.put(category, owner, ref, data, at=self.clock())
        self.user_last[category, owner, ref] = data
        self.schedule.note(f"{owner} edits {ref}")

    def _poison(self) -> tuple[str, UserId] | None:
        truths = self.population.truths
        chosen = self.rng.choice(truths) if truths else None
        return None if chosen is None else (chosen.category, chosen.owner)

    def _target(self) -> Any:
        target.forget("simulated-live")
        store = target.store("simulated-live")
        for category, owner, ident, data, at, deleted in self.population.live:
            store.held[category, owner, str(ident)] = Held(
                version=str(next(store.versions)),
                modified=at,
                content=b"" if deleted else data,
                ident=ident if deleted else None,
                deleted=deleted,
            )
        return store

    # Time and turns -------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """The time of the simulated world."""
        return datetime.fromtimestamp(self.schedule.now, UTC)

    def _wire(self, me: Actor | None) -> Ledger:
        """The ledger as a process sees it; `None`: without yield points."""

        def clock(_connection: Connection) -> int:
            self.schedule.now += 0.001
            if jump := self.weather.clock_jump(now=self.schedule.now):
                self.skew += jump
                self.schedule.note(f"the ledger's clock is set by {jump:+.0f} s")
            return int((self.schedule.now + self.skew) * 1000)

        if me is None:
            return SharedLedger(self._memory.engine, clock)
        return WiredLedger("sqlite://", clock=clock, points=self, engine=self._memory.engine)

    def _me(self) -> Actor:
        assert self.schedule.current is not None
        return self.schedule.current

    def _strikes(self, kind: str) -> bool:
        struck = self.weather.strikes(kind, now=self.schedule.now)
        if struck:
            self.schedule.note(kind)
        return struck

    def _rough(self) -> bool:
        return self.schedule.now < self.weather.until and self.weather.faults < self.weather.budget

    def _wake_workers(self, due: float) -> None:
        self._wake(self._workers, due)

    def _wake(self, actors: list[Actor], due: float) -> None:
        for actor in actors:
            if not actor.stalled and not actor.dying:
                actor.wake = min(actor.wake, due)

    def _until_due(self) -> float:
        """Until the next moment at which a conductor could find something to do."""
        now = self.schedule.now
        ((lease, due, waits),) = self.look(
            "SELECT (SELECT min(lease_until) FROM batch WHERE state IN (?, ?)),"
            " (SELECT min(not_before) FROM batch WHERE state = ?),"
            " (SELECT min(not_before) FROM exception WHERE not_before > ?)",
            *(BatchState.DISPATCHED, BatchState.RUNNING, BatchState.READY),
            int((now + self.skew) * 1000),
        )
        moments = [moment / 1000 - self.skew for moment in (lease, due, waits) if moment]
        nearest = min((moment for moment in moments if moment > now), default=now + 900)
        return min(nearest - now + 0.01, 900.0) + self.rng.random()

    def _over(self) -> bool:
        schedule = self.schedule
        if schedule.steps > MOST_STEPS or schedule.now > self.weather.until + PATIENCE:
            return True
        if any(actor.stalled for actor in schedule.actors) or self.broker.messages:
            return False
        if self._operated and self.run_id:
            self.at_rest = self.state() in TERMINAL_RUNS
        return self.at_rest

    def newest(self, truth: Truth) -> bytes:
        """The copy that must speak for an item."""
        for material in (self.population.core, self.population.devices):
            for data in material[truth.owner][truth.category].values():
                if truth.token.encode() in data:
                    return data
        raise KeyError(truth.ident)

    # For whoever looks on -------------------------------------------------------------------------

    def state(self) -> RunState:
        """Of the run."""
        ((state,),) = self.look("SELECT state FROM run WHERE id = ?", self.run_id)
        return RunState(state)

    def fingerprint(self) -> str:
        """Of the whole history: equal for equal seeds."""
        return hashlib.sha256(repr(self.schedule.history).encode()).hexdigest()[:16]

    def unit_rows(self, connection: Connection) -> list[Any]:
        """Every unit of the run as it is."""
        return list(connection.execute(select(unit).where(unit.c.run == self.run_id)).mappings())

    def beside_of(self, truth: Truth) -> Ident:
        """The ident of what is put beside a live item."""
        item = as_item(truth.owner, truth.category, self.newest(truth))
        return READERS[truth.category].beside(item, "recovered").ident


def _imagined(write: Write) -> Live:
    entry = Entry(owner=write.owner, ref=write.ref, version="?", ident=write.item.ident)
    return Live(entry=entry, content=write.item.content)
