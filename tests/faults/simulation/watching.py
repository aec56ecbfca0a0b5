"""What must hold at every moment, judged when it happens: gates, versions, decline list, journal.

Reads raw rows inside the transactions of the simulated service, and counts by itself.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.items import UserId
from orchestrator.ledger.leases import Ring
from orchestrator.lifecycle import TERMINAL_UNITS, CellState, UnitState
from orchestrator.ports import Write
from tests.faults.simulation.population import CATEGORIES
from tests.faults.simulation.schedule import Actor
from workers.targets.memory import Disturbance, Held

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

Cell = tuple[int, int]


@dataclass(frozen=True)
class Effect:
    """One write of ours that changed the target."""

    category: str
    owner: UserId
    ref: str
    ident: str
    digest: bytes
    clean: bool
    journalled: int
    """The newest row of the journal at that moment."""


@dataclass
class Watching:
    """Looks over everybody's shoulder."""

    world: "World"
    found: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    disturbed: set[tuple[str, UserId, str]] = field(default_factory=set)
    promoted: set[Cell] = field(default_factory=set)
    units: dict[tuple[int, int], tuple[str, int | None]] = field(default_factory=dict)
    opened: set[Cell] = field(default_factory=set)
    """Cells whose gate held at some moment."""
    journal: int = 0
    _after_commit: dict[str, Any] = field(default_factory=dict)
    _checked: dict[str, int] = field(default_factory=dict)
    """By actor, the step at which it last journalled: it had to look at the decline list then."""
    _taken: dict[str, tuple[Ring, str]] = field(default_factory=dict)
    """By actor, the ring that it answers, and the name under which it does."""
    _retrying: bool = False

    def takes(self, me: Actor, ring: Ring, name: str) -> None:
        """A worker answers a ring."""
        self._taken[me.name] = (ring, name)

    def retried(self) -> None:
        """The operator is about to let failed units try again."""
        self._retrying = True

    # Transactions ---------------------------------------------------------------------------------

    def committing(self, me: Actor) -> None:
        """Look at what is about to be committed, from within the transaction."""
        look = self.world.look
        rows = look("SELECT user, phase, state, settled_at FROM unit")
        ((newest,),) = look("SELECT max(id) FROM journal")
        self._after_commit = {
            "units": {(row[0], row[1]): (row[2], row[3]) for row in rows},
            "journal": newest or 0,
            "actor": me.name,
        }
        if me.name in self._taken and (
            self._after_commit["units"] != self.units
            or self._after_commit["journal"] > self.journal
        ):
            self._fenced(*self._taken[me.name])

    def _fenced(self, ring: Ring, name: str) -> None:
        """Only who holds the batch changes anything."""
        (held,) = self.world.look("SELECT epoch, worker FROM batch WHERE id = ?", ring.batch)
        if held != (ring.epoch, name):
            self.found.append(f"G6 batch {ring.batch}: an epoch that was over changed the ledger")

    def committed(self, me: Actor) -> None:
        """It has been committed."""
        after = self._after_commit
        if not after or after["actor"] != me.name:
            return
        if after["journal"] > self.journal:
            self.journal = after["journal"]
            self._checked[me.name] = self.world.schedule.steps
        for key, (state, settled_at) in after["units"].items():
            self._moved(key, self.units.get(key), state, settled_at)
        self.units = after["units"]
        self._note_gates()

    def _moved(
        self, key: tuple[int, int], old: tuple[str, int | None] | None, new: str, at: int | None
    ) -> None:
        if old is None or old == (new, at):
            return
        if old[0] != new:
            self.world.schedule.note(f"unit {key} {old[0]} -> {new}")
        if old[0] == UnitState.SETTLED:
            self.found.append(f"G3 unit {key} was settled and became {new} again")

    # Gates ----------------------------------------------------------------------------------------

    def held_cells(self) -> set[Cell]:
        """Cells that wait for a person."""
        return set(self.world.look("SELECT phase, wave FROM cell WHERE state = ?", CellState.HELD))

    def wave_of(self, number: int) -> int:
        """By the plan's words: so many canaries, then everyone."""
        return 0 if number < self.world.canary else 1

    def _note_gates(self) -> None:
        cells: dict[Cell, list[str]] = {}
        for (user, phase), (state, _) in self.units.items():
            cells.setdefault((phase, self.wave_of(user)), []).append(state)
        for at, states in cells.items():
            ended = all(state in TERMINAL_UNITS for state in states)
            failed = sum(state == UnitState.FAILED for state in states) / len(states)
            if ended and (failed <= self.world.failed / 100 or at in self.promoted):
                self.opened.add(at)

    def _may_write(self, number: int, phase: int) -> bool:
        wave = self.wave_of(number)
        if wave > 0 and (phase, wave - 1) not in self.opened:
            return False
        if phase == 0:
            return True
        if self.world.scope == "user":
            return self.units[number, phase - 1][0] in TERMINAL_UNITS or self._retrying
        return (phase - 1, wave) in self.opened

    # Writes ---------------------------------------------------------------------------------------

    def wrote(
        self,
        me: Actor,
        category: str,
        write: Write,
        before: Held | None,
        after: Held | None,
        disturbance: Disturbance | None,
    ) -> None:
        """Judge one write by what it did to the target."""
        world = self.world
        key = (category, write.owner, write.ref)
        clean = disturbance is None or disturbance.altered is None
        if disturbance is not None and (not clean or disturbance.fate == "refused"):
            ident = world.beside.get(write.item.ident, write.item.ident)
            self.disturbed.add((category, write.owner, ident))
        if after is before or write.owner not in world.numbers:
            return
        where = "/".join(key)
        if before is not None and write.expected != before.version:
            self.found.append(f"G5 {where} was overwritten in a version nobody looked at")
        if before is not None and key in world.user_last:
            self.found.append(f"G5 {where} was its user's own and was overwritten")
        declined = world.declined.get(write.owner)
        if declined is not None and self._checked.get(me.name, 0) > declined:
            self.found.append(f"G8 {where} was written for a declined user")
        if not self._may_write(world.numbers[write.owner], CATEGORIES.index(category)):
            self.found.append(f"G4 {where} was written before its gate opened")
        self.effects.append(
            Effect(
                category,
                write.owner,
                write.ref,
                write.item.ident,
                write.item.digest,
                clean,
                self.journal,
            )
        )
