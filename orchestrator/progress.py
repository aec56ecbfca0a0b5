"""What operators and support see: runs, phases, one user, failures, losses. Reads only.

Every number is a sum of counters or a row of the ledger; nothing is counted by walking units.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, func, select, text, tuple_

from orchestrator.admission import approvals_needed
from orchestrator.books import FIELDS, Books
from orchestrator.errors import NotFound
from orchestrator.ledger import bulletins, leadership, previews
from orchestrator.ledger.database import Ledger, within
from orchestrator.ledger.flow import moment
from orchestrator.ledger.keys import Ids, Sealed, opened
from orchestrator.ledger.pressure import SOURCES
from orchestrator.ledger.schema import (
    WITH_LOSSES,
    account,
    approval,
    batch,
    cause,
    cell,
    circuit,
    counter,
    decline,
    exception,
    quarantine,
    run,
    run_user,
    speed,
    trouble,
    unit,
)
from orchestrator.lifecycle import BatchState, CellState, RunState, UnitState
from orchestrator.plan import Plan
from orchestrator.plan_text.document import plan_from_document
from orchestrator.query import Query, matching, some_match
from orchestrator.reasons import Reason
from orchestrator.run_standing import (
    DOCUMENT_VERSION,
    NOT_LED,
    NOT_WORKED,
    CauseRow,
    PhaseProgress,
    RunRow,
    Status,
    UnitAnswer,
    UserAnswer,
)
from orchestrator.sealing import Sealer, reference

PAGE = 200
COPIES_AT_ONCE = 64
BYTES_AT_ONCE = 8 * 1024 * 1024
"""So many copies, and of large ones fewer, are held in memory at a time."""
_NUMBERS = ("settled", "failed", "held", "cancelled", *FIELDS)


class Progress:
    """Asks the ledger, in one consistent look a question."""

    def __init__(self, ledger: Ledger, sealer: Sealer) -> None:
        self._ledger = ledger
        self._sealer = sealer

    def runs(self, *, limit: int = 50) -> list[RunRow]:
        """The newest runs first."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(run).order_by(run.c.created_at.desc(), run.c.id).limit(limit)
            )
            return [run_row(row) for row in rows]

    def plan(self, run_id: str) -> Plan:
        """The plan of a run."""
        with self._ledger.read() as connection:
            return _plan(_row(connection, run_id))

    def plan_text(self, run_id: str) -> str:
        """The plan of a run, as the operator wrote it."""
        with self._ledger.read() as connection:
            return _row(connection, run_id).plan_text

    def folder(self, run_id: str) -> Path:
        """Where a plan's relative paths start."""
        with self._ledger.read() as connection:
            return Path(_row(connection, run_id).folder)

    def sample(self, run_id: str) -> int | None:
        """How many users a preview looks at; None: everyone."""
        with self._ledger.read() as connection:
            return _row(connection, run_id).sample

    def reference(self, run_id: str, number: int) -> str:
        """How a user, given by number, is named where nobody needs to know who it is."""
        with self._ledger.read() as connection:
            found = connection.execute(
                select(run_user.c.user_hash).where(
                    run_user.c.run == run_id, run_user.c.number == number
                )
            ).scalar_one()
        return reference(found)

    def state(self, run_id: str) -> RunState:
        """What a run is doing."""
        with self._ledger.read() as connection:
            return RunState(_row(connection, run_id).state)

    def is_led(self) -> bool:
        """Whether a conductor looks after runs at this moment."""
        with self._ledger.read() as connection:
            return _is_led(connection, self._ledger.clock(connection))

    def status(self, run_id: str) -> Status:
        """The run as it stands now."""
        with self._ledger.read() as connection:
            row = _row(connection, run_id)
            plan = _plan(row)
            now = self._ledger.clock(connection)
            cells = _cells(connection, run_id, plan)
            phases = [
                _summed(phase.restore, [c for c in cells if c.category == phase.restore])
                for phase in plan.phases
            ]
            books = sum((phase.books for phase in phases), Books())
            rate, left, measured = _speed(connection, run_id, phases)
            workers = _working(connection, run_id)
            inventory = json.loads(row.inventory) if row.inventory else {}
            needed = approvals_needed(row.purpose, plan)
            approvals = tuple(
                connection.execute(
                    select(approval.c.name)
                    .where(approval.c.run == run_id, approval.c.digest == row.digest)
                    .order_by(approval.c.at)
                ).scalars()
            )
            led = _is_led(connection, now) or len(approvals) < needed
            promise = next(iter(bulletins.promises(connection, now=now, runs=[run_id])), None)
            return Status(
                run=run_row(row),
                digest=row.digest,
                approvals=approvals,
                approvals_needed=needed,
                phases=tuple(phases),
                cells=tuple(cells),
                causes=tuple(_causes(connection, run_id, plan)),
                books=books,
                workers=workers,
                items_per_second=rate,
                seconds_left=left,
                stalled=_stall(row, cells, workers, now, led=led),
                warnings=(
                    *_broken_promise(promise),
                    *inventory.get("warnings", ()),
                    *_circuits(connection, run_id),
                ),
                accepted_by=row.accepted_by,
                elapsed=_elapsed(row, now),
                measured=measured,
                previewed=_previewed(connection, row),
                promised=None if promise is None else moment(promise.due),
                overdue=None if promise is None else promise.late_ms / 1000 or None,
            )

    def causes(self, run_id: str) -> list[CauseRow]:
        """Why units fail or wait, the commonest first."""
        with self._ledger.read() as connection:
            return _causes(connection, run_id, _plan(_row(connection, run_id)))

    def inventory(self, run_id: str) -> dict[str, Any]:
        """What inspection found: sources, capabilities, warnings."""
        with self._ledger.read() as connection:
            text = _row(connection, run_id).inventory
        return json.loads(text) if text else {}

    def units(
        self, run_id: str, query: Query, *, after: tuple[int, int] = (-1, -1), limit: int = 50
    ) -> list[dict[str, Any]]:
        """Units that match, by user and phase, after a given one: a page at a time."""
        with self._ledger.read() as connection:
            plan = _plan(_row(connection, run_id))
            if not connection.execute(select(some_match(run_id, query))).scalar_one():
                return []
            found = matching(run_id, query, self._sealer, after=after).limit(limit).subquery()
            rows = connection.execute(
                select(
                    unit,
                    run_user.c.wave,
                    run_user.c.user_hash,
                    run_user.c.sealed_id,
                    exception.c.cause,
                )
                .join_from(
                    found,
                    unit,
                    and_(
                        unit.c.run == run_id,
                        unit.c.user == found.c.user,
                        unit.c.phase == found.c.phase,
                    ),
                )
                .join(run_user, and_(run_user.c.run == run_id, run_user.c.number == unit.c.user))
                .outerjoin(
                    exception,
                    and_(
                        exception.c.run == run_id,
                        exception.c.user == unit.c.user,
                        exception.c.phase == unit.c.phase,
                    ),
                )
                .order_by(unit.c.user, unit.c.phase)
            ).mappings()
            ids = Ids(connection, self._sealer, run_id)
            return [_unit_row(row, plan, ids) for row in rows]

    def count(self, run_id: str, query: Query, *, at_most: int) -> int:
        """How many units match; no more than `at_most` are counted."""
        found = matching(run_id, query, self._sealer).order_by(None).limit(at_most).subquery()
        with self._ledger.read() as connection:
            return connection.execute(select(func.count()).select_from(found)).scalar_one()

    def losses(self, run_id: str, *, after: tuple[int, int] = (-1, -1)) -> Iterator[dict[str, Any]]:
        """Units of which something is lost or quarantined, by user and phase, after a given one.

        Read a page at a time, so that a slow reader holds no transaction open.
        """
        while True:
            with self._ledger.read() as connection:
                plan = _plan(_row(connection, run_id))
                rows = connection.execute(
                    select(unit, run_user.c.wave, run_user.c.user_hash, run_user.c.sealed_id)
                    .join_from(
                        unit,
                        run_user,
                        and_(run_user.c.run == unit.c.run, run_user.c.number == unit.c.user),
                    )
                    .where(
                        unit.c.run == run_id,
                        text(f"({WITH_LOSSES})"),
                        _after(after),
                        run_user.c.number >= after[0],  # or all users before are walked
                    )
                    .order_by(unit.c.user, unit.c.phase)
                    .limit(PAGE)
                ).mappings()
                ids = Ids(connection, self._sealer, run_id)
                page = [_unit_row(row, plan, ids) for row in rows]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]["number"], page[-1]["phase"]

    def user(self, run_id: str, name: str) -> UserAnswer:
        """One user, named by id, reference or number. Raises `NotFound`."""
        with self._ledger.read() as connection:
            plan = _plan(_row(connection, run_id))
            number = self.number(connection, run_id, name)
            who = connection.execute(
                select(run_user).where(run_user.c.run == run_id, run_user.c.number == number)
            ).one()
            return UserAnswer(
                version=DOCUMENT_VERSION,
                run=run_id,
                number=number,
                wave=plan.waves[who.wave].name,
                declined=_is_declined(connection, run_id, who.user_hash),
                ambiguous=who.ambiguous,
                categories=tuple(self._answers(connection, run_id, number, plan)),
            )

    def number(self, connection: Connection, run_id: str, name: str) -> int:
        """The number of a user within a run."""
        found = select(run_user.c.number).where(run_user.c.run == run_id)
        if name.startswith("#") and name[1:].isdecimal():
            found = found.where(run_user.c.number == int(name[1:]))
        elif (hashes := self._sealer.hashes_of(name)) is not None:
            found = found.where(run_user.c.user_hash.between(*hashes))
        else:
            found = found.where(run_user.c.user_hash == self._sealer.user_hash(name))
        numbers = list(connection.execute(found.limit(2)).scalars())
        if len(numbers) != 1:
            raise NotFound(
                "no such user in this run", hint="name a user by id, by u_… or by #number"
            )
        return numbers[0]

    def quarantine(
        self,
        run_id: str,
        *,
        user: int | None = None,
        after: int = 0,
        query: Query | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Quarantined copies with their evidence, in the order of their numbers, after a given one.

        `query`: only copies of units that match, and of its reasons.

        Read a few at a time: each holds the bytes of its copy.
        """
        while True:
            with self._ledger.read() as connection:
                plan = _plan(_row(connection, run_id))
                following = (
                    select(quarantine.c.id, quarantine.c.length)
                    .where(quarantine.c.run == run_id, quarantine.c.id > after)
                    .order_by(quarantine.c.id)
                    .limit(COPIES_AT_ONCE)
                )
                if user is not None:
                    following = following.where(quarantine.c.user == user)
                if query is not None:
                    following = following.where(*_of_units(run_id, query, self._sealer))
                listed = [(row.id, row.length) for row in connection.execute(following)]
                numbers = _that_fit(listed)
                rows = connection.execute(
                    select(quarantine, run_user.c.user_hash, run_user.c.sealed_id)
                    .join(
                        run_user,
                        and_(
                            run_user.c.run == quarantine.c.run,
                            run_user.c.number == quarantine.c.user,
                        ),
                    )
                    .where(within(connection, quarantine.c.id, numbers))
                    .order_by(quarantine.c.id)
                ).all()
                ids = Ids(connection, self._sealer, run_id)
                evidence = list(opened(connection, self._sealer, _evidence(rows)))
            for row, data in zip(rows, evidence, strict=True):
                yield _quarantined(row, plan, ids, data)
            if len(numbers) == len(listed) < COPIES_AT_ONCE:
                return
            after = numbers[-1]

    def reasons(self, run_id: str) -> list[dict[str, Any]]:
        """How many copies are quarantined, by category, source and reason."""
        with self._ledger.read() as connection:
            plan = _plan(_row(connection, run_id))
            rows = connection.execute(
                select(
                    quarantine.c.phase,
                    quarantine.c.source,
                    quarantine.c.reason,
                    func.count().label("copies"),
                )
                .where(quarantine.c.run == run_id, quarantine.c.released_at.is_(None))
                .group_by(quarantine.c.phase, quarantine.c.source, quarantine.c.reason)
                .order_by(quarantine.c.phase, func.count().desc(), quarantine.c.source)
            ).all()
        return [
            {
                "category": plan.phases[row.phase].restore,
                "source": row.source,
                "reason": row.reason,
                "copies": row.copies,
                "means": Reason(row.reason).for_operator,
            }
            for row in rows
        ]

    def _answers(
        self, connection: Connection, run_id: str, number: int, plan: Plan
    ) -> Iterator[UnitAnswer]:
        """Every category of one user, by four questions however many there are."""

        def of_user(table: Table) -> ColumnElement[bool]:
            return and_(table.c.run == run_id, table.c.user == number)

        rows = connection.execute(select(unit).where(of_user(unit)).order_by(unit.c.phase))
        units = list(rows.mappings())
        sealed = {
            row.phase: row.sealed
            for row in connection.execute(
                select(account.c.phase, account.c.sealed).where(of_user(account))
            )
        }
        sentences = {
            row.phase: row.sentence
            for row in connection.execute(
                select(exception.c.phase, cause.c.sentence)
                .join(
                    cause,
                    and_(cause.c.run == exception.c.run, cause.c.fingerprint == exception.c.cause),
                )
                .where(of_user(exception))
            )
        }
        kept: dict[int, list[dict[str, Any]]] = {}
        for entry in connection.execute(
            select(
                quarantine.c.phase,
                quarantine.c.reason,
                quarantine.c.source,
                func.count().label("copies"),
            )
            .where(of_user(quarantine), quarantine.c.released_at.is_(None))
            .group_by(quarantine.c.phase, quarantine.c.reason, quarantine.c.source)
            .order_by(quarantine.c.phase, quarantine.c.reason, quarantine.c.source)
        ):
            kept.setdefault(entry.phase, []).append(
                {
                    "reason": entry.reason,
                    "source": entry.source,
                    "copies": entry.copies,
                    "for_user": Reason(entry.reason).for_user,
                }
            )
        lines = self._lines(connection, run_id, number, sealed)
        for row in units:
            phase = row["phase"]
            yield UnitAnswer(
                category=plan.phases[phase].restore,
                state=UnitState(row["state"]),
                attempts=row["attempts"],
                expected=row["expected"],
                books=_books(row),
                cause=sentences.get(phase, ""),
                settled=None if row["settled_at"] is None else moment(row["settled_at"]),
                items=lines.get(phase, ()),
                quarantined=tuple(kept.get(phase, ())),
            )

    def _lines(
        self, connection: Connection, run_id: str, number: int, sealed: Mapping[int, bytes]
    ) -> dict[int, tuple[dict[str, Any], ...]]:
        """By phase, what became of each of a user's items; nothing where keys were erased."""
        whose = connection.execute(
            select(run_user.c.user_hash).where(
                run_user.c.run == run_id, run_user.c.number == number
            )
        ).scalar_one()
        values = [
            Sealed(run_id, whose, data, f"account:{run_id}:{number}:{phase}".encode())
            for phase, data in sealed.items()
        ]
        found: dict[int, tuple[dict[str, Any], ...]] = {}
        for phase, data in zip(sealed, opened(connection, self._sealer, values), strict=True):
            if data is not None:
                decoded = msgspec.msgpack.decode(data, type=list[tuple[Any, ...]])
                found[phase] = tuple(
                    {**_EMPTY_LINE, **dict(zip(_LINE, line, strict=False))} for line in decoded
                )
        return found


_LINE = ("ident", "outcome", "note", "source", "repairs", "degraded", "reason", "origins")
_EMPTY_LINE: dict[str, Any] = dict.fromkeys(_LINE, "")
"""Accounts of earlier releases have no origins."""


def _unit_row(row: Any, plan: Plan, ids: Ids) -> dict[str, Any]:
    books = _books(row)
    return {
        "user": _user_id(row["sealed_id"], row["user_hash"], ids),
        "number": row["user"],
        "wave": plan.waves[row["wave"]].name,
        "category": plan.phases[row["phase"]].restore,
        "phase": row["phase"],
        "state": row["state"],
        "attempts": row["attempts"],
        "expected": row["expected"],
        "cause": row.get("cause"),
        "books": msgspec.to_builtins(books),
    }


def _user_id(sealed: bytes, user_hash: bytes, ids: Ids) -> str:
    """Who it is; where that was erased, their reference."""
    return ids.open(sealed) or reference(user_hash)


def _that_fit(copies: Sequence[tuple[int, int]]) -> list[int]:
    """The numbers of the first copies that can be held at once; one at least."""
    room = BYTES_AT_ONCE
    numbers: list[int] = []
    for number, length in copies:
        room -= length
        if numbers and room < 0:
            break
        numbers.append(number)
    return numbers


def _of_units(run_id: str, query: Query, sealer: Sealer) -> Iterator[ColumnElement[bool]]:
    """Of quarantined copies: their unit matches, and their reason."""
    if query.reasons:
        yield quarantine.c.reason.in_(query.reasons)
    asked = replace(query, reasons=())
    if asked != Query():
        yield (
            matching(run_id, asked, sealer)
            .where(unit.c.user == quarantine.c.user, unit.c.phase == quarantine.c.phase)
            .order_by(None)
            .correlate(quarantine)
            .exists()
        )


def _evidence(rows: Sequence[Row[Any]]) -> list[Sealed]:
    return [
        Sealed(
            row.run,
            row.user_hash,
            row.sealed,
            f"quarantine:{row.run}:{row.user}:{row.phase}".encode(),
        )
        for row in rows
    ]


ERASED: Mapping[str, Any] = {
    "detail": "its key was erased",
    "file": "",
    "spans": [],
    "ident": None,
    "repairs": [],
    "data": None,
}
"""What is known of a copy that cannot be opened any more."""


def _quarantined(row: Row[Any], plan: Plan, ids: Ids, data: bytes | None) -> dict[str, Any]:
    evidence = ERASED if data is None else msgspec.msgpack.decode(data)
    reason = Reason(row.reason)
    return {
        "number": row.id,
        "user": _user_id(row.sealed_id, row.user_hash, ids),
        "user_number": row.user,
        "category": plan.phases[row.phase].restore,
        "source": row.source,
        "reason": str(reason),
        "means": reason.for_operator,
        "detail": evidence["detail"],
        "file": evidence["file"],
        "spans": [
            {"file": file, "offset": offset, "length": length}
            for file, offset, length in evidence["spans"]
        ],
        "ident": evidence["ident"],
        "repairs_tried": list(evidence["repairs"]),
        "sha256": row.sha256,
        "length": row.length,
        "released": row.released_at is not None,
        "data": evidence["data"],
    }


def _row(connection: Connection, run_id: str) -> Row[Any]:
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such run", hint="list them: reinstate runs")
    return row


def _after(place: tuple[int, int]) -> ColumnElement[bool]:
    """Units behind a user and phase, in the order of both; an index leads there at once."""
    return tuple_(unit.c.user, unit.c.phase) > tuple_(*place)


def run_row(row: Row[Any]) -> RunRow:
    """A row of the ledger as a line of the list."""
    return RunRow(
        id=row.id,
        name=row.name,
        purpose=row.purpose,
        state=RunState(row.state),
        author=row.author,
        users=row.users,
        created=moment(row.created_at),
        finished=None if row.finished_at is None else moment(row.finished_at),
        why=row.why,
        about=row.about,
        closed=None if row.closed_at is None else moment(row.closed_at),
        closed_by=row.closed_by,
    )


def _plan(row: Row[Any]) -> Plan:
    return plan_from_document(json.loads(row.plan))


def _books(row: Any) -> Books:
    return Books(**{name: int(row[name] or 0) for name in FIELDS})


def _cells(connection: Connection, run_id: str, plan: Plan) -> list[PhaseProgress]:
    sums = {
        (row["phase"], row["wave"]): row
        for row in connection.execute(
            select(
                counter.c.phase,
                counter.c.wave,
                *(func.sum(counter.c[name]).label(name) for name in _NUMBERS),
            )
            .where(counter.c.run == run_id)
            .group_by(counter.c.phase, counter.c.wave)
        ).mappings()
    }
    nothing = dict.fromkeys(_NUMBERS, 0)
    found: list[PhaseProgress] = []
    for row in connection.execute(
        select(cell).where(cell.c.run == run_id).order_by(cell.c.phase, cell.c.wave)
    ):
        numbers: Any = sums.get((row.phase, row.wave), nothing)
        found.append(
            PhaseProgress(
                category=plan.phases[row.phase].restore,
                wave=plan.waves[row.wave].name,
                state=CellState(row.state),
                units=row.units,
                settled=int(numbers["settled"]),
                failed=int(numbers["failed"]),
                held=int(numbers["held"]),
                cancelled=int(numbers["cancelled"]),
                books=_books(numbers),
                why=row.why or "",
            )
        )
    return found


def _broken_promise(promise: bulletins.Promise | None) -> Iterator[str]:
    """That the public waits for an update."""
    if promise is not None and promise.late_ms:
        yield (
            f"the public was promised an update by {moment(promise.due):%Y-%m-%d %H:%M} UTC, "
            "and nothing was said since: publish a bulletin"
        )


def _circuits(connection: Connection, run_id: str) -> Iterator[str]:
    """Targets, and sources, that are left alone for a while."""
    for row in connection.execute(
        select(circuit).where(circuit.c.run == run_id).order_by(circuit.c.target)
    ):
        when = f"at {moment(row.probe_at):%H:%M:%S} UTC" if row.state == "open" else "now"
        sources = row.target.startswith(SOURCES)
        who = f"one of {row.target}" if sources else f"'{row.target}'"
        yield f"{who} does not answer; one batch will probe it {when}"


def _summed(category: str, cells: Sequence[PhaseProgress]) -> PhaseProgress:
    """A phase over all its waves; its state is the one that matters most."""
    states = {at.state for at in cells}
    state = CellState.CLOSED
    for candidate in (CellState.HELD, CellState.OPEN, CellState.CLOSED, CellState.SETTLED):
        if candidate in states:
            state = candidate
            break
    return PhaseProgress(
        category=category,
        wave=None,
        state=state,
        units=sum(at.units for at in cells),
        settled=sum(at.settled for at in cells),
        failed=sum(at.failed for at in cells),
        held=sum(at.held for at in cells),
        cancelled=sum(at.cancelled for at in cells),
        books=sum((at.books for at in cells), Books()),
        why="; ".join(f"{at.wave}: {at.why}" for at in cells if at.why),
    )


def _causes(connection: Connection, run_id: str, plan: Plan) -> list[CauseRow]:
    units = func.sum(trouble.c.units)
    rows = connection.execute(
        select(
            trouble.c.cause,
            trouble.c.phase,
            trouble.c.state,
            units.label("units"),
            func.min(cause.c.code).label("code"),
            func.min(cause.c.sentence).label("sentence"),
        )
        .join(cause, and_(cause.c.run == trouble.c.run, cause.c.fingerprint == trouble.c.cause))
        .where(trouble.c.run == run_id)
        .group_by(trouble.c.cause, trouble.c.phase, trouble.c.state)
        .having(units > 0)
        .order_by(units.desc(), trouble.c.cause, trouble.c.phase)
    )
    return [
        CauseRow(
            fingerprint=row.cause,
            category=plan.phases[row.phase].restore,
            code=row.code,
            sentence=row.sentence,
            state=UnitState(row.state),
            transient=row.state == UnitState.WAITING,
            units=int(row.units),
        )
        for row in rows
    ]


def _working(connection: Connection, run_id: str) -> int:
    return connection.execute(
        select(func.count())
        .select_from(batch)
        .where(batch.c.run == run_id, batch.c.state == BatchState.RUNNING)
    ).scalar_one()


def _speed(
    connection: Connection, run_id: str, phases: Sequence[PhaseProgress]
) -> tuple[float | None, tuple[float, float] | None, float | None]:
    """Items a second of late, how long the rest may take, and over how many seconds that is."""
    rows = connection.execute(
        select(speed).where(speed.c.run == run_id).order_by(speed.c.at.desc()).limit(31)
    ).all()
    if len(rows) < 2:  # noqa: PLR2004  a speed needs two points
        return None, None, None
    newest, oldest = rows[0], rows[-1]
    seconds = (newest.at - oldest.at) / 1000
    if seconds <= 0:
        return None, None, None
    rate = (newest.items - oldest.items) / seconds
    units_left = sum(phase.waiting for phase in phases)
    paces = [
        (later.units - earlier.units) / (later.at - earlier.at) * 1000
        for later, earlier in pairwise(rows)
        if later.at > earlier.at
    ]
    moving = sorted(pace for pace in paces if pace > 0)
    if not moving or not units_left:
        return rate, None, seconds
    slow, fast = moving[len(moving) // 4], moving[(3 * len(moving)) // 4]
    return rate, (units_left / fast, units_left / slow), seconds


def _previewed(connection: Connection, row: Row[Any]) -> str | None:
    if row.expected_digest is None or row.purpose == "preview":
        return None
    found = previews.find(connection, row.expected_digest)
    return None if found is None else str(found.id)


def _elapsed(row: Row[Any], now: int) -> float | None:
    if row.started_at is None:
        return None
    return max(0, (row.finished_at or now) - row.started_at) / 1000


QUIET_MS = 60_000
_MOVING = frozenset(
    {RunState.SUBMITTED, RunState.INSPECTING, RunState.AWAITING_APPROVAL, RunState.RUNNING}
)


def _is_led(connection: Connection, now: int) -> bool:
    """Whether a conductor looks after runs."""
    found = leadership.leader(connection)
    return found is not None and found[1] > now


def _stall(
    row: Row[Any], cells: Sequence[PhaseProgress], workers: int, now: int, *, led: bool
) -> str:
    """Why nothing moves, for a run that should; `led`: somebody looks after it, or need not."""
    if row.state not in _MOVING:
        return ""
    if not led:
        return NOT_LED
    held = [at for at in cells if at.state is CellState.HELD]
    if held and not any(at.state is CellState.OPEN for at in cells):
        return f"waits at the gate of {held[0].category} in wave {held[0].wave}: {held[0].why}"
    quiet = now - (row.progressed_at or row.started_at or row.created_at)
    if row.state != RunState.AWAITING_APPROVAL and quiet > QUIET_MS and not workers:
        return NOT_WORKED
    return ""


def _is_declined(connection: Connection, run_id: str, user_hash: bytes) -> bool:
    return (
        connection.execute(
            select(decline.c.run).where(decline.c.run == run_id, decline.c.user_hash == user_hash)
        ).first()
        is not None
    )
