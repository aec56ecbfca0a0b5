"""The loop: admit → dispatch → reclaim → follow up, for every run, by one leader at a time.

Each tick is safe to repeat and to be cut at any point: it moves rows only from the state in which
it found them, and whatever it published twice is stale the second time.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select, update

from orchestrator import VERSION, admission, flow_control, spans
from orchestrator.causes import Cause
from orchestrator.doorbell import CeleryDoorbell, Doorbell
from orchestrator.errors import ReinstateError, Unavailable
from orchestrator.findings import UNDO, VERIFY
from orchestrator.flow_control import Circuit, Flow, Pace, sources_of
from orchestrator.ledger import (
    announcing,
    expansion,
    flow,
    leadership,
    leases,
    outbox,
    pressure,
    previews,
    setting_back,
)
from orchestrator.ledger.announcing import NowAndThen
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.outcomes import fail_lone_unit
from orchestrator.ledger.pressure import Targets
from orchestrator.ledger.schema import run
from orchestrator.lifecycle import BatchState, CellState, RunState
from orchestrator.logs import configure_logs, get_logger, own_uncaught
from orchestrator.metrics.export import export, leading
from orchestrator.metrics.ledger_gauges import LedgerGauges
from orchestrator.metrics.tally import Tally
from orchestrator.plan import Plan, Scope
from orchestrator.plan_text.document import plan_from_document
from orchestrator.readiness import exit_status, prove_ready
from orchestrator.releases import decide_alike
from orchestrator.settings import Settings

log = get_logger("conductor")

POISON = Cause(
    fingerprint="901507",
    code="poison",
    sentence="it ended its worker twice and no single copy was to blame",
    transient=False,
)


SPEED_EVERY_MS = 1_000
LEARNS_FROM = 500
"""Units; from there on, whenever twice as many have ended."""
LOOKED_AT = 500
"""So many waiting batches of a cell are looked at in a tick, or it grew with the run."""
ENDED_KEPT = 0.8
JOINED_TO = 100
"""So many times the usual number of users are in one batch at most, where they cost little."""
PLANS_KEPT = 200
"""Each search for what a user misses is a run with a plan of its own."""
LEADS_MS = 10_000
"""How long a leader that fell silent is waited for."""


class Conductor:
    """Leads when it holds the leader's lease, else waits for it.

    `window`: so many batches are out at most; None: as many as workers take and targets bear.
    """

    def __init__(
        self,
        ledger: Ledger,
        doorbell: Doorbell,
        *,
        name: str,
        lease_ms: int = 60_000,
        window: int | None = None,
        batch_users: int = 100,
    ) -> None:
        self._ledger = ledger
        self._doorbell = doorbell
        self._name = name
        self._lease_ms = lease_ms
        self._window = window
        self._batch_users = batch_users
        self._plans: dict[str, Plan] = {}
        self._ours: set[str] = set()
        self._term: int | None = None
        self._noted: dict[str, int] = {}
        self._learned: dict[str, int] = {}
        """How many units had ended when the planner last learned of what they left."""
        self._following: dict[tuple[str, admission.Cell], int] = {}
        """Up to which user the waiting batches of a cell were looked at."""
        self._awaiting: dict[str, int] = {}
        """The same, of units that wait for another phase of their user."""
        self._targets = Targets()
        self._purposes: dict[str, tuple[str, bool]] = {}
        self._paces: dict[tuple[str, int], Pace] = {}
        """Of the batches of each run and phase."""
        self._ended = 0.0
        """How many batches end from tick to tick: the most of late."""
        self._watch = NowAndThen()
        self._latest = 0
        """The ledger's time at the last tick that led."""
        self.tally = Tally()
        """What was done, for whoever measures it."""

    @property
    def leads(self) -> bool:
        """Whether the last tick was a leader's."""
        return self._term is not None

    @property
    def at_ease(self) -> float:
        """For so many seconds whoever works has enough to do, as far as is known; 0: it is not."""
        running = sum(pace.running for pace in self._paces.values())
        to_do = sum(pace.to_do_ms for pace in self._paces.values())
        return to_do / max(1, running) / 1000

    def tick(self) -> bool:
        """Do what is due now; whether anything moved. Raises `Unavailable` when it could not."""
        try:
            return self._tick()
        except Unavailable:
            self._targets = Targets()  # what was rolled back is read again
            raise

    def _tick(self) -> bool:
        with self._ledger.begin() as connection:
            now = self._ledger.clock(connection)
            self._term = leadership.lead(
                connection, name=self._name, term=self._term, now=now, lease_ms=LEADS_MS
            )
            if self._term is None:
                return False
            self._follow_clock(connection, now)
            busy = self._reclaim(connection, now)
            active = flow.active_runs(connection)
            for run_id, state in active:
                busy |= self._look_after(connection, run_id, state, now)
            if busy:
                active = flow.active_runs(connection)
            rings = self._dispatch(connection, active, now)
            if self._watch.is_due("", now):
                announcing.tell_promises(connection, now=now)
            knocks = outbox.due(connection, now=now)
        if rings:
            self.tally.count("reinstate_dispatched_batches_total", by=len(rings))
            self._doorbell.ring(rings, expires=self._lease_ms / 1000)
        if knocks:
            self._doorbell.knock(knocks, expires=outbox.LEASE_MS / 1000)
        return busy or bool(rings)

    def _follow_clock(self, connection: Connection, now: int) -> None:
        if setting_back.was_set_back(before=self._latest, now=now):
            self.tally.count("reinstate_ledger_clock_set_back_total")
            log.warning("ledger_clock_set_back", duration_ms=self._latest - now)
            setting_back.follow(connection, before=self._latest, now=now)
            self._targets = Targets()
        self._latest = now

    def _dispatch(
        self, connection: Connection, active: Sequence[tuple[str, RunState]], now: int
    ) -> list[leases.Ring]:
        """Hand out what workers and targets have room for."""
        out = pressure.batches_out(connection)
        at_work = sum(
            number for (_, _, state), number in out.items() if state is BatchState.RUNNING
        )
        still_out = sum(out.values())
        self._ended = max(self._look_at_pace(out, active, now), self._ended * ENDED_KEPT)
        window = flow_control.whole_window(at_work, ended=round(self._ended))
        room = (self._window or window) - still_out
        inspecting = [run_id for run_id, state in active if state is RunState.INSPECTING]
        rings = leases.dispatch(connection, inspecting, now=now, lease_ms=self._lease_ms, room=room)
        lanes: list[leases.Lane] = []
        asks: dict[tuple[str, int], tuple[str, str]] = {}
        for run_id, state in active:
            if state is not RunState.RUNNING:
                continue
            asked: dict[str, list[int]] = {}
            for number, phase in enumerate(self._plan(connection, run_id).phases):
                asked.setdefault(phase.to, []).append(number)
                asked[sources_of(phase.restore)] = [number]
                asks[run_id, number] = (phase.to, sources_of(phase.restore))
            flows = self._targets.heard(connection, run_id, asked, now=now)
            rooms = {
                name: flow_control.room(
                    flows[name],
                    out=sum(
                        number
                        for (run_of, phase, _), number in out.items()
                        if run_of == run_id and phase in phases
                    ),
                    now=now,
                )
                for name, phases in asked.items()
            }
            lanes.extend(_lanes(run_id, asked, flows, rooms))
        room -= len(rings)
        more, places = leases.dispatch_lanes(
            connection,
            lanes,
            now=now,
            lease_ms=self._lease_ms,
            room=room,
            joined={
                place: min(pace.fitting, self._most_users(connection, place[0]))
                for place, pace in self._paces.items()
            },
        )
        for place, sent in places.items():
            self._paces.setdefault(place, Pace()).sent(sent.batches, users=sent.users, now=now)
            for name in asks[place]:
                self._targets.sent(connection, place[0], name)
        return rings + more

    def _look_at_pace(
        self,
        out: Mapping[tuple[str, int, BatchState], int],
        active: Sequence[tuple[str, RunState]],
        now: int,
    ) -> int:
        """See how long batches take, phase by phase; how many ended since the last look."""
        ids = {run_id for run_id, _ in active}
        self._paces = {place: pace for place, pace in self._paces.items() if place[0] in ids}
        ended = 0
        for (run_id, phase), pace in self._paces.items():
            running = out.get((run_id, phase, BatchState.RUNNING), 0)
            dispatched = out.get((run_id, phase, BatchState.DISPATCHED), 0)
            ended += pace.look(out=running + dispatched, running=running, now=now)
        return ended

    def resign(self) -> None:
        """Let the next one lead at once."""
        with self._ledger.begin() as connection:
            leadership.resign(connection, name=self._name)

    def _reclaim(self, connection: Connection, now: int) -> bool:
        crashed = leases.reclaim(connection, now=now)
        if crashed:
            self.tally.count("reinstate_reclaimed_batches_total", by=len(crashed))
        for number in crashed:
            if not leases.split(connection, number):
                fail_lone_unit(connection, number, POISON, now=now)
        return bool(crashed)

    def _look_after(self, connection: Connection, run_id: str, state: RunState, now: int) -> bool:
        if run_id not in self._ours and not self._adopted(connection, run_id, state, now):
            return True
        match state:
            case RunState.SUBMITTED:
                flow.move_run(connection, run_id, state, RunState.INSPECTING, now=now)
                expansion.add_batches(
                    connection, [(run_id, "inspect", 0, 0, 0, 0)], state=BatchState.READY
                )
                return True
            case RunState.INSPECTING:
                return self._after_inspection(connection, run_id, now)
            case RunState.AWAITING_APPROVAL:
                return self._start_if_approved(connection, run_id, now)
            case RunState.RUNNING:
                return self._admit(connection, run_id, now)
            case _:
                return False

    def _adopted(self, connection: Connection, run_id: str, state: RunState, now: int) -> bool:
        """Whether this release may go on with a run; it is stopped where it may not.

        One that was only submitted is taken over: nothing of it has been decided yet.
        """
        release = connection.execute(
            select(run.c.code_version).where(run.c.id == run_id)
        ).scalar_one()
        if not decide_alike(release, VERSION):
            why = f"begun by release {release}, which may decide otherwise than {VERSION}"
            match state:
                case RunState.SUBMITTED:
                    connection.execute(
                        update(run).where(run.c.id == run_id).values(code_version=VERSION)
                    )
                case RunState.RUNNING:
                    flow.move_run(connection, run_id, state, RunState.PAUSED, now=now, why=why)
                    return False
                case _:
                    flow.move_run(
                        connection,
                        run_id,
                        state,
                        RunState.REFUSED,
                        now=now,
                        why=why,
                        finished_at=now,
                    )
                    return False
        self._ours.add(run_id)
        return True

    def _after_inspection(self, connection: Connection, run_id: str, now: int) -> bool:
        row = connection.execute(select(run).where(run.c.id == run_id)).one()
        if row.why is not None:
            flow.move_run(
                connection, run_id, RunState.INSPECTING, RunState.REFUSED, now=now, finished_at=now
            )
            return True
        if row.digest is None:
            return False
        if row.root is None:  # else its users and units were made with it
            expansion.expand(
                connection,
                run_id,
                categories=[phase.restore for phase in self._plan(connection, run_id).phases],
                batch_users=self._batch_users,
                kind=row.purpose,
            )
        flow.move_run(
            connection,
            run_id,
            RunState.INSPECTING,
            RunState.AWAITING_APPROVAL,
            now=now,
            told=admission.approvals_needed(row.purpose, self._plan(connection, run_id)) > 0,
        )
        return True

    def _start_if_approved(self, connection: Connection, run_id: str, now: int) -> bool:
        row = connection.execute(
            select(run.c.purpose, run.c.digest).where(run.c.id == run_id)
        ).one()
        needed = admission.approvals_needed(row.purpose, self._plan(connection, run_id))
        if flow.approvals(connection, run_id, row.digest) < needed:
            return False
        return flow.move_run(
            connection,
            run_id,
            RunState.AWAITING_APPROVAL,
            RunState.RUNNING,
            now=now,
            started_at=now,
            progressed_at=now,
        )

    def _admit(self, connection: Connection, run_id: str, now: int) -> bool:
        plan = self._plan(connection, run_id)
        purpose, gated = self._purpose(connection, run_id)
        facts = flow.cell_facts(connection, run_id)
        if purpose == "preview":
            return self._admit_preview(connection, run_id, facts, now)
        due = (
            admission.moves(plan.phases, facts, flow.moment(now))
            if gated
            else admission.without_gates(facts)
        )
        flow.apply_moves(connection, run_id, due, now=now)
        announcing.tell_moves(connection, run_id, plan, due, now=now)
        if self._watch.is_due(run_id, now):
            announcing.tell_stall(connection, run_id, facts, now=now)
        open_cells = {cell for cell, fact in facts.items() if fact.state is CellState.OPEN}
        for move in due:
            (open_cells.add if move.state is CellState.OPEN else open_cells.discard)(move.cell)
        busy = bool(due)
        for cell in sorted(flow.waiting_batches(connection, run_id) & open_cells):
            if gated and cell[0] > 0 and plan.phases[cell[0]].scope is Scope.USER:
                busy |= self._release_following(connection, run_id, cell)
            else:
                busy |= flow.release_waiting(connection, run_id, cell) > 0
        busy |= self._follow_up(connection, run_id, purpose, now)
        self._note_speed(connection, run_id, now)
        if all(fact.ended == fact.units for fact in facts.values()):
            busy |= flow.move_run(
                connection, run_id, RunState.RUNNING, RunState.FINISHED, now=now, finished_at=now
            )
        return busy

    def _admit_preview(
        self,
        connection: Connection,
        run_id: str,
        facts: dict[admission.Cell, admission.Facts],
        now: int,
    ) -> bool:
        """A preview writes nothing, so everything is open at once."""
        busy = False
        for cell in flow.waiting_batches(connection, run_id):
            busy |= flow.release_waiting(connection, run_id, cell) > 0
        over = all(fact.ended == fact.units for fact in facts.values())
        if over or not flow.unfinished_batches(connection, run_id):
            previews.seal(connection, run_id)
            return flow.move_run(
                connection, run_id, RunState.RUNNING, RunState.FINISHED, now=now, finished_at=now
            )
        return busy

    def _release_following(self, connection: Connection, run_id: str, cell: admission.Cell) -> bool:
        """Look at some of a cell's waiting batches, and at the next of them the next time."""
        released, self._following[run_id, cell] = flow.release_following(
            connection,
            run_id,
            cell,
            after=self._following.get((run_id, cell), -1),
            most=LOOKED_AT,
        )
        return released > 0

    def _follow_up(self, connection: Connection, run_id: str, kind: str, now: int) -> bool:
        size = self._batch_users
        due = flow.follow_up(connection, run_id, now=now, size=size, kind=kind)
        after, self._awaiting[run_id] = flow.follow_up_after(
            connection, run_id, after=self._awaiting.get(run_id, -1), size=size, kind=kind
        )
        return due + after > 0

    def _note_speed(self, connection: Connection, run_id: str, now: int) -> None:
        if now - self._noted.get(run_id, 0) >= SPEED_EVERY_MS:
            self._noted[run_id] = now
            ended = flow.note_speed(connection, run_id, now=now)
            if ended >= 2 * self._learned.get(run_id, LEARNS_FROM):
                self._learned[run_id] = ended
                flow.learn_again(connection)

    def _purpose(self, connection: Connection, run_id: str) -> tuple[str, bool]:
        """What a run is for, and whether gates hold it: not what has some units of another one."""
        if run_id not in self._purposes:
            row = connection.execute(
                select(run.c.purpose, run.c.root).where(run.c.id == run_id)
            ).one()
            self._purposes[run_id] = row.purpose, row.purpose == "restore" and row.root is None
        return self._purposes[run_id]

    def _most_users(self, connection: Connection, run_id: str) -> int:
        """How many one batch may hold: whoever goes over a run keeps all that it left in mind."""
        purpose, _ = self._purpose(connection, run_id)
        restores = purpose not in {VERIFY, UNDO}
        return self._batch_users * (JOINED_TO if restores else expansion.GROWS_TO)

    def _plan(self, connection: Connection, run_id: str) -> Plan:
        if run_id not in self._plans:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            text = connection.execute(select(run.c.plan).where(run.c.id == run_id)).scalar_one()
            self._plans[run_id] = plan_from_document(msgspec.json.decode(text))
        return self._plans[run_id]


