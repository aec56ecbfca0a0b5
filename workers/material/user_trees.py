"""Folders of users with folders of categories in them: `<root>/<escaped user>/<category>/…`."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from orchestrator.items import File, Folder, UserId
from workers.material.file_trees import Entry, moment
from workers.material.inspection import Inspection
from workers.material.user_folders import ID_BYTES, OWNER_FILE, Nobody, owner_of, part_of


class Owned(Struct, frozen=True, gc=False):
    """One file of one user's one category; `part` is the name of the user's folder."""

    part: bytes
    category: bytes
    entry: Entry


class Named(Protocol):
    """What lies directly in a folder, as `os.scandir` tells it."""

    @property
    def name(self) -> bytes:
        """Without the folder's."""
        ...

    @property
    def path(self) -> bytes:
        """With the folder's."""
        ...

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        """Whether it is a folder itself."""
        ...

    def is_file(self, *, follow_symlinks: bool) -> bool:
        """Whether it is a regular file."""
        ...

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        """Its size and time; OSError where they cannot be had."""
        ...


class Folders(Protocol):
    """Folders in folders: a `Tree` of this machine, or names in an object store."""

    def check(self) -> None:
        """Raise `Unavailable` unless the material is there."""
        ...

    def is_folder(self, *parts: bytes) -> bool:
        """Whether a folder lies there."""
        ...

    def level(self, *parts: bytes) -> Sequence[Named]:
        """What lies directly in one folder, by name."""
        ...

    def walk(self, *parts: bytes) -> Iterator[Entry]:
        """Everything below one folder, in a stable order."""
        ...

    def file(self, entry: Entry) -> File:
        """An entry as a source gives it."""
        ...

    def head(self, *parts: bytes, limit: int) -> bytes | None:
        """The first bytes of a file; None where none can be read."""
        ...

    def folds_case(self, part: bytes) -> bool | None:
        """Whether another case of an existing name leads to the same folder; None: cannot tell."""
        ...


