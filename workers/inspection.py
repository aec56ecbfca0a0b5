"""Proves sources readable and targets writable, and numbers the users, before anything is written.

Why all ids of a run are compared with each other: two ids that differ only in case, spelling form,
spaces or invisible characters may be one person or two, and restoring to the wrong one cannot be
taken back. Their data is quarantined instead.
"""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from threading import Event, Thread

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from orchestrator.errors import LeaseLost, Refused, Unavailable
from orchestrator.items import UserId
from orchestrator.ledger import leases
from orchestrator.ledger.leases import Batch
from orchestrator.ledger.schema import decline, listed, run, run_user
from orchestrator.lifecycle import BatchState
from orchestrator.plan import Plan, Wave
from orchestrator.ports import Capabilities, Inventory
from workers.assignment import user_context
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
    work.forget(held.run)
    site = work.site(held.run)
    try:
        inventories = {name: site.source(name).inspect() for name in site.plan.sources}
        capabilities = {
            name: site.target(name).inspect(_categories_of(site.plan, name))
            for name in site.plan.targets
        }
        users = _users(work, site)
    except Unavailable as error:
        _away(work, held, error)
        return
    except Refused as error:
        _refuse(work, held, error.message, error.hint)
        return
    finally:
        work.forget(held.run)
    if not users:
        _refuse(work, held, "no user is in scope", "check `users` and the sources of the plan")
        return
    _record(work, held, site.plan, inventories, capabilities, users)


def _categories_of(plan: Plan, target: str) -> list[str]:
    return [phase.restore for phase in plan.phases if phase.to == target]


def _users(work: Workplace, site: Site) -> list[tuple[UserId, bool]]:
    """Everyone in scope, in wave order, with whether the id is ambiguous.

    A list keeps its own order; without one, users come in the order of their ids.
    """
    known: set[UserId] = set()
    for name in site.plan.sources:
        known.update(site.source(name).users())
    context = user_context(site.run)
    with work.ledger.read() as connection:
        rows = connection.execute(
            select(listed.c.sealed_id).where(listed.c.run == site.run).order_by(listed.c.position)
        )
        chosen = [UserId(work.sealer.open(row.sealed_id, context).decode()) for row in rows]
    spellings = Counter(likeness(user) for user in known.union(chosen))
    if site.plan.users.listed is None:
        chosen = sorted(known)
    return [(user, spellings[likeness(user)] > 1) for user in chosen]


def likeness(user: UserId) -> str:
    """Equal for ids that a person would take for the same."""
    composed = unicodedata.normalize("NFKC", user).casefold()
    return "".join(char for char in unicodedata.normalize("NFKC", composed) if _visible(char))


def _visible(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in {"Cf", "Cc", "Mn"}


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
    users: list[tuple[UserId, bool]],
) -> None:
    with work.ledger.begin() as connection:
        sample = connection.execute(select(run.c.sample).where(run.c.id == held.run)).scalar_one()
        scope = users if sample is None else users[:sample]
        _insert_users(connection, work, held.run, plan, scope, len(users))
        row = connection.execute(select(run).where(run.c.id == held.run)).one()
        digest = _digest(
            connection, work, held.run, row.plan_digest, row.code_version, inventories, users
        )
        why = None
        if row.expected_digest is not None and row.expected_digest != digest:
            why = "plan or data changed since the preview; preview again"
        inventory = {
            "sources": msgspec.to_builtins(inventories),
            "capabilities": msgspec.to_builtins(capabilities),
            "ambiguous": sum(1 for _, ambiguous in scope if ambiguous),
            "warnings": _warnings(plan, inventories, capabilities, row.created_at),
        }
        connection.execute(
            update(run)
            .where(run.c.id == held.run)
            .values(
                digest=digest,
                users=len(scope),
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
    users: list[tuple[UserId, bool]],
    total: int,
) -> None:
    connection.execute(delete(run_user).where(run_user.c.run == run_id))
    context = user_context(run_id)
    waves = _wave_of_each(wave_sizes(plan.waves, total))
    rows = (
        {
            "run": run_id,
            "number": number,
            "wave": wave,
            "user_hash": work.sealer.user_hash(user),
            "sealed_id": work.sealer.seal(user.encode(), context),
            "ambiguous": ambiguous,
        }
        for number, ((user, ambiguous), wave) in enumerate(zip(users, waves, strict=False))
    )
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        connection.execute(insert(run_user), chunk)


def _wave_of_each(sizes: Iterable[int]) -> Iterator[int]:
    for wave, size in enumerate(sizes):
        for _ in range(size):
            yield wave


def _digest(
    connection: Connection,
    work: Workplace,
    run_id: str,
    plan_digest: str,
    code_version: str,
    inventories: dict[str, Inventory],
    users: list[tuple[UserId, bool]],
) -> str:
    """What is approved: plan, code, users in scope and declined, and the recovered material."""
    seal = hashlib.sha256()
    for user, _ in users:
        seal.update(work.sealer.user_hash(user))
    erased = connection.execute(
        select(decline.c.user_hash).where(decline.c.run == run_id).order_by(decline.c.user_hash)
    ).scalars()
    parts = {
        "plan": plan_digest,
        "code": code_version,
        "users": seal.hexdigest(),
        "decline": hashlib.sha256(b"".join(erased)).hexdigest(),
        "sources": {name: inventory.manifest for name, inventory in inventories.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _warnings(
    plan: Plan,
    inventories: dict[str, Inventory],
    capabilities: dict[str, Capabilities],
    submitted_at: int,
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
    submitted = datetime.fromtimestamp(submitted_at / 1000, UTC)
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
