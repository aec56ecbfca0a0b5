"""ZIP archives (PKWARE APPNOTE 6.3.10), whole or cut, read by our own careful reader.

Where the central directory is gone, members are found by their local headers: a cut archive gives
everything before the cut.
"""

import bz2
import stat
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Protocol

from msgspec.structs import replace

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.material.archive_members import (
    MOST_MEMBERS,
    ArchiveFile,
    Contents,
    Member,
    refuse_bomb,
)

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_64, _LOCATOR_64, _DESCRIPTOR = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
_LOCAL_FIELDS: Final = struct.Struct("<4s5H3I2H")
_CENTRAL_FIELDS: Final = struct.Struct("<4s6H3I5H2I")
_END_FIELDS: Final = struct.Struct("<4s4H2IH")
_MOST_COMMENT: Final = 65_535
_IN_ZIP64: Final = 0xFFFFFFFF
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_METHODS: Final = frozenset({_STORED, _DEFLATED, _BZIP2})
_PIECE: Final = 1 << 20
_MOST_RATIO: Final = 1_033
"""Deflate cannot do better."""
_DIRECTORY_BYTES: Final = 1 << 30
_UNIX_TIME: Final = 0x5455
_ZIP64_FIELDS: Final = 0x0001


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class ZipArchive:
    """One ZIP file."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self._contents: Contents | None = None

    def contents(self) -> Contents:
        """By the central directory, or by local headers where that is damaged or gone."""
        if self._contents is None:
            self._contents = self._find_contents()
        return self._contents

    def read(self, member: Member, limit: int) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        refuse_bomb(member, limit)
        start = self._data_start(member)
        data = b"".join(self._unpacked(member, start))
        if len(data) > member.size:
            detail = "it is longer than its header says"
            raise ItemRejected(Reason.STRUCTURE, detail, data=data[: member.size])
        if len(data) < member.size:
            raise ItemRejected(Reason.CUT, "it is shorter than its header says", data=data)
        if member.checksum is not None and zlib.crc32(data) != member.checksum:
            raise ItemRejected(Reason.CHECKSUM, "its checksum is wrong", data=data)
        return data

    def _data_start(self, member: Member) -> int:
        header = self._file.at(member.place, _LOCAL_FIELDS.size)
        if len(header) < _LOCAL_FIELDS.size or header[:4] != _LOCAL:
            raise ItemRejected(Reason.STRUCTURE, "its local header is gone")
        fields = _LOCAL_FIELDS.unpack(header)
        raw = self._file.at(member.place + _LOCAL_FIELDS.size, fields[9])
        if _name(raw, fields[2]) != member.name:
            raise ItemRejected(Reason.STRUCTURE, "its two headers name different files")
        return member.place + _LOCAL_FIELDS.size + fields[9] + fields[10]

    def _unpacked(self, member: Member, start: int) -> Iterator[bytes]:
        """Its bytes, one more than it says at most; raises `ItemRejected` with what was had."""
        packed = self._file.at(start, min(member.packed, member.size + member.size // 8 + _PIECE))
        if member.method == _STORED:
            yield packed
            return
        unpacker: _Unpacker
        unpacker = zlib.decompressobj(-15) if member.method == _DEFLATED else bz2.BZ2Decompressor()
        try:
            yield unpacker.decompress(packed, member.size + 1)
        except (zlib.error, OSError):
            # Piece by piece, so that what lies before the damage is not lost.
            raise ItemRejected(
                Reason.CHECKSUM, "its packed data is damaged", data=_before_damage(member, packed)
            ) from None

    def _find_contents(self) -> Contents:
        try:
            members = self._by_directory()
        except ItemRejected:
            return self._by_headers("the storage gives errors")
        except _NoDirectory as missing:
            return self._by_headers(str(missing))
        return Contents(members=tuple(_without_overlaps(members)))

    def _by_directory(self) -> list[Member]:
        start, end, shift, count = self._directory()
        data = self._file.at(start, end - start)
        found: list[Member] = []
        at = 0
        while at + _CENTRAL_FIELDS.size <= len(data) and data[at : at + 4] == _CENTRAL:
            if len(found) >= MOST_MEMBERS:
                raise _NoDirectory("more members than an archive may have")
            member, at = _central(data, at, shift)
            member = _judged(member, start)
            if not (member.name.endswith("/") and not member.size):
                found.append(member)
            count -= 1
        if count % 65_536:  # the count has 16 bits in archives that are not ZIP64
            raise _NoDirectory("the archive's directory is damaged")
        return found

    def _directory(self) -> tuple[int, int, int, int]:
        """Start and end of the central directory, how far all offsets are shifted, and entries."""
        tail_start = max(0, self._file.size - _END_FIELDS.size - _MOST_COMMENT)
        tail = self._file.at(tail_start, self._file.size - tail_start)
        at = tail.rfind(_END)
        if at < 0 or at + _END_FIELDS.size > len(tail):
            raise _NoDirectory("the archive is cut: its directory is gone")
        _, disk, _, _, count, size, offset, _ = _END_FIELDS.unpack_from(tail, at)
        end = tail_start + at
        locator = self._file.at(end - 20, 20)
        if locator[:4] == _LOCATOR_64:
            end_64 = self._file.at(int.from_bytes(locator[8:16], "little"), 56)
            if end_64[:4] != _END_64:
                raise _NoDirectory("the archive's directory is damaged")
            count, size, offset = struct.unpack_from("<3Q", end_64, 32)
            end = int.from_bytes(locator[8:16], "little")
        start = end - size
        if start < 0 or size > _DIRECTORY_BYTES or disk not in {0, 65_535}:
            raise _NoDirectory("the archive's directory is damaged")
        return start, end, start - offset, count

    def _by_headers(self, damage: str) -> Contents:
        found: list[Member] = []
        at = claimed = 0
        try:
            while len(found) < MOST_MEMBERS:
                at = self._next_header(at)
                if at < 0:
                    break
                member, end = self._local(at)
                if member is not None:
                    found.append(member)
                    claimed += end - at
                at = end
        except ItemRejected:
            damage = "the storage gives errors"
        real = [member for member in found if not member.name.endswith("/")]
        unclaimed = max(0, self._file.size - claimed)
        return Contents(members=tuple(real), damage=damage, unclaimed=unclaimed)

    def _next_header(self, at: int) -> int:
        """Where the next local header begins, or -1."""
        while at < self._file.size:
            window = self._file.at(at, _PIECE)
            found = window.find(_LOCAL)
            if found >= 0:
                return at + found
            at += max(len(window) - 3, 1)
        return -1

    def _local(self, at: int) -> tuple[Member | None, int]:
        """The member whose local header begins here, and where the next can begin."""
        header = self._file.at(at, _LOCAL_FIELDS.size)
        if len(header) < _LOCAL_FIELDS.size:
            return None, at + 4
        _, _, flags, method, time, date, crc, packed, size, name_length, extra_length = (
            _LOCAL_FIELDS.unpack(header)
        )
        tail = self._file.at(at + _LOCAL_FIELDS.size, name_length + extra_length)
        start = at + _LOCAL_FIELDS.size + name_length + extra_length
        if not name_length or len(tail) < name_length + extra_length or b"\0" in tail[:name_length]:
            return None, at + 4
        extra = _extra(tail[name_length:])
        if _IN_ZIP64 in {size, packed} and len(extra.get(_ZIP64_FIELDS, b"")) >= 16:  # noqa: PLR2004  two numbers
            size, packed = struct.unpack_from("<2Q", extra[_ZIP64_FIELDS])
        member = Member(
            name=_name(tail[:name_length], flags),
            size=size,
            packed=packed,
            place=at,
            checksum=crc,
            modified=_modified(extra, date, time),
            method=method,
        )
        if flags & _ENCRYPTED:
            member = replace(member, fault=Reason.ENCRYPTED)
        if flags & _SIZES_FOLLOW and not packed:
            return self._measured(member, start)
        judged = _judged(member, self._file.size - (start - at))
        return judged, start + judged.packed

    def _measured(self, member: Member, start: int) -> tuple[Member, int]:
        """A member whose sizes come after it: its end is found by unpacking it."""
        at, size, crc, left = start, 0, 0, b""
        unpacker = zlib.decompressobj(-15)
        ended = False
        try:
            while member.method == _DEFLATED and not unpacker.eof:
                piece = left or self._file.at(at, _PIECE)
                if not piece:
                    break
                if not left:
                    at += len(piece)
                unpacked = unpacker.decompress(piece, 16 * _PIECE)
                left = unpacker.unconsumed_tail
                size, crc = size + len(unpacked), zlib.crc32(unpacked, crc)
            ended = unpacker.eof
        except zlib.error:
            pass
        if not ended:
            detail = "it is cut or damaged, and nothing says how long it was"
            after = self._next_header(start)
            end = after if after >= 0 else self._file.size
            packed = end - start
            cut = replace(member, size=packed, packed=packed, fault=Reason.CUT, detail=detail)
            return cut, end
        end = at - len(unpacker.unused_data)
        described = self._file.at(end, 8)
        told = described[4:8] if described[:4] == _DESCRIPTOR else described[:4]
        measured = replace(
            member, size=size, packed=end - start, checksum=int.from_bytes(told, "little")
        )
        return measured, end


class _NoDirectory(Exception):
    """The central directory cannot be used; the text says why."""


def _before_damage(member: Member, packed: bytes) -> bytes:
    """What unpacks before the damage."""
    if member.method != _DEFLATED:
        return b""
    unpacker, found = zlib.decompressobj(-15), b""
    try:
        for at in range(0, len(packed), 4096):
            found += unpacker.decompress(packed[at : at + 4096], member.size + 1 - len(found))
            if len(found) > member.size:
                break
    except zlib.error:
        pass
    return found[: member.size]


def _central(data: bytes, at: int, shift: int) -> tuple[Member, int]:
    """The member that a directory entry describes (§ 4.3.12), and where the next entry begins."""
    (
        _,
        _,
        _,
        flags,
        method,
        time,
        date,
        crc,
        packed,
        size,
        names,
        extras,
        comment,
        _,
        _,
        external,
        place,
    ) = _CENTRAL_FIELDS.unpack_from(data, at)
    start = at + _CENTRAL_FIELDS.size
    extra = _extra(data[start + names : start + names + extras])
    wide = extra.get(_ZIP64_FIELDS, b"")
    numbers = iter(struct.unpack_from(f"<{len(wide) // 8}Q", wide))
    size = next(numbers, size) if size == _IN_ZIP64 else size
    packed = next(numbers, packed) if packed == _IN_ZIP64 else packed
    place = next(numbers, place) if place == _IN_ZIP64 else place
    member = Member(
        name=_name(data[start : start + names], flags),
        size=size,
        packed=packed,
        place=place + shift,
        checksum=crc,
        modified=_modified(extra, date, time),
        method=method,
    )
    kind = stat.S_IFMT(external >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        detail = "a link or a device, which is not followed"
        member = replace(member, fault=Reason.UNREADABLE, detail=detail)
    elif flags & _ENCRYPTED:
        member = replace(member, fault=Reason.ENCRYPTED)
    return member, start + names + extras + comment


def _judged(member: Member, archive_size: int) -> Member:
    """The member with the fault that its header alone shows; its size is then what can be."""
    packed = min(member.packed, max(0, archive_size - member.place))
    if packed < member.packed:
        detail = "the archive ends before it does"
        return replace(member, size=packed, packed=packed, fault=Reason.CUT, detail=detail)
    most = packed if member.method == _STORED else _MOST_RATIO * packed + _PIECE
    if member.method in {_STORED, _DEFLATED} and member.size > most:
        detail = "its header lies about its size"
        return replace(member, size=packed, fault=Reason.STRUCTURE, detail=detail)
    if member.fault is None and member.method not in _METHODS:
        detail = f"packed by method {member.method}, which hardly anything reads"
        return replace(member, size=packed, fault=Reason.UNSUPPORTED, detail=detail)
    return member


def _without_overlaps(members: list[Member]) -> Iterator[Member]:
    """Members that cover the next one's header, or repeat one, get a fault: they are a bomb.

    The same bytes would unpack many times. The covered one is innocent.
    """
    order = sorted(range(len(members)), key=lambda number: members[number].place)
    guilty: set[int] = set()
    for number, following in pairwise(order):
        member, place = members[number], members[following].place
        least = _LOCAL_FIELDS.size + member.packed
        if place == member.place:
            guilty.add(following)
        elif member.place + least > place:
            guilty.add(number)
    for number, member in enumerate(members):
        if number in guilty and member.fault is None:
            detail = "it shares its bytes with another member"
            yield replace(member, fault=Reason.STRUCTURE, detail=detail)
        else:
            yield member


def _name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else raw.decode("cp437")


def _extra(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        number, length = struct.unpack_from("<2H", data, at)
        found.setdefault(number, data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _modified(extra: dict[int, bytes], date: int, time: int) -> datetime | None:
    """The time in UTC where the archive has it; else the clock time of the machine that packed."""
    stamp = extra.get(_UNIX_TIME, b"")
    try:
        if len(stamp) >= 5 and stamp[0] & 1:  # noqa: PLR2004  flags and four bytes
            return datetime.fromtimestamp(int.from_bytes(stamp[1:5], "little", signed=True), UTC)
        return datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            min(time & 31, 29) * 2,
            tzinfo=UTC,
        )
    except (ValueError, OverflowError, OSError):
        return None
