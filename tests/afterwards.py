"""Runs that were restored and edited since, for tests of what comes after a run.

Made of the simulation's made-up users: every situation of the decision table, known in words of its
own. What is compared are the contents that users see.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.aftercare import Aftercare
from orchestrator.findings import undone
from orchestrator.ledger.scopes import Sample
from orchestrator.query import parse
from tests.faults.simulation.population import AS_OF, CATEGORIES, Population, content, populate
from tests.in_process import Service
from workers.sources import memory as source
from workers.targets import memory as target

PLAN = """
version: 1
name: afterwards
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: memory, name: core}}
  devices: {{kind: memory, name: devices}}
targets: {{live: {{kind: memory, name: live}}}}
waves: [{{name: canary, users: 2}}, {{name: everyone}}]
defaults: {{attempts: 3, backoff: 30s..10m, gate: {{failed: 100%}}, on_conflict: {policy}}}
phases: [{{restore: contacts, to: live}}, {{restore: notes, to: live, scope: user}}]
approvals: {approvals}
"""
LATER = datetime(2009, 11, 5, tzinfo=UTC)

Seen = dict[tuple[str, str, str], bytes]
"""Category, owner and ref → what that user sees."""


def seen() -> Seen:
    """Everything that all users see."""
    return seen_in("live")


def seen_in(name: str) -> Seen:
    """Everything that all users see of the store of that name."""
    return {
        key: held.content
        for key, held in target.store(name).held.items()
        if not held.deleted and key[1] != target.PROBE
    }


@dataclass
class Afterwards:
    """An installation with users, before and after a run."""

    service: Service
    rng: random.Random
    users: int = 8
    policy: str = "newest"
    approvals: int = 0
    population: Population = field(init=False)
    before: Seen = field(init=False)

    def __post_init__(self) -> None:
        self.population = populate(self.rng, self.users)
        target.forget("live")
        source.put("core", self.population.core)
        source.put("devices", self.population.devices)
        store = target.store("live")
        for category, owner, ident, data, when, deleted in self.population.live:
            store.put(category, owner, str(ident), data, at=when)
            if deleted:
                store.delete(category, owner, str(ident), at=when)
        self.before = seen()
        self.care = Aftercare(self.service.ledger, self.service.sealer, batch_users=3)

    def restored(self) -> str:
        """The id of a run that was carried out."""
        text = PLAN.format(policy=self.policy, approvals=self.approvals)
        run_id = self.service.run(text)
        self.approve(run_id)
        return run_id

    def approve(self, run_id: str) -> None:
        """By as many people as it takes; then let it go on."""
        for number in range(self.approvals):
            self.service.runs.approve(run_id, who=f"approver {number}", reason="looked at")
        self.service.go_on()

    def edited(self, share: float = 0.4) -> Seen:
        """Let users change, remove and add things; what they see now."""
        store = target.store("live")
        for category, owner, ref in sorted(seen()):
            if self.rng.random() < share:
                self.edit(category, owner, ref)
        for owner in self.population.users:
            if self.rng.random() < 0.3:
                category = self.rng.choice(CATEGORIES)
                data = content(category, f"{owner}-own", f"{owner}xown", LATER)
                store.put(category, owner, f"{owner}-own", data, at=LATER)
        return seen()

    def edit(self, category: str, owner: str, ref: str) -> None:
        """One change by a user: another content, gone, or gone and made anew."""
        store = target.store("live")
        data = content(category, ref, f"{owner}x{self.rng.randrange(10**6)}", LATER)
        match self.rng.randrange(3):
            case 0:
                store.put(category, owner, ref, data, at=LATER)
            case 1:
                store.delete(category, owner, ref, at=LATER)
            case _:
                store.delete(category, owner, ref, at=LATER)
                store.put(category, owner, ref, data, at=LATER)

    def undo(self, run_id: str, *words: str, rest: bool = True) -> str:
        """Undo a run as far as the words say; the id of the undo."""
        query = parse(words, self.service.progress.plan(run_id))
        undo = self.care.undo(run_id, query, who="mia", reason="a mistake")
        if rest:
            self.service.go_on()
            self.approve(undo)
        return undo

    def verify(self, run_id: str, *words: str, sample: Sample | None = None) -> str:
        """Verify a run; the id of the verify."""
        query = parse(words, self.service.progress.plan(run_id))
        verify = self.care.verify(run_id, query, who="mia", sample=sample)
        self.service.go_on()
        return verify

    def undone(self, undo: str) -> dict[str, int]:
        """The sums of an undo."""
        return undone(self.service.status(undo).books)


def as_if_undone(before: Seen, after: Seen, now: Seen) -> Seen:
    """What an undo has to make of `now`: what nobody touched since the run is as before it."""
    wished = dict(now)
    for key in before.keys() | after.keys():
        touched = after.get(key) != now.get(key)
        if not touched:
            wished.pop(key, None)
            if key in before:
                wished[key] = before[key]
    return wished


def days(number: float) -> timedelta:
    """So many days."""
    return timedelta(days=number)


__all__ = ["AS_OF", "Afterwards", "as_if_undone", "seen"]
