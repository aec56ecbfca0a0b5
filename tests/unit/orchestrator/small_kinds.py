"""A catalogue of small kinds, so that the language is tested without any real one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.catalogue import Catalogue, Family
from orchestrator.errors import Unavailable
from orchestrator.options.quantities import Duration, Rate, Share, Size
from orchestrator.options.references import Location, Secret


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """A category with repairs and an option, whose items can be merged."""

    repairs: ClassVar[dict[str, str]] = {
        "derive-name": "…",
        "join-lines": "…",
        "drop-photo": "…",
    }
    lossy: ClassVar[frozenset[str]] = frozenset({"drop-photo"})
    bulky: ClassVar[bool] = False
    photo_size: Size = 1 << 20
    """The largest embedded photo."""
    skew: Duration = timedelta(hours=1)

    def merge(self) -> None:
        """Never asked."""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """A category without."""

    repairs: ClassVar[dict[str, str]] = {}
    lossy: ClassVar[frozenset[str]] = frozenset()
    bulky: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Part of a kind's options."""

    user: str = "user"
    body: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A database."""

    url: Location
    password: Secret | None = None
    tables: dict[str, Columns] = field(default_factory=dict[str, Columns])
    pool: int = 4
    share: Share = 0.5
    rate: Rate | None = None
    mode: Literal["fast", "full"] = "full"


@dataclass(frozen=True, kw_only=True)
class Files:
    """A folder."""

    path: Path
    suffixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """When something began."""

    at: datetime
    ratio: float = Field(default=0.5, gt=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class Fussy:
    """A kind with a rule of its own."""

    low: int = 0
    high: int = 1
    opened: dict[str, list[Opening]] = field(default_factory=dict[str, list["Opening"]])

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low is above high")


def absent() -> type:
    raise Unavailable("'tape' is installed, but needs the module 'tapes'", hint="install it")


CATALOGUE = Catalogue(
    categories=Family("category", {"contacts": lambda: Contacts, "notes": lambda: Notes}),
    sources=Family(
        "source kind",
        {"rows": lambda: Rows, "files": lambda: Files, "fussy": lambda: Fussy, "tape": absent},
    ),
    targets=Family("target kind", {"rows": lambda: Rows, "files": lambda: Files}),
)
