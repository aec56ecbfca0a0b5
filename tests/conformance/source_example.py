"""What a kind of source brings to its conformance suite.

`tests/conformance/source_examples/<kind>.py` defines `EXAMPLES`, a mapping of variant names to
subclasses of `Example`. Each builds the material that a test asks for where its source finds it,
and knows how that material is changed, damaged and taken away.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.ports import Source, SourceKind, Surroundings

Contents = Mapping[str, Mapping[str, Mapping[str, bytes]]]
"""By user, category and file name."""

CATEGORIES = ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")


class Example(ABC):
    """Small material of one kind, below `folder` or on a server that `request` gives."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder
        self.request = request

    @abstractmethod
    def hold(self, contents: Contents) -> None:
        """Make this the material, all of it. Called once."""

    @abstractmethod
    def kind(self) -> SourceKind:
        """The options under which a plan would name it."""

    @abstractmethod
    def change(self, owner: str, category: str, name: str) -> None:
        """Give one file other content, as an editor would (its size or time changes too)."""

    @abstractmethod
    def damage(self, owner: str, category: str, name: str) -> None:
        """Make one file such that its bytes cannot be had, or not be trusted."""

    @abstractmethod
    def take_away(self) -> None:
        """Make all of it unreachable, as a lost mount or a stopped server would."""

    @abstractmethod
    def trace(self) -> object:
        """Whatever changes when anybody writes to the material."""

    def open(self) -> Source:
        """The source, opened as a worker does."""
        surroundings = Surroundings(
            folder=self.folder,
            secret=lambda text: text,
            clock=lambda: datetime(2009, 10, 2, tzinfo=UTC),
            categories=frozenset(CATEGORIES),
        )
        return self.kind().open(surroundings)

    def extra_users(self) -> Iterable[str]:
        """Further user ids that this kind finds hard and has to give back exactly."""
        return ()


def tree_trace(folder: Path) -> object:
    """Every name, kind, size, time and byte below a folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found.append(
            (os.fsencode(path), status.st_mode, status.st_size, status.st_mtime_ns, content)
        )
    return found
