"""Proves sources readable and targets writable, and numbers users, before anything is written."""

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import islice
from threading import Event, Thread
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, select, update

from orchestrator.errors import LeaseLost, Refused, Unavailable
from orchestrator.items import UserId
from orchestrator.ledger import leases, previews
from orchestrator.ledger.database import insert_all
from orchestrator.ledger.flow import moment
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.schema import cell, decline, listed, run, run_user
from orchestrator.lifecycle import BatchState
from orchestrator.plan import Plan, Wave
from orchestrator.ports import Capabilities, Inventory
from workers.notifying.doubts import doubts
from workers.roll import Roll
from workers.workplace import Site, Workplace

ATTEMPTS = 3
ROWS_AT_ONCE = 5_000


@contextmanager
def lease_kept(work: Workplace, held: Batch) -> Generator[None]:
    """Keeps the lease by a thread, however long a source takes to be walked or a target to answer.

    No user's data is written meanwhile, so the process need not die with its lease: it stops at
    the next statement under the epoch. Celery's time limit bounds what never ends.
    """
    over = Event()
    work.deadline(0)

    def beat() -> None:
        while not over.wait(work.lease_ms / 4000):
            try:
                with work.ledger.begin() as connection:
                    now = work.ledger.clock(connection)
                    leases.heartbeat(
                        connection, held, now=now, lease_ms=work.lease_ms, progress=False
                    )
            except LeaseLost:
                return
            except Unavailable:
                continue

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def inspect(work: Workplace, held: Batch) -> None:
    """Inspect a run and record what was found; or why it cannot run.

    Something that is away is asked `ATTEMPTS` times, a little later each, before the run is
    refused.
    """
    with work.ledger.read() as connection:
        root = connection.execute(select(run.c.root).where(run.c.id == held.run)).scalar_one()
    if root is not None:
        _inspect_targets(work, held)
        return
    with closing(Roll(work.sealer)) as roll:
        _inspect(work, held, roll)


def _inspect_targets(work: Workplace, held: Batch) -> None:
    """Of a run that has another one's users only the targets matter: its units are known."""
    work.forget(held.run)
    site = work.site(held.run)
    with work.ledger.read() as connection:
        cells = connection.execute(
            select(cell.c.phase, cell.c.wave, cell.c.units)
            .where(cell.c.run == held.run)
            .order_by(cell.c.phase, cell.c.wave)
        ).all()
    phases = [site.plan.phases[number] for number in sorted({row.phase for row in cells})]
    try:
        capabilities = {
            name: site.target(name).inspect([p.restore for p in phases if p.to == name])
            for name in {phase.to: None for phase in phases}
        }
    except Unavailable as error:
        _away(work, held, error)
        return
    finally:
        site.close()
        work.forget(held.run)
    unheard = _doubts(work, site.plan)
    _record_targets(work, held, capabilities, [tuple(row) for row in cells], unheard)


def _record_targets(
    work: Workplace,
    held: Batch,
    capabilities: dict[str, Capabilities],
    scope: Sequence[tuple[Any, ...]],
    unheard: Sequence[str],
) -> None:
    """What is approved: of which run, by which release, how many units, and whose they are."""
    with work.ledger.begin() as connection:
        row = connection.execute(select(run).where(run.c.id == held.run)).one()
        before = row.about or row.root
        behind = connection.execute(select(run.c.digest).where(run.c.id == before)).scalar_one()
        whose = hashlib.sha256()
        users = 0
        for one in connection.execute(
            select(run_user.c.user_hash)
            .where(run_user.c.run == held.run)
            .order_by(run_user.c.number)
            .execution_options(yield_per=ROWS_AT_ONCE)
        ):
            whose.update(one.user_hash)
            users += 1
        parts = {
            row.purpose: before,
            "plan": row.plan_digest,
            "digest": behind,
            "code": row.code_version,
            "units": scope,
            "users": whose.hexdigest(),
        }
        inventory = {
            "sources": {},
            "capabilities": msgspec.to_builtins(capabilities),
            "warnings": [*_target_warnings(capabilities), *unheard],
        }
        connection.execute(
            update(run)
            .where(run.c.id == held.run)
            .values(
                digest=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
                users=users,
                inventory=json.dumps(inventory, sort_keys=True),
            )
        )
        leases.end(connection, held, state=BatchState.DONE)


