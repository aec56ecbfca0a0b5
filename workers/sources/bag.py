"""Recovered files in BagIt bags (RFC 8493), each checked against the bag's manifest when read.

One bag with `data/<user>/<category>/…`, or one bag for each user with `data/<category>/…`. A file
that the manifest does not list, or lists with another digest, is quarantined as not to be trusted;
one that it lists and that is gone is quarantined as unreadable. Inspection does not hash the
payload: it would read terabytes that the run reads again. Nothing of fetch.txt is ever fetched.

Where the plan says that the manifests were made before the loss, each file that is listed by a
strong digest is vouched for, unless its bag says of itself that it was made later.
"""

import heapq
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final, NoReturn
from unicodedata import normalize

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import File, Folder, UserId, Vouched
from orchestrator.ports import Inventory, Surroundings
from orchestrator.reasons import Reason
from workers.material.bag_manifests import BagManifest
from workers.material.bag_survey import BagSurvey
from workers.material.file_trees import FILE_BYTES, Entry, Tree, text_of
from workers.material.inspection import Inspection
from workers.material.user_folders import Nobody
from workers.material.user_trees import UserTree
from workers.material.vouching import PROOFS, Digests, checked, vouched

PAYLOAD: Final = b"data"


@dataclass(frozen=True, kw_only=True)
class Bag:
    """Files in a BagIt bag, checked against its manifest."""

    path: str
    """The bag's folder, or with `each_user` the folder that holds the users' bags."""
    each_user: bool = False
    """Each user has a bag: `<path>/<user>/data/<category>/…`."""
    digests: Digests = Digests.UNDATED
    """When the manifests were made. `before-loss`: while the service still worked, so that what
    matches a SHA-2 digest is what it had accepted, and pictures need not be decoded again. Of
    `undated` ones nobody can say; they only show what changed since."""
    file_bytes: int = FILE_BYTES
    """A file larger than this is quarantined unread."""

    def open(self, surroundings: Surroundings) -> "BagSource":
        """Ready to read; manifests are read on first use."""
        root = surroundings.folder / self.path
        return BagSource(
            root=os.fsencode(root),
            tree=Tree(
                root if self.each_user else root / "data",
                called=self.path,
                file_bytes=self.file_bytes,
            ),
            each_user=self.each_user,
            digests=self.digests,
            loss=surroundings.loss,
            categories=surroundings.categories,
        )


class Listed(Struct, frozen=True):
    """What a manifest lists of one user's category: digests by the names of files."""

    algorithm: str
    digests: dict[bytes, str]
    vouching: bool
    """A file that matches is what the service had accepted."""


