"""What a claimed batch asks for: its phase, its units, and what the ledger knows of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from orchestrator.books import Books
from orchestrator.causes import Cause
from orchestrator.findings import UNDO, VERIFY
from orchestrator.items import UserId
from orchestrator.ledger.database import among, tuples, within
from orchestrator.ledger.deaths import poisonous
from orchestrator.ledger.keys import KeyRing, Sealed, opened
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.ledger.schema import decline, quarantine, run_user, unit
from orchestrator.lifecycle import UnitState
from orchestrator.plan import After, OnConflict, Phase, Scope
from orchestrator.ports import Category, Rules, Target
from workers.choices import policies
from workers.journal import hands, no_hands
from workers.unit_work import UnitWork, quarantine_context
from workers.workplace import Site, Workplace, place_of

PREDECESSOR_OPEN = Cause(
    fingerprint="aha17s",
    code="awaits-predecessor",
    sentence="waits for the user's category before",
    transient=True,
)
PREDECESSOR_FAILED = Cause(
    fingerprint="bef0fe",
    code="predecessor-failed",
    sentence="the user's category before failed, and the plan says after: settled",
    transient=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One batch, ready to be worked on."""

    held: Batch
    site: Site
    phase: Phase
    category: Category
    rules: Rules
    target: Target
    place: bytes
    ring: KeyRing
    units: list[UnitWork]
    postponed: list[UnitResult]
    """Units that cannot be tried now, with why."""

    @property
    def preview(self) -> bool:
        """Nothing may be written."""
        return self.held.kind == "preview"


def load(work: Workplace, held: Batch) -> Assignment:
    """Everything the ledger knows of a batch. Raises `Unavailable`."""
    site = work.site(held.run)
    phase = site.plan.phases[held.phase]
    target = site.target(phase.to)
    place = place_of(target, phase.restore)
    with work.ledger.at_once() as connection:
        ring, units = waiting_units(connection, work, held)
        postponed: list[UnitResult] = []
        if held.kind == "restore" and held.phase > 0:
            units, postponed = _after_predecessors(connection, held, phase, units)
        released = _released(connection, work, held, units) if held.known.releases else {}
        poison = _poisonous(connection, held) if held.known.deaths else {}
    for unit_work in units if released or poison else ():
        unit_work.released = released.get(unit_work.user, {})
        unit_work.poisonous = poison.get(unit_work.user, frozenset())
    incident = site.plan.incident
    return Assignment(
        held=held,
        site=site,
        phase=phase,
        category=site.category(held.phase),
        rules=Rules(
            repairs=frozenset(phase.repairs),
            loss=incident.as_of,
            service_start=incident.service_start,
        ),
        target=target,
        place=place,
        ring=ring,
        units=units,
        postponed=postponed,
    )


def learn_hands(work: Workplace, task: Assignment, units: Collection[UnitWork]) -> None:
    """Ask the journal what is at the target by our hand, of all these units at once."""
    with work.ledger.at_once() as connection:
        by_hand = hands(
            connection,
            work.sealer,
            place=task.place,
            users=[unit_work.user_hash for unit_work in units],
            run=task.held.run,
        )
    for unit_work in units if by_hand else ():
        unit_work.hands = by_hand.get(unit_work.user_hash) or no_hands()


def _poisonous(connection: Connection, held: Batch) -> dict[int, frozenset[bytes]]:
    return poisonous(connection, held.run, held.phase, first=held.first, last=held.last)


def _members(
    connection: Connection, held: Batch, number: ColumnElement[int]
) -> ColumnElement[bool]:
    if held.members is not None:
        return within(connection, number, held.members)
    return number.between(held.first, held.last)


LATER = 1_000
"""Added to the phase as the maker of keys, where a run is about another one."""
NARROWED = 2_000
"""The same, where it restores, or looks for, some of another one's units."""


def waiting_units(
    connection: Connection, work: Workplace, held: Batch
) -> tuple[KeyRing, list[UnitWork]]:
    """The batch's units that are not done yet, in the order of their users, and their keys."""
    site = work.site(held.run)
    phase = site.plan.phases[held.phase]
    given = {"of_run": held.run, "of_phase": held.phase}
    if held.members is None:
        given |= {"first_user": held.first, "last_user": held.last}
        rows = tuples(connection, _WAITING_OF_RANGE, given)
    else:
        some = _waiting(
            *(within(connection, number, held.members) for number in (unit.c.user, _NUMBER))
        )
        rows = connection.execute(some, given).all()
    hashes = [user_hash for _, _, _, user_hash, _, _ in rows]
    erased = declined(connection, site.ids.root, hashes) if held.known.declines else frozenset()
    chosen: dict[int, OnConflict] = {}
    if held.known.choices:
        chosen = policies(
            connection,
            held.run,
            first=held.first,
            last=held.last,
            name=phase.restore,
            category=site.category(held.phase),
        )
    ring = KeyRing(
        work.ledger,
        work.sealer,
        root=site.ids.root,
        maker=held.phase + _makes_later(held, site.ids.root),
        users=hashes,
    )
    owners = site.ids.open_all([sealed_id for _, _, _, _, sealed_id, _ in rows])
    return ring, [
        UnitWork(
            run=held.run,
            user=user,
            phase=held.phase,
            owner=UserId(owner or ""),
            user_hash=user_hash,
            ring=ring,
            expected=expected,
            attempts=attempts,
            declined=user_hash in erased,
            ambiguous=ambiguous,
            policy=chosen.get(user, phase.on_conflict) if chosen else phase.on_conflict,
        )
        for (user, expected, attempts, user_hash, _, ambiguous), owner in zip(
            rows, owners, strict=True
        )
    ]


