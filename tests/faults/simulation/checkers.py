"""Judges a simulation that has come to rest, by the target and the truth; the ledger is a suspect.

Each violation is a sentence that begins with the guarantee that was broken.
"""

from collections import Counter
from collections.abc import Iterator

import msgspec
from sqlalchemy import select

from orchestrator.audit import audit
from orchestrator.books import FIELDS, Books, Outcome
from orchestrator.items import Ident, UserId
from orchestrator.ledger.flow import UNFINISHED
from orchestrator.ledger.keys import Sealed, opened
from orchestrator.ledger.schema import account, batch, journal
from orchestrator.lifecycle import RunState, UnitState
from tests.faults.simulation.population import CATEGORIES, Truth
from tests.faults.simulation.world import World
from workers.account import Line
from workers.journal import open_intents
from workers.unit_work import account_context

_lines = msgspec.msgpack.Decoder(list[Line]).decode


def violations(world: World) -> list[str]:
    """Everything that is wrong; empty when all guarantees held."""
    found = list(world.watching.found)
    if not world.at_rest:
        return [*found, "G11 the run does not come to rest"]
    state = world.progress.state(world.run_id)
    if state is RunState.REFUSED:
        return found  # something was away for too long at inspection: nothing was written
    found.extend(_ended(world))
    found.extend(f"G2 audit: {finding}" for finding in audit(world.ledger, world.run_id))
    found.extend(_owners(world))
    found.extend(_journalled(world))
    for truth in world.population.truths:
        found.extend(_item(world, truth))
    found.extend(_untouched(world))
    found.extend(_books(world))
    found.extend(_accounts(world))
    return found


def _ended(world: World) -> Iterator[str]:
    """Faults have stopped and what failed was retried: nothing is left to do."""
    state = world.progress.state(world.run_id)
    if state is not RunState.FINISHED:
        yield f"G11 the run ends as {state}"
    with world.ledger.read() as connection:
        for row in world.unit_rows(connection):
            poison = world.poisonous == (
                CATEGORIES[row["phase"]],
                world.population.users[row["user"]],
            )
            if row["state"] != (UnitState.FAILED if poison else UnitState.SETTLED):
                yield f"G11 user #{row['user']}, phase {row['phase']} ends as {row['state']}"
        left = connection.execute(
            select(batch.c.id, batch.c.state).where(batch.c.state.in_(UNFINISHED))
        ).all()
        for row in left:
            yield f"G11 batch {row.id} is still {row.state}"


def _owners(world: World) -> Iterator[str]:
    """Every content names its owner."""
    for (category, owner, ref), held in world.store.held.items():
        if not held.deleted and f"{owner}x".encode() not in held.content:
            yield f"G1 {category}/{owner}/{ref} holds what is another's"


def _journalled(world: World) -> Iterator[str]:
    """Whatever was written had been journalled by then."""
    rows: dict[tuple[bytes, str, bytes], int] = {}
    with world.ledger.read() as connection:
        found = connection.execute(select(journal).order_by(journal.c.id)).all()
        every = open_intents(connection, world.sealer, found)
        for row, intents in zip(found, every, strict=True):
            for intent in intents or ():
                rows.setdefault((row.user_hash, intent.ref, intent.digest), row.id)
    for effect in world.watching.effects:
        key = (world.sealer.user_hash(effect.owner), effect.ref, effect.digest)
        if rows.get(key, 1 << 60) > effect.journalled:
            yield f"G6 {effect.category}/{effect.owner}/{effect.ref} was written, not journalled"


def _item(world: World, truth: Truth) -> Iterator[str]:
    """The target holds what it must of one item, and nothing twice."""
    category, owner, ref = truth.category, truth.owner, str(truth.ident)
    key = (category, owner, ref)
    where = "/".join(key)
    held = world.store.held.get(key)
    content = b"" if held is None or held.deleted else held.content
    recovered = truth.token.encode()
    number = sum(recovered in one.content for one in world.store.held.values() if not one.deleted)
    if number > 1:
        yield f"G3 {where} is there {number} times"
    if (category, owner, ref) in world.watching.disturbed:
        return
    if world.poisonous == (category, owner):
        if number > _initial(world, truth)[1]:
            yield f"G16 {where} was read although that kills"
        return
    if key in world.user_last:
        wanted = world.user_last[key]
        if content != (wanted or b""):
            yield f"G5 {where} is not what its user made of it"
        if number and world.policy != "keep-both":
            yield f"G8 {where} came back over its user's change"
        return
    initial = _initial(world, truth)
    declined = world.declined.get(owner)
    restored = _restored(world, truth)
    allowed = {0: initial, None: restored}
    if declined is None or declined == 0:
        if (recovered in content, number) != allowed[declined]:
            yield f"G3 {where}: {recovered in content, number}, not {allowed[declined]}"
    elif (recovered in content, number) not in {initial, restored}:
        yield f"G3 {where} of a user who was declined later: {recovered in content, number}"
    if truth.situation in {"own", "older"} and not content:
        yield f"G3 {where} is gone"