class BagSource:
    """Keeps the manifest of one bag open, or opens each user's when it is needed."""

    def __init__(
        self,
        *,
        root: bytes,
        tree: Tree,
        each_user: bool,
        digests: Digests,
        loss: datetime | None,
        categories: frozenset[str],
    ) -> None:
        self._root = root
        self._each_user = each_user
        self._digests = digests
        self._loss = loss
        self._whole: BagManifest | None = None
        self._users = UserTree(
            tree,
            categories=categories,
            inside=PAYLOAD if each_user else None,
            lost=self._was_there,
        )

    def inspect(self) -> Inventory:
        """Compares files and manifests by name; digests are compared when files are read.

        The inventory's manifest covers the bags' manifests, and names, sizes and times of files.
        """
        inspection = Inspection()
        survey = BagSurvey(inspection, digests=self._digests, loss=self._loss)
        if not self._each_user:
            self._bag_itself()
        for part, owned in groupby(self._users.survey(inspection), lambda one: one.part):
            for category, files in groupby(owned, lambda one: one.category):
                listed = self._listed(part, category)
                entries = (one.entry for one in files)
                for entry, digest in matched(entries, dict(listed.digests)):
                    known = digest is not None
                    survey.file(entry, listed=known, vouched=known and listed.vouching)
        if self._each_user:
            for part, _ in self._users.users():
                with self._bag(part) as bag:
                    survey.bag(bag, b"/".join((self._root, part)))
        else:
            survey.payload_size(self._bag_itself())
            survey.bag(self._bag_itself(), self._root)
            survey.own_files(self._root)
            for part, owner in self._gone():
                if isinstance(owner, Nobody):
                    inspection.stray(owner.why, 0, files=len(self._bag_itself().below(part)))
        survey.sum_up()
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order of their folders' names, those included whose files are all gone."""
        self._users.tree.check()
        gone = sorted(
            (part, owner) for part, owner in self._gone() if not isinstance(owner, Nobody)
        )
        for part, owner in heapq.merge(self._users.users(), gone):
            if self._users.holds_anything(part) or self._lists_anything(part):
                yield owner

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """Files are listed when a folder is iterated."""
        self._users.tree.check()
        if not self._each_user:
            self._bag_itself()
        shelf = category.encode()
        for owner in owners:
            part = self._users.part(owner)
            files = () if part is None else Files(self, part, shelf)
            yield Folder(owner=owner, files=files)

    def close(self) -> None:
        """Let go of the manifest."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def files(self, part: bytes, category: bytes) -> Iterator[File]:
        """First those that are there, by name; then those that the manifest lists in vain."""
        tree = self._users.tree
        listed = self._listed(part, category)
        missing = dict(listed.digests)
        for entry, digest in matched(self._users.entries(part, category), missing):
            file = tree.file(entry)
            if digest is None:
                yield replace(file, read=partial(_unlisted, file.read))
                continue
            content = Content(file.read, listed.algorithm, digest)
            yield replace(
                file, read=content.read, vouched=content.vouched if listed.vouching else None
            )
        for name in sorted(missing):
            yield File(name=text_of(name), size=0, read=_missing)

    def _listed(self, part: bytes, category: bytes) -> Listed:
        with self._bag(part) as bag:
            if bag is None:
                return Listed("", {}, vouching=False)
            levels = (category,) if self._each_user else (part, category)
            vouching = (
                self._digests is Digests.BEFORE_LOSS
                and bag.algorithm in PROOFS
                and not bag.made_after(self._loss)
            )
            return Listed(bag.algorithm, bag.below(*levels), vouching=vouching)

    def _lists_anything(self, part: bytes) -> bool:
        with self._bag(part) as bag:
            if bag is None:
                return False
            if self._each_user:
                return any(map(self._users.is_category, bag.firsts()))
            return any(self._users.is_category(path.split(b"/")[0]) for path in bag.below(part))

    @contextmanager
    def _bag(self, part: bytes) -> Generator[BagManifest | None]:
        """The bag that holds a user's folder; None where it is not one that can be checked."""
        if not self._each_user:
            yield self._bag_itself()
            return
        try:
            bag = BagManifest(b"/".join((self._root, part)))
        except Unavailable:
            self._users.tree.check()
            yield None
            return
        try:
            yield bag
        finally:
            bag.close()

    def _bag_itself(self) -> BagManifest:
        if self._whole is None:
            self._users.tree.check()
            self._whole = BagManifest(self._root)
        return self._whole

    def _gone(self) -> Iterator[tuple[bytes, UserId | Nobody]]:
        """Folders that the manifest lists files of, and that are gone altogether."""
        if self._each_user:
            return
        seen: set[bytes] = set()
        for part in self._bag_itself().firsts():
            if part not in seen and not self._users.tree.is_folder(part):
                seen.add(part)
                yield part, self._users.whose(part)

    def _was_there(self, part: bytes) -> bool:
        return not self._each_user and self._bag_itself().names(part)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one user's category; listed anew each time, so that nothing is kept."""

    source: BagSource
    part: bytes
    category: bytes

    def __iter__(self) -> Iterator[File]:
        """In a stable order."""
        return self.source.files(self.part, self.category)


def matched(
    entries: Iterable[Entry], digests: dict[bytes, str]
) -> Iterator[tuple[Entry, str | None]]:
    """Each file with the digest it ought to have; `digests` keeps those that no file is found for.

    A name counts as the same when it differs in how line breaks are spelled, or (where nothing
    else fits) in Unicode's normal form: file systems and archivers change both.
    """
    listing = list(entries)
    exact = {entry.name for entry in listing}
    normal = {normal_form(name): name for name in digests if name not in exact}
    for entry in listing:
        spelled = entry.name.replace(b"\r", b"%0D").replace(b"\n", b"%0A")
        if entry.name in digests:
            yield entry, digests.pop(entry.name)
        elif spelled in digests:
            yield entry, digests.pop(spelled)
        else:
            yield entry, digests.pop(normal.pop(normal_form(entry.name), b""), None)


def normal_form(name: bytes) -> str:
    """A name as text that does not depend on who composed its accents."""
    return normalize("NFC", text_of(name))


class Content(Struct, frozen=True, gc=False):
    """The bytes of a file and the digest that they ought to have."""

    bytes_of: Callable[[], bytes]
    algorithm: str
    digest: str

    def read(self) -> bytes:
        """All of them. Raises `ItemRejected` where their digest is another."""
        return checked(self.bytes_of(), self.algorithm, self.digest)

    def vouched(self) -> Vouched:
        """The same, as the digest vouches for them."""
        return vouched(self.bytes_of(), self.algorithm, self.digest)


def _unlisted(read: Callable[[], bytes]) -> bytes:
    raise ItemRejected(Reason.CHECKSUM, "no manifest lists it", data=read())


def _missing() -> NoReturn:
    raise ItemRejected(Reason.UNREADABLE, "the manifest lists it, and it is gone")


KIND = Bag
