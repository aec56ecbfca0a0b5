"""A worker's side: starts readers, serves them files, and believes nothing that they say.

A reader that dies, loops, takes too much memory or says nonsense is ended, and the copy that it had
in its hands is told; the next folder gets another reader.
"""

import contextlib
import fcntl
import mmap
import os
import pickle
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Copy, Damaged, File, Folder, Found
from orchestrator.ports import Category, Rules
from orchestrator.reasons import Reason
from workers.formats import image_decoding
from workers.formats.image_kinds import ImageKind
from workers.readers import messages
from workers.readers.messages import (
    ENCODER,
    LARGE,
    NOTE,
    PAGE_BYTES,
    PAGE_FILES,
    SHARED_AT,
    Begin,
    Decoded,
    Ended,
    Entry,
    Haul,
    Kind,
    Line,
    Page,
    Rejection,
)
from workers.readers.template import ANSWER, BOOT, ORDER

MEMORY: Final = 2 * 1024**3
"""Address space of a reader beyond what it starts with."""

_PACKETS: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_STREAM
_PATIENCE: Final = 0.25
_START_SECONDS: Final = 60.0
_PIPE_BYTES: Final = 256 * 1024
_SET_PIPE_SIZE: Final = 1031
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""So much shared memory is kept for the next large file."""
_REMEMBERED: Final = 50_000
_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The longest message, beyond several times the largest file sent."""
_ANSWER_FACTOR: Final = 8
_DECODE_BUDGET: Final = 8 * 1024**3
_DECODE_SECONDS: Final = 3_600

Holding = Callable[[str | None], None]
"""Told the name of the file that is being parsed, or None."""


class Parser(Protocol):
    """Where recovered bytes are parsed."""

    def parse(
        self, category: Category, folder: Folder, rules: Rules, holding: Holding
    ) -> Iterator[Found]:
        """What `category.read` gives. Raises `ItemRejected` where parsing ended the reader."""
        ...

    def renew(self) -> None:
        """What comes is of another batch: whatever parsed the last one is not used again."""
        ...


class Here:
    """In this process: simulations, tests, and where the sandbox is turned off."""

    def parse(
        self, category: Category, folder: Folder, rules: Rules, holding: Holding
    ) -> Iterator[Found]:
        """Whoever reads a file holds it; `holding` is for those who cannot."""
        del holding
        return category.read(folder, rules)

    def renew(self) -> None:
        """Nothing is kept."""


