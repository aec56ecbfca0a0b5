"""The roll of a run: everyone in scope, in order, and whose id could be mistaken for another's.

In bounded memory, however many there are: ids are sorted in chunks that lie in a temporary file
without a name, sealed, and are merged as they are read.

Why all ids of a run are compared with each other: two ids that differ only in case, spelling form,
spaces or invisible characters may be one person or two, and restoring to the wrong one cannot be
taken back. Their data is quarantined instead.
"""

import hashlib
import heapq
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import IO

import msgspec

from orchestrator.items import UserId
from orchestrator.sealing import Sealer

CHUNK = 50_000
"""Records that are sorted in memory at a time."""
PAGE = 500
"""Records that are sealed and read together."""
_CONTEXT = b"roll"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class Sorted:
    """Any number of short byte strings, given in any order, read in theirs, each once.

    May be read again and again; give nothing more once it was read.
    """

    def __init__(self, sealer: Sealer, *, chunk: int = CHUNK) -> None:
        self._sealer = sealer
        self._chunk = chunk
        self._buffer: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._chunks: list[list[tuple[int, int]]] = []
        """Of each chunk, where its pages begin and how long they are."""

    def add(self, record: bytes) -> None:
        """Take in one more."""
        self._buffer.append(record)
        if len(self._buffer) >= self._chunk:
            self._put_down()

    def __iter__(self) -> Iterator[bytes]:
        """In order, without repetition."""
        merged = heapq.merge(*map(self._read, self._chunks), sorted(self._buffer))
        return (record for record, _ in groupby(merged))

    def close(self) -> None:
        """Let go of the file; it had no name, so nothing is left."""
        if self._file is not None:
            self._file.close()

    def _put_down(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="reinstate-")  # noqa: SIM115  see `close`
        remaining = iter(sorted(set(self._buffer)))
        pages: list[tuple[int, int]] = []
        while page := list(islice(remaining, PAGE)):
            sealed = self._sealer.seal(_encode(page), _CONTEXT)
            pages.append((self._file.seek(0, 2), len(sealed)))
            self._file.write(sealed)
        self._chunks.append(pages)
        self._buffer = []

    def _read(self, pages: list[tuple[int, int]]) -> Iterator[bytes]:
        if self._file is None:
            return
        for start, length in pages:
            self._file.seek(start)
            yield from _decode(self._sealer.open(self._file.read(length), _CONTEXT))


class Roll:
    """Everyone in scope. Call out all names, then `take_stock`, then read."""

    def __init__(self, sealer: Sealer, *, chunk: int = CHUNK) -> None:
        self._sealer = sealer
        self._ids = Sorted(sealer, chunk=chunk)
        self._spellings = Sorted(sealer, chunk=chunk)
        self.total = 0
        """Users in scope; known once stock was taken."""
        self.fingerprint = ""
        """Of who they are and in which order."""
        self._alike: frozenset[bytes] = frozenset()

    def hold(self, users: Iterable[UserId]) -> None:
        """Take in users that a source holds."""
        for user in users:
            self._ids.add(user.encode())
            self._compare(user)

    def choose(self, users: Iterable[UserId]) -> None:
        """Take in users that a list names; only what they look like is kept of them."""
        for user in users:
            self._compare(user)

    def take_stock(self, listed: Iterable[UserId] | None) -> None:
        """Count, and find ids that are too much alike.

        `listed`: who is in scope, in order; None: everyone whom sources hold.
        """
        seal = hashlib.sha256()
        total = 0
        for user in self.held() if listed is None else listed:
            seal.update(self._sealer.user_hash(user))
            total += 1
        self.total, self.fingerprint = total, seal.hexdigest()
        found: set[bytes] = set()
        for _, group in groupby(self._spellings, key=lambda pair: pair[:16]):
            alike = [pair[16:] for pair in group]
            if len(alike) > 1:
                found.update(alike)
        self._alike = frozenset(found)

    def held(self) -> Iterator[UserId]:
        """Everyone whom sources hold, in the order of their ids."""
        return (UserId(record.decode()) for record in self._ids)

    def ambiguous(self, user_hash: bytes) -> bool:
        """Whether this id could be mistaken for another one that was called out."""
        return user_hash in self._alike

    def close(self) -> None:
        """Forget everybody."""
        self._ids.close()
        self._spellings.close()

    def _compare(self, user: UserId) -> None:
        hashed = self._sealer.user_hash
        self._spellings.add(hashed(likeness(user)) + hashed(user))


def likeness(user: UserId) -> str:
    """Equal for ids that a person would take for the same."""
    if user.isascii() and user.isprintable():  # its own normal form, but for spaces
        return user.lower().replace(" ", "")
    composed = unicodedata.normalize("NFKC", user).casefold()
    return "".join(char for char in unicodedata.normalize("NFKC", composed) if _visible(char))


def _visible(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in {"Cf", "Cc", "Mn"}
