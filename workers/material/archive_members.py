"""What lies in an archive, whatever its format: members, and how each of them can be read.

Nothing is ever extracted: a member's name is text, its bytes are read into memory, one member at a
time, never more than its limit.
"""

import os
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.material.file_trees import OPENED, Tree

MOST_MEMBERS: Final = 2_000_000
"""What an archive holds beyond this is left to a note for the operator."""

_BOMB_BYTES: Final = 16 * 1024 * 1024
_BOMB_RATIO: Final = 200
"""Text of people compresses 20 times at most; formats of photos hardly at all."""


class Member(Struct, frozen=True, kw_only=True, gc=False):
    """One file in an archive."""

    name: str
    """As the archive spells it; can be anything."""
    size: int
    """Uncompressed, as the archive says."""
    packed: int
    """Compressed."""
    place: int
    """Offset in the archive where its header or data begins."""
    checksum: int | None = None
    modified: datetime | None = None
    method: int = 0
    fault: Reason | None = None
    """Why it cannot be read, where that is known without trying."""
    detail: str = ""


class Contents(Struct, frozen=True, kw_only=True):
    """Everything that could be found in an archive."""

    members: tuple[Member, ...]
    damage: str = ""
    """What is wrong with the archive as a whole; empty where nothing is."""
    unclaimed: int = 0
    """Bytes of a damaged archive of which nothing could be made."""


class Archive(Protocol):
    """One archive file."""

    def contents(self) -> Contents:
        """Its members, in the order of the archive. Never raises for a damaged archive."""
        ...

    def read(self, member: Member, limit: int) -> bytes:
        """All bytes of a member.

        Raises:
            ItemRejected: they cannot be had, are not those that were packed, or are more than
                `limit`; its data is what there is of them.
            Unavailable: the archive's file system is away.
        """
        ...


class ArchiveFile:
    """The bytes of an archive, read at offsets. Opened anew for each use: nothing stays open."""

    def __init__(self, tree: Tree, path: bytes, size: int) -> None:
        self.path = path
        self.size = size
        self._tree = tree

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file.

        Raises:
            ItemRejected: the storage gives an error.
            Unavailable: the file system is away.
        """
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        try:
            opened = os.open(self.path, OPENED)
            try:
                found = os.pread(opened, length, offset)
                while 0 < len(found) < length:
                    more = os.pread(opened, length - len(found), offset + len(found))
                    if not more:
                        break
                    found += more
            finally:
                os.close(opened)
        except OSError as error:
            self._tree.recognise_absence(error)
            raise ItemRejected(Reason.UNREADABLE, "the storage gives an error") from error
        return found


def refuse_bomb(member: Member, limit: int) -> None:
    """Refuse what no one packed in earnest, before a byte of it is unpacked.

    Raises:
        ItemRejected: the member cannot be read, or is larger than it may be.
    """
    if member.fault is not None:
        raise ItemRejected(member.fault, member.detail)
    if member.size > limit:
        raise ItemRejected(Reason.TOO_LARGE, f"{member.size} bytes, the limit is {limit}")
    if member.size > _BOMB_BYTES and member.size > _BOMB_RATIO * max(member.packed, 1):
        raise ItemRejected(Reason.TOO_LARGE, f"{member.packed} bytes unpack to {member.size}")
