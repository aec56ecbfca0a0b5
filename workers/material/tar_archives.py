"""TAR archives (POSIX.1-2001 pax, ustar, GNU), packed by gzip or not, read by our own reader."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Protocol

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.material.archive_members import (
    MOST_MEMBERS,
    ArchiveFile,
    Contents,
    Member,
    refuse_bomb,
)
from workers.material.gzip_stretches import GzipStretches

_BLOCK: Final = 512
_EMPTY: Final = bytes(_BLOCK)
_LONGEST_HEADER: Final = 1 << 20
_REGULAR: Final = frozenset({b"0", b"\0", b"7"})
_FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"5", b"L", b"K", b"x", b"g"
_SIDE: Final = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL})
_LARGEST: Final = 1 << 40
"""A header that says more lies; sums of sizes have to fit in a ledger's numbers."""
_TOP_BIT: Final = 0x80
_MOST_LOST_BLOCKS: Final = 1 << 22


class _Bytes(Protocol):
    def at(self, offset: int, length: int) -> bytes: ...


class TarArchive:
    """One TAR file; `packed`: by gzip."""

    def __init__(self, file: ArchiveFile, *, packed: bool) -> None:
        self._packed_size = file.size
        self._stretches = GzipStretches(file) if packed else None
        self._bytes: _Bytes = file if self._stretches is None else self._stretches
        self._contents: Contents | None = None

    def contents(self) -> Contents:
        """Its members; unpacks all of it once."""
        if self._contents is None:
            self._contents = self._find_contents()
        return self._contents

    def read(self, member: Member, limit: int) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        refuse_bomb(member, limit)
        data = self._bytes.at(member.place, member.size)
        if len(data) < member.size:
            raise ItemRejected(Reason.CUT, "the archive ends before it does", data=data)
        return data

    def _find_contents(self) -> Contents:
        walk = _Walk(self._bytes)
        found: list[Member] = []
        try:
            for member in walk:
                found.append(member)
                if len(found) >= MOST_MEMBERS:
                    walk.damage = "more members than an archive may have"
                    break
        except ItemRejected:
            walk.damage = "the storage gives errors"
        damage = walk.damage
        if self._stretches is not None and self._stretches.damage:
            damage = self._stretches.damage
        unclaimed = walk.lost
        if damage and not found:
            unclaimed = self._packed_size
        return Contents(members=tuple(found), damage=damage, unclaimed=unclaimed)


class _Walk:
    """One pass over the headers."""

    def __init__(self, source: _Bytes) -> None:
        self.damage = ""
        self.lost = 0
        """Bytes that belong to no member."""
        self._bytes = source
        self._name = b""
        self._pax: dict[bytes, bytes] = {}
        self._for_all: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Member]:
        at = 0
        while True:
            block = self._bytes.at(at, _BLOCK)
            if len(block) < _BLOCK:
                self.damage = self.damage or "it is cut: its end is missing"
                return
            if block == _EMPTY:
                if self._bytes.at(at + _BLOCK, _BLOCK) in {_EMPTY, b""}:
                    return
                at += _BLOCK
                continue
            if not _sound(block):
                self.damage = "some of its headers are damaged"
                self.lost += _BLOCK
                at += _BLOCK
                if self.lost > _MOST_LOST_BLOCKS * _BLOCK:
                    return
                continue
            at += _BLOCK
            kind = block[156:157]
            size = self._size(block, kind)
            if kind in _SIDE:
                self._side(kind, self._bytes.at(at, min(size, _LONGEST_HEADER)))
            else:
                if kind != _FOLDER:
                    yield self._member(block, kind, at, size)
                self._name, self._pax = b"", {}
            at += -(-size // _BLOCK) * _BLOCK

    def _size(self, block: bytes, kind: bytes) -> int:
        told = self._pax.get(b"size", b"") if kind not in _SIDE else b""
        size = int(told) if told.isdigit() and len(told) < 20 else _number(block[124:136])  # noqa: PLR2004  64 bits
        return min(size, _LARGEST) if kind in _REGULAR | _SIDE else 0

    def _side(self, kind: bytes, data: bytes) -> None:
        """A header about the next member, or about all of them."""
        if kind == _LONG_NAME:
            self._name = data.rstrip(b"\0")
        elif kind == _PAX:
            self._pax = _records(data)
        elif kind == _PAX_FOR_ALL:
            self._for_all |= _records(data)

    def _member(self, block: bytes, kind: bytes, at: int, size: int) -> Member:
        told = self._for_all | self._pax
        name = told.get(b"path") or self._name or _ustar_name(block)
        sparse = any(key.startswith(b"GNU.sparse") for key in told)
        fault, detail = None, ""
        if kind not in _REGULAR:
            fault, detail = Reason.UNREADABLE, "a link or a device, which is not followed"
        elif sparse:
            fault, detail = Reason.UNSUPPORTED, "a file stored with holes"
        return Member(
            name=name.decode("utf-8", "backslashreplace"),
            size=size,
            packed=size,
            place=at,
            modified=_moment(told.get(b"mtime", b""), block),
            fault=fault,
            detail=detail,
        )


def _sound(block: bytes) -> bool:
    """Whether a header's checksum is right: the sum of its bytes, its own field as spaces."""
    told = _number(block[148:156])
    return told == sum(block) - sum(block[148:156]) + 8 * 32


def _number(field: bytes) -> int:
    """Octal digits; or, in GNU's form, big-endian after a byte with the top bit set."""
    if field[0] & _TOP_BIT:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError:
        return 0


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _records(data: bytes) -> dict[bytes, bytes]:
    """Pax records: length, blank, key=value, line feed; a damaged one ends them."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 20].partition(b" ")
        if not blank or not length.isdigit() or int(length) <= len(length) + 1:
            break
        record = data[at + len(length) + 1 : at + int(length)]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        found[key] = value
        at += int(length)
    return found


def _moment(told: bytes, block: bytes) -> datetime | None:
    try:
        seconds = float(told) if told else _number(block[136:148])
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
