"""Recovered files in folders: `<path>/<user>/<category>/<any file, at any depth>`.

A user's folder carries the user id, percent-escaped where it is not plain; a name that could mean
two users belongs to none. One file may hold one record or many. Symbolic links are not followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.items import Folder, UserId
from orchestrator.ports import Inventory, Surroundings
from workers.material.file_trees import FILE_BYTES, Tree
from workers.material.inspection import Inspection
from workers.material.user_trees import UserTree


@dataclass(frozen=True, kw_only=True)
class Vdir:
    """Files in folders of users and categories."""

    path: str
    """The folder that holds the users' folders."""
    file_bytes: int = FILE_BYTES
    """A file larger than this is quarantined unread."""

    def open(self, surroundings: Surroundings) -> "VdirSource":
        """Ready to read; touches the disk on first use only."""
        root = surroundings.folder / self.path
        tree = Tree(Path(root), called=self.path, file_bytes=self.file_bytes)
        return VdirSource(UserTree(tree, categories=surroundings.categories))


class VdirSource:
    """Keeps nothing open between calls."""

    def __init__(self, users: UserTree) -> None:
        self._users = users

    def inspect(self) -> Inventory:
        """Walks everything once, without reading any file.

        The manifest covers names, sizes and modification times, not the bytes.
        """
        inspection = Inspection()
        faults = sum(1 for owned in self._users.survey(inspection) if owned.entry.fault)
        if faults:
            inspection.note(f"{faults} links, devices or folders that cannot be read")
        inspection.note(
            "the manifest covers names, sizes and times of files; a bag covers their bytes too"
        )
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order of their folders' names."""
        return self._users.owners()

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """Files are listed when a folder is iterated."""
        return self._users.folders(category, owners)

    def close(self) -> None:
        """Nothing is open."""


KIND = Vdir
