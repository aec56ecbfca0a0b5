"""The query language of CLI, API and URLs: `state:failed category:photos wave:canary cause:9f2c1a`.

Words are joined by "and"; the same word twice means "either". A user is named by id, by reference
(`u_…`) or by number (`#17`). `outcome:` asks for units with such items, `reason:` for units with
copies in quarantine for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
)

from orchestrator.errors import PlanInvalid
from orchestrator.ledger.schema import (
    WITH_LOSSES,
    cell,
    counter,
    exception,
    quarantine,
    run_user,
    unit,
)
from orchestrator.lifecycle import UnitState
from orchestrator.plan import Plan
from orchestrator.reasons import Reason
from orchestrator.sealing import Sealer

WORDS = ("state", "category", "wave", "cause", "attempts", "user", "outcome", "reason")
OUTCOMES = (
    "restored",
    "merged",
    "present",
    "superseded",
    "declined",
    "quarantined",
    "pending",
    "lost",
    "nameless",
)
"""What may have become of items; `nameless`: damaged copies that name no item."""
LOST = frozenset({"lost", "quarantined", "nameless"})
"""Those whose units an index leads to."""
_ATTEMPTS = re.compile(r"(>=|<=|>|<|=)?(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; empty lists ask for anything."""

    states: tuple[UnitState, ...] = ()
    phases: tuple[int, ...] = ()
    waves: tuple[int, ...] = ()
    causes: tuple[str, ...] = ()
    attempts: tuple[tuple[str, int], ...] = ()
    users: tuple[str, ...] = field(default=(), repr=False)
    outcomes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    losses: bool = False
    """Only units of which something is lost or quarantined."""

    def only_failed(self) -> Self:
        """The same, of failed units."""
        return replace(self, states=(UnitState.FAILED,))

    def only_losses(self) -> Self:
        """The same, of units of which something is lost or quarantined."""
        return replace(self, losses=True)


def parse(words: Sequence[str], plan: Plan) -> Query:
    """Read a query against a plan's categories and waves. Raises `PlanInvalid` with a hint."""
    categories = [phase.restore for phase in plan.phases]
    waves = [wave.name for wave in plan.waves]
    found = split(" ".join(words), WORDS, example="state:failed category:photos")
    return Query(
        states=tuple(UnitState(_one_of(v, list(UnitState), "state")) for v in found["state"]),
        phases=tuple(
            categories.index(_one_of(v, categories, "category")) for v in found["category"]
        ),
        waves=tuple(waves.index(_one_of(v, waves, "wave")) for v in found["wave"]),
        causes=tuple(found["cause"]),
        attempts=tuple(_attempts(value) for value in found["attempts"]),
        users=tuple(found["user"]),
        outcomes=tuple(_one_of(value, OUTCOMES, "outcome") for value in found["outcome"]),
        reasons=tuple(_one_of(value, list(Reason), "reason") for value in found["reason"]),
    )


def split(query: str, words: Sequence[str], *, example: str) -> dict[str, list[str]]:
    """The values of each word of a query. Raises `PlanInvalid` for anything that is no word:value.

    Lists that are not of units have fewer words, and the same grammar.
    """
    found: dict[str, list[str]] = {word: [] for word in words}
    for part in query.split():
        word, colon, value = part.partition(":")
        if not colon or word not in found or not value:
            raise PlanInvalid(
                "a query is made of word:value",
                hint=f"words: {', '.join(words)}; for example {example}",
            )
        found[word].append(value)
    return found


def _one_of(value: str, known: Sequence[str], word: str) -> str:
    if value not in known:
        raise PlanInvalid(f"no such {word} in this run", hint=f"one of: {', '.join(known)}")
    return value


def _attempts(value: str) -> tuple[str, int]:
    match = _ATTEMPTS.fullmatch(value)
    if match is None:
        raise PlanInvalid("attempts take a number", hint="for example attempts:>3")
    return match.group(1) or "=", int(match.group(2))


