"""Bugs to plant, each a class: a simulation that does not catch them proves nothing.

None touches the product's code: a plant rewrites SQL on its way to the database, or stands between
the pipeline and the real target or category, and there does what the buggy program would do.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from msgspec import structs
from sqlalchemy import Engine, event, update

from orchestrator.items import Copy, Folder, Found, Ident
from orchestrator.ledger.schema import batch
from orchestrator.lifecycle import BatchState, RunState
from orchestrator.ports import Category, Fate, Rules, Target, Write, Written
from tests.faults.simulation.wires import disturbed
from workers.targets.memory import Disturbance

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Plant:
    """No bug at all."""

    def on_engine(self, engine: Engine) -> None:
        """Change what the database is told."""

    def after_tick(self, world: "World") -> None:
        """Do what a buggy conductor does besides."""

    def committed(self, world: "World") -> None:
        """A transaction was committed."""

    def recast(self, category: Category) -> Category:
        """The category as the workers see it."""
        return category

    def write(
        self,
        world: "World",
        to: Target,
        category: str,
        write: Write,
        disturbance: Disturbance | None,
    ) -> Written:
        """Hand a write to the target."""
        del world
        return disturbed(to, category, write, disturbance)


class NoGate(Plant):
    """Every batch is ready as soon as the run is running."""

    def after_tick(self, world: "World") -> None:
        """Open everything."""
        if not world.run_id or world.state() is not RunState.RUNNING:
            return
        with world.ledger.begin() as connection:
            connection.execute(
                update(batch)
                .where(batch.c.state == BatchState.WAITING)
                .values(state=BatchState.READY)
            )


class NoCompareAndSet(Plant):
    """Check, then write: whatever is there by then is overwritten."""

    def write(
        self,
        world: "World",
        to: Target,
        category: str,
        write: Write,
        disturbance: Disturbance | None,
    ) -> Written:
        """Without precondition."""
        held = world.store.held.get((category, write.owner, write.ref))
        expected = None if held is None else held.version
        return disturbed(to, category, structs.replace(write, expected=expected), disturbance)


class NeverReclaims(Plant):
    """The reconciler trusts the broker: what is lost there is lost."""

    def after_tick(self, world: "World") -> None:
        """Leases never lapse."""
        with world.ledger.begin() as connection:
            connection.execute(
                update(batch)
                .where(batch.c.state.in_((BatchState.DISPATCHED, BatchState.RUNNING)))
                .values(lease_until=2**60)
            )


class NeverLooksAgain(Plant):
    """A write whose answer was lost is taken for done, and not read back."""

    def write(
        self,
        world: "World",
        to: Target,
        category: str,
        write: Write,
        disturbance: Disturbance | None,
    ) -> Written:
        """Done, whatever happened."""
        answer = disturbed(to, category, write, disturbance)
        if answer.fate is not Fate.UNKNOWN:
            return answer
        world.imagined[category, write.owner, write.ref] = write
        return Written(fate=Fate.DONE, version="?")


class CommitsFirst(Plant):
    """Settles in the ledger what it is going to write afterwards."""

    def write(
        self,
        world: "World",
        to: Target,
        category: str,
        write: Write,
        disturbance: Disturbance | None,
    ) -> Written:
        """Later."""
        if write.owner not in world.numbers:
            return disturbed(to, category, write, disturbance)
        me = world.schedule.current
        assert me is not None
        world.owed.setdefault((me.name, me.lives), []).append((to, category, write))
        world.imagined[category, write.owner, write.ref] = write
        return Written(fate=Fate.DONE, version="?")

    def committed(self, world: "World") -> None:
        """Now, if nobody was killed in between."""
        me = world.schedule.current
        assert me is not None
        owed = world.owed.pop((me.name, me.lives), [])
        if owed:
            world.point("between commit and write")
        for to, category, write in owed:
            world.imagined.pop((category, write.owner, write.ref), None)
            world.watched_write(to, category, write)


class NoJournal(Plant):
    """What is about to be changed is not written down."""

    def on_engine(self, engine: Engine) -> None:
        """Rows are gone before their transaction is over."""

        def forget(connection: Any) -> None:
            connection.exec_driver_sql("DELETE FROM journal")

        event.listen(engine, "commit", forget)


class RandomIdents(Plant):
    """An item gets a new ident at every reading."""

    def recast(self, category: Category) -> Category:
        """Idents that nobody finds again."""
        return cast("Category", _Reidentified(category))


class _Reidentified:
    def __init__(self, category: Category) -> None:
        self._category = category
        self._numbers = iter(range(1, 1_000_000))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._category, name)

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        for found in self._category.read(folder, rules):
            match found:
                case Copy(item=item):
                    ident = Ident(str(UUID(int=id(self) * 1_000_000 + next(self._numbers))))
                    yield structs.replace(found, item=structs.replace(item, ident=ident))
                case _:
                    yield found


class NoFencing(Plant):
    """The epoch is ignored wherever it is asked for."""

    def on_engine(self, engine: Engine) -> None:
        """`batch.epoch = ?` holds always."""
        _rewrite(engine, r"batch\.epoch = \?", "? IS NOT NULL")


class DeclinesOnce(Plant):
    """The decline list is read as it was when the run was submitted."""

    def on_engine(self, engine: Engine) -> None:
        """Additions are not seen; the audit of the run would be fooled, the target is not."""
        _rewrite(
            engine,
            r"FROM decline\s+WHERE decline\.run = \?",
            "FROM decline WHERE decline.added_at <= "
            "(SELECT created_at FROM run LIMIT 1) AND decline.run = ?",
        )


def _rewrite(engine: Engine, pattern: str, instead: str) -> None:
    old = re.compile(pattern)

    def rewritten(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
    ) -> tuple[str, Any]:
        return old.sub(instead, statement), parameters

    event.listen(engine, "before_cursor_execute", rewritten, retval=True)


PLANTS: tuple[type[Plant], ...] = (
    NoGate,
    NoCompareAndSet,
    NeverReclaims,
    NeverLooksAgain,
    CommitsFirst,
    NoJournal,
    RandomIdents,
    NoFencing,
    DeclinesOnce,
)