class Template:
    """What readers are forked from; one for a worker and all that it forks."""

    def __init__(self, *, strictness: str = "auto", memory: int = MEMORY) -> None:
        """Start it; it is waited for when it is first used."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, _PACKETS)
        with theirs:
            path = "\x1f".join(path for path in sys.path if path)
            words = (str(theirs.fileno()), str(memory), strictness, path)
            self._process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-I", "-X", "utf8", "-c", BOOT, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=image_decoding.environment(),
                cwd="/",
            )
        self._starter = os.getpid()

    def close(self) -> None:
        """Let go of it; whoever started it ends it."""
        self.control.close()
        if self._starter == os.getpid():
            self._process.kill()
            self._process.wait()


class Readers:
    """The readers of one worker process. Not for several threads."""

    def __init__(self, *, seconds: float, start: Callable[[], Template] = Template) -> None:
        """`seconds`: how long one file may take, of processor time.

        `start` gives the template, and another one where that has gone.
        """
        self._seconds = seconds
        self._start = start
        self._template: Template | None = None
        self._idle: list[_Reader] = []
        self._busy: list[_Reader] = []

    def parse(
        self, category: Category, folder: Folder, rules: Rules, holding: Holding
    ) -> Iterator[Found]:
        """Read a folder in a reader of this batch's own."""
        reader = self._idle.pop() if self._idle else self._new(category)
        self._busy.append(reader)
        whole = False
        try:
            yield from _Serving(reader, folder, holding, self._seconds).read(category, rules)
            whole = True
        finally:
            if reader in self._busy:
                self._busy.remove(reader)
                if whole:
                    self._idle.append(reader)
                else:
                    self._end(reader)

    def renew(self) -> None:
        """End every reader."""
        readers = [*self._idle, *self._busy]
        self._idle.clear()
        self._busy.clear()
        for reader in readers:
            self._end(reader)

    def close(self) -> None:
        """End everything, the template included."""
        self.renew()
        self._drop_template()

    # Processes ----------------------------------------------------------------------------------

    def _new(self, category: Category) -> "_Reader":
        trouble: Exception | None = None
        for _ in range(3):
            try:
                return self._fork(type(category).__module__)
            except (OSError, Ended) as error:
                trouble = error
                self._drop_template()
        raise Unavailable(
            "no process can be started to parse in", retry_in=5.0, hint="see reinstate doctor"
        ) from trouble

    def _fork(self, module: str) -> "_Reader":
        if self._template is None:
            self._template = self._start()
        with contextlib.ExitStack() as opened:
            theirs, outgoing = os.pipe()
            opened.callback(os.close, theirs)
            incoming, answers = os.pipe()
            opened.callback(os.close, answers)
            note = _note()
            told, telling = os.pipe()
            opened.callback(os.close, told)
            reader = _Reader(self._template, incoming, outgoing, note)
            for pipe in (outgoing, incoming):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)
            order = ORDER.pack(b"f", os.getpid(), module.encode()[:247])
            try:
                try:
                    socket.send_fds(
                        self._template.control, [order], [theirs, answers, note, telling]
                    )
                finally:
                    os.close(telling)
                reader.pid = _answer(told)
            except (OSError, Ended):
                reader.close()
                raise
            return reader

    def _drop_template(self) -> None:
        if self._template is not None:
            self._template.close()
            self._template = None

    def _end(self, reader: "_Reader") -> None:
        reader.close()
        if self._template is reader.template:  # where that has gone, its readers have, too
            with contextlib.suppress(OSError):
                reader.template.control.sendall(ORDER.pack(b"r", reader.pid, b""))


def _note() -> int:
    """A little memory to share."""
    if hasattr(os, "memfd_create"):
        note = os.memfd_create("note")
    else:
        with tempfile.TemporaryFile() as file:
            note = os.dup(file.fileno())
    os.ftruncate(note, NOTE.size)
    return note


def _answer(told: int) -> int:
    """The process that was forked. Raises `Ended`."""
    waiting = select.poll()
    waiting.register(told, select.POLLIN)
    if not waiting.poll(_START_SECONDS * 1000):
        raise Ended
    (process,) = ANSWER.unpack(os.read(told, ANSWER.size).ljust(ANSWER.size, b"\0"))
    if not process:
        raise Ended
    return process


class _Reader:
    """One process, as its worker sees it."""

    def __init__(self, template: Template, incoming: int, outgoing: int, note: int) -> None:
        self.template = template
        self.line = Line(incoming, outgoing, patience=_PATIENCE)
        self.pid = 0
        self._shared = note
        self._extent = 0
        self._note = mmap.mmap(note, NOTE.size)
        self._files = (incoming, outgoing, note)

    def holds(self) -> tuple[int, int]:
        """The number of the file in its hands, and the number beside it."""
        number, part = NOTE.unpack_from(self._note)
        return number, part

    def share(self, data: bytes) -> None:
        """Put a large file where the reader finds it: one copy instead of many small ones."""
        with memoryview(data) as view:
            written = 0
            while written < len(data):
                written += os.pwrite(self._shared, view[written:], SHARED_AT + written)
        if self._extent > _KEPT_BYTES > len(data):
            os.ftruncate(self._shared, SHARED_AT + len(data))
            self._extent = 0
        self._extent = max(self._extent, len(data))

    def close(self) -> None:
        """Let go of what leads to it."""
        for file in self._files:
            os.close(file)
        self._files = ()
        if not self._note.closed:
            self._note.close()