def matching(
    run_id: str, query: Query, sealer: Sealer, *, after: tuple[int, int] | None = None
) -> Select[Any, Any]:
    """Select `user` and `phase` of the units that match, in the order of both.

    `after`: only those behind this user and phase. Failed and waiting units are found by their
    exceptions; no index mentions a unit's state.
    """
    conditions: list[Any] = [unit.c.run == run_id]
    chosen = select(unit.c.user, unit.c.phase)
    walked = unit
    if query.causes or query.states == (UnitState.FAILED,):
        walked = exception
        chosen = chosen.join(
            exception,
            and_(
                exception.c.run == unit.c.run,
                exception.c.user == unit.c.user,
                exception.c.phase == unit.c.phase,
            ),
        )
        conditions.append(exception.c.run == run_id)
    if after is not None:  # an index of the table that is walked leads there at once
        conditions.append(tuple_(walked.c.user, walked.c.phase) > tuple_(*after))
    if query.causes:
        conditions.append(
            or_(*(exception.c.cause.startswith(cause, autoescape=True) for cause in query.causes))
        )
    if query.states:
        conditions.append(walked.c.state.in_(query.states))
    if query.losses or (query.outcomes and LOST.issuperset(query.outcomes)):
        conditions.append(text(f"({WITH_LOSSES})"))
    if query.outcomes:
        conditions.append(or_(*(unit.c[outcome] > 0 for outcome in query.outcomes)))
    if query.reasons:
        kept = exists().where(
            quarantine.c.run == run_id,
            quarantine.c.user == unit.c.user,
            quarantine.c.phase == unit.c.phase,
            quarantine.c.reason.in_(query.reasons),
        )
        conditions += [kept, text(f"({WITH_LOSSES})")]
    if query.phases:
        conditions.append(unit.c.phase.in_(query.phases))
    for sign, number in query.attempts:
        conditions.append(_compare(unit.c.attempts, sign, number))
    if query.waves:
        conditions.append(_of_waves(run_id, query.waves, walked.c.user))
    if query.users:
        chosen = chosen.join(
            run_user, and_(run_user.c.run == unit.c.run, run_user.c.number == unit.c.user)
        )
        conditions.append(or_(*(_is_user(name, sealer) for name in query.users)))
    return chosen.where(*conditions).order_by(walked.c.user, walked.c.phase)


def some_match(run_id: str, query: Query) -> ColumnElement[bool]:
    """False where the counters know that nothing matches: then no unit has to be walked past.

    To be asked by itself: as a part of `matching` it would not keep a database from preparing for
    a walk past all units, which takes longer than not walking.
    """
    states = [_some_are(run_id, state) for state in query.states]
    outcomes = [_counted(run_id, outcome) > 0 for outcome in query.outcomes]
    return and_(true(), *(or_(*each) for each in (states, outcomes) if each))


def _some_are(run_id: str, state: UnitState) -> ColumnElement[bool]:
    if state is not UnitState.WAITING:
        return _counted(run_id, state) > 0
    units = select(func.coalesce(func.sum(cell.c.units), 0)).where(cell.c.run == run_id)
    return units.scalar_subquery() > _counted(run_id, "settled", "failed", "held", "cancelled")


def _counted(run_id: str, *numbers: str) -> ScalarSelect[int]:
    """The sum of these counters over a run: known once, before anything is read."""
    each = sum((counter.c[number] for number in numbers[1:]), counter.c[numbers[0]])
    counted = select(func.coalesce(func.sum(each), 0)).where(counter.c.run == run_id)
    return counted.scalar_subquery()


def _of_waves(run_id: str, waves: Sequence[int], number: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a user is in one of these waves: numbers follow their order, so a wave is a range."""

    def users_to(wave: int) -> ScalarSelect[int]:
        before = select(func.coalesce(func.sum(cell.c.units), 0)).where(
            cell.c.run == run_id, cell.c.phase == 0, cell.c.wave < wave
        )
        return before.scalar_subquery()

    def between(first: int, last: int) -> ColumnElement[bool]:
        return and_(number >= users_to(first), number < users_to(last + 1))

    each = or_(*(between(wave, wave) for wave in waves))
    return and_(between(min(waves), max(waves)), each)


def _is_user(name: str, sealer: Sealer) -> ColumnElement[bool]:
    if name.startswith("#") and name[1:].isdecimal():
        return run_user.c.number == int(name[1:])
    if (hashes := sealer.hashes_of(name)) is not None:
        return run_user.c.user_hash.between(*hashes)
    return run_user.c.user_hash == sealer.user_hash(name)


def _compare(column: ColumnElement[int], sign: str, number: int) -> ColumnElement[bool]:
    match sign:
        case ">":
            return column > number
        case ">=":
            return column >= number
        case "<":
            return column < number
        case "<=":
            return column <= number
        case _:
            return column == number