def _initial(_world: World, truth: Truth) -> tuple[bool, int]:
    there = truth.situation == "equal"
    return there, int(there)


def _restored(world: World, truth: Truth) -> tuple[bool, int]:
    """Whether the item has the recovered content, and how often that is there at all."""
    match truth.situation, world.policy:
        case (("none" | "equal" | "deleted-before"), _):
            return True, 1
        case "deleted", _:
            return False, 0
        case "older", "newest":
            return True, 1
        case (("older" | "own"), "keep-both"):
            return False, 1
        case _:
            return False, 0


def _untouched(world: World) -> Iterator[str]:
    """What users added or changed is as they left it; what nobody recovered is not there."""
    known = {truth.token.encode() for truth in world.population.truths}
    for key, wanted in world.user_last.items():
        held = world.store.held.get(key)
        content = b"" if held is None or held.deleted else held.content
        if content != (wanted or b""):
            yield f"G5 {'/'.join(key)} is not as its user left it"
    for key, held in world.store.held.items():
        ours = held.ident is not None and b"recovered" in held.content and not held.deleted
        if ours and not any(token in held.content for token in known):
            yield f"G3 {'/'.join(key)} comes from nowhere"


def _books(world: World) -> Iterator[str]:
    """Copies and items by the truth; never by the ledger."""
    copies: Counter[tuple[str, str]] = Counter()
    items: Counter[tuple[str, str]] = Counter()
    for truth in world.population.truths:
        copies[truth.owner, truth.category] += truth.copies
        items[truth.owner, truth.category] += 1
    with world.ledger.read() as connection:
        rows = world.unit_rows(connection)
    owners = {number: owner for owner, number in world.numbers.items()}
    for row in rows:
        key = (owners[row["user"]], CATEGORIES[row["phase"]])
        if row["state"] != UnitState.SETTLED:
            continue
        damaged = world.population.damaged.get(key, 0)
        books = Books(**{name: row[name] for name in FIELDS})
        wanted = (copies[key] + damaged, items[key], damaged, 0)
        counted = (books.copies, books.items, books.nameless, books.pending)
        if wanted != counted:
            yield f"G2 {'/'.join(key)}: copies, items, nameless, pending {counted}, not {wanted}"


def _accounts(world: World) -> Iterator[str]:
    """Each item of a unit has one line, with an outcome that can be true."""
    owners = {number: owner for owner, number in world.numbers.items()}
    with world.ledger.read() as connection:
        rows = connection.execute(select(account)).all()
        values = [
            Sealed(
                row.run,
                world.sealer.user_hash(owners[row.user]),
                row.sealed,
                account_context(row.run, row.user, row.phase),
            )
            for row in rows
        ]
        accounts = [_lines(data) for data in opened(connection, world.sealer, values) if data]
    clean = {
        (effect.category, effect.owner, effect.ident)
        for effect in world.watching.effects
        if effect.clean
    }
    for row, lines in zip(rows, accounts, strict=True):
        owner, category = owners[row.user], CATEGORIES[row.phase]
        if owner in world.declined:
            continue
        truths = {
            t.ident: t
            for t in world.population.truths
            if (t.owner, t.category) == (owner, category)
        }
        if Counter(line.ident for line in lines) != Counter(list(truths)):
            yield f"G2 {owner}/{category}: the account does not list each item once"
            continue
        for line in lines:
            truth = truths[Ident(line.ident)]
            key = (category, owner, line.ident)
            if key in world.watching.disturbed or key in world.user_last:
                continue
            if line.outcome not in _outcomes(world, truth):
                yield f"G2 {'/'.join(key)} ({truth.situation}) is called {line.outcome}"
            if line.outcome is Outcome.RESTORED and not _wrote(world, truth, clean):
                yield f"G13 {'/'.join(key)} is called restored and never was"


def _wrote(world: World, truth: Truth, clean: set[tuple[str, UserId, str]]) -> bool:
    idents = (truth.ident, world.beside_of(truth))
    return any((truth.category, truth.owner, ident) in clean for ident in idents)


def _outcomes(world: World, truth: Truth) -> set[Outcome]:
    """PRESENT also where an earlier holder of the batch, frozen meanwhile, was the one to write."""
    match truth.situation, world.policy:
        case (("none" | "deleted-before"), _):
            return {Outcome.RESTORED, Outcome.PRESENT}
        case "equal", _:
            return {Outcome.PRESENT, Outcome.RESTORED}
        case "deleted", _:
            return {Outcome.DECLINED}
        case "older", "newest":
            return {Outcome.RESTORED, Outcome.PRESENT}
        case (("older" | "own"), "keep-both"):
            return {Outcome.RESTORED, Outcome.PRESENT}
        case _:
            return {Outcome.SUPERSEDED}
