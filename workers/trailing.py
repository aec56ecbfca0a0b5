"""Goes over what a run left, place by place, a few at a time: by its journal, and as it is now.

What verifying and undoing share. Trails are light: contents are read when they are needed, from
the journal row that keeps them, and forgotten after the few.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select

from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, UserId
from orchestrator.ledger.database import within
from orchestrator.ledger.keys import KeyRing
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import journal
from orchestrator.ledger.schema import run as run_table
from orchestrator.plan import Phase
from orchestrator.ports import Category, Entry, Live, Place, Target
from workers.assignment import waiting_units
from workers.backing_off import retry_at, try_again
from workers.journal import Intent, open_intents
from workers.tenure import Tenure
from workers.traces import Digester, Image, Trail, follow, image_of
from workers.unit_work import UnitWork
from workers.workplace import Site, Workplace, place_of

AT_ONCE = 500
"""Places that are looked at together; of bulky categories `BULKY_AT_ONCE`."""
BULKY_AT_ONCE = 8
ROWS_AT_ONCE = 50
"""Journal rows that are read at a time; each may hold a chunk of pre-images."""


@dataclass(slots=True)
class Trailed:
    """A unit with what the run left of it."""

    work: UnitWork
    trails: dict[str, Trail] = field(default_factory=dict[str, Trail])
    ours: dict[str, Trail] = field(default_factory=dict[str, Trail])
    """What this very undo did already, in an attempt that did not come to its end."""
    elsewhere: set[str] = field(default_factory=set[str])
    """Places in a collection that is not there any more: it was made anew since."""
    unreadable: int = 0
    """Journal rows whose keys were erased."""
    pending: int = 0
    """Places without a finding yet."""


class Spot(Struct, frozen=True, kw_only=True):
    """One place of one unit."""

    unit: Trailed
    trail: Trail
    place: Place


class There(Struct, frozen=True, kw_only=True):
    """What is live at a spot now."""

    image: Image | None = None
    """None: nothing."""
    live: Live | None = None
    tombstone: str | None = None
    """The version of the one that is there."""


@dataclass(slots=True)
class Round:
    """A batch that is about another run, ready to be gone over."""

    work: Workplace
    held: Batch
    about: str
    redoes: bool
    """It undoes an undo: what it puts back is what a run had restored."""
    site: Site
    phase: Phase
    category: Category
    target: Target
    place: bytes
    ring: KeyRing
    units: list[Trailed]
    _graves: dict[UserId, dict[str, Entry]] = field(default_factory=dict[UserId, dict[str, Entry]])

    @property
    def name(self) -> str:
        """The category's."""
        return self.phase.restore

    def spots(self) -> Iterator[list[Spot]]:
        """Every place, unit by unit, a few at a time."""
        every = (
            Spot(unit=unit, trail=trail, place=Place(owner=unit.work.owner, ref=trail.ref))
            for unit in self.units
            for trail in unit.trails.values()
        )
        while some := list(islice(every, BULKY_AT_ONCE if self.category.bulky else AT_ONCE)):
            yield some

    def look(self, spots: Sequence[Spot], *, anew: bool = False) -> list[There]:
        """What is live at these spots, in their order; tombstones as of the first look."""
        found = self.target.fetch(self.name, [spot.place for spot in spots])
        self._survey([spot for spot, live in zip(spots, found, strict=True) if live is None], anew)
        return [self._there(spot, live) for spot, live in zip(spots, found, strict=True)]

    def _there(self, spot: Spot, live: Live | None) -> There:
        if live is not None:
            return There(image=self.image(spot, live), live=live)
        grave = self._graves[spot.place.owner].get(spot.place.ref)
        return There(tombstone=None if grave is None else grave.version)

    def _survey(self, spots: Sequence[Spot], anew: bool) -> None:  # noqa: FBT001  private
        """Note the tombstones of users at whose places nothing is."""
        units = {spot.place.owner: spot.unit for spot in spots}
        owners = [owner for owner in units if anew or owner not in self._graves]
        if not owners:
            return
        self._graves.update((owner, dict[str, Entry]()) for owner in owners)
        for entry in self.target.survey(self.name, owners):
            if entry.deleted and entry.ref in units[entry.owner].trails:
                self._graves[entry.owner][entry.ref] = entry

    def image(self, spot: Spot, live: Live) -> Image:
        """What is there, to be told from something else."""
        return image_of(live.content, live.attachments, self.digester(spot.place.owner))

    def digester(self, owner: UserId) -> Digester:
        """Tells contents of that user apart by their meaning."""
        return partial(_digest, self.category, owner)

    def intents(self, rows: Sequence[int]) -> dict[int, list[Intent]]:
        """Rows of the journal by their numbers, contents included; those that can be opened."""
        with self.work.ledger.read() as connection:
            found = connection.execute(
                select(journal.c.id, journal.c.run, journal.c.user_hash, journal.c.sealed).where(
                    within(connection, journal.c.id, rows)
                )
            ).all()
            opened = list(open_intents(connection, self.work.sealer, found))
        pairs = zip(found, opened, strict=True)
        return {row.id: intents for row, intents in pairs if intents is not None}

    def failed(self, unit: Trailed, why: Cause, *, least: float | None = None) -> UnitResult:
        """A unit that is gone over again later, from what its journal says by then."""
        unit.work.lines.clear()
        return try_again(self.work, self.phase, unit.work, why, least=least)


