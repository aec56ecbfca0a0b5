"""What a worker process works with: ledger, sealer, clock, and a run's opened sources and targets.

One per process. The clock and everything else of the world is injected, so that a simulation can
stand in for it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from orchestrator import catalogue
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import run
from orchestrator.metrics.tally import Tally
from orchestrator.metrics.telling import Tell, nowhere
from orchestrator.plan import Plan
from orchestrator.plan_text.document import plan_from_document
from orchestrator.ports import Capabilities, Category, Source, Surroundings, Target
from orchestrator.sealing import Sealer
from workers.in_hand import InHand
from workers.measuring import MeasuredTarget
from workers.readers.pool import Here, Parser

KEPT_RUNS = 4
"""So many runs' connections stay open in one process."""


@dataclass(slots=True)
class Site:
    """One run as a worker sees it: its plan, its sources and targets, opened when first used."""

    run: str
    ids: Ids
    """Of its users; `ids.root` is the run whose users and keys it has."""
    plan: Plan
    surroundings: Surroundings
    capabilities: dict[str, Capabilities]
    measured: Callable[[Target, str], Target]
    """The target of that name, measured."""
    _sources: dict[str, Source] = field(default_factory=dict[str, Source])
    _targets: dict[str, Target] = field(default_factory=dict[str, Target])

    def source(self, name: str) -> Source:
        """The source of that name."""
        if name not in self._sources:
            self._sources[name] = self.plan.sources[name].options.open(self.surroundings)
        return self._sources[name]

    def target(self, name: str) -> Target:
        """The target of that name."""
        if name not in self._targets:
            opened: Target = self.plan.targets[name].options.open(self.surroundings)
            self._targets[name] = self.measured(opened, name)
        return self._targets[name]

    def category(self, phase: int) -> Category:
        """The category of that phase, with the plan's options."""
        return (
            self.plan.phases[phase].options
            or catalogue.category_kind(self.plan.phases[phase].restore)()
        )

    def close(self) -> None:
        """Let go of everything that is open."""
        for opened in (*self._sources.values(), *self._targets.values()):
            opened.close()
        self._sources.clear()
        self._targets.clear()


@dataclass(slots=True)
class Workplace:
    """Everything a job needs, once per process."""

    ledger: Ledger
    sealer: Sealer
    clock: Callable[[], datetime]
    secret: Callable[[str], str]
    name: str
    lease_ms: int = 60_000
    monotonic: Callable[[], float] = lambda: 0.0
    sleep: Callable[[float], None] = lambda _: None
    deadline: Callable[[float], None] = lambda _: None
    """Ends this process after so many seconds unless called again; 0: never. A lease that lapsed
    must not be worked under, not even by a process that was frozen and does not know."""
    in_hand: InHand = field(default_factory=InHand)
    hook_hosts: frozenset[str] = frozenset()
    """Hosts that webhooks may call although they are not public."""
    tally: Tally = field(default_factory=Tally)
    """What this process measured and did not tell yet."""
    tell: Tell = nowhere
    parser: Parser = field(default_factory=Here)
    """Where recovered bytes are parsed: a reader of the batch's own, unless told otherwise."""
    _sites: dict[str, Site] = field(default_factory=dict[str, Site])

    def site(self, run_id: str) -> Site:
        """The run's plan with what it names, opened; the least recent of others is closed."""
        site = self._sites.pop(run_id, None)
        if site is None:
            with self.ledger.read() as connection:
                site = self._open(connection, run_id)
        if site.capabilities or not self._sites:
            self._sites[run_id] = site
        while len(self._sites) > KEPT_RUNS:
            self._sites.pop(next(iter(self._sites))).close()
        return site

    def forget(self, run_id: str) -> None:
        """Open a run's sources and targets anew the next time: after trouble with one of them."""
        site = self._sites.pop(run_id, None)
        if site is not None:
            site.close()

    def category_of(self, held: Batch) -> str:
        """What a batch is about; empty where it is about all of a run, or the run is not open."""
        site = self._sites.get(held.run)
        return (
            "" if site is None or held.kind == "inspect" else site.plan.phases[held.phase].restore
        )

    def count_attempts(self, held: Batch, results: Sequence[UnitResult]) -> None:
        """Note how the attempts of units ended; what was not tried does not count."""
        category = self.category_of(held)
        ends = Counter(result.state.value for result in results if result.attempted)
        for state, number in ends.items():
            self.tally.count("reinstate_attempts_total", held.kind, category, state, by=number)

    def close(self) -> None:
        """Let go of everything."""
        for site in self._sites.values():
            site.close()
        self._sites.clear()
        self.in_hand.close()
        self.ledger.close()

    def _open(self, connection: Connection, run_id: str) -> Site:
        row = connection.execute(
            select(run.c.plan, run.c.folder, run.c.inventory).where(run.c.id == run_id)
        ).one()
        plan = plan_from_document(msgspec.json.decode(row.plan))
        inventory = msgspec.json.decode(row.inventory) if row.inventory else {}
        return Site(
            run=run_id,
            ids=Ids(connection, self.sealer, run_id),
            plan=plan,
            surroundings=Surroundings(
                folder=Path(row.folder),
                secret=self.secret,
                clock=self.clock,
                categories=frozenset(catalogue.categories()),
                loss=plan.incident.as_of,
            ),
            capabilities=msgspec.convert(
                inventory.get("capabilities", {}), dict[str, Capabilities]
            ),
            measured=lambda target, name: MeasuredTarget(target, name, self.tally, self.monotonic),
        )


def place_of(target: Target, category: str) -> bytes:
    """What the journal calls a target's category: the same for every run into the same one."""
    return hashlib.sha256(f"{target.identity(category)}\n{category}".encode()).digest()[:16]
