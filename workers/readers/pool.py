"""A worker's side: starts readers, one for each batch, and ends them.

A reader that dies, loops, takes too much memory or says nonsense is ended, and the copy that it had
in its hands is told; the next folder gets another reader.
"""

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, Protocol

from orchestrator.errors import Unavailable
from orchestrator.items import Folder, Found
from orchestrator.ports import Category, Rules
from workers.formats import image_decoding
from workers.readers.messages import NOTE, Ended
from workers.readers.reader_process import ReaderProcess
from workers.readers.serving import Holding, Serving
from workers.readers.template import ANSWER, BOOT, ORDER

MEMORY: Final = 2 * 1024**3
"""Address space of a reader beyond what it starts with."""

_PACKETS: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_STREAM
_START_SECONDS: Final = 60.0
_PIPE_BYTES: Final = 256 * 1024
_SET_PIPE_SIZE: Final = 1031


class Parser(Protocol):
    """Where recovered bytes are parsed."""

    apart: ClassVar[bool]
    """In another process than the one that reads the files."""

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

    apart: ClassVar[bool] = False

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

    apart: ClassVar[bool] = True

    def __init__(self, *, seconds: float, start: Callable[[], Template] = Template) -> None:
        """`seconds`: how long one file may take, of processor time.

        `start` gives the template, and another one where that has gone.
        """
        self._seconds = seconds
        self._start = start
        self._template: Template | None = None
        self._idle: list[ReaderProcess] = []
        self._busy: list[ReaderProcess] = []

    def parse(
        self, category: Category, folder: Folder, rules: Rules, holding: Holding
    ) -> Iterator[Found]:
        """Read a folder in a reader of this batch's own."""
        reader = self._idle.pop() if self._idle else self._new(category)
        self._busy.append(reader)
        whole = False
        try:
            yield from Serving(reader, folder, holding, self._seconds).read(category, rules)
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

    def _new(self, category: Category) -> ReaderProcess:
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

    def _fork(self, module: str) -> ReaderProcess:
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
            reader = ReaderProcess(self._template, incoming, outgoing, note)
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

    def _end(self, reader: ReaderProcess) -> None:
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
