"""Files that appear whole or not at all, and are still there after the machine has crashed.

Bytes are first staged under names of no meaning in a hidden folder, made durable all at once, then
given their real names by the caller (`os.link`: never over anything; `os.rename`: instead of what
is there). The names are durable after `sync_folders`.

Why `syncfs`: a thousand small files cost 200 µs each with fsync one by one, 65 µs each with
threads, 11 µs each with one syncfs. Where few files are written, or there is no syncfs, fsync is
used: it does not wait for what other programs wrote.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Collection, Generator
from functools import cache
from itertools import count
from types import TracebackType
from typing import Final, Self

from orchestrator.errors import Unavailable

FEW: Final = 8
"""Up to so many files or folders are made durable one by one."""

PATIENCE: Final = 10.0
"""Seconds to wait for a lock before the attempt is given up."""

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STAGE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_HINTS: Final = {
    errno.ENOSPC: "free some space; the run goes on by itself",
    errno.EDQUOT: "raise the quota; the run goes on by itself",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "let the worker's user read and write there",
    errno.EPERM: "let the worker's user write there, on a file system that has hard links",
    errno.ENOENT: "create the folder or mount what belongs there",
    errno.ENOTDIR: "a link or a file lies where a folder should be: replace it by a folder",
    errno.ELOOP: "a link lies where a folder should be: replace it by a folder or a bind mount",
    errno.EXDEV: "keep the whole tree on one file system",
    errno.ENOTSUP: "use a file system that has hard links and locks",
    errno.EBADF: "use a file system on which folders can be locked (not NFS)",
}


@contextlib.contextmanager
def away(what: str) -> Generator[None]:
    """Turns whatever the operating system complains of into `Unavailable`, without any path."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise Unavailable(
            f"{what}: {os.strerror(number)}",
            retry_in=30.0,
            hint=_HINTS.get(number, "look at the disk and the kernel's log"),
        ) from None


@contextlib.contextmanager
def opened(name: str | os.PathLike[str], *, inside: int | None = None) -> Generator[int]:
    """A folder's descriptor; below another one, a link in its place is an error (ENOTDIR)."""
    flags = FOLDER if inside is None else FOLDER | os.O_NOFOLLOW
    descriptor = os.open(name, flags, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: int) -> Generator[None]:
    """Holds the folder's own lock: `flock FOLDER command` in a shell respects it too.

    Raises:
        Unavailable: someone held it for ten seconds.
    """
    _lock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def _lock(folder: int, operation: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(folder, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "a folder is locked by another program",
                    retry_in=PATIENCE,
                    hint="look for what holds a flock there",
                ) from None
            time.sleep(0.005)
        else:
            return


def mark(root: int) -> None:
    """Put a mark of its own on a folder that has none, where its file system takes marks.

    A folder that was removed and made again under the same path is told from the old one by it. An
    extended attribute, because whoever lists or copies the folder's files is not concerned by it.
    """
    with contextlib.suppress(OSError):
        os.setxattr(root, _MARK, secrets.token_hex(8).encode(), os.XATTR_CREATE)


def mark_of(root: str | os.PathLike[str] | int) -> str:
    """The mark of a folder; empty where it has none."""
    with contextlib.suppress(OSError):
        return os.getxattr(root, _MARK).decode("ascii", "replace")
    return ""


_MARK = "user.reinstate"


def sync_folders(root: int, folders: Collection[str]) -> None:
    """Make the names in these folders below `root` durable; a folder that is gone is left out."""
    syncfs = _syncfs()
    if len(folders) > FEW and syncfs is not None:
        syncfs(root)
        return
    for folder in folders:
        with contextlib.suppress(FileNotFoundError), opened(folder, inside=root) as descriptor:
            os.fsync(descriptor)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """The system call that Python has no name for; None where the system has none either."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return None

    def syncfs(descriptor: int) -> None:
        if call(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


class Staging:
    """The hidden folder of bytes that have no name yet; whatever is left there is removed.

    Held under a shared lock while in use, so whoever gets it alone knows that all the rest was
    left by the dead.
    """

    def __init__(self, root: int, name: str, *, mode: int, files: int) -> None:
        self.root = root
        self.name = name
        self.mode = mode
        self.folder = -1
        self._at_once = _syncfs() if files > FEW else None
        self._names = (f"{secrets.token_hex(8)}-{n}" for n in count())
        self._present: set[str] = set()

    def __enter__(self) -> Self:
        """Make the folder and take part in its lock."""
        while True:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.name, 0o700, dir_fd=self.root)
            try:
                self.folder = os.open(self.name, FOLDER | os.O_NOFOLLOW, dir_fd=self.root)
            except FileNotFoundError:
                continue  # another one, leaving, has just removed it
            try:
                self._join()
            except BaseException:
                os.close(self.folder)
                raise
            if os.fstat(self.folder).st_nlink:
                return self
            os.close(self.folder)

    def _join(self) -> None:
        try:
            fcntl.flock(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _lock(self.folder, fcntl.LOCK_SH)
            return
        for left in os.listdir(self.folder):  # noqa: PTH208 - pathlib knows no descriptors
            with contextlib.suppress(FileNotFoundError):
                os.unlink(left, dir_fd=self.folder)
        fcntl.flock(self.folder, fcntl.LOCK_SH)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what was not used and, where nobody else is in it, the folder."""
        del kind, error, trace
        for name in self._present:
            with contextlib.suppress(OSError):  # whoever is next alone removes it
                os.unlink(name, dir_fd=self.folder)
        with contextlib.suppress(OSError):
            fcntl.flock(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rmdir(self.name, dir_fd=self.root)
        os.close(self.folder)

    def put(self, data: bytes) -> str:
        """Stage bytes; gives their name in `folder`. Durable after `sync`."""
        name = next(self._names)
        descriptor = os.open(name, _STAGE, self.mode, dir_fd=self.folder)
        self._present.add(name)
        try:
            if self.mode & 0o077:
                os.fchmod(descriptor, self.mode)  # whatever the process's umask takes away
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if self._at_once is None:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return name

    def sync(self) -> None:
        """Make everything that was put durable."""
        if self._at_once is not None:
            self._at_once(self.root)

    def used(self, name: str) -> None:
        """That name has been renamed away: there is nothing to remove."""
        self._present.discard(name)

    def drop(self, name: str) -> None:
        """Remove that name now; the bytes stay where they were linked to."""
        os.unlink(name, dir_fd=self.folder)
        self._present.discard(name)