def _lanes(
    run_id: str,
    asked: Mapping[str, Sequence[int]],
    flows: Mapping[str, Flow],
    rooms: Mapping[str, int],
) -> Iterator[leases.Lane]:
    """A lane for each target; a phase whose sources are away has one of its own, for probes."""
    away = {
        phases[0]: rooms[name]
        for name, phases in asked.items()
        if name.startswith(pressure.SOURCES) and flows[name].circuit is not Circuit.CLOSED
    }
    for target, phases in asked.items():
        if not target.startswith(pressure.SOURCES):
            there = tuple(phase for phase in phases if phase not in away)
            yield leases.Lane(run=run_id, phases=there, room=rooms[target])
            for phase in set(phases) & set(away):
                room = min(rooms[target], away[phase])
                yield leases.Lane(run=run_id, phases=(phase,), room=room)


def keep_going(
    conductor: Conductor, *, stopped: threading.Event, pause: float = 0.05, most: float = 0.5
) -> None:
    """Tick until `stopped`; rest longer the longer nothing moves, and after trouble.

    Where something moves, until half of what is out is likely to be done.
    """
    rest = pause
    while not stopped.is_set():
        began, moved = time.perf_counter(), False
        try:
            moved = conductor.tick()
            rest = max(pause, conductor.at_ease / 2) if moved else rest * 1.5
            rest = min(rest, most)
        except Unavailable as error:
            log.warning("conductor_waits", cause=error.message)
            rest = error.retry_in or most
        took = time.perf_counter() - began
        conductor.tally.observe("reinstate_conductor_tick_seconds", took)
        if moved:
            spans.record("tick", took)
        stopped.wait(rest)


