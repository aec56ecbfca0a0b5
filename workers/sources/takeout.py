"""Google Takeout exports: `<path>/<user>/…` extracted or with archives in it, `<path>/<user>.zip`.

An export of many parts is `<user>-001.zip`, `<user>-002.zip`, …, or any archives in the user's
folder; `.tgz`, `.tar.gz` and `.tar` serve as well. User ids are percent-escaped where they are not
plain. Product folders are known in many languages, and otherwise by what lies in them. Archives
are read where they lie; nothing is extracted, and a cut archive gives what lies before the cut.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import File, Folder, UserId
from orchestrator.ports import Inventory, Surroundings
from orchestrator.reasons import Reason
from workers.material.file_trees import FILE_BYTES, Tree, moment
from workers.material.inspection import Inspection
from workers.material.takeout_exports import ARCHIVE, Export, Exports, Part, account
from workers.material.takeout_products import Products
from workers.material.user_folders import ID_BYTES, OWNER_FILE, Nobody, owner_of, part_of

_NUMBERED: Final = re.compile(rb"(?P<user>.+)-(?P<number>\d{3})", re.DOTALL)
_KEPT: Final = 2
"""Exports whose lists of files are kept: one user's categories are asked for one by one."""


@dataclass(frozen=True, kw_only=True)
class Takeout:
    """Exports of Google Takeout, one for each user."""

    path: str
    """The folder that holds the users' exports."""

    member_bytes: int = FILE_BYTES
    """A file larger than this is quarantined unread; no archive is unpacked beyond it."""

    numbered_parts: bool = True
    """Whether `anna-001.zip` is a part of anna's export. Turn it off where user ids themselves
    end like this."""

    products: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of product folders that are not known, each with its category."""

    def open(self, surroundings: Surroundings) -> "TakeoutSource":
        """Ready to read; touches the disk on first use only."""
        root = Path(surroundings.folder / self.path)
        tree = Tree(root, called=self.path, file_bytes=self.member_bytes)
        exports = Exports(tree, limit=self.member_bytes, products=Products(self.products))
        return TakeoutSource(tree, exports, numbered_parts=self.numbered_parts)


class _Listing(Struct, frozen=True, kw_only=True):
    """What lies directly in the source's folder."""

    folders: frozenset[bytes]
    parts: Mapping[bytes, tuple[Part, ...]]
    """Archives by the user part of their names."""
    strays: tuple[tuple[str, bytes, int, int], ...]
    """Why, name, size and time of what is nobody's."""
    numbered: int
    """Archives that were given to a user by their number."""

    def present(self, part: bytes) -> bool:
        """Whether there is anything of that name."""
        return part in self.folders or part in self.parts

    def names(self) -> list[bytes]:
        """Every user part, sorted."""
        return sorted(self.folders | self.parts.keys())


