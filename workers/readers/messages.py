"""What a worker and its reader say to each other over two pipes, and how it is written down.

A message is its kind, its length, and its bytes. The worker believes nothing that a reader says:
every message is of a known kind, of bounded length and of the expected types, or the reader is
ended. A reader trusts its worker.
"""

import os
import select
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import IntEnum
from struct import Struct as Layout
from typing import Final

import msgspec
from msgspec import Struct

from orchestrator.items import Found
from orchestrator.ports import Rules
from orchestrator.reasons import Reason

LARGE: Final = 64 * 1024
"""A file of more bytes is sent alone, when it is asked for; contents of more are not sent back."""
PAGE_FILES: Final = 512
PAGE_BYTES: Final = 512 * 1024
"""So many small files are sent ahead, in one message."""
SHEAF_FILES: Final = 64
SHEAF_BYTES: Final = 4 * 1024 * 1024
"""So many of the files that follow one that is asked for come with it, where files are large."""
FLUSH_BYTES: Final = 128 * 1024
FLUSH_FOUND: Final = 256

NOTE: Final = Layout("=qq")
"""What a reader has in its hands: the file's number in its folder from 1, the number beside it."""
NOTHING: Final = (0, 0)
SHARED_AT: Final = 4096
"""Where in the note's file the bytes of large files begin."""
_HEADER: Final = Layout("=BQ")
_CHUNK: Final = 256 * 1024


class Kind(IntEnum):
    """What a message is."""

    BEGIN = 1
    """To the reader: `Begin`."""
    PAGE = 2
    """To the reader: `Page`, the answer to NEXT."""
    SHEAF = 3
    """To the reader: `Sheaf`, the answer to READ and VOUCH."""
    ALONE = 4
    """The same with nothing but the file that was asked for; the last sheaf stays."""
    DECODED = 5
    """To the reader: `Decoded`, the answer to DECODE."""
    FOUND = 6
    """To the worker: `Haul`."""
    NEXT = 7
    """To the worker: asks for files from that number on."""
    READ = 8
    """To the worker: asks for the bytes of the file in the note."""
    DECODE = 9
    """To the worker: `Decode`, then the picture in a message of kind PICTURE."""
    END = 10
    """To the worker: the folder is read."""
    FAILED = 11
    """To the worker: parsing ended with an error; its class and place in the program."""
    PICTURE = 12
    """To the worker: the bytes that belong to DECODE."""
    VOUCH = 13
    """To the worker: asks who vouches for the file in the note."""


class Rejection(Struct, frozen=True, tag=0, array_like=True, gc=False):
    """`ItemRejected` of a file."""

    reason: Reason
    detail: str
    data: bytes


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One file; small ones with their bytes, or why those cannot be had."""

    name: str
    size: int
    modified: datetime | None = None
    data: bytes | Rejection | None = None
    beside: tuple["Entry", ...] = ()
    vouched: bool = False


class Shared(Struct, frozen=True, tag=1, array_like=True, gc=False):
    """A large file, whose bytes lie in the note's file."""

    offset: int
    """From `SHARED_AT`."""
    length: int


class Word(Struct, frozen=True, tag=2, array_like=True, gc=False):
    """A large file that a digest vouches for: it stays where it is."""

    head: bytes
    length: int
    sha256: bytes


Sent = bytes | Rejection | Shared | Word


class Sheaf(Struct, frozen=True, array_like=True):
    """A file that was asked for, and some before or after it."""

    first: int
    """The number of the first one; the others follow."""
    sent: list[Sent]


class Page(Struct, frozen=True, array_like=True):
    """Files of a folder in their order; `last`: none come after them."""

    entries: list[Entry]
    last: bool


class Begin(Struct, frozen=True, array_like=True):
    """One folder to be read."""

    category: bytes
    """Pickled: it is the plan's, and no reader can send one back."""
    owner: str
    rules: Rules
    page: Page


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """A content that the worker still holds: a part of a large file that it sent last."""

    index: int
    """Of what it is the content or data, in the haul."""
    number: int
    part: int
    """Which file, as in the note."""
    offset: int
    length: int


class Haul(Struct, frozen=True, array_like=True):
    """What was found, in order."""

    found: list[Found]
    kept: list[Kept]


class Decode(Struct, frozen=True, array_like=True):
    """A picture that has to be decoded in a process of its own."""

    kind: str
    budget: int
    seconds: int


