"""High scores: one item a board, the best that its user reached there; the others are copies.

Best is what the board says, never what is newest. Where a plan names the boards, each score is
held against the rules of its own; a score that those rules exclude was not reached by playing.

Why `revised` stays empty: a newer score must not replace a better one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from posixpath import splitext
from typing import Any, ClassVar, Final

from msgspec import Struct, structs

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    Attachment,
    Copy,
    Damaged,
    Digest,
    File,
    Folder,
    Found,
    Ident,
    Item,
    Media,
    Span,
    UserId,
)
from orchestrator.ports import Recognised, Rules
from orchestrator.reasons import Reason
from workers.formats.csv_records import Table, rows, table
from workers.formats.idents import ident_beside
from workers.formats.json_records import decoded, pieces
from workers.formats.osu_replays import looks_like_replay, read_replay
from workers.formats.ownership import OWNER_FIELDS, check_owner, plain_key
from workers.formats.plain_text import BOM
from workers.formats.record_times import possible
from workers.formats.scores import (
    IDENT,
    MARK,
    Score,
    board_named,
    decides,
    is_score,
    read_score,
    written,
)
from workers.formats.tiling import blank, gaps, readable

ACCEPT_OPEN_END: Final = "accept-open-end"

_JSON: Final = Media("json", "application/json")
_REPLAY: Final = "replay.osr"
_GENERIC: Final = frozenset(
    (
        *("scores", "score", "highscores", "highscore", "leaderboard", "leaderboards", "boards"),
        *("data", "items", "records", "entries", "results", "list", "table", "players"),
    )
)
"""What a file or key is called that holds scores of no particular board, in plain letters."""


class Direction(StrEnum):
    """Which value of a board is best."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True)
class Board:
    """The rules of one board."""

    direction: Direction = Direction.HIGHER
    """Which value is best."""
    minimum: int | None = None
    """The least value that can be reached."""
    maximum: int | None = None
    """The greatest value that can be reached."""
    start: datetime | None = None
    """When the board was opened."""


