"""One user's rows as files: values that did not come with the listing are read in windows."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import File, UserId, Vouched
from orchestrator.reasons import Reason
from workers.material.databases import ValueUnreadable
from workers.material.recovered_rows import RecoveredRow, RecoveredTable
from workers.material.row_values import name_of
from workers.material.vouching import checked, vouched

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""Values that are read together: so many bytes …"""
WINDOW_ROWS: Final = 200
"""… and so many rows."""


class RowFiles:
    """The rows of one user's one category; `file_bytes` is the size above which none is read.

    `vouching`: what has a row's SHA-256 is what the service had accepted.
    """

    def __init__(
        self,
        table: RecoveredTable,
        owner: UserId,
        rows: Sequence[RecoveredRow],
        *,
        file_bytes: int,
        vouching: bool = False,
    ) -> None:
        self._table = table
        self._owner = owner
        self._rows = rows
        self._file_bytes = file_bytes
        self._vouching = vouching
        self._window: dict[int, RecoveredRow] = {}

    def __iter__(self) -> Iterator[File]:
        """One file a row, in the order of the rows, with what lies beside it."""
        names = (name_of(row.id) for row in self._rows)
        if _repeat(name_of(row.id) for row in self._rows):
            names = iter(_unique(list(names)))
        return (self._file(at, name) for at, name in enumerate(names))

    def _file(self, at: int, name: str) -> File:
        row = self._rows[at]
        beside = zip(self._table.suffixes, row.values[1:], strict=False)
        return File(
            name=name,
            size=row.values[0].size,
            read=partial(self._read, at, 0),
            vouched=partial(self._vouched, at) if self._vouching and row.sha256 else None,
            modified=row.modified,
            beside=tuple(
                File(
                    name=f"{name}.{suffix}",
                    size=value.size,
                    read=partial(self._read, at, part),
                    modified=row.modified,
                )
                for part, (suffix, value) in enumerate(beside, start=1)
                if not value.absent
            ),
        )

    def _vouched(self, at: int) -> Vouched:
        data, known = self._value(at, 0)
        return vouched(data, "sha256", known or "")

    def _read(self, at: int, part: int) -> bytes:
        data, known = self._value(at, part)
        return data if known is None else checked(data, "sha256", known)

    def _value(self, at: int, part: int) -> tuple[bytes, str | None]:
        """A value, and the SHA-256 that it ought to have."""
        listed = self._rows[at]
        if listed.unreadable:
            raise ItemRejected(Reason.UNREADABLE, "the database cannot give this value")
        size = listed.values[part].size
        if size > self._file_bytes:
            raise ItemRejected(Reason.TOO_LARGE, f"{size} bytes, the limit is {self._file_bytes}")
        row = listed if listed.values[part].data is not None else self._loaded(at)
        value = row.values[part]
        data = value.data or b""
        if len(data) != size:
            raise ItemRejected(
                Reason.UNREADABLE,
                f"changed since it was listed with {size} bytes",
                data=data[:size],
            )
        if value.damaged:
            raise ItemRejected(Reason.ENCODING, f"not UTF-8: {', '.join(value.damaged)}", data=data)
        return data, None if part else row.sha256

    def _loaded(self, at: int) -> RecoveredRow:
        """A row with its bytes, together with those that are likely to be asked for next."""
        if at not in self._window:
            try:
                self._window = self._load(self._ahead(at))
            except ValueUnreadable:
                self._window = self._load_alone(at)
        if at not in self._window:
            raise ItemRejected(Reason.UNREADABLE, "the row is gone since it was listed")
        return self._window[at]

    def _ahead(self, at: int) -> list[int]:
        """This row and those after it that have to be read too, as far as a window reaches."""
        chosen: list[int] = []
        size = 0
        for following in range(at, len(self._rows)):
            row = self._rows[following]
            row_size = sum(value.size for value in row.values if value.data is None)
            if row.unreadable or row_size == 0 or row.values[0].size > self._file_bytes:
                continue
            size += row_size
            if chosen and (size > WINDOW_BYTES or len(chosen) == WINDOW_ROWS):
                break
            chosen.append(following)
        return chosen

    def _load_alone(self, at: int) -> dict[int, RecoveredRow]:
        try:
            return self._load([at])
        except ValueUnreadable:
            raise ItemRejected(Reason.UNREADABLE, "the database cannot give this value") from None

    def _load(self, wanted: Sequence[int]) -> dict[int, RecoveredRow]:
        """Rows with their bytes, by their place; of several with one id, each in its order."""
        found: dict[str, list[RecoveredRow]] = {}
        for row in self._table.load(self._owner, [self._rows[at].id for at in wanted]):
            found.setdefault(name_of(row.id), []).append(row)
        loaded: dict[int, RecoveredRow] = {}
        for at in wanted:
            name = name_of(self._rows[at].id)
            turn = (
                sum(1 for row in self._rows[:at] if name_of(row.id) == name)
                if (len(found.get(name, ())) > 1)
                else 0
            )
            if turn < len(found.get(name, ())):
                loaded[at] = found[name][turn]
        return loaded


def _repeat(names: Iterable[str]) -> bool:
    """Whether two are the same, or look so: a set of 200,000 names would take 30 MB."""
    hashes = array("q", map(hash, names))
    return any(one == other for one, other in pairwise(sorted(hashes)))


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that repeat with a number, so that each names one file."""
    taken: set[str] = set()
    unique: list[str] = []
    for name in names:
        candidate, turn = name, 2
        while candidate in taken:
            candidate, turn = f"{name}#{turn}", turn + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique
