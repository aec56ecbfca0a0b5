"""A folder of item files: which files are items, which belong to them, and what they hold.

An item's file has a name with a suffix; `a.jpg.json` is an attachment of `a.jpg` where that is
there, and an item of its own where it is not.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, UserId
from orchestrator.ports import Entry, Live
from workers.storage.item_names import ident_in

LONGEST: Final = 255
"""Bytes of a file's name."""

READS: Final = 5
"""How often a file is read again that changes while it is read."""

_LARGE: Final = 1_000
"""Items from which on a folder's listing is kept."""
_RAW: Final = "raw:"
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def ref_of(name: str) -> str:
    """A file's name as text; one whose bytes are not UTF-8 in hexadecimal."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return _RAW + os.fsencode(name).hex()
    return _RAW + os.fsencode(name).hex() if name.startswith(_RAW) else name


def name_of(ref: str) -> str | None:
    """The file's name, or None where no file can have it or none that is an item."""
    if ref.startswith(_RAW):
        try:
            ref = os.fsdecode(bytes.fromhex(ref[len(_RAW) :]))
        except ValueError:
            return None
    if not ref or ref[0] == "." or "/" in ref or "\0" in ref:
        return None
    try:
        return ref if len(os.fsencode(ref)) <= LONGEST else None
    except UnicodeEncodeError:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What can be told of an item's files without reading them."""

    version: str
    modified: datetime | None
    size: int


def listing(folder: int) -> dict[str, list[str]]:
    """The names of the item files, in order, each with those of its attachments."""
    names = os.listdir(folder)
    names = [n for n in names if "." in n and n[0] != "." and not n.endswith(".tmp")]
    names.sort()
    present = set(names)
    items: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        suffix, dot, _ = rest.partition(".")
        item = f"{first}.{suffix}"
        if dot and item in present:
            items.setdefault(item, []).append(name)
        else:
            items.setdefault(name, [])
    return items


class Listings:
    """The listing of one large folder, kept from one call to the next while nobody else adds to it.

    A folder's time of change tells. Listing 200,000 names for each hundred of them that are
    written would take longer than to write them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._items: dict[str, list[str]] = {}

    def of(self, folder: int) -> dict[str, list[str]]:
        """As `listing`; not to be changed."""
        with self._lock:
            mark = _mark_of(folder)
            if mark == self._mark:
                return self._items
            items = listing(folder)
            if len(items) >= _LARGE:
                self._mark, self._items = mark, items
            return items

    def is_true(self, folder: int) -> bool:
        """Whether what is kept is what is there now."""
        with self._lock:
            return self._mark is not None and self._mark == _mark_of(folder)

    def add(self, folder: int, items: Mapping[str, Iterable[str]]) -> None:
        """Take in what was just made where the listing was true: items with their attachments."""
        with self._lock:
            self._items.update((name, sorted(parts)) for name, parts in items.items())
            self._mark = _mark_of(folder)


def _mark_of(folder: int) -> tuple[int, int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino, status.st_mtime_ns


def seen_of(folder: int, name: str, parts: Sequence[str]) -> Seen | None:
    """None where there is no such file (any more)."""
    marks: list[str] = []
    modified, size = 0, 0
    for file in (name, *parts):
        try:
            status = os.stat(file, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, ValueError):
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            if file is name:
                return None
            continue
        times = f"{status.st_mtime_ns:x}.{status.st_ctime_ns:x}"
        marks.append(f"{status.st_ino:x}.{times}.{status.st_size:x}")
        modified = max(modified, status.st_mtime_ns) if len(marks) > 1 else status.st_mtime_ns
        size += status.st_size
    version = marks[0]
    if len(marks) > 1:
        version += "." + sha256(" ".join(marks).encode()).hexdigest()[:32]
    return Seen(version=version, modified=_time(modified), size=size)


def _time(nanoseconds: int) -> datetime | None:
    """None for a time that no calendar has: then the change counts as the user's own."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None


def entry_of(owner: UserId, name: str, seen: Seen) -> Entry:
    """The same for the pipeline, with the ident that the name claims."""
    return Entry(
        owner=owner,
        ref=ref_of(name),
        version=seen.version,
        ident=ident_in(name),
        modified=seen.modified,
        size=seen.size,
    )


def live_of(folder: int, owner: UserId, name: str, parts: Sequence[str]) -> Live | None:
    """One item, read until it held still."""
    before = seen_of(folder, name, parts)
    for _ in range(READS):
        if before is None:
            return None
        content = read(folder, name)
        attachments = [(part, read(folder, part)) for part in parts]
        after = seen_of(folder, name, parts)
        if after == before and content is not None:
            return Live(
                entry=entry_of(owner, name, before),
                content=content,
                attachments=tuple(
                    Attachment(name=part[len(name) + 1 :], data=data)
                    for part, data in attachments
                    if data is not None
                ),
            )
        before = after
    raise Unavailable(
        "vdir target: a file changes all the time", retry_in=5.0, hint="look who is writing"
    )


def read(folder: int, name: str) -> bytes | None:
    """The bytes of a regular file; None where there is none."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
            return None
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.readall()


def exists(folder: int, name: str) -> bool:
    """Whether anything has that name, a dangling link included."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