class UserTree:
    """What lies below a tree's root, by user and category.

    `inside`: the folder within a user's folder where the categories begin, where there is one.
    `categories`: the names that are categories; empty: all are. `lost` tells of folders that are
    known to have been there, though they are gone.
    """

    def __init__(
        self,
        tree: Folders,
        *,
        categories: frozenset[str],
        inside: bytes | None = None,
        lost: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.tree = tree
        self._inside = () if inside is None else (inside,)
        self._categories = frozenset(name.encode() for name in categories)
        self._lost = lost
        self._folds: bool | None = None
        self._spellings: frozenset[bytes] = frozenset()

    def users(self) -> Iterator[tuple[bytes, UserId]]:
        """Every folder that is a user's, and whose; in the order of the bytes of their names."""
        for found in self.tree.level():
            if found.is_dir(follow_symlinks=False):
                whose = self.whose(found.name)
                if not isinstance(whose, Nobody):
                    yield found.name, whose

    def owners(self) -> Iterator[UserId]:
        """Every user who has anything, in the order of their folders' names."""
        self.tree.check()
        for part, owner in self.users():
            if self.holds_anything(part):
                yield owner

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """What each of them has of a category; files are listed when a folder is iterated."""
        self.tree.check()
        for owner in owners:
            part = self.part(owner)
            files = () if part is None else _Files(self, part, category.encode())
            yield Folder(owner=owner, files=files)

    def whose(self, part: bytes) -> UserId | Nobody:
        """Whose folder that is."""
        return owner_of(part, self._known, self._owner_file)

    def part(self, owner: UserId) -> bytes | None:
        """The name of this user's folder; None where there is none and none was lost."""
        return part_of(owner, self._known)

    def is_category(self, name: bytes) -> bool:
        """Whether a folder of that name is a category's."""
        return not self._categories or name in self._categories

    def holds_anything(self, part: bytes) -> bool:
        """Whether any category of this user's folder holds a file."""
        return any(next(self.entries(part, name), None) for name in self._shelves(part))

    def entries(self, part: bytes, category: bytes) -> Iterator[Entry]:
        """The files of one user's category, in a stable order."""
        if self.tree.is_folder(part, *self._inside, category):
            yield from self.tree.walk(part, *self._inside, category)

    def survey(self, inspection: Inspection) -> Iterator[Owned]:
        """Every file that belongs to a user and a category; the others go to the inspection.

        All of them become pieces of the inspection's manifest.
        """
        self.tree.check()
        for found in self.tree.level():
            if not found.is_dir(follow_symlinks=False):
                _stray_file(inspection, found, "not in a user's folder")
                continue
            whose = self.whose(found.name)
            if isinstance(whose, Nobody):
                self._stray_folder(inspection, whose.why, found.name)
            else:
                yield from self._survey_user(inspection, found.name)

    def _survey_user(self, inspection: Inspection, part: bytes) -> Iterator[Owned]:
        try:
            level = self.tree.level(part)
        except OSError:
            inspection.stray("a user's folder that cannot be listed", 0)
            return
        for found in level:
            if not found.is_dir(follow_symlinks=False):
                why = (
                    "files that tell whose a folder is"
                    if found.name == OWNER_FILE
                    else "the bags' own files"
                    if self._inside
                    else "not in a category's folder"
                )
                _stray_file(inspection, found, why)
            elif not self._inside:
                yield from self._survey_category(inspection, part, found.name)
            elif found.name != self._inside[0]:
                self._stray_folder(inspection, "the bags' own files", part, found.name)
            else:
                yield from self._survey_inside(inspection, part)

    def _survey_inside(self, inspection: Inspection, part: bytes) -> Iterator[Owned]:
        try:
            level = self.tree.level(part, *self._inside)
        except OSError:
            inspection.stray("a user's folder that cannot be listed", 0)
            return
        for found in level:
            if found.is_dir(follow_symlinks=False):
                yield from self._survey_category(inspection, part, found.name)
            else:
                _stray_file(inspection, found, "not in a category's folder")

    def _survey_category(
        self, inspection: Inspection, part: bytes, category: bytes
    ) -> Iterator[Owned]:
        if not self.is_category(category):
            self._stray_folder(inspection, "no such category", part, *self._inside, category)
            return
        for entry in self.tree.walk(part, *self._inside, category):
            inspection.piece(part, category, entry.name, entry.size, entry.modified, entry.fault)
            inspection.dated(moment(entry.modified))
            yield Owned(part, category, entry)

    def _stray_folder(self, inspection: Inspection, why: str, *parts: bytes) -> None:
        for entry in self.tree.walk(*parts):
            inspection.piece(*parts, entry.name, entry.size, entry.modified, entry.fault)
            inspection.stray(why, entry.size)

    def _shelves(self, part: bytes) -> list[bytes]:
        try:
            level = self.tree.level(part, *self._inside)
        except OSError:
            return []
        return [
            found.name
            for found in level
            if found.is_dir(follow_symlinks=False) and self.is_category(found.name)
        ]

    def _owner_file(self, part: bytes) -> bytes | None:
        return self.tree.head(part, OWNER_FILE, limit=ID_BYTES)

    def _known(self, part: bytes) -> bool:
        return self._present(part) or self._lost(part)

    def _present(self, part: bytes) -> bool:
        """Whether there is a folder of exactly this name.

        A file system that takes `anna` for `Anna` would give one user the other's data: on such a
        one the listing is asked, which says how the name is really spelled.
        """
        if not self.tree.is_folder(part):
            return False
        if self._folds is None:
            self._folds = self.tree.folds_case(part)
            if self._folds:
                self._spellings = frozenset(found.name for found in self.tree.level())
        return not self._folds or part in self._spellings


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one user's category; listed anew each time, so that nothing is kept."""

    users: UserTree
    part: bytes
    category: bytes

    def __iter__(self) -> Iterator[File]:
        """In the tree's order."""
        return map(self.users.tree.file, self.users.entries(self.part, self.category))


def _stray_file(inspection: Inspection, found: Named, why: str) -> None:
    try:
        status = found.stat(follow_symlinks=False)
    except OSError:
        inspection.stray(why, 0)
        return
    size = status.st_size if found.is_file(follow_symlinks=False) else 0
    inspection.piece(found.path, size, status.st_mtime_ns)
    inspection.stray(why, size)
