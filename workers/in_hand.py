"""Which copy this process has in its hands, noted where its death cannot take it.

A note is a small file that stays mapped into memory: writing it costs no system call, and what was
written is there when the process is killed at the next instruction. The process holds the file's
lock for as long as it lives, so whoever gets the lock knows that it died. Notes hold numbers and a
keyed hash, nothing personal. They do not survive the machine.
"""

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Generator, Iterator
from hashlib import blake2b
from pathlib import Path
from struct import Struct as Layout

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.ledger.deaths import Death
from orchestrator.reasons import Reason

_NOTE = Layout("<?q i i i 16s 16s")
"""Whether a copy is in hand; batch, epoch, phase, user; run; copy."""
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class InHand:
    """This process's own note. Without a `folder` it is lost with the process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._note: mmap.mmap | bytearray = bytearray(_NOTE.size)
        self._file = -1
        self._path: Path | None = None
        self._batch: tuple[int, int, int, bytes] = (0, 0, 0, b"")
        if folder is not None:
            with contextlib.suppress(OSError):  # no note then: its unit fails alone, as a whole
                self._make(folder)

    def _make(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden, path = folder / f".{name}", folder / name
        self._file = os.open(hidden, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(self._file, _NOTE.size)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._note = mmap.mmap(self._file, _NOTE.size)
        hidden.rename(path)  # seen by others only from now on, when it is locked
        self._path = path

    def close(self) -> None:
        """Forget it: this process ends in peace."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if isinstance(self._note, mmap.mmap):
            self._note.close()
            os.close(self._file)
            self._note = bytearray(_NOTE.size)

    # Ours ---------------------------------------------------------------------------------------

    def begin(self, *, batch: int, epoch: int, phase: int, run: str) -> None:
        """What comes is of that batch."""
        self._batch = (batch, epoch, phase, run.encode())
        self.let_go()

    def hold(self, user: int, copy: bytes) -> None:
        """That copy of that user is about to be parsed."""
        batch, epoch, phase, run = self._batch
        _NOTE.pack_into(self._note, 0, True, batch, epoch, phase, user, run, copy)

    def let_go(self) -> None:
        """Nothing is being parsed."""
        self._note[0] = 0

    @contextlib.contextmanager
    def put_down(self) -> Generator[None]:
        """While something else is done: whoever dies of that does not die of a copy."""
        before, self._note[0] = self._note[0], 0
        try:
            yield
        finally:
            self._note[0] = before

    def held(self) -> Death | None:
        """What would be told of this process if it died now."""
        return _read(self._note)

    # Those of others ----------------------------------------------------------------------------

    def left_behind(self) -> Iterator[Death]:
        """What the dead of this machine had in their hands. Gone once the next one is asked for."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(self._folder))  # noqa: PTH208  cheaper, and asked often
            for name in names:
                if name[0] != "." and (self._path is None or name != self._path.name):
                    yield from _left(self._folder / name)


def _left(path: Path) -> Iterator[Death]:
    with contextlib.suppress(OSError), _opened(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an error: its process lives
        if os.fstat(file).st_nlink:
            death = _read(os.pread(file, _NOTE.size, 0))
            if death is not None:
                yield death
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Generator[int]:
    file = os.open(path, _FLAGS)
    try:
        yield file
    finally:
        os.close(file)


def _read(note: bytes | bytearray | mmap.mmap) -> Death | None:
    if len(note) != _NOTE.size or not note[0]:
        return None
    _, batch, epoch, phase, user, run, copy = _NOTE.unpack(note[:])
    run_id = run.rstrip(b"\0").decode("ascii", "replace")
    return Death(batch=batch, epoch=epoch, run=run_id, phase=phase, user=user, copy=copy)


class Watch(Struct, frozen=True):
    """Looks at each file of one unit between its reading and its parsing."""

    in_hand: InHand
    user: int
    key: bytes
    """What hashes are made with: without it they tell nothing."""
    poisonous: frozenset[bytes] = frozenset()
    """Copies that were in hand when a worker died, too often."""

    def before(self) -> None:
        """A file is about to be read: whoever dies of that does not die of a copy."""
        self.in_hand.let_go()

    def take(self, source: str, name: str, data: bytes) -> None:
        """Its bytes are about to be parsed. Raises `ItemRejected` where that killed before."""
        self.check(source, name, data)
        self.in_hand.hold(self.user, self._named(source, name))

    def check(self, source: str, name: str, data: bytes) -> None:
        """Its bytes go to whoever parses them. Raises `ItemRejected` where that killed before."""
        if self.poisonous and self._named(source, name) in self.poisonous:
            raise ItemRejected(Reason.POISON, "reading it ended whoever did, twice", data=data)

    def hold(self, source: str, name: str) -> None:
        """A reader has it in its hands: whoever ends now, ends of it."""
        self.in_hand.hold(self.user, self._named(source, name))

    def _named(self, source: str, name: str) -> bytes:
        named = f"{source}\n{name}".encode("utf-8", "surrogatepass")
        return blake2b(named, key=self.key, digest_size=16).digest()


UNWATCHED = Watch(InHand(), 0, b"")
"""Where nothing is to be told of a death."""
