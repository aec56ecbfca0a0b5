"""Folders of files, one file an item: what khard, khal, todoman and vdirsyncer call a vdir.

`<path>/<user>/<category>/<ident>.<suffix>`, user and ident percent-escaped, so that every file of
ours has exactly one dot; an attachment lies beside its item as `<item file>.<attachment name>`.

What holds:
- An item appears whole or not at all, and only where nothing was: its file is linked, never
  renamed, to its name. Attachments come first; the item's file is the commit.
- What `write` answered DONE to, and what `fetch` gave, survives a crash of the machine.
- Nothing is replaced or removed unless the plan says `exclusive: true`: file systems have no
  compare-and-set, so both are exact only among those who take the category folder's lock (flock).
  Otherwise nothing ever goes but our own staged bytes and probes.

What does not: there are no tombstones; a deleted file is just gone. A file's name is a claim, not
proof: `ident` is what the name says where it is spelled as we spell names; the content decides.
"""

import errno
import os
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, Digest, Ident, Item, Media, UserId
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)
from workers.formats.path_parts import escape
from workers.storage.durable import (
    Staging,
    away,
    locked,
    mark,
    mark_of,
    opened,
    sync_folders,
)
from workers.storage.item_commits import Staged, commit, remove, rounds, stage
from workers.storage.item_files import (
    LONGEST,
    Listings,
    entry_of,
    listing,
    live_of,
    name_of,
    seen_of,
)

PROBE: Final = UserId("reinstate-probe")
"""Whose folder the probe writes to; never a real user's."""

STAGING: Final = ".reinstate"
"""Below `path`; cannot be a user's folder, since escaped names have no dots."""

FRESH: Final = 300.0
"""Seconds for which a file is not trusted to be on the disk: kernels write back within 30."""

_PROBES: Final = ("Probe", "probe")
"""Two idents, so that a file system that takes them for one is found out."""

