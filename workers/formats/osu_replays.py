"""Replays of osu! (.osr): a score with the play that it was made in, in one binary file.

The layout is that of the game's own format description: little-endian numbers, strings marked by
0x0b with an LEB128 length, times in ticks of 100 ns since the year 1, the play packed by LZMA.
"""

import lzma
import struct
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason

_MODES: Final = ("osu", "taiko", "catch", "mania")
_EPOCH: Final = datetime(1, 1, 1, tzinfo=UTC)
_LONG_ONLINE_ID: Final = 20140721
_ONLINE_ID: Final = 20121008
_LAZER: Final = 30000001
"""From this version on the score's details follow, packed as the play is."""
_STRING: Final = 0x0B
_LONGEST_PLAY: Final = 64 * 1024 * 1024
_EARLIEST_VERSION: Final = 20070101


class Replay(Struct, frozen=True, kw_only=True):
    """What a replay says of its score."""

    mode: str
    version: int
    beatmap: str
    """MD5 of the level that was played: what the game's boards are about."""
    player: str
    """What the player calls themselves; no id."""
    score: int
    combo: int
    mods: int
    at: datetime
    length: int
    """Bytes of the file that it takes; line breaks may follow."""


def looks_like_replay(data: bytes) -> bool:
    """Whether it starts as a replay does."""
    if len(data) < 6 or data[0] >= len(_MODES) or data[5] not in (0, _STRING):  # noqa: PLR2004 - mode, version, mark
        return False
    return struct.unpack_from("<i", data, 1)[0] >= _EARLIEST_VERSION


def read_replay(data: bytes) -> Replay:
    """The score of a replay whose every part is there.

    Raises:
        ItemRejected: it is cut, has anything after its end, or its play does not unpack.
    """
    reader = _Reader(data)
    mode, version = reader.numbers("<Bi")
    if mode >= len(_MODES):
        raise ItemRejected(Reason.VALUE, "its mode")
    beatmap, player, _ = reader.string(), reader.string(), reader.string()
    *_, score, combo, _, mods = reader.numbers("<HHHHHHiH?i")
    reader.string()
    (ticks,) = reader.numbers("<q")
    reader.packed()
    if version >= _LONG_ONLINE_ID:
        reader.numbers("<q")
    elif version >= _ONLINE_ID:
        reader.numbers("<i")
    if version >= _LAZER and reader.left:
        reader.packed()
    if data[reader.offset :].strip(b"\r\n"):
        raise ItemRejected(Reason.STRUCTURE, "something after its end")
    try:
        at = _EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        raise ItemRejected(Reason.VALUE, "its time") from None
    if not beatmap:
        raise ItemRejected(Reason.STRUCTURE, "no level is named")
    return Replay(
        mode=_MODES[mode],
        version=version,
        beatmap=beatmap,
        player=player,
        score=score,
        combo=combo,
        mods=mods,
        at=at,
        length=reader.offset,
    )


class _Reader:
    """Takes a replay apart from its start."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self.data) - self.offset

    def take(self, length: int) -> bytes:
        """The next bytes."""
        if not 0 <= length <= self.left:
            raise ItemRejected(Reason.CUT, "it ends inside of a field")
        taken = self.data[self.offset : self.offset + length]
        self.offset += length
        return taken

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The next numbers."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def string(self) -> str:
        """The next string, empty where there is none."""
        mark = self.take(1)[0]
        if mark == 0:
            return ""
        if mark != _STRING:
            raise ItemRejected(Reason.SYNTAX, "not a string where one should be")
        length = shift = 0
        while True:
            byte = self.take(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - LEB128
                break
            if shift > 28:  # noqa: PLR2004 - four more than any string needs
                raise ItemRejected(Reason.SYNTAX, "a string without length")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise ItemRejected(Reason.ENCODING, "not UTF-8") from None

    def packed(self) -> None:
        """The next LZMA stream, which has to unpack to its end; none where its length is 0."""
        (length,) = self.numbers("<i")
        if length <= 0:
            return
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=128 * 1024 * 1024)
        try:
            unpacked = unpacker.decompress(self.take(length), max_length=_LONGEST_PLAY)
        except lzma.LZMAError:
            raise ItemRejected(Reason.VALUE, "its play does not unpack") from None
        if not unpacker.eof and len(unpacked) >= _LONGEST_PLAY:
            raise ItemRejected(Reason.TOO_LARGE, "its play is longer than any")
