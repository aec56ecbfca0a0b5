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
    return _board(fields, _filled(fields))


def read_score(fields: Mapping[str, Any], board: str, leave_out: Collection[str]) -> Score:
    """The score in an object or row; `board` where its fields name none.

    `leave_out`: plain names of fields that say whose it is.

    Raises:
        ItemRejected: no board, a value that is no integer of 64 bits, a time that is none.
    """
    filled = _filled(fields)
    named = _board(fields, filled) or board
    if not named or len(named) > _LONGEST_BOARD or not named.isprintable():
        raise ItemRejected(Reason.STRUCTURE, "no board")
    value = _first(filled, _VALUES)
    when = _first(filled, _TIMES)
    achieved = read_time(fields[when]) if when is not None else None
    if when is not None and achieved is None:
        raise ItemRejected(Reason.VALUE, "its time is none")
    said = {value, when, _first(filled, _BOARDS)}
    beside = fields.get(IDENT) if MARK in fields else None
    return Score(
        board=named,
        value=_value(fields[value] if value is not None else None),
        achieved=achieved,
        more={
            key: told
            for key, told in fields.items()
            if key not in said
            and told is not None
            and told != ""
            and plain_key(key) not in leave_out
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


def _value(told: object) -> int:
    if isinstance(told, str) and _DIGITS.fullmatch(told.strip()):
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int):
        raise ItemRejected(Reason.VALUE, "its value is no integer")
    if not _LEAST <= told <= _MOST:
        raise ItemRejected(Reason.OUT_OF_RANGE, "its value has more than 64 bits")
    return told


def _board(fields: Mapping[str, Any], filled: Mapping[str, str]) -> str:
    key = _first(filled, _BOARDS)
    return str(fields[key]).strip() if key is not None else ""


def _filled(fields: Mapping[str, Any]) -> dict[str, str]:
    """The keys of the fields that are filled in, by their plain names; the first of two alike."""
    filled: dict[str, str] = {}
    for key, told in fields.items():
        if told is not None and told != "":
            filled.setdefault(plain_key(key), key)
    return filled


def _first(filled: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((filled[name] for name in names if name in filled), None)
