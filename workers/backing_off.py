"""Units that could not be finished: when they are tried again, or that they have failed."""

from datetime import timedelta

from orchestrator.causes import Cause, cause_of
from orchestrator.errors import Unavailable
from orchestrator.flow_control import Answers
from orchestrator.ledger import outcomes, pressure
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outcomes import UnitResult
from orchestrator.lifecycle import UnitState
from orchestrator.plan import Phase
from workers.assignment import waiting_units
from workers.unit_work import UnitWork
from workers.workplace import Workplace


def try_again(
    work: Workplace, phase: Phase, unit: UnitWork, why: Cause, *, least: float | None = None
) -> UnitResult:
    """A unit that waits for its next attempt, or has failed when it has used them up.

    `least`: so many seconds the source or target asked for.
    """
    attempt = unit.attempts + 1
    if attempt >= phase.attempts:
        return unit.not_yet(why, state=UnitState.FAILED, not_before=0)
    wait = min(phase.backoff.first * 2 ** (attempt - 1), phase.backoff.most)
    wait = max(wait, timedelta(seconds=least or 0))
    return unit.not_yet(
        why,
        state=UnitState.WAITING,
        not_before=work.ledger.now() + int(wait.total_seconds() * 1000),
    )


def postpone(work: Workplace, held: Batch, error: Unavailable) -> None:
    """Give back a batch that could not even be begun, counting the attempt of every unit."""
    phase = work.site(held.run).plan.phases[held.phase]
    why = cause_of(error, category=phase.restore, kind="")
    with work.ledger.read() as connection:
        _, units = waiting_units(connection, work, held)
    results = [try_again(work, phase, unit, why, least=error.retry_in) for unit in units]
    answers = Answers(ended=1, troubled=1, retry_at=retry_at(work, error))
    with work.ledger.begin() as connection:
        outcomes.finish(connection, held, results, verified=(), now=work.ledger.clock(connection))
        pressure.note_answers(connection, held, answers)
    work.count_attempts(held, results)
    work.forget(held.run)


def retry_at(work: Workplace, error: Unavailable) -> int:
    """When whoever is away asked to be tried again; 0: it did not."""
    return work.ledger.now() + int(error.retry_in * 1000) if error.retry_in else 0