class _Serving:
    """One folder, served to one reader."""

    def __init__(self, reader: _Reader, folder: Folder, holding: Holding, seconds: float) -> None:
        self._reader = reader
        self._line = reader.line
        self._folder = folder
        self._holding = holding
        self._seconds = seconds
        self._iterator: Iterator[File] = iter(())
        self._next = 0
        """The number of files that the iterator has given."""
        self._remembered: list[File] = []
        self._most = _REMEMBERED
        self._ahead = True
        self._large = b""
        self._largest = 0
        self._seen = messages.NOTHING
        self._since: tuple[float, float] | None = None
        """Processor time of the reader, and ours, when it was first late with that file."""
        self._renamed: dict[str, str] = {}

    def read(self, category: Category, rules: Rules) -> Iterator[Found]:
        """Everything that the reader finds. Raises `ItemRejected` when it is lost."""
        if category.bulky:
            self._most, self._ahead = sys.maxsize, False
        try:
            page = self._page(0)
            named = pickle.dumps(category)
            self._say(Kind.BEGIN, Begin(named, self._folder.owner, rules, page))
            while True:
                kind, payload = self._hear()
                match kind:
                    case Kind.FOUND | Kind.END:
                        yield from self._believed(messages.HAULS.decode(payload))
                        if kind is Kind.END:
                            return
                    case Kind.NEXT:
                        self._say(Kind.PAGE, self._page(int.from_bytes(payload, "little")))
                    case Kind.READ:
                        self._send()
                    case Kind.DECODE:
                        self._decode(payload)
                    case Kind.FAILED:
                        raise self._lost(payload.decode("ascii", "replace")[:200])
                    case _:
                        raise self._lost("it spoke out of turn")
        except (Ended, msgspec.MsgspecError, IndexError) as error:
            raise self._lost("it ended, or spoke nonsense") from error

    # Speaking -----------------------------------------------------------------------------------

    def _say(self, kind: Kind, message: Begin | Page) -> None:
        try:
            encoded = ENCODER.encode(message)
        except UnicodeEncodeError:  # a file's name that is no text
            encoded = ENCODER.encode(self._spelt(message))
        self._since = None
        self._line.say(kind, encoded, late=self._late)

    def _hear(self) -> tuple[Kind, bytes]:
        self._since = None
        most = _ANSWER_BYTES + _ANSWER_FACTOR * self._largest
        return self._line.hear(most, late=self._late)

    def _late(self) -> None:
        """Nothing came for a while: see whether it goes on, and for how long with one file."""
        holds = self._reader.holds()
        now = time.monotonic()
        try:
            busy = messages.processor_seconds(self._reader.pid)
        except OSError:
            busy = now
        if self._since is None or holds != self._seen:
            self._seen, self._since = holds, (busy, now)
            self._tell()
        elif busy - self._since[0] > self._seconds or now - self._since[1] > 1.5 * self._seconds:
            raise self._lost("it takes too long")

    def _tell(self) -> None:
        file = self._held()
        self._holding(None if file is None else file.name)

    def _lost(self, why: str) -> ItemRejected:
        self._tell()
        return ItemRejected(Reason.POISON, f"reading it ended its reader: {why}")

    # Files --------------------------------------------------------------------------------------

    def _page(self, number: int) -> Page:
        entries: list[Entry] = []
        room, last = PAGE_BYTES, False
        for file in self._from(number):
            entry = self._entry(file, room)
            if isinstance(entry.data, bytes):
                room -= len(entry.data)
            entries.append(entry)
            if len(entries) >= PAGE_FILES or room <= 0:
                break
        else:
            last = True
        self._holding(None)
        return Page(entries, last)

    def _from(self, number: int) -> Iterator[File]:
        if number < len(self._remembered):
            yield from self._remembered[number:]
            number = len(self._remembered)
        if number != self._next or number == 0:
            self._iterator = islice(iter(self._folder.files), number, None)
            self._next = number
        for file in self._iterator:
            if self._next == len(self._remembered) < self._most:
                self._remembered.append(file)
            self._next += 1
            yield file

    def _entry(self, file: File, room: int) -> Entry:
        data: bytes | Rejection | None = None
        if self._ahead and file.size <= min(LARGE, room):
            data = self._bytes(file)
            if len(data.data if isinstance(data, Rejection) else data) > LARGE:
                data = None
        beside = tuple(self._entry(one, 0) for one in file.beside) if file.beside else ()
        return Entry(file.name, file.size, file.modified, data, beside)

    def _bytes(self, file: File) -> bytes | Rejection:
        try:
            data = file.read()
        except ItemRejected as rejected:
            return Rejection(rejected.reason, rejected.detail, rejected.data)
        self._largest = max(self._largest, len(data))
        return data

    def _held(self) -> File | None:
        """The file in the reader's hands; None where it holds none of this folder."""
        number, part = self._reader.holds()
        if number < 1:
            return None
        if number <= len(self._remembered):
            file = self._remembered[number - 1]
        else:
            file = next(islice(iter(self._folder.files), number - 1, None), None)
        parts = [] if file is None else list(_with_companions(file))
        return parts[part] if 0 <= part < len(parts) else None

    def _send(self) -> None:
        file = self._held()
        if file is None:
            raise Ended
        data = self._bytes(file)
        self._holding(None)
        self._since = None
        if isinstance(data, Rejection):
            self._line.say(Kind.REJECTED, ENCODER.encode(data), late=self._late)
            return
        if len(data) > LARGE:
            self._large = data
            self._reader.share(data)
            length = len(data).to_bytes(8, "little")
            self._line.say(Kind.SHARED, length, late=self._late)
            return
        self._line.say(Kind.BYTES, data, late=self._late)

    def _decode(self, payload: bytes) -> None:
        asked = messages.DECODES.decode(payload)
        kind, picture = self._hear()
        if kind is not Kind.BYTES or asked.kind not in set(ImageKind):
            raise Ended
        self._tell()
        ending = image_decoding.run_decoder(
            asked.kind,
            picture,
            budget=min(max(asked.budget, 0), _DECODE_BUDGET),
            seconds=min(max(asked.seconds, 1), _DECODE_SECONDS),
        )
        self._holding(None)
        answer = ENCODER.encode(Decoded(ending.status, ending.word))
        self._line.say(Kind.DECODED, answer, late=self._late)

    # What was found -----------------------------------------------------------------------------

    def _believed(self, haul: Haul) -> Iterator[Found]:
        found = haul.found
        for kept in haul.kept:
            if not 0 <= kept.offset <= kept.offset + kept.length <= len(self._large):
                raise Ended
            whole = kept.offset == 0 and kept.length == len(self._large)
            content = self._large if whole else self._large[kept.offset :][: kept.length]
            match found[kept.index]:
                case Copy() as copy:
                    item = replace(copy.item, content=content)
                    found[kept.index] = replace(copy, item=item)
                case Damaged() as damaged:
                    found[kept.index] = replace(damaged, data=content)
                case _:
                    raise Ended
        return map(self._respelt, found) if self._renamed else iter(found)

    def _spelt(self, message: Begin | Page) -> Begin | Page:
        """The same with names that can be written down."""
        if isinstance(message, Begin):
            return replace(message, page=self._spelt(message.page))
        return Page([self._spelt_entry(entry) for entry in message.entries], message.last)

    def _spelt_entry(self, entry: Entry) -> Entry:
        name = entry.name.encode("utf-8", "backslashreplace").decode()
        if name != entry.name:
            self._renamed[name] = entry.name
        return replace(entry, name=name, beside=tuple(map(self._spelt_entry, entry.beside)))

    def _respelt(self, found: Found) -> Found:
        spans = [found.span] if not isinstance(found, Copy | Damaged) else found.spans
        renamed = tuple(replace(s, file=self._renamed.get(s.file, s.file)) for s in spans)
        if isinstance(found, Copy | Damaged):
            return replace(found, spans=renamed)
        return replace(found, span=renamed[0])


def _with_companions(file: File) -> Iterator[File]:
    yield file
    for one in file.beside:
        yield from _with_companions(one)
