"""Turns users and phases into cells, units and batches, inside the database."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, func, insert, literal, select

from orchestrator.ledger.database import learn
from orchestrator.ledger.schema import batch, cell, census, decline, run_user, unit
from orchestrator.lifecycle import BatchState, CellState, UnitState


def expand(
    connection: Connection,
    run_id: str,
    *,
    categories: Sequence[str],
    batch_users: int,
    kind: str = "restore",
) -> None:
    """Make every unit, cell and batch of a run whose users are known.

    `categories` are those of the phases, in order. All phases cover the same ranges of users, so
    that a user's next category can start when its batch is done. `batch_users` is the usual size
    of a batch; large waves have larger ones. Idempotent: a run that has
    cells already is left as it is.
    """
    if connection.execute(select(cell.c.run).where(cell.c.run == run_id).limit(1)).first():
        return
    learn(connection, run_user, census, decline)
    waves = _wave_ranges(connection, run_id)
    for phase, category in enumerate(categories):
        expected = select(
            run_user.c.run,
            run_user.c.number,
            literal(phase),
            literal(UnitState.WAITING.value),
            census.c.expected,
        ).select_from(
            run_user.outerjoin(
                census,
                and_(
                    census.c.run == run_user.c.run,
                    census.c.user_hash == run_user.c.user_hash,
                    census.c.category == category,
                ),
            )
        )
        connection.execute(
            insert(unit).from_select(
                ["run", "user", "phase", "state", "expected"],
                expected.where(run_user.c.run == run_id).order_by(run_user.c.number),
            )
        )
        for wave, first, last in waves:
            size = batch_size(last - first + 1, usual=batch_users)
            connection.execute(
                insert(cell).values(
                    run=run_id,
                    phase=phase,
                    wave=wave,
                    state=CellState.CLOSED,
                    units=last - first + 1,
                )
            )
            add_batches(
                connection,
                [
                    (run_id, kind, phase, wave, start, min(start + size - 1, last))
                    for start in range(first, last + 1, size)
                ],
                state=BatchState.WAITING,
            )
    learn(connection, unit, batch)


BATCHES_A_WAVE = 256
"""So many batches a wave has before they grow: enough for the widest window."""
GROWS_TO = 5
"""So many times the usual size: more would keep others waiting, and costs no less a unit."""


def batch_size(users: int, *, usual: int) -> int:
    """How many users of a wave of `users` one batch holds: the `usual`, or more in large waves."""
    return min(max(users // BATCHES_A_WAVE, usual), usual * GROWS_TO)


def add_batches(
    connection: Connection,
    batches: Sequence[tuple[str, str, int, int, int, int]],
    *,
    state: BatchState,
) -> None:
    """Insert batches given as run, kind, phase, wave, first and last user."""
    names = ("run", "kind", "phase", "wave", "first", "last")
    if batches:
        connection.execute(
            insert(batch),
            [{**dict(zip(names, row, strict=True)), "state": state} for row in batches],
        )


def _wave_ranges(connection: Connection, run_id: str) -> list[tuple[int, int, int]]:
    """Each wave with its first and last user number."""
    rows = connection.execute(
        select(
            run_user.c.wave, func.min(run_user.c.number).label("lo"), func.max(run_user.c.number)
        )
        .where(run_user.c.run == run_id)
        .group_by(run_user.c.wave)
        .order_by(run_user.c.wave)
    )
    return [(wave, first, last) for wave, first, last in rows]