def _doubts(work: Workplace, plan: Plan) -> list[str]:
    """Why somebody may not hear of the run; no reason not to restore."""
    return doubts(plan.notify, work.secret, trusted=work.hook_hosts)


def _target_warnings(capabilities: dict[str, Capabilities]) -> list[str]:
    found = [f"target {name}: {note}" for name, one in capabilities.items() for note in one.notes]
    found += [
        f"target {name} cannot compare versions: an undo leaves everything there as it is"
        for name, one in capabilities.items()
        if not one.compare_and_set
    ]
    return found


def _inspect(work: Workplace, held: Batch, roll: Roll) -> None:
    work.forget(held.run)
    site = work.site(held.run)
    try:
        inventories = {name: site.source(name).inspect() for name in site.plan.sources}
        capabilities = {
            name: site.target(name).inspect(_categories_of(site.plan, name))
            for name in site.plan.targets
        }
        _call_roll(work, site, roll)
    except Unavailable as error:
        _away(work, held, error)
        return
    except Refused as error:
        _refuse(work, held, error.message, error.hint)
        return
    finally:
        site.close()
        work.forget(held.run)
    if not roll.total:
        _refuse(work, held, "no user is in scope", "check `users` and the sources of the plan")
        return
    unheard = _doubts(work, site.plan)
    _record(work, held, site.plan, inventories, capabilities, roll, unheard)


def _categories_of(plan: Plan, target: str) -> list[str]:
    return [phase.restore for phase in plan.phases if phase.to == target]


def _call_roll(work: Workplace, site: Site, roll: Roll) -> None:
    """Everyone that sources hold or the list names.

    A list keeps its own order; without one, users come in the order of their ids.
    """
    for name in site.plan.sources:
        roll.hold(site.source(name).users())
    roll.choose(_listed(work, site.run))
    roll.take_stock(None if site.plan.users.listed is None else _listed(work, site.run))


def _listed(work: Workplace, run_id: str) -> Iterator[UserId]:
    """The plan's list, in its order, a page at a time."""
    after = -1
    while True:
        with work.ledger.read() as connection:
            ids = Ids(connection, work.sealer, run_id)
            rows = connection.execute(
                select(listed.c.position, listed.c.sealed_id)
                .where(listed.c.run == run_id, listed.c.position > after)
                .order_by(listed.c.position)
                .limit(ROWS_AT_ONCE)
            ).all()
        for row in rows:
            yield UserId(ids.open(row.sealed_id) or "")
        if len(rows) < ROWS_AT_ONCE:
            return
        after = rows[-1].position


