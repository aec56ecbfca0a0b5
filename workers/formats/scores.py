"""A score by its meaning, whatever wrote it down: which board, how much, and when.

Knows how exporters call these fields; what a board allows is the category's to judge.
"""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident
from orchestrator.reasons import Reason
from workers.formats.ownership import OWNER_FIELDS, plain_key
from workers.formats.record_times import read_time

IDENT: Final = "reinstate_ident"
MARK: Final = "reinstate_mark"
"""Fields of a score that was put beside another one."""

_VALUES: Final = ("value", "score", "scorevalue", "highscore", "points")
_BOARDS: Final = ("board", "boardid", "leaderboardid", "leaderboard", "boardname", "game")
_TIMES: Final = ("achieved", "achievedat", "writetimestamp", "timestamp", "date", "createdat")
_LISTS: Final = frozenset(
    ("scores", "highscores", "items", "entries", "records", "results", "leaderboards")
)
_DIGITS: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_LONGEST_BOARD: Final = 200
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Score(Struct, frozen=True, kw_only=True):
    """One score."""

    board: str
    value: int
    achieved: datetime | None = None
    more: Mapping[str, Any] = {}
    """Every other field, as it was."""
    ident: Ident | None = None
    """Its own, where it was put beside another of its board."""


def is_score(keys: Collection[str]) -> bool:
    """Whether an object with these keys is a score, and not a list of them with a summary."""
    plain = {plain_key(key) for key in keys}
    return not plain.isdisjoint(_VALUES) and plain.isdisjoint(_LISTS)


def decides(key: str) -> bool:
    """Whether a field's value says which board, how much or whose: a part of it would mislead."""
    return plain_key(key) in (*_VALUES, *_BOARDS, *OWNER_FIELDS, "player")


def board_named(fields: Mapping[str, Any]) -> str:
    """The board that the fields name; empty where they name none."""
    key = _first(fields, _BOARDS)
    return str(fields[key]).strip() if key is not None else ""


def read_score(fields: Mapping[str, Any], board: str, leave_out: Collection[str]) -> Score:
    """The score in an object or row; `board` where its fields name none.

    `leave_out`: plain names of fields that say whose it is.

    Raises:
        ItemRejected: no board, a value that is no integer of 64 bits, a time that is none.
    """
    keys = {_first(fields, names) for names in (_VALUES, _BOARDS, _TIMES)}
    named = board_named(fields) or board
    if not named or len(named) > _LONGEST_BOARD or not named.isprintable():
        raise ItemRejected(Reason.STRUCTURE, "no board")
    when = _first(fields, _TIMES)
    achieved = read_time(fields[when]) if when is not None else None
    if when is not None and achieved is None:
        raise ItemRejected(Reason.VALUE, "its time is none")
    beside = fields.get(IDENT) if isinstance(fields.get(MARK), str) else None
    return Score(
        board=named,
        value=_value(fields),
        achieved=achieved,
        more={
            key: value
            for key, value in fields.items()
            if key not in keys and plain_key(key) not in leave_out and not _is_empty(value)
        },
        ident=Ident(beside) if isinstance(beside, str) and beside else None,
    )


def written(score: Score) -> bytes:
    """The score as canonical JSON: keys sorted, no white space, the time in UTC.

    Raises:
        ItemRejected: one of its other fields is a number that no reader would keep.
    """
    fields = {**score.more, "board": score.board, "value": score.value}
    if score.achieved is not None:
        fields["achieved"] = score.achieved.isoformat().replace("+00:00", "Z")
    try:
        return _encode(fields)
    except OverflowError:
        raise ItemRejected(Reason.VALUE, "a number of more than 64 bits") from None


def _value(fields: Mapping[str, Any]) -> int:
    key = _first(fields, _VALUES)
    told = fields[key] if key is not None else None
    if isinstance(told, str) and _DIGITS.fullmatch(told.strip()):
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int):
        raise ItemRejected(Reason.VALUE, "its value is no integer")
    if not _LEAST <= told <= _MOST:
        raise ItemRejected(Reason.OUT_OF_RANGE, "its value has more than 64 bits")
    return told


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The key of the first of `names` that is filled in."""
    by_name = {plain_key(key): key for key in fields if not _is_empty(fields[key])}
    return next((by_name[name] for name in names if name in by_name), None)


def _is_empty(value: object) -> bool:
    return value is None or value == ""
