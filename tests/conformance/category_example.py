"""What a category brings to its conformance suite.

`tests/conformance/category_examples/<category>.py` defines `EXAMPLE`. Its material is small and
hand-written; the real files of the corpus have tests of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.items import File, Folder, UserId
from orchestrator.ports import Rules

OWNER = UserId("anna")
LOSS = datetime(2024, 1, 1, tzinfo=UTC)

Contents = Mapping[str, bytes]
"""By file name."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One file of several records, and what damages one of them beyond doubt."""

    name: str
    head: bytes = b""
    records: tuple[bytes, ...]
    between: bytes = b""
    tail: bytes = b""
    damaged: bytes
    """Stands in for a record; names none of the others."""
    converted: bool = False
    """Its format lacks what restoring needs: lossless repairs add it."""

    def file(self, without: int | None = None) -> bytes:
        """The whole file; the record `without` is damaged."""
        records = [
            self.damaged if number == without else record
            for number, record in enumerate(self.records)
        ]
        return self.head + self.between.join(records) + self.tail


@dataclass(frozen=True, kw_only=True)
class Example:
    """Material of one category."""

    whole: Mapping[str, Contents]
    """Folders by what is special about them; nothing in them is damaged or needs a repair."""
    converted: frozenset[str] = frozenset()
    """Those of `whole` in formats that lack what restoring needs: lossless repairs add it."""
    series: tuple[Series, ...]
    """Empty where every file holds one item."""
    repairable: Mapping[str, Contents]
    """By the name of a repair, a folder of which one item needs that repair and no other."""
    foreign: tuple[str, bytes]
    """A file of a format that is none of the category's."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The plan's options under which it is read."""


def folder_of(contents: Contents, *, beside: bool = False) -> Folder:
    """A folder of these files; `beside`: the source ties all others to the first."""
    files = [
        File(name=name, size=len(data), read=lambda data=data: data)
        for name, data in contents.items()
    ]
    if beside:
        first = files[0]
        files = [File(name=first.name, size=first.size, read=first.read, beside=tuple(files[1:]))]
    return Folder(owner=OWNER, files=tuple(files))


def rules_of(repairs=(), item_bytes=1024 * 1024) -> Rules:
    """Rules with these repairs on."""
    return Rules(
        repairs=frozenset(repairs),
        loss=LOSS,
        service_start=datetime(2000, 1, 1, tzinfo=UTC),
        item_bytes=item_bytes,
    )