_ATTACHMENT: Final = re.compile(r"[A-Za-z0-9_@%+-][A-Za-z0-9_@%+.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Vdir:
    """A folder per user and category with one file per item, as khard, khal and todoman read it."""

    path: str
    """The folder that holds one folder per user; relative to the plan."""
    exclusive: bool = False
    """Everyone who changes these files takes the lock of the category's folder (`flock`).
    Only then are live items replaced, and removed by an undo; otherwise they stay."""
    create: bool = True
    """Make the folder at inspection where it is missing."""
    group: bool = False
    """The group may read and write what is made, too (0660 and 0770 in place of 0600 and 0700)."""

    def open(self, surroundings: Surroundings) -> "VdirTarget":
        """Ready to write; nothing is touched yet."""
        return VdirTarget(
            root=surroundings.folder / Path(self.path).expanduser(),
            exclusive=self.exclusive,
            create=self.create,
            file_mode=0o660 if self.group else 0o600,
            folder_mode=0o770 if self.group else 0o700,
        )


@dataclass(frozen=True, kw_only=True)
class VdirTarget:
    """A tree of folders, opened. Keeps nothing open between calls."""

    root: Path
    exclusive: bool
    create: bool
    file_mode: int
    folder_mode: int
    listings: Listings = field(default_factory=Listings, compare=False, repr=False)

    def identity(self, category: str) -> str:
        """The folder's path, links resolved, and the mark that inspection put on it."""
        del category
        return f"vdir:{self.root.resolve()}:{mark_of(self.root)}"

    def close(self) -> None:
        """Nothing is kept open between calls."""

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Write, write again, read and remove a probe per category, below the probe user."""
        if self.create:
            with away("vdir target"):
                self.root.mkdir(mode=self.folder_mode, parents=True, exist_ok=True)
        with away("vdir target"), opened(self.root) as root, locked(root):
            mark(root)
            for category in categories:
                self._remove_probes(root, category)
                try:
                    self._probe(category)
                finally:
                    self._remove_probes(root, category)
        return Capabilities(
            create_only=True,
            compare_and_set=self.exclusive,
            tombstones=False,
            notes=()
            if self.exclusive
            else (
                "live items are never replaced or removed: the plan does not say exclusive: true",
            ),
        )

    def _probe(self, category: str) -> None:
        one, other = (self._probe_write(category, name) for name in _PROBES)
        answers = self.write(category, [one, one, other])
        match [answer.fate for answer in answers]:
            case [Fate.DONE, Fate.CONFLICT, Fate.DONE]:
                pass
            case [Fate.DONE, Fate.CONFLICT, Fate.CONFLICT]:
                raise Unavailable(
                    "vdir target: its file system does not tell A from a",
                    hint="two users or items could share a file: use a case-sensitive volume",
                )
            case _:
                raise Unavailable(
                    "vdir target: a file could not be created, or could be created twice",
                    hint="use a local file system with hard links",
                )
        [live] = self.fetch(category, [Place(owner=PROBE, ref=one.ref)])
        if live is None or (live.content, live.attachments) != (
            one.item.content,
            one.item.attachments,
        ):
            raise Unavailable(
                "vdir target: a file did not read back as it was written", hint="check the disk"
            )
        if self.exclusive:
            stale = Write(owner=PROBE, item=one.item, ref=one.ref, expected="stale")
            right = Write(owner=PROBE, item=one.item, ref=one.ref, expected=live.entry.version)
            fates = [answer.fate for answer in self.write(category, [stale, right])]
            if fates != [Fate.CONFLICT, Fate.DONE]:
                raise Unavailable(
                    "vdir target: a file could not be replaced", hint="check the disk"
                )

    def _probe_write(self, category: str, name: str) -> Write:
        media = Media("probe", "application/octet-stream")
        item = Item(
            ident=Ident(name),
            digest=Digest(bytes(32)),
            media=media,
            content=b"probe",
            attachments=(Attachment(name="part", data=b"part"),),
        )
        return Write(owner=PROBE, item=item, ref=self.ref(category, item.ident, media))

    def _remove_probes(self, root: int, category: str) -> None:
        """Exactly the files that a probe makes, and the folders if nothing else is in them."""
        media = Media("probe", "application/octet-stream")
        refs = [self.ref(category, Ident(name), media) for name in _PROBES]
        owner, kind = escape(PROBE), escape(category)
        with suppress(FileNotFoundError), opened(owner, inside=root) as above:
            with suppress(FileNotFoundError), opened(kind, inside=above) as folder:
                for name in (name for ref in refs for name in (ref, f"{ref}.part")):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
            with suppress(OSError):  # not empty: not only ours
                os.rmdir(kind, dir_fd=above)
        with suppress(OSError):
            os.rmdir(owner, dir_fd=root)

    # Looking -----------------------------------------------------------------------------------

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The item's file name: one dot, safe on every POSIX file system."""
        del category
        return f"{escape(ident)}.{escape(media.suffix)}"

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Every file of these users that is an item by the vdir rules, whoever made it.

        Not items: names that start with a dot, end in `.tmp` or have no suffix, and what is no
        regular file.
        """
        for owner in owners:
            yield from self._entries(category, owner)

    def _entries(self, category: str, owner: UserId) -> list[Entry]:
        with (
            away("vdir target"),
            opened(self.root) as root,
            self._folder(root, category, owner) as folder,
        ):
            if folder is None:
                return []
            seen = ((name, seen_of(folder, name, p)) for name, p in listing(folder).items())
            return [entry_of(owner, name, known) for name, known in seen if known is not None]

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents at these places, attachments by name. What it gives is on the disk."""
        found: list[Live | None] = [None] * len(places)
        fresh: list[UserId] = []
        horizon = time.time() - FRESH
        with away("vdir target"), opened(self.root) as root:
            for owner, numbers in _by_owner(places).items():
                with self._folder(root, category, owner) as folder:
                    if folder is None:
                        continue
                    if os.fstat(folder).st_mtime > horizon:
                        fresh.append(owner)
                    names = self.listings.of(folder)
                    for number in numbers:
                        name = name_of(places[number].ref)
                        if name is not None:
                            found[number] = live_of(folder, owner, name, names.get(name, []))
            # An attempt that died may have made names that are not durable yet.
            self._sync(root, category, fresh)
        return found

    @contextmanager
    def _folder(self, root: int, category: str, owner: UserId) -> Generator[int | None]:
        """That user's folder of that category, or None where there is none."""
        with ExitStack() as stack:
            folder: int | None = None
            with suppress(FileNotFoundError):
                above = stack.enter_context(opened(escape(owner), inside=root))
                folder = stack.enter_context(opened(escape(category), inside=above))
            yield folder

    def _sync(self, root: int, category: str, owners: Sequence[UserId]) -> None:
        if owners:
            parts = [escape(owner) for owner in owners]
            sync_folders(root, [*(f"{part}/{escape(category)}" for part in parts), *parts, "."])

    # Writing -----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Stage all bytes, make them durable, give them their names, make the names durable.

        Without `exclusive`, a replace is a conflict, always.
        """
        answers = {n: self._refusal(write) for n, write in enumerate(writes)}
        wanted = [n for n, answer in answers.items() if answer is None]
        if wanted:
            files = sum(1 + len(writes[n].item.attachments) for n in wanted)
            with (
                away("vdir target"),
                opened(self.root) as root,
                Staging(root, STAGING, mode=self.file_mode, files=files) as staging,
            ):
                self._write(root, staging, category, {n: writes[n] for n in wanted}, answers)
        return [answer or Written(fate=Fate.UNKNOWN) for answer in answers.values()]

    def _refusal(self, write: Write) -> Written | None:
        """What can be answered without touching the disk."""
        name = name_of(write.ref)
        names = [part.name for part in write.item.attachments]
        if name is None:
            return Written(fate=Fate.REFUSED, detail="not a file name")
        if len(set(names)) < len(names) or not all(map(_ATTACHMENT.fullmatch, names)):
            return Written(fate=Fate.REFUSED, detail="the attachments' names are not file names")
        if any(len(os.fsencode(name)) + 1 + len(part) > LONGEST for part in names):
            return Written(fate=Fate.REFUSED, detail="an attachment's name is too long")
        if write.expected is not None and not self.exclusive:
            return Written(fate=Fate.CONFLICT, detail="the plan does not say exclusive: true")
        return None

    def _write(
        self,
        root: int,
        staging: Staging,
        category: str,
        writes: dict[int, Write],
        answers: dict[int, Written | None],
    ) -> None:
        staged: dict[int, Staged] = {}
        for number, write in writes.items():
            try:
                staged[number] = stage(staging, write)
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                answers[number] = Written(fate=Fate.REFUSED, detail="too large for a file")
        staging.sync()
        owners: dict[UserId, list[Staged]] = {}
        for one in staged.values():
            owners.setdefault(one.write.owner, []).append(one)
        for owner, group in owners.items():
            with self._made(root, category, owner) as folder, ExitStack() as stack:
                if self.exclusive or any(one.parts for one in group):
                    stack.enter_context(locked(folder))
                for some in rounds(group):
                    creating = all(one.write.expected is None for one in some)
                    true = creating and self.listings.is_true(folder)
                    commit(folder, staging, some)
                    if true:
                        made = {one.name: one.parts for one in some if one.is_done}
                        self.listings.add(folder, made)
        self._sync(root, category, list(owners))
        answers.update((number, one.answer) for number, one in staged.items())

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Item files go first, under the category folder's lock; then their attachments.

        Without `exclusive`, every removal is refused.
        """
        if not self.exclusive:
            refusal = Written(fate=Fate.REFUSED, detail="the plan does not say exclusive: true")
            return [refusal for _ in removals]
        answers = [Written(fate=Fate.CONFLICT) for _ in removals]
        owners: dict[UserId, list[int]] = {}
        for number, removal in enumerate(removals):
            owners.setdefault(removal.owner, []).append(number)
        with away("vdir target"), opened(self.root) as root:
            for owner, numbers in owners.items():
                with self._folder(root, category, owner) as folder:
                    if folder is None:
                        continue
                    with locked(folder):
                        for number in numbers:
                            name = name_of(removals[number].ref)
                            if name is not None:
                                answers[number] = remove(folder, name, removals[number].expected)
            self._sync(root, category, list(owners))
        return answers

    @contextmanager
    def _made(self, root: int, category: str, owner: UserId) -> Generator[int]:
        """That user's folder of that category, made where it is missing; `path` itself is not."""
        with ExitStack() as stack:
            folder = root
            for part in (escape(owner), escape(category)):
                with suppress(FileExistsError):
                    os.mkdir(part, self.folder_mode, dir_fd=folder)
                    os.chmod(part, self.folder_mode, dir_fd=folder)  # whatever the umask
                folder = stack.enter_context(opened(part, inside=folder))
            yield folder


def _by_owner(places: Sequence[Place]) -> dict[UserId, list[int]]:
    numbers: dict[UserId, list[int]] = {}
    for number, place in enumerate(places):
        numbers.setdefault(place.owner, []).append(number)
    return numbers


KIND = Vdir
