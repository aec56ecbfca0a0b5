"""The live system as it was before the restoration: what users made, changed and deleted since."""

import json
import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from plans.sample import calendars, cards, notebooks
from plans.sample.belongings import LOSS, Belonging, Contact, Event, Note, Photo, Score, Task

SINCE: Final = LOSS + timedelta(days=12)
"""When users changed what is newer than the loss."""

LEADERBOARD: Final = """
CREATE TABLE leaderboard (
  player_id TEXT NOT NULL,
  board TEXT NOT NULL,
  record TEXT NOT NULL,
  changed TIMESTAMP NOT NULL,
  removed_at TIMESTAMP,
  revision INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (player_id, board)
)
"""


class LiveSystem:
    """The targets below one folder."""

    def __init__(self, folder: Path) -> None:
        self._pim = folder / "pim"
        self._pim.mkdir(parents=True)
        self._scores = sqlite3.connect(folder / "scores.db")
        self._scores.execute(LEADERBOARD)

    def hold(
        self, user: str, thing: Belonging, *, at: datetime, uid: str = "", picture: bytes = b""
    ) -> None:
        """One item, last changed at that moment; `uid`: under another id than its own."""
        match thing:
            case Contact():
                content = cards.card(thing, "3.0", uid=uid or None)
                self._put(user, "contacts", f"{_escaped(uid or thing.uid)}.vcf", content, at)
            case Event():
                zones = [thing.zone] if thing.zone else []
                content = calendars.calendar([calendars.event(thing)], zones)
                self._put(user, "calendar", f"{_escaped(thing.uid)}.ics", content, at)
            case Note():
                content = notebooks.markdown(thing)
                self._put(user, "notes", f"{_escaped(thing.uid)}.md", content, at)
            case Task():
                content = calendars.calendar([calendars.task(thing)])
                self._put(user, "tasks", f"{_escaped(thing.uid)}.ics", content, at)
            case Photo():
                self._put(user, "photos", f"{_escaped(thing.uid)}.{thing.form}", picture, at)
            case Score():
                self._score(user, thing, at=at, removed=False)
            case _:
                raise ValueError(type(thing).__name__)

    def remove(self, user: str, score: Score, *, at: datetime) -> None:
        """A score that its player took off the board."""
        self._score(user, score, at=at, removed=True)

    def close(self) -> None:
        """Write the rest down."""
        self._scores.commit()
        self._scores.close()

    def _put(self, user: str, category: str, name: str, content: bytes, at: datetime) -> None:
        path = self._pim / _escaped(user) / category / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (at.timestamp(), at.timestamp()))

    def _score(self, user: str, score: Score, *, at: datetime, removed: bool) -> None:
        fields = notebooks.score_fields(score, user)
        del fields["player"]
        record = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        stamp = f"{at:%Y-%m-%d %H:%M:%S.%f}"
        self._scores.execute(
            "INSERT INTO leaderboard VALUES (?, ?, ?, ?, ?, 1)",
            (user, score.board, record, stamp, stamp if removed else None),
        )


def _escaped(text: str) -> str:
    return quote(text, safe="_@+-").replace(".", "%2E").replace("~", "%7E")
