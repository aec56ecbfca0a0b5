"""What readers are forked from: a process that has imported everything and seen nothing.

    python -I -c BOOT CONTROL MEMORY STRICTNESS PATH

It has no secrets, ledger or network of its worker's; it never parses. Forking it takes a few
milliseconds, so every batch gets a reader that no other batch's data has touched.
"""

import gc
import importlib
import os
import signal
import socket
import sys
from contextlib import suppress
from struct import Struct as Layout
from typing import Final, Never

from orchestrator.confinement import confine, own_code
from orchestrator.lifeline import die_with_parent
from workers.formats import image_decoder
from workers.formats.time_zones import zone_name
from workers.freed_memory import keep_freed_memory
from workers.readers.reader import serve

BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[4].split(chr(0x1f));"
    " from workers.readers.template import main; main()"
)
ORDER: Final = Layout("=cq247s")
"""`f` (fork), the process of the worker, and the module that the first category is of;
or `r` (reap) and the process of a reader, which is ended."""
ANSWER: Final = Layout("=q")
"""The new process; 0 where it cannot be forked."""
STRICT: Final = "required"
_CATEGORIES: Final = tuple(
    f"workers.categories.{name}"
    for name in ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")
)
_BATCH_SECONDS: Final = 3_600
"""Processor time of one reader, over all that it reads: far beyond any batch."""


def main() -> None:
    """Fork readers on demand, for as long as the worker lives."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of the worker is ours
    _import_everything()
    gc.set_threshold(50_000, 20, 20)
    keep_freed_memory()
    owners: dict[int, int] = {}
    readable = own_code()  # it takes twice as long as all the rest of making a reader
    while True:
        try:
            order, descriptors, _, _ = socket.recv_fds(control, ORDER.size, 4)
        except ConnectionResetError:
            return
        if not order:
            return
        what, process, module = ORDER.unpack(order)
        if what == b"r":
            _reap(process, owners)
            continue
        for reader, owner in list(owners.items()):
            if not _lives(owner):
                _reap(reader, owners)
        wanted = module.rstrip(b"\0").decode()
        if wanted not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(wanted)
            readable = own_code()
        gc.freeze()  # what is shared with readers stays shared
        reader = _fork(control, descriptors, readable)
        if reader:
            owners[reader] = process


def _reap(process: int, owners: dict[int, int]) -> None:
    """End one of ours: nobody else has its number before this has waited for it."""
    if owners.pop(process, None) is None:
        return
    with suppress(ChildProcessError, ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fork(control: socket.socket, descriptors: list[int], readable: list[str]) -> int:
    *theirs, answer = descriptors
    try:
        process = os.fork()
    except OSError:
        process = -1
    if process == 0:
        control.close()
        os.close(answer)
        _become_reader(theirs, readable)
    with suppress(OSError):
        os.write(answer, ANSWER.pack(max(process, 0)))
    for descriptor in descriptors:
        os.close(descriptor)
    return max(process, 0)


def _become_reader(descriptors: list[int], readable: list[str]) -> Never:
    status = 1
    try:
        die_with_parent()
        incoming, outgoing, note = descriptors
        _limit_time()
        confined = confine(memory=int(sys.argv[2]), readable=readable)
        if confined.complete or sys.argv[3] != STRICT:
            serve(incoming, outgoing, note)
        status = 0
    finally:
        os._exit(status)


def _limit_time() -> None:
    import resource  # noqa: PLC0415  POSIX only

    resource.setrlimit(resource.RLIMIT_CPU, (_BATCH_SECONDS, _BATCH_SECONDS))


def _import_everything() -> None:
    """What categories import when they first need it: once, and not all of it can be confined."""
    image_decoder.import_decoders()
    zone_name("UTC")
    for module in ("lxml.etree", "ftfy", *_CATEGORIES):
        importlib.import_module(module)
    gc.collect()