@dataclass(frozen=True, kw_only=True)
class HighScores:
    """Lists of scores as JSON or CSV, Play Games exports, osu! replays, rows of a table."""

    repairs: ClassVar[Mapping[str, str]] = {
        ACCEPT_OPEN_END: "The last row of a CSV file is taken as it is where no line break closes "
        "it and its last cell could have been longer.",
    }
    lossy: ClassVar[frozenset[str]] = frozenset({ACCEPT_OPEN_END})
    bulky: ClassVar[bool] = False

    boards: dict[str, Board] = field(default_factory=dict[str, Board])
    """Every board by its id; a score on any other is quarantined. Empty: any board is taken, the
    highest value is best, and values are held against 64 bits only."""
    player: str = "player"
    """The field that holds the user's id, beside those that always do (`player_id`, `user_id`,
    `owner` …). Scores that name somebody else there are quarantined. Empty: where the field holds
    what players call themselves."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Each score as one copy, whichever board it is on."""
        files = {part.name: part for file in folder.files for part in (file, *file.beside)}
        replays = _replays(files)
        companions = {replay.name for replay in replays.values()}
        for name, file in files.items():
            if name not in companions:
                yield from self._file(file, replays.get(name), folder.owner, rules)

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """By its board, whoever holds it."""
        del owner
        try:
            fields = decoded(content.removeprefix(BOM))
            if not isinstance(fields, dict) or not is_score(fields):  # pyright: ignore[reportUnknownArgumentType]  # JSON is Any
                return None
            score = read_score(fields, "", self._owner_fields)  # pyright: ignore[reportUnknownArgumentType]  # JSON is Any
            digest = _digest(score, attachments)
        except ItemRejected:
            return None
        board = self.boards.get(score.board or "", _ANY_BOARD)
        return Recognised(ident=_ident(score), digest=digest, merit=_merit(score, board))

    def beside(self, item: Item, mark: str) -> Item:
        """The same score under an ident of its own, which it carries together with the mark."""
        ident = ident_beside(item.ident)
        score = read_score(decoded(item.content), "", self._owner_fields)
        score = structs.replace(
            score, more={**score.more, IDENT: ident, MARK: mark}, ident=Ident(ident)
        )
        return structs.replace(
            item, ident=ident, digest=_digest(score, item.attachments), content=written(score)
        )

    @property
    def _owner_fields(self) -> frozenset[str]:
        return OWNER_FIELDS | {plain_key(self.player)} if self.player else OWNER_FIELDS

    def _file(
        self, file: File, replay: File | None, owner: UserId, rules: Rules
    ) -> Iterator[Found]:
        """Everything in one file; `replay` is the one that lies beside a score we restored."""
        data = readable(file)
        framing = blank(file.name, data) if isinstance(data, bytes) else data
        if framing is not None or isinstance(data, Damaged):
            if framing is not None:
                yield framing
            if replay is not None:
                yield from self._file(replay, None, owner, rules)
            return
        records = list(_records(file.name, data, rules))
        attached = _attached(replay) if len(records) == 1 and records[0].fields else None
        if attached is not None:
            records = [structs.replace(records[0], attachments=(attached,))]
        for record in records:
            found = self._score(file.name, data, record, owner, rules)
            if attached is not None and replay is not None:
                found = _with_replay(found, replay.name, attached.data)
            yield found
        if replay is not None and attached is None:
            yield from self._file(replay, None, owner, rules)
        yield from gaps(file.name, len(data), ((each.start, each.end) for each in records))

    def _score(
        self, name: str, data: bytes, record: "_Record", owner: UserId, rules: Rules
    ) -> Copy | Damaged:
        """One score, or why it is none."""
        raw = data[record.start : record.end]
        spans = (Span(name, record.start, record.end - record.start),)
        board: str | None = None
        try:
            if record.reason is not None:
                raise ItemRejected(record.reason, record.detail)  # noqa: TRY301 - one place judges
            if len(raw) > rules.item_bytes:
                raise ItemRejected(Reason.TOO_LARGE, f"more than {rules.item_bytes} bytes")  # noqa: TRY301 - one place judges
            check_owner(record.fields, owner, self._owner_fields)
            board = board_named(record.fields) or record.board
            known = self._board(board)
            score = read_score(record.fields, board, self._owner_fields)
            _check(score, known, rules)
            content = written(score)
            attachments = record.attachments
            digest = _digest(score, attachments, content)
        except ItemRejected as rejected:
            named = board is not None and rejected.reason in _NAMED
            return Damaged(
                reason=rejected.reason,
                spans=spans,
                data=raw,
                ident=Ident(board) if named and board else None,
                detail=rejected.detail,
            )
        item = Item(
            ident=_ident(score),
            digest=digest,
            media=_JSON,
            content=content,
            attachments=attachments,
        )
        return Copy(
            item=item,
            spans=spans,
            repairs=record.repairs,
            lossy=bool(record.repairs),
            merit=_merit(score, known),
        )

    def _board(self, board: str) -> Board:
        if not self.boards:
            return _ANY_BOARD
        known = self.boards.get(board)
        if known is None:
            raise ItemRejected(Reason.UNKNOWN_BOARD if board else Reason.STRUCTURE, "its board")
        return known


KIND = HighScores

_ANY_BOARD: Final = Board()
_NAMED: Final = frozenset((Reason.VALUE, Reason.OUT_OF_RANGE, Reason.TIME_TRAVEL))
"""Damage that leaves no doubt about the board."""


def _ident(score: Score) -> Ident:
    return score.ident or Ident(score.board)


def _merit(score: Score, board: Board) -> int:
    return score.value if board.direction is Direction.HIGHER else -score.value


def _digest(
    score: Score, attachments: Sequence[Attachment], content: bytes | None = None
) -> Digest:
    """The same for the same score and replay; what it is called beside another leaves no trace.

    `content`: the score as it is written, where that is known.
    """
    if IDENT in score.more:
        more = {key: value for key, value in score.more.items() if key != IDENT}
        content = written(structs.replace(score, more=more))
    whole = sha256(content if content is not None else written(score))
    for replay in sorted(sha256(part.data).digest() for part in attachments):
        whole.update(b"\n" + replay)
    return Digest(whole.digest())


def _replays(names: Mapping[str, File]) -> dict[str, File]:
    """By the name of a score's file, the replay that lies beside it as we restored it.

    A target that holds files calls it after the score's file; a source may tie it to that file.
    """
    found: dict[str, File] = {}
    for name, file in names.items():
        tied = (part for part in file.beside if part.name.endswith(_REPLAY))
        replay = next(tied, None) or names.get(f"{name}.{_REPLAY}")
        if replay is not None and not name.endswith(_REPLAY):
            found[name] = replay
    return found


def _attached(replay: File | None) -> Attachment | None:
    """The replay of a score, where it is whole."""
    data = readable(replay) if replay is not None else None
    if not isinstance(data, bytes):
        return None
    try:
        whole = read_replay(data).length == len(data)
    except ItemRejected:
        return None
    return Attachment(name=_REPLAY, data=data) if whole else None


