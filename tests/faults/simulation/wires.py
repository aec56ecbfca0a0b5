"""The real ledger, sources and targets with a yield point at every boundary.

`Points` says what happens there: nothing, a fault, a crash, somebody else's turn. Nothing of the
product is replaced: a wire calls the real thing between two points.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from msgspec import structs
from sqlalchemy import Connection, Engine

from orchestrator.errors import Unavailable
from orchestrator.items import File, Folder, UserId
from orchestrator.ledger.database import Clock, Ledger
from orchestrator.ports import (
    Category,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Source,
    Target,
    Write,
    Written,
)
from workers.targets.memory import Disturbance
from workers.workplace import Site, Workplace


class Points(Protocol):
    """What happens at the boundaries."""

    def point(self, where: str) -> None:
        """A yield point."""

    def transaction(self, moment: str, connection: Connection | None) -> None:
        """`begin` and `committed` are yield points; at `commit` the transaction is still open."""

    def away(self, what: str) -> None:
        """Raises `Unavailable` when it is."""

    def reads(self, category: str, owner: UserId) -> None:
        """A file of that user is read; what is in it may kill whoever does."""

    def befalls(self, category: str, write: Write) -> Disturbance | None:
        """What befalls one write."""
        ...

    def read_back(
        self, category: str, places: Sequence[Place], found: list[Live | None]
    ) -> list[Live | None]:
        """What the pipeline is shown of what was fetched."""
        ...

    def write(
        self, to: Target, category: str, write: Write, disturbance: Disturbance | None
    ) -> Written:
        """Hand one write to the real target and take note of what it did."""
        ...


class WiredLedger(Ledger):
    """The ledger; every transaction boundary is a yield point."""

    def __init__(self, url: str, *, clock: Clock, points: Points, engine: Engine | None) -> None:
        """`engine`: shared by all that live in this process; None: its own."""
        super().__init__(url, clock=clock)
        self._points = points
        self._shared = engine

    @property
    def engine(self) -> Engine:
        """The shared one."""
        return self._shared or super().engine

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """A transaction between two points; a crash at `commit` rolls it back."""
        self._points.transaction("begin", None)
        with super().begin() as connection:
            yield connection
            self._points.transaction("commit", connection)
        self._points.transaction("committed", None)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A look between two points."""
        self._points.transaction("read", None)
        with super().read() as connection:
            yield connection
        self._points.transaction("has read", None)

    @contextmanager
    def at_once(self) -> Generator[Connection]:
        """As a transaction of one statement, which it is where something is changed."""
        with self.begin() as connection:
            yield connection


class WiredSource:
    """A source; every call and every file is a yield point."""

    def __init__(self, source: Source, points: Points) -> None:
        self._source = source
        self._points = points

    def inspect(self) -> Any:
        """Between two points."""
        self._enter()
        return self._source.inspect()

    def users(self) -> Iterator[UserId]:
        """Between two points."""
        self._enter()
        return self._source.users()

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """A point before each folder."""
        for folder in self._source.folders(category, owners):
            self._enter()
            reads = partial(self._points.reads, category, folder.owner)
            yield Folder(
                owner=folder.owner, files=[self._file(file, reads) for file in folder.files]
            )

    def close(self) -> None:
        """As it is."""
        self._source.close()

    def _file(self, file: File, reads: Callable[[], None]) -> File:
        def read() -> bytes:
            self._enter()
            reads()
            return file.read()

        return File(name=file.name, size=file.size, read=read, modified=file.modified)

    def _enter(self) -> None:
        self._points.point("source")
        self._points.away("source")


class WiredTarget:
    """A target; every call, and every write of a call, lies between two yield points."""

    def __init__(self, target: Target, points: Points) -> None:
        self._target = target
        self._points = points
        self.identity = target.identity
        self.ref = target.ref
        self.close = target.close

    def inspect(self, categories: Sequence[str]) -> Any:
        """Between two points."""
        self._points.point("probe")
        self._points.away("target")
        return self._target.inspect(categories)

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Between two points."""
        self._points.point("survey")
        self._points.away("target")
        found = list(self._target.survey(category, owners))
        self._points.point("surveyed")
        return iter(found)

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """Between two points."""
        self._points.point("fetch")
        self._points.away("target")
        found = self._target.fetch(category, places)
        self._points.point("fetched")
        return self._points.read_back(category, places, found)

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each write by itself, with what befalls it."""
        return [self._write(category, write) for write in writes]

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each removal by itself, between two points."""
        return [self._remove(category, removal) for removal in removals]

    def _remove(self, category: str, removal: Removal) -> Written:
        self._points.point("remove")
        self._points.away("target")
        [answer] = self._target.remove(category, [removal])
        self._points.point("removed")
        return answer

    def _write(self, category: str, write: Write) -> Written:
        self._points.point("write")
        self._points.away("target")
        disturbance = self._points.befalls(category, write)
        answer = self._points.write(self._target, category, write, disturbance)
        self._points.point("written")
        return answer


def disturbed(
    target: Target, category: str, write: Write, disturbance: Disturbance | None
) -> Written:
    """What the real target makes of a write that something befalls."""
    match disturbance:
        case None:
            return target.write(category, [write])[0]
        case Disturbance(fate=Fate.REFUSED | Fate.CONFLICT as fate):
            return Written(fate=fate, detail="disturbed")
        case Disturbance(fate=Fate.UNKNOWN, stored=False):
            return Written(fate=Fate.UNKNOWN, detail="disturbed")
        case Disturbance(fate=Fate.UNKNOWN):
            target.write(category, [write])
            return Written(fate=Fate.UNKNOWN, detail="disturbed")
        case Disturbance(altered=altered):
            assert altered is not None
            mangled = structs.replace(write.item, content=altered(write.item.content))
            return target.write(category, [structs.replace(write, item=mangled)])[0]


@dataclass(frozen=True, slots=True)
class WiredSite:
    """A run's site whose sources and targets are wired."""

    site: Site
    points: Points
    recast: Callable[[Category], Category]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.site, name)

    def source(self, name: str) -> WiredSource:
        """Wired."""
        return WiredSource(self.site.source(name), self.points)

    def target(self, name: str) -> WiredTarget:
        """Wired."""
        return WiredTarget(self.site.target(name), self.points)

    def category(self, phase: int) -> Category:
        """As it is, or as a planted bug makes it."""
        return self.recast(self.site.category(phase))


@dataclass(slots=True)
class WiredWorkplace(Workplace):
    """A worker's workplace whose sites are wired."""

    points: Points | None = None
    recast: Callable[[Category], Category] = lambda category: category

    def site(self, run_id: str) -> Any:
        """The real site, wired."""
        assert self.points is not None
        return WiredSite(Workplace.site(self, run_id), self.points, self.recast)


def away(what: str) -> Unavailable:
    """What a service that is away raises."""
    return Unavailable(f"the {what} is away", retry_in=1.0)