def _digest(
    category: Category, owner: UserId, content: bytes, attachments: Sequence[Attachment]
) -> bytes | None:
    seen = category.recognise(owner, content, attachments)
    return None if seen is None else seen.digest


@contextmanager
def put_off(going: Round, tenure: Tenure) -> Generator[None]:
    """Where ledger or target is away, everything without a result is tried again later."""
    try:
        yield
    except Unavailable as error:
        why = cause_of(error, category=going.name, kind="")
        ended = tenure.ended()
        tenure.results.extend(
            going.failed(unit, why, least=error.retry_in)
            for unit in going.units
            if unit.work.user not in ended
        )
        tenure.answers = replace(tenure.answers, troubled=1, retry_at=retry_at(going.work, error))
        going.work.forget(going.held.run)


# Setting out ----------------------------------------------------------------------------------


def set_out(work: Workplace, held: Batch) -> Round:
    """Everything that the ledger knows of such a batch. Raises `Unavailable`."""
    site = work.site(held.run)
    phase = site.plan.phases[held.phase]
    target = site.target(phase.to)
    with work.ledger.read() as connection:
        about, undos = _behind(connection, held.run)
        ring, found = waiting_units(connection, work, held)
    going = Round(
        work=work,
        held=held,
        about=about,
        redoes=undos % 2 == 1,
        site=site,
        phase=phase,
        category=site.category(held.phase),
        target=target,
        place=place_of(target, phase.restore),
        ring=ring,
        units=[Trailed(work=unit) for unit in found],
    )
    _follow_all(going)
    return going


def _behind(connection: Connection, run_id: str) -> tuple[str, int]:
    """The run that this one is about, and how many undos lie between it and the run itself."""
    chain: list[str] = []
    at: str | None = run_id
    while at is not None:
        chain.append(at)
        at = connection.execute(select(run_table.c.about).where(run_table.c.id == at)).scalar_one()
    return chain[1], len(chain) - 2


def _follow_all(going: Round) -> None:
    """Read the journal of the run, and of this very undo, in the order of writing."""
    units = {unit.work.user: unit for unit in going.units}
    after = 0
    while units:
        with going.work.ledger.read() as connection:
            rows = connection.execute(
                select(
                    journal.c.id,
                    journal.c.run,
                    journal.c.user,
                    journal.c.user_hash,
                    journal.c.place,
                    journal.c.verified,
                    journal.c.sealed,
                )
                .where(
                    journal.c.run.in_((going.about, going.held.run)),
                    journal.c.phase == going.held.phase,
                    within(connection, journal.c.user, list(units)),
                    journal.c.id > after,
                )
                .order_by(journal.c.id)
                .limit(ROWS_AT_ONCE)
            ).all()
            for row, intents in zip(
                rows, open_intents(connection, going.work.sealer, rows), strict=True
            ):
                _take_in(going, units[row.user], row, intents)
        if len(rows) < ROWS_AT_ONCE:
            break
        after = rows[-1].id
    for unit in units.values():
        unit.pending = len(unit.trails)


def _take_in(going: Round, unit: Trailed, row: Any, intents: Sequence[Intent] | None) -> None:
    if intents is None:
        unit.unreadable += row.run == going.about
    elif row.place != going.place:
        unit.elsewhere |= {intent.ref for intent in intents}
    else:
        follow(
            unit.trails if row.run == going.about else unit.ours,
            intents,
            row=row.id,
            verified=row.verified,
            digester=going.digester(unit.work.owner),
        )