def conduct(settings: Settings) -> None:
    """Conduct until SIGTERM or SIGINT. Raises `Refused` or `Unavailable` where it cannot start."""
    prove_ready(settings)
    ledger = Ledger(settings.ledger_url)
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    doorbell = CeleryDoorbell(settings)
    conductor = Conductor(
        ledger,
        doorbell,
        name=name,
        lease_ms=settings.lease_seconds * 1000,
    )
    gauges = LedgerGauges(ledger, conductor.tally)
    spans.start("conductor")
    export(settings, conductor.tally, gauges.collect, leading(lambda: conductor.leads))
    log.info(
        "conductor_started",
        version=VERSION,
        pid=os.getpid(),
        kind=ledger.engine.dialect.name,
        broker=settings.broker_url.partition("://")[0],
        lease_seconds=settings.lease_seconds,
    )
    keep_going(conductor, stopped=stopped)
    with contextlib.suppress(Unavailable):  # then the leader's lease lapses
        conductor.resign()
    doorbell.close()
    ledger.close()
    log.info("conductor_stopped", pid=os.getpid())


def main() -> None:
    """Conduct until told to stop: `python -m orchestrator.conductor`."""
    try:
        settings = Settings.read(os.environ)
        configure_logs(settings)
        own_uncaught()
        conduct(settings)
    except ReinstateError as error:
        log.error("conductor_refused", error=error)  # noqa: TRY400  its text is not for logs
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
