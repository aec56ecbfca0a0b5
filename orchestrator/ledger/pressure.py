"""How targets answer, which circuits are open, and how much of a limit is used up.

Workers write sums, the conductor reads them; what they share of a limit is one row that each of
them moves forward, so that it holds however many they are.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, and_, bindparam, case, delete, func, select, text, update

from orchestrator.flow_control import (
    Answers,
    Circuit,
    Flow,
    adjusted,
    of_sources,
    probed,
    sources_of,
)
from orchestrator.ledger.database import insert_missing, upsert
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.outbox import tell
from orchestrator.ledger.schema import OUT, allowance, batch, circuit, response
from orchestrator.lifecycle import BatchState
from orchestrator.notices import NoticeKind


def note_answers(connection: Connection, held: Batch, answers: Answers) -> None:
    """Add what one batch found out about its phase's target."""
    key = {"run": held.run, "phase": held.phase, "slot": held.slot}
    sums = {
        "ended": answers.ended,
        "troubled": answers.troubled,
        "writes": answers.writes,
        "spent_ms": answers.spent_ms,
        "unread": answers.unread,
    }
    upsert(connection, response, [{**key, **sums}], add=True)
    if answers.retry_at:
        later = response.c.retry_at < answers.retry_at
        connection.execute(
            update(response)
            .where(*(response.c[name] == value for name, value in key.items()))
            .values(retry_at=case((later, answers.retry_at), else_=response.c.retry_at))
        )


def answers_of(connection: Connection, run_id: str) -> dict[int, Answers]:
    """By phase, the sums over all batches so far."""
    rows = connection.execute(_ANSWERS, {"of_run": run_id})
    return {
        row.phase: Answers(
            ended=int(row.ended),
            troubled=int(row.troubled),
            writes=int(row.writes),
            spent_ms=int(row.spent_ms),
            retry_at=int(row.retry_at),
            unread=int(row.unread),
        )
        for row in rows
    }


_ANSWERS = (
    select(
        response.c.phase,
        *(
            func.sum(response.c[name]).label(name)
            for name in ("ended", "troubled", "writes", "spent_ms", "unread")
        ),
        func.max(response.c.retry_at).label("retry_at"),
    )
    .where(response.c.run == bindparam("of_run"))
    .group_by(response.c.phase)
)


def batches_out(connection: Connection) -> dict[tuple[str, int, BatchState], int]:
    """How many batches are dispatched or running, by run, phase and state."""
    rows = connection.execute(_OUT)
    return {(row.run, row.phase, BatchState(row.state)): row.number for row in rows}


_OUT = (
    select(batch.c.run, batch.c.phase, batch.c.state, func.count().label("number"))
    .where(text(OUT))
    .group_by(batch.c.run, batch.c.phase, batch.c.state)
)


def circuits(connection: Connection, run_id: str) -> dict[str, Flow]:
    """By target, the circuits of a run that are not closed."""
    rows = connection.execute(select(circuit).where(circuit.c.run == run_id))
    return {
        row.target: Flow(
            window=1.0,
            circuit=Circuit(row.state),
            pause_ms=row.pause_ms,
            probe_at=row.probe_at,
        )
        for row in rows
    }


def keep_circuit(connection: Connection, run_id: str, target: str, flow: Flow) -> None:
    """Remember a circuit for status and for the next leader; a closed one needs no row."""
    if flow.circuit is Circuit.CLOSED:
        connection.execute(
            delete(circuit).where(circuit.c.run == run_id, circuit.c.target == target)
        )
        return
    upsert(
        connection,
        circuit,
        [
            {
                "run": run_id,
                "target": target,
                "state": flow.circuit,
                "pause_ms": flow.pause_ms,
                "probe_at": flow.probe_at,
            }
        ],
    )


LONGEST_QUEUE_MS = 600_000
"""Nobody waits longer for a limit: what was taken further ahead is of a clock that was set back."""


def reserve(connection: Connection, held: Batch, costs: Mapping[str, float], *, now: int) -> float:
    """Take what is to be written out of the phase's allowance; how many seconds to wait for it.

    `costs`: by `items` and `bytes`, the milliseconds that the limit spreads it over. Whatever
    number of workers ask, each is told to wait until those before it are paid for.
    """
    key = {"run": held.run, "phase": held.phase}
    insert_missing(connection, allowance, [{**key, "items_until": 0, "bytes_until": 0}])
    longest = 0.0
    for name, cost in costs.items():
        until = allowance.c[f"{name}_until"]
        taken = and_(until > now, until <= now + LONGEST_QUEUE_MS)
        start = case((taken, until), else_=now)
        end = connection.execute(
            update(allowance)
            .where(allowance.c.run == held.run, allowance.c.phase == held.phase)
            .values({until: start + round(cost)})
            .returning(until)
        ).scalar_one()
        longest = max(longest, end - round(cost) - now)
    return longest / 1000


SOURCES = sources_of("")


class Targets:
    """What the leading conductor knows of each run's targets, and of what each phase reads.

    Begins anew with a new leader.

    Except for circuits that are not closed: those are kept in the ledger.
    """

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._flows: dict[tuple[str, str], Flow] = {}
        self._sums: dict[str, dict[int, Answers]] = {}

    def heard(
        self, connection: Connection, run_id: str, by_target: Mapping[str, list[int]], *, now: int
    ) -> dict[str, Flow]:
        """The flow of each target, after what its phases were told since the last time.

        Sources are asked after by `sources_of` a category, and by its one phase.
        """
        sums = answers_of(connection, run_id)
        if run_id not in self._sums:
            self._sums[run_id] = sums
            known = circuits(connection, run_id)
            for target in by_target:
                self._flows[run_id, target] = known.get(target, Flow())
        before = self._sums[run_id]
        self._sums[run_id] = sums
        found: dict[str, Flow] = {}
        for target, phases in by_target.items():
            flow = self._flows[run_id, target]
            since = _since(
                [(before.get(phase, Answers()), sums.get(phase, Answers())) for phase in phases]
            )
            told = of_sources(since) if target.startswith(SOURCES) else since
            changed = adjusted(flow, told, now=now)
            self._change(connection, run_id, target, changed)
            if (flow.circuit is Circuit.CLOSED) != (changed.circuit is Circuit.CLOSED):
                closed = changed.circuit is Circuit.CLOSED
                kind = NoticeKind.CIRCUIT_CLOSED if closed else NoticeKind.CIRCUIT_OPENED
                subject = f"{target}:{now}"
                tell(connection, run_id, kind, now=now, subject=subject, data={"of": target})
            found[target] = self._flows[run_id, target]
        return found

    def sent(self, connection: Connection, run_id: str, target: str) -> None:
        """Something was sent to this target."""
        self._change(connection, run_id, target, probed(self._flows[run_id, target]))

    def _change(self, connection: Connection, run_id: str, target: str, flow: Flow) -> None:
        old = self._flows[run_id, target]
        self._flows[run_id, target] = flow
        if (old.circuit, old.probe_at) != (flow.circuit, flow.probe_at):
            keep_circuit(connection, run_id, target, flow)


def _since(pairs: list[tuple[Answers, Answers]]) -> Answers:
    return Answers(
        ended=sum(new.ended - old.ended for old, new in pairs),
        troubled=sum(new.troubled - old.troubled for old, new in pairs),
        writes=sum(new.writes - old.writes for old, new in pairs),
        spent_ms=sum(new.spent_ms - old.spent_ms for old, new in pairs),
        unread=sum(new.unread - old.unread for old, new in pairs),
        retry_at=max((new.retry_at for _, new in pairs), default=0),
    )