class Decoded(Struct, frozen=True, array_like=True):
    """How the decoder ended, and what it said. No status: it took too long."""

    status: int | None
    word: str


class Ended(Exception):
    """The other side has gone, or says what it must not."""


class Late(Exception):
    """The other side has said nothing for a while."""


class Line:
    """Both pipes of one side. `patience` in seconds: then `Late` is raised, and one may go on."""

    def __init__(self, incoming: int, outgoing: int, *, patience: float | None = None) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._patience = patience
        self._waiting: tuple[select.poll, select.poll] | None = None
        self._held = bytearray()
        if patience is not None:
            heard, room = select.poll(), select.poll()
            heard.register(incoming, select.POLLIN)
            room.register(outgoing, select.POLLOUT)
            self._waiting = heard, room
            os.set_blocking(incoming, False)
            os.set_blocking(outgoing, False)

    def say(self, kind: Kind, *parts: bytes, late: Callable[[], None] | None = None) -> None:
        """Send one message. Raises `Ended`; calls `late` whenever patience is at an end."""
        header = _HEADER.pack(kind, sum(map(len, parts)))
        views = [memoryview(part) for part in (header, *parts) if part]
        while views:
            try:
                written = os.writev(self._outgoing, views)
            except BlockingIOError:
                self._wait_for(1, late)
                continue
            except OSError as error:
                raise Ended from error
            views = _rest(views, written)

    def hear(
        self, most: int | None = None, *, late: Callable[[], None] | None = None
    ) -> tuple[Kind, bytes]:
        """The next message. Raises `Ended`; calls `late` whenever patience is at an end."""
        self._fill(_HEADER.size, late)
        number, length = _HEADER.unpack_from(self._held)
        if most is not None and length > most:
            raise Ended
        try:
            kind = Kind(number)
        except ValueError as error:
            raise Ended from error
        whole = _HEADER.size + length
        if length > _CHUNK:
            return kind, self._large(length, late)
        self._fill(whole, late)
        payload = bytes(memoryview(self._held)[_HEADER.size : whole])
        del self._held[:whole]
        return kind, payload

    def _large(self, length: int, late: Callable[[], None] | None) -> bytes:
        """Straight into its place."""
        payload = bytearray(length)
        ready = len(self._held) - _HEADER.size
        payload[:ready] = memoryview(self._held)[_HEADER.size :]
        self._held.clear()
        with memoryview(payload) as view:
            while ready < length:
                try:
                    got = os.readv(self._incoming, [view[ready:]])
                except BlockingIOError:
                    self._wait_for(0, late)
                    continue
                if not got:
                    raise Ended
                ready += got
        return bytes(payload)

    def _fill(self, size: int, late: Callable[[], None] | None) -> None:
        while len(self._held) < size:
            try:
                got = os.read(self._incoming, _CHUNK)
            except BlockingIOError:
                self._wait_for(0, late)
                continue
            except OSError as error:
                raise Ended from error
            if not got:
                raise Ended
            self._held += got

    def _wait_for(self, which: int, late: Callable[[], None] | None) -> None:
        if self._waiting is None or self._patience is None:
            raise Ended  # a blocking pipe does not come here
        if not self._waiting[which].poll(self._patience * 1000):
            if late is None:
                raise Late
            late()


def _rest(views: Sequence[memoryview], written: int) -> list[memoryview]:
    rest: list[memoryview] = []
    for view in views:
        if written >= len(view):
            written -= len(view)
        else:
            rest.append(view[written:])
            written = 0
    return rest


def processor_seconds(pid: int) -> float:
    """Processor time of another process. Raises `OSError` where the system does not tell."""
    return time.clock_gettime(((~pid) << 3) | 2)  # CPUCLOCK_SCHED of linux/posix-timers.h


ENCODER: Final = msgspec.msgpack.Encoder()
PAGES: Final = msgspec.msgpack.Decoder(Page)
BEGINNINGS: Final = msgspec.msgpack.Decoder(Begin)
HAULS: Final = msgspec.msgpack.Decoder(Haul)
DECODES: Final = msgspec.msgpack.Decoder(Decode)
DECODINGS: Final = msgspec.msgpack.Decoder(Decoded)
SHEAVES: Final = msgspec.msgpack.Decoder(Sheaf)
