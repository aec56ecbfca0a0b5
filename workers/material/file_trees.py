"""Files below a folder that is not ours: listed in a stable order, read without leaving the tree.

Never follows a symbolic link, never opens a device, socket or FIFO, never writes. Paths are bytes
throughout: what a name means must not depend on the locale of the process that reads it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import File
from orchestrator.reasons import Reason

AWAY: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH"),
        *("EMFILE", "ENFILE", "ENOMEM", "EAGAIN"),
    )
)
"""Errors that say nothing about one file: its file system or this process is in trouble."""

ABSENT: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG))

OPENED: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Should a file have been replaced by a link or FIFO since it was listed, nothing is followed and
nothing waits."""

FILE_BYTES: Final = 512 * 1024 * 1024
"""A larger file is quarantined unread, so that no file can exhaust a worker's memory."""


class Entry(Struct, frozen=True, gc=False):
    """One thing below a folder that is not a folder, or a folder that cannot be listed."""

    name: bytes
    """Relative to the folder that was walked; '/' separates levels."""
    path: bytes
    size: int
    modified: int
    """Nanoseconds since 1970."""
    fault: str = ""
    """Why it cannot be read; empty for a regular file."""


class Tree:
    """The files below `root`. `called` names the root in messages, as the plan does."""

    def __init__(self, root: Path, *, called: str, file_bytes: int = FILE_BYTES) -> None:
        self.root = os.fsencode(root)
        self._called = called
        self._file_bytes = file_bytes
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """Prove that the root is there, is the one seen before, and is not suddenly empty.

        A mount that went away leaves an empty folder, or another one: both look like users
        without data, which must never be believed.

        Raises:
            Unavailable: It is not so.
        """
        try:
            opened = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            try:
                status = os.fstat(opened)
                with os.scandir(opened) as listing:
                    empty = next(listing, None) is None
            finally:
                os.close(opened)
        except OSError as error:
            raise Unavailable(
                f"the folder {self._called} cannot be read: {_spelled(error)}",
                hint="is it mounted, is the path right, may this user read it?",
            ) from error
        if empty:
            raise Unavailable(
                f"the folder {self._called} is empty",
                hint="is it mounted? A source that holds nothing has to be left out of the plan",
            )
        identity = (status.st_dev, status.st_ino)
        if self._identity not in (None, identity):
            raise Unavailable(
                f"the folder {self._called} is not the one that was read before",
                hint="was it mounted or replaced since? Start the worker again to read the new one",
            )
        self._identity = identity

    def is_folder(self, *parts: bytes) -> bool:
        """Whether a folder lies there, and no link to one on the way.

        Raises:
            Unavailable: The whole tree is away.
        """
        path = self.root
        for part in parts:
            path = b"/".join((path, part))
            try:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    return False
            except OSError as error:
                if error.errno in ABSENT:
                    self.check()
                    return False
                self.recognise_absence(error)
                return True  # listing it will say what is wrong with it
        return True

    def level(self, *parts: bytes) -> list[os.DirEntry[bytes]]:
        """What lies directly in one folder, by name; nothing where there is no such folder.

        Raises:
            Unavailable: The whole tree is away.
            OSError: This folder cannot be listed.
        """
        try:
            return self._listed(b"/".join((self.root, *parts)))
        except OSError as error:
            if error.errno in ABSENT:
                return []
            raise

    def _listed(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        try:
            with os.scandir(folder) as listing:
                return sorted(listing, key=_name)
        except OSError as error:
            self.recognise_absence(error)
            raise

    def walk(self, *parts: bytes) -> Iterator[Entry]:
        """Everything below one folder, at any depth, in the order of the bytes of its names.

        Raises:
            Unavailable: The whole tree is away.
        """
        path = b"/".join((self.root, *parts))
        try:
            waiting = [(b"", path, iter(self._names(path)))]
        except OSError as error:
            if error.errno in ABSENT:
                return
            yield Entry(b".", path, 0, 0, f"the folder cannot be listed: {_spelled(error)}")
            return
        while waiting:
            above, folder, names = waiting[-1]
            last = next(names, None)
            if last is None:
                waiting.pop()
                continue
            name, path = above + last, b"/".join((folder, last))
            try:
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((name + b"/", path, iter(self._names(path))))
                else:
                    yield _entry(status, name, path)
            except OSError as error:
                self.recognise_absence(error)
                yield Entry(name, path, 0, 0, f"cannot be listed: {_spelled(error)}")

    def _names(self, folder: bytes) -> list[bytes]:
        """In order; nothing but names, or what is known of 200,000 would take ten times as much."""
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208  bytes, and all at once
        except OSError as error:
            self.recognise_absence(error)
            raise

    def head(self, *parts: bytes, limit: int) -> bytes | None:
        """The first bytes of a file; None where none can be read."""
        try:
            opened = os.open(b"/".join((self.root, *parts)), OPENED)
            with os.fdopen(opened, "rb") as file:
                return file.read(limit)
        except OSError:
            return None

    def folds_case(self, part: bytes) -> bool | None:
        """Whether another case of an existing name leads to the same folder; None: cannot tell."""
        other = part.swapcase()
        if other == part:
            return None
        path, twin = b"/".join((self.root, part)), b"/".join((self.root, other))
        try:
            return os.path.samestat(os.lstat(path), os.lstat(twin))
        except OSError:
            return False

    def file(self, entry: Entry) -> File:
        """An entry as a source gives it; what cannot be read says so when it is."""
        return File(
            name=text_of(entry.name),
            size=entry.size,
            read=partial(self.read, entry),
            modified=moment(entry.modified),
        )

    def read(self, entry: Entry) -> bytes:
        """All bytes of an entry.

        Raises:
            Unavailable: The whole tree is away.
            ItemRejected: These bytes cannot be had; its data is what could be read.
        """
        if entry.fault:
            raise ItemRejected(Reason.UNREADABLE, entry.fault)
        if entry.size > self._file_bytes:
            raise ItemRejected(
                Reason.TOO_LARGE, f"{entry.size} bytes, the limit is {self._file_bytes}"
            )
        data = b""
        try:
            opened = os.open(entry.path, OPENED)
            try:
                # One byte more than promised: growing files are noticed, ends need no second read.
                while len(data) < entry.size:
                    block = os.read(opened, entry.size + 1 - len(data))
                    if not block:
                        break
                    data = data + block if data else block
            finally:
                os.close(opened)
        except OSError as error:
            self.recognise_absence(error)
            raise ItemRejected(Reason.UNREADABLE, _spelled(error), data=data) from error
        if len(data) != entry.size:
            raise ItemRejected(
                Reason.UNREADABLE,
                f"changed since it was listed with {entry.size} bytes",
                data=data[: entry.size],
            )
        return data

    def recognise_absence(self, error: OSError) -> None:
        """Raise `Unavailable` where an error is not one file's: the tree is away."""
        if error.errno in AWAY:
            raise Unavailable(
                f"the folder {self._called} cannot be read: {_spelled(error)}",
                hint="is its file system still there, does it answer?",
            ) from error
        self.check()


def text_of(name: bytes) -> str:
    """A name as text.

    One that is not UTF-8 is spelled with escapes and a hash of its bytes, so that no two names
    become one.
    """
    try:
        return name.decode()
    except UnicodeDecodeError:
        return f"{name.decode(errors='backslashreplace')}~{sha256(name).hexdigest()[:12]}"


def moment(nanoseconds: int) -> datetime | None:
    """A file's time; None where it lies outside what a date can say."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _entry(status: os.stat_result, name: bytes, path: bytes) -> Entry:
    if stat.S_ISREG(status.st_mode):
        return Entry(name, path, status.st_size, status.st_mtime_ns)
    link = stat.S_ISLNK(status.st_mode)
    fault = "a symbolic link, which is not followed" if link else "not a regular file"
    return Entry(name, path, 0, status.st_mtime_ns, fault)


def _name(found: os.DirEntry[bytes]) -> bytes:
    return found.name


def _spelled(error: OSError) -> str:
    """An error without the path that it holds."""
    return errno.errorcode.get(error.errno or 0, "unknown error")