class TakeoutSource:
    """Keeps nothing open between calls."""

    def __init__(self, tree: Tree, exports: Exports, *, numbered_parts: bool) -> None:
        self._tree = tree
        self._exports = exports
        self._numbered_parts = numbered_parts
        self._listing: _Listing | None = None
        self._kept: OrderedDict[bytes, Export] = OrderedDict()

    def inspect(self) -> Inventory:
        """Lists every archive without reading its members.

        The manifest covers names, sizes and checksums of members and of gzip files; names, sizes
        and times of TAR archives' members and of extracted files. TAR archives have to be unpacked
        to be listed.
        """
        inspection = Inspection()
        listing = self._listed()
        damage: dict[str, int] = {}
        for why, name, size, modified in listing.strays:
            inspection.piece(name, size, modified)
            inspection.stray(why, size)
        for name in listing.names():
            parts = listing.parts.get(name, ())
            for part in parts:
                inspection.piece(part.path.rpartition(b"/")[2], part.size)
                inspection.dated(moment(part.modified))
            whose = owner_of(name, listing.present, self._owner_file)
            if isinstance(whose, Nobody):
                self._stray(inspection, listing, name, whose.why)
                continue
            export = self._export(listing, name)
            account(inspection, name, export)
            for what in export.damaged:
                damage[what] = damage.get(what, 0) + 1
        for what, count in sorted(damage.items()):
            inspection.note(f"{count} damaged archives: {what}; what lies whole in them is read")
        if listing.numbered:
            inspection.note(
                f"{listing.numbered} archives were taken as numbered parts of their users' exports;"
                " say numbered_parts: false where user ids themselves end in a number"
            )
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order of the names of their folders and archives."""
        listing = self._listed()
        for name in listing.names():
            whose = owner_of(name, listing.present, self._owner_file)
            if isinstance(whose, Nobody):
                continue
            export = self._export(listing, name)
            if export.files or export.damaged:
                yield whose

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """An owner's archives are listed when their folder is asked for.

        What lay in the lost part of an archive nobody knows: every category has a damaged file for
        it, without bytes, so that nobody is told that there was nothing.
        """
        listing = self._listed()
        for owner in owners:
            name = part_of(owner, listing.present)
            files: tuple[File, ...] = ()
            if name is not None:
                export = self._export(listing, name)
                files = (*export.files.get(category, ()), *_unknown(export))
            yield Folder(owner=owner, files=files)

    def _owner_file(self, part: bytes) -> bytes | None:
        return self._tree.head(part, OWNER_FILE, limit=ID_BYTES)

    def close(self) -> None:
        """Nothing is open; what was listed is forgotten."""
        self._kept.clear()
        self._listing = None

    def _export(self, listing: _Listing, name: bytes) -> Export:
        export = self._kept.get(name)
        if export is None:
            folder = name if name in listing.folders else None
            export = self._exports.read(folder, listing.parts.get(name, ()))
            self._kept[name] = export
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return export

    def _stray(self, inspection: Inspection, listing: _Listing, name: bytes, why: str) -> None:
        for part in listing.parts.get(name, ()):
            inspection.stray(why, part.size)
        if name in listing.folders:
            for entry in self._tree.walk(name):
                inspection.piece(name, entry.name, entry.size, entry.modified, entry.fault)
                inspection.stray(why, entry.size)

    def _listed(self) -> _Listing:
        """The source's folder, listed once; proven to be there every time."""
        self._tree.check()
        if self._listing is None:
            self._listing = _list(self._tree, numbered_parts=self._numbered_parts)
        return self._listing


def _unknown(export: Export) -> Iterator[File]:
    """A file for each archive of which not everything could be read."""
    for number, damage in enumerate(export.damaged, 1):
        yield File(name=f".damaged-archive-{number}", size=0, read=partial(_refused, damage))


def _refused(damage: str) -> NoReturn:
    raise ItemRejected(Reason.UNREADABLE, f"{damage}; more may have been in it")


def _list(tree: Tree, *, numbered_parts: bool) -> _Listing:
    folders: set[bytes] = set()
    plain: dict[bytes, list[Part]] = {}
    numbered: dict[bytes, list[tuple[bytes, Part]]] = {}
    strays: list[tuple[str, bytes, int, int]] = []
    for found in tree.level():
        if found.is_dir(follow_symlinks=False):
            folders.add(found.name)
            continue
        status = found.stat(follow_symlinks=False)
        regular = found.is_file(follow_symlinks=False)
        archive = ARCHIVE.fullmatch(found.name) if regular else None
        if archive is None:
            why = "neither an archive nor a user's folder" if regular else "links and devices"
            size = status.st_size if regular else 0
            strays.append((why, found.name, size, status.st_mtime_ns))
            continue
        part = Part(path=found.path, size=status.st_size, modified=status.st_mtime_ns)
        stem = archive["stem"]
        number = _NUMBERED.fullmatch(stem) if numbered_parts else None
        if number is None:
            plain.setdefault(stem, []).append(part)
        else:
            numbered.setdefault(number["user"], []).append((stem, part))
    parts = {name: list(found) for name, found in plain.items()}
    count = 0
    for user, found in numbered.items():
        for stem, part in found:
            if stem in folders or stem in plain or stem in numbered:
                why = "an archive's name could be a user's, or a part of another one's"
                name = part.path.rpartition(b"/")[2]
                strays.append((why, name, part.size, part.modified))
                continue
            parts.setdefault(user, []).append(part)
            count += 1
    return _Listing(
        folders=frozenset(folders),
        parts={name: tuple(found) for name, found in parts.items()},
        strays=tuple(strays),
        numbered=count,
    )


KIND = Takeout
