"""Where a picture is decoded: here when it is small, in a child with limits when it is not."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from orchestrator import confinement
from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats import image_decoder
from workers.formats.image_kinds import ImageKind

IN_PROCESS_BYTES: Final = 96 * 1024 * 1024
"""What one decode may take of a worker's own memory: a 12-megapixel HEIC fits."""

_IN_PROCESS_WORK: Final = 400_000_000
"""Pixels over all frames; more than that is decoded under a limit of processor time."""
_APART: Final = frozenset({ImageKind.TIFF, ImageKind.JPEG2000, ImageKind.JPEG2000_STREAM})
"""Rare formats with decoders that have crashed on hostile files time and again."""
_SECONDS: Final = 30
_WORK_A_SECOND: Final = 5_000_000
_WALL_FACTOR: Final = 4
_PROGRAM: Final = str(Path(image_decoder.__file__).resolve())


def decode(kind: ImageKind, data: bytes, *, memory: int, budget: int, work: int) -> None:
    """Decode a picture that takes about `memory` bytes, at most `budget`, for `work` pixels.

    Raises:
        ItemRejected: its data is damaged, or it takes more than it should.
    """
    if kind not in _APART and memory <= IN_PROCESS_BYTES and work <= _IN_PROCESS_WORK:
        try:
            image_decoder.decode(kind.value, data)
        except image_decoder.Undecodable as error:
            raise _undecodable(str(error)) from None
        except MemoryError:
            raise ItemRejected(Reason.TOO_LARGE, "decoding takes too much memory") from None
        return
    _decode_apart(kind, data, budget=budget, seconds=_SECONDS + work // _WORK_A_SECOND)


def _undecodable(error: str) -> ItemRejected:
    return ItemRejected(Reason.SYNTAX, f"picture data cannot be decoded ({error})")


class Ending(Struct, frozen=True, kw_only=True):
    """How a decoder's process ended."""

    status: int | None
    """None: it took too long."""
    word: str = ""
    """What it said."""


class Decoder(Protocol):
    """Has a picture decoded by a process of its own."""

    def __call__(self, kind: str, data: bytes, budget: int, seconds: int) -> Ending:
        """How that ended."""
        ...


def run_decoder(kind: str, data: bytes, budget: int, seconds: int) -> Ending:
    """Decode in a child of this process, which gives up everything else first."""
    arguments = [kind, str(budget), str(seconds), confinement.__file__]
    try:
        child = subprocess.run(  # noqa: S603  our own program; the arguments are numbers and a kind
            [sys.executable, "-I", _PROGRAM, *arguments],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=seconds * _WALL_FACTOR,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ending(status=None)
    return Ending(status=child.returncode, word=child.stdout[:40].decode("ascii", "replace"))


_decoder: list[Decoder] = [run_decoder]


def decode_elsewhere(decoder: Decoder) -> None:
    """From now on let `decoder` have pictures decoded: this process can start none."""
    _decoder[:] = [decoder]


def _decode_apart(kind: ImageKind, data: bytes, *, budget: int, seconds: int) -> None:
    ending = _decoder[0](kind.value, data, budget, seconds)
    match ending.status:
        case 0:
            return
        case None:
            raise ItemRejected(Reason.TOO_LARGE, "decoding takes too long")
        case image_decoder.DAMAGED:
            raise _undecodable(ending.word)
        case image_decoder.OUT_OF_MEMORY:
            raise ItemRejected(Reason.TOO_LARGE, "decoding takes too much memory")
        case status:
            raise ItemRejected(Reason.SYNTAX, f"the decoder died of it (status {status})")


def environment() -> dict[str, str]:
    """Nothing of ours but what the interpreter needs to start: no secrets reach the child."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