def wave_sizes(waves: Sequence[Wave], users: int) -> list[int]:
    """How many users each wave admits, in order; a share is of all users, rounded up."""
    sizes: list[int] = []
    left = users
    for wave in waves:
        match wave:
            case Wave(users=int(number)):
                size = number
            case Wave(share=float(share)):
                size = -int(-(share * users) // 1)
            case _:
                size = left
        sizes.append(min(size, left))
        left -= sizes[-1]
    return sizes


def _record(
    work: Workplace,
    held: Batch,
    plan: Plan,
    inventories: dict[str, Inventory],
    capabilities: dict[str, Capabilities],
    roll: Roll,
    unheard: Sequence[str],
) -> None:
    everyone = roll.held() if plan.users.listed is None else _listed(work, held.run)
    with work.ledger.begin() as connection:
        sample = connection.execute(select(run.c.sample).where(run.c.id == held.run)).scalar_one()
        scope = roll.total if sample is None else min(sample, roll.total)
        mistakable = _insert_users(connection, work, held.run, plan, roll, islice(everyone, scope))
        row = connection.execute(select(run).where(run.c.id == held.run)).one()
        digest = _digest(
            connection, held.run, row.plan_digest, row.code_version, inventories, roll.fingerprint
        )
        why = None
        inspected = digest
        if row.expected_digest is not None:
            preview = previews.find(connection, row.expected_digest)
            if preview is not None:
                digest = previews.together(connection, preview, inspected)
            if row.expected_digest != digest:
                why = "plan or data changed since the preview; preview again"
        inventory = {
            previews.INSPECTED: inspected,
            "sources": msgspec.to_builtins(inventories),
            "capabilities": msgspec.to_builtins(capabilities),
            "ambiguous": mistakable,
            "warnings": [
                *_warnings(
                    plan,
                    inventories,
                    capabilities,
                    row.created_at,
                    connection.execute(
                        select(func.max(decline.c.added_at)).where(decline.c.run == held.run)
                    ).scalar_one(),
                ),
                *unheard,
            ],
        }
        connection.execute(
            update(run)
            .where(run.c.id == held.run)
            .values(
                digest=digest,
                users=scope,
                inventory=json.dumps(inventory, sort_keys=True),
                why=why,
            )
        )
        leases.end(connection, held, state=BatchState.DONE)


def _insert_users(
    connection: Connection,
    work: Workplace,
    run_id: str,
    plan: Plan,
    roll: Roll,
    users: Iterable[UserId],
) -> int:
    """Number the users, in order; how many of them have an id like another's."""
    connection.execute(delete(run_user).where(run_user.c.run == run_id))
    ids = Ids(connection, work.sealer, run_id)
    waves = _wave_of_each(wave_sizes(plan.waves, roll.total))
    mistakable = 0

    def rows() -> Iterator[tuple[Any, ...]]:
        nonlocal mistakable
        for number, (user, wave) in enumerate(zip(users, waves, strict=False)):
            user_hash = work.sealer.user_hash(user)
            ambiguous = roll.ambiguous(user_hash)
            mistakable += ambiguous
            yield run_id, number, wave, user_hash, ids.seal(user), ambiguous

    names = ("run", "number", "wave", "user_hash", "sealed_id", "ambiguous")
    insert_all(connection, run_user, names, rows())
    return mistakable


def _wave_of_each(sizes: Iterable[int]) -> Iterator[int]:
    for wave, size in enumerate(sizes):
        for _ in range(size):
            yield wave


def _digest(
    connection: Connection,
    run_id: str,
    plan_digest: str,
    code_version: str,
    inventories: dict[str, Inventory],
    users: str,
) -> str:
    """What is approved: plan, code, users in scope and declined, and the recovered material."""
    erased = connection.execute(
        select(decline.c.user_hash).where(decline.c.run == run_id).order_by(decline.c.user_hash)
    ).scalars()
    parts = {
        "plan": plan_digest,
        "code": code_version,
        "users": users,
        "decline": hashlib.sha256(b"".join(erased)).hexdigest(),
        "sources": {name: inventory.manifest for name, inventory in inventories.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


FRESH = timedelta(hours=1)
"""A list made so shortly before the newest change counts as made with it."""


def _warnings(
    plan: Plan,
    inventories: dict[str, Inventory],
    capabilities: dict[str, Capabilities],
    submitted_at: int,
    declined_at: int | None,
) -> list[str]:
    """What the operator should know before approving."""
    found = [f"source {name}: {note}" for name, one in inventories.items() for note in one.notes]
    found += [f"target {name}: {note}" for name, one in capabilities.items() for note in one.notes]
    for name, inventory in inventories.items():
        if inventory.newest is not None and inventory.newest > plan.incident.as_of:
            found.append(f"source {name} holds changes from after as_of")
    for name, able in capabilities.items():
        if not able.create_only:
            found.append(f"target {name} does not honour create-only writes")
        if not able.compare_and_set:
            found.append(f"target {name} cannot replace safely: differing live items stay")
        if not able.tombstones:
            found.append(f"target {name} does not tell what its users deleted before this run")
    newest = max((i.newest for i in inventories.values() if i.newest is not None), default=None)
    if newest is not None and declined_at is not None and newest > moment(declined_at) + FRESH:
        found.append(
            "the decline list is older than what the sources hold; who asked to be erased since?"
        )
    submitted = moment(submitted_at)
    if newest is not None and newest > submitted:
        found.append("a source is newer than this submission")
    return found


def _away(work: Workplace, held: Batch, error: Unavailable) -> None:
    if held.attempts >= ATTEMPTS:
        _refuse(work, held, error.message, error.hint)
        return
    with work.ledger.begin() as connection:
        now = work.ledger.clock(connection)
        wait = int(1000 * (error.retry_in or 1.0))
        leases.end(connection, held, state=BatchState.READY, not_before=now + wait)


def _refuse(work: Workplace, held: Batch, message: str, hint: str) -> None:
    with work.ledger.begin() as connection:
        connection.execute(
            update(run)
            .where(run.c.id == held.run)
            .values(why=f"{message}; {hint}" if hint else message)
        )
        leases.end(connection, held, state=BatchState.DONE)
