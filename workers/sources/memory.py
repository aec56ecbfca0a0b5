"""Recovered material in this process's memory: exact, and ready to be damaged by a test.

Sources opened under the same `name` read the same `Material`. It cannot cross processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from orchestrator.errors import ReinstateError, Unavailable
from orchestrator.items import File, Folder, UserId
from orchestrator.ports import Inventory, Surroundings, Unowned
from workers.material.inspection import Inspection

Content = bytes | ReinstateError
"""The bytes of a file, or what reading it raises."""

Contents = Mapping[UserId, Mapping[str, Mapping[str, Content]]]
"""By user, category and file name."""


@dataclass(kw_only=True)
class Material:
    """What every source of one name reads, and a test's hands on it."""

    contents: Contents = field(default_factory=dict[UserId, dict[str, dict[str, Content]]])
    modified: datetime | None = None
    """When all of it last changed."""
    unowned: tuple[Unowned, ...] = ()
    away: bool = False
    """Every call raises `Unavailable` while this is set."""


MATERIALS: dict[str, Material] = {}
"""By the name that plans use."""


def put(name: str, contents: Contents, *, modified: datetime | None = None) -> Material:
    """Make `contents` what sources of that name hold, instead of what was there before."""
    MATERIALS[name] = Material(contents=contents, modified=modified)
    return MATERIALS[name]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Material that this process put into memory: for tests and trials."""

    name: str = "memory"
    """Which material: what `workers.sources.memory.put` was given."""

    def open(self, surroundings: Surroundings) -> "MemorySource":
        """Ready to read."""
        return MemorySource(self.name, categories=surroundings.categories)


class MemorySource:
    """Looks the material up at every call, so that a test may change it in between."""

    def __init__(self, name: str, *, categories: frozenset[str]) -> None:
        self._name = name
        self._categories = categories

    def inspect(self) -> Inventory:
        """The manifest covers every byte."""
        material = self._material()
        inspection = Inspection()
        inspection.dated(material.modified)
        for unowned in material.unowned:
            inspection.stray(unowned.why, unowned.size, files=unowned.files)
        for owner, category, name, content in _pieces(material.contents):
            data = content if isinstance(content, bytes) else repr(content)
            inspection.piece(owner.encode("utf-8", "surrogatepass"), category, name, data)
            if self._categories and category not in self._categories:
                inspection.stray("no such category", _size(content))
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order in which they were put."""
        for owner, categories in self._material().contents.items():
            if any(categories.values()):
                yield owner

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """Files are in the order in which they were put."""
        contents = self._material().contents
        for owner in owners:
            files = contents.get(owner, {}).get(category, {})
            yield Folder(owner=owner, files=[self._file(*named) for named in files.items()])

    def close(self) -> None:
        """Nothing is open."""

    def _file(self, name: str, content: Content) -> File:
        return File(
            name=name,
            size=_size(content),
            read=partial(self._read, content),
            modified=self._material().modified,
        )

    def _read(self, content: Content) -> bytes:
        self._material()
        if isinstance(content, bytes):
            return content
        raise content

    def _material(self) -> Material:
        material = MATERIALS.get(self._name)
        if material is None:
            raise Unavailable(
                f"nothing was put into memory under the name '{self._name}'",
                hint="only the process that put it there can read it; use a vdir source instead",
            )
        if material.away:
            raise Unavailable("the material is away", hint="a test took it away")
        return material


def _pieces(contents: Contents) -> Iterator[tuple[UserId, str, str, Content]]:
    for owner, categories in contents.items():
        for category, files in categories.items():
            for name, content in files.items():
                yield owner, category, name, content


def _size(content: Content) -> int:
    data = content if isinstance(content, bytes) else getattr(content, "data", b"")
    return len(data)


KIND = Memory