_NUMBER = run_user.c.number


def _waiting(*which: ColumnElement[bool]) -> Select[int, int | None, int, bytes, bytes, bool]:
    return (
        select(
            unit.c.user,
            unit.c.expected,
            unit.c.attempts,
            run_user.c.user_hash,
            run_user.c.sealed_id,
            run_user.c.ambiguous,
        )
        .join_from(
            unit, run_user, (run_user.c.run == unit.c.run) & (run_user.c.number == unit.c.user)
        )
        .where(
            unit.c.run == bindparam("of_run"),
            unit.c.phase == bindparam("of_phase"),
            *which,
            unit.c.state == UnitState.WAITING,
        )
        .order_by(unit.c.user)
    )


_WAITING_OF_RANGE = _waiting(
    *(
        number.between(bindparam("first_user"), bindparam("last_user"))
        for number in (unit.c.user, _NUMBER)
    )
)


def _makes_later(held: Batch, root: str) -> int:
    if held.kind in {VERIFY, UNDO}:
        return LATER
    return 0 if held.run == root else NARROWED


def declined(connection: Connection, run: str, hashes: Sequence[bytes]) -> set[bytes]:
    """Those of `hashes` that are on the run's decline list at this moment."""
    return set(
        connection.execute(
            select(decline.c.user_hash).where(
                decline.c.run == run, among(connection, decline.c.user_hash, hashes)
            )
        ).scalars()
    )


def _after_predecessors(
    connection: Connection, held: Batch, phase: Phase, units: list[UnitWork]
) -> tuple[list[UnitWork], list[UnitResult]]:
    """Units whose user's category before allows it, and the others with why."""
    if phase.scope is not Scope.USER and phase.after is not After.SETTLED:
        return units, []
    states = {
        row.user: UnitState(row.state)
        for row in connection.execute(
            select(unit.c.user, unit.c.state).where(
                unit.c.run == held.run,
                unit.c.phase == held.phase - 1,
                within(connection, unit.c.user, [unit_work.user for unit_work in units]),
            )
        )
    }
    ready: list[UnitWork] = []
    postponed: list[UnitResult] = []
    for unit_work in units:
        match states.get(unit_work.user):  # none: this run has none of theirs before
            case UnitState.WAITING | UnitState.HELD if phase.scope is Scope.USER:
                postponed.append(
                    UnitResult(
                        user=unit_work.user,
                        state=UnitState.WAITING,
                        books=Books(),
                        cause=PREDECESSOR_OPEN,
                        awaits=held.phase - 1,
                        attempted=False,
                    )
                )
            case UnitState.FAILED if phase.after is After.SETTLED:
                postponed.append(
                    UnitResult(
                        user=unit_work.user,
                        state=UnitState.FAILED,
                        books=Books(),
                        cause=PREDECESSOR_FAILED,
                        attempted=False,
                    )
                )
            case _:
                ready.append(unit_work)
    return ready, postponed


def _released(
    connection: Connection, work: Workplace, held: Batch, units: Sequence[UnitWork]
) -> dict[int, dict[str, bytes]]:
    """By user, what operators handed back, by the hash of what it stands for and a number."""
    users = {unit_work.user: unit_work.user_hash for unit_work in units}
    rows = [
        row
        for row in connection.execute(
            select(quarantine.c.user, quarantine.c.sha256, quarantine.c.released)
            .where(
                quarantine.c.run == held.run,
                quarantine.c.phase == held.phase,
                _members(connection, held, quarantine.c.user),
                quarantine.c.released_at.is_not(None),
            )
            .order_by(quarantine.c.id)
        )
        if row.user in users
    ]
    values = [
        Sealed(
            held.run,
            users[row.user],
            row.released,
            quarantine_context(held.run, row.user, held.phase),
        )
        for row in rows
    ]
    found: dict[int, dict[str, bytes]] = {}
    for row, data in zip(rows, opened(connection, work.sealer, values), strict=True):
        if data is None:
            continue
        of_user = found.setdefault(row.user, {})
        name, number = row.sha256, 1
        while name in of_user:  # damage may look alike: two files of nothing but zeros
            number += 1
            name = f"{row.sha256}-{number}"
        of_user[name] = data
    return found