def _with_replay(found: Copy | Damaged, name: str, data: bytes) -> Copy | Damaged:
    """The same copy, which accounts for its replay too."""
    spans = (*found.spans, Span(name, 0, len(data)))
    if isinstance(found, Copy):
        return structs.replace(found, spans=spans)
    return structs.replace(found, spans=spans, data=found.data + data)


def _check(score: Score, board: Board, rules: Rules) -> None:
    """Hold a score against its board's rules and the life of the service."""
    below = board.minimum is not None and score.value < board.minimum
    above = board.maximum is not None and score.value > board.maximum
    if below or above:
        raise ItemRejected(Reason.OUT_OF_RANGE, "its value is outside of its board's range")
    if score.achieved is None:
        return
    early = board.start is not None and score.achieved < board.start
    if early or not possible(score.achieved, rules):
        raise ItemRejected(Reason.TIME_TRAVEL, "reached before its board began or after the loss")


class _Record(Struct, frozen=True, kw_only=True, gc=False):
    """Bytes of a file that are to be a score: its fields, or why there are none."""

    start: int
    end: int
    fields: Mapping[str, Any] = {}
    board: str = ""
    """Where its fields name none."""
    attachments: tuple[Attachment, ...] = ()
    repairs: tuple[str, ...] = ()
    reason: Reason | None = None
    detail: str = ""


def _records(name: str, data: bytes, rules: Rules) -> Iterator[_Record]:
    """The stretches of a file that are scores, or should be."""
    suffix = splitext(name)[1].lower()
    start = data[:64].removeprefix(BOM).lstrip()[:1]
    if suffix == ".osr" or looks_like_replay(data):
        yield _replay(data)
    elif start in (b"{", b"[") or suffix in (".json", ".jsonl", ".ndjson"):
        yield from _objects(name, data)
    elif (found := table(data)) is not None and is_score(found.header):
        yield from _table_rows(name, data, found, rules)
    else:
        detail = "no list of scores"
        yield _Record(start=0, end=len(data), reason=Reason.UNSUPPORTED, detail=detail)


def _replay(data: bytes) -> _Record:
    try:
        replay = read_replay(data)
    except ItemRejected as rejected:
        zeroed = b"\0" * 64 in data
        reason = Reason.ZEROED if zeroed else rejected.reason
        return _Record(start=0, end=len(data), reason=reason, detail=rejected.detail)
    return _Record(
        start=0,
        end=replay.length,
        fields={
            "board": f"osu {replay.mode} {replay.beatmap}",
            "value": replay.score,
            "achieved": replay.at.isoformat(),
            "player_name": replay.player,
            "combo": replay.combo,
            "mods": replay.mods,
        },
        attachments=(Attachment(name=_REPLAY, data=data[: replay.length]),),
    )


def _objects(name: str, data: bytes) -> Iterator[_Record]:
    for piece in pieces(data, is_score):
        yield _Record(
            start=piece.offset,
            end=piece.offset + piece.length,
            fields=piece.fields or {},
            board=board_named(piece.around) or _board_of_path(piece.path) or _board_of_file(name),
            reason=piece.reason,
            detail=piece.detail,
        )


def _table_rows(name: str, data: bytes, found: Table, rules: Rules) -> Iterator[_Record]:
    board = _board_of_file(name)
    risky = decides(found.header[-1])
    for row in rows(data, found):
        reason, detail = row.reason, row.detail
        repairs: tuple[str, ...] = ()
        if row.cells is not None and not row.ended and risky:
            # 96 may be the beginning of 9660.
            if ACCEPT_OPEN_END in rules.repairs:
                repairs = (ACCEPT_OPEN_END,)
            else:
                reason, detail = Reason.CUT, f"the repair {ACCEPT_OPEN_END} would help"
        yield _Record(
            start=row.offset,
            end=row.offset + row.length,
            fields=dict(zip(found.header, row.cells or (), strict=False)),
            board=board,
            repairs=repairs,
            reason=reason,
            detail=detail,
        )


def _board_of_path(path: Collection[str]) -> str:
    """The innermost key above a score that is no generic word."""
    return next((key for key in reversed(tuple(path)) if plain_key(key) not in _GENERIC), "")


def _board_of_file(name: str) -> str:
    """A file's name without its suffix; its folder's where the name says nothing."""
    stem = splitext(name)[0]
    folder, _, last = stem.rpartition("/")
    return folder or last if plain_key(last) in _GENERIC else stem
