"""Two contents of one item, field by field: everything that both have, in one.

Knows values and which of them are the same; not how any format writes them. A value that stands
once is the winner's where both sides differ; of values that may stand several times both sides'
stay. What only an older state of both (the base) and the side that loses have, the side that wins
has let go of: that is left out. Putting the result together with either side once more gives the
result.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from difflib import SequenceMatcher
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from orchestrator.items import Copy, Damaged, File, Folder, Found, Item, Side, UserId
from orchestrator.ports import Combined, Live, Origins, Recognised, Rules

Payload = TypeVar("Payload")


class TwoThingsError(Exception):
    """No one item can hold both sides."""


class Value(Struct, Generic[Payload], frozen=True, kw_only=True):
    """One value of a field, as a format's `Form` writes it."""

    field: str
    """Its name, in upper case."""
    key: bytes
    """Equal for two values of a field that are the same one; empty: it says nothing."""
    says: frozenset[bytes] = frozenset()
    """What it says besides: kinds of a number, labels; of a field that stands once, its parts."""
    single: bool = False
    """The field has one value at most."""
    of: bytes = b""
    """With `single`, of a field that has one value for each of several things: for which."""
    holds: Payload


class Form(Protocol[Payload]):
    """How a format writes what comes of two values."""

    def joined(self, value: Value[Payload], other: Value[Payload]) -> Value[Payload]:
        """`value`, saying also what `other`, the same one, says."""
        ...

    def both(self, value: Value[Payload], other: Value[Payload]) -> Value[Payload] | None:
        """One value that holds two different ones, where the field is a text that can."""
        ...

    def aside(self, value: Value[Payload]) -> Iterable[Value[Payload]]:
        """Where a value is kept that lost its field; nothing where the format has no room."""
        ...


def together(
    live: Sequence[Value[Payload]],
    recovered: Sequence[Value[Payload]],
    base: Sequence[Value[Payload]] = (),
    *,
    wins: Side,
    form: Form[Payload],
) -> tuple[list[Value[Payload]], Origins]:
    """The values of both, in the live one's order, and what came from where."""
    union = _Union(live, base, wins, form)
    for value in recovered:
        if value.single:
            union.take_single(value)
        else:
            union.take(value)
    if wins is Side.RECOVERED and base:
        union.let_go(recovered)
    return union.values(), union.origins()


class _Union(Generic[Payload]):
    """The live values, taking in others."""

    def __init__(
        self,
        live: Sequence[Value[Payload]],
        base: Sequence[Value[Payload]],
        wins: Side,
        form: Form[Payload],
    ) -> None:
        self._form = form
        self._live_wins = wins is Side.LIVE
        self._base = {(value.field, value.key) for value in base if value.key}
        self._base_singles = {(value.field, value.of): value.key for value in base if value.single}
        self._slots: dict[tuple[int, int], Value[Payload]] = {}
        """By place: a live value's number, and what was put before (< 0) or after it (> 0)."""
        self._by_key: dict[tuple[str, bytes], list[tuple[int, int]]] = {}
        self._singles: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._end = len(live)
        self._told: dict[str, dict[str, None]] = {}
        for number, value in enumerate(live):
            self._first.setdefault(value.field, number)
            self._last[value.field] = number
            self._put((number, 0), value)

    def values(self) -> list[Value[Payload]]:
        """What there is now, in order."""
        return [self._slots[place] for place in sorted(self._slots)]

    def origins(self) -> Origins:
        """What came from where."""
        return Origins(**{what: tuple(sorted(names)) for what, names in self._told.items()})

    def take_single(self, new: Value[Payload]) -> None:
        """Take in a recovered value of a field that has one."""
        place = self._singles.get((new.field, new.of))
        if place is None:
            self._add(new)
            return
        old = self._slots[place]
        if old.key == new.key:
            self._join(place, old, new)
            return
        before = self._base_singles.get((new.field, new.of))
        if before == old.key:
            self._set(place, new, "taken")  # only the recovered one changed
        elif before == new.key:
            self._tell("kept", new.field)  # only the live one did
        elif old.says < new.says:
            self._set(place, new, "added")
        elif not new.says < old.says:
            self._settle(place, old, new)

    def _settle(self, place: tuple[int, int], old: Value[Payload], new: Value[Payload]) -> None:
        """Both sides have another one."""
        winner, loser = (old, new) if self._live_wins else (new, old)
        both = self._form.both(winner, loser)
        if both is not None:
            if both.key != old.key:
                self._set(place, both, "added")
            return
        self._set(place, winner, "kept" if self._live_wins else "taken")
        for value in self._form.aside(loser):
            if (value.field, value.key) not in self._by_key:
                self._insert(value)

    def take(self, new: Value[Payload]) -> None:
        """Take in a recovered value of a field that may have several."""
        same = self._by_key.get((new.field, new.key), ())
        if any(new.says <= self._slots[place].says for place in same):
            return
        if same:
            self._join(same[0], self._slots[same[0]], new)
        else:
            self._add(new)

    def let_go(self, recovered: Sequence[Value[Payload]]) -> None:
        """Drop what the recovered side, which wins, had once and has no more."""
        there = {(value.field, value.key) for value in recovered}
        singles = {(value.field, value.of) for value in recovered if value.single}
        for place, value in list(self._slots.items()):
            name = (value.field, value.key)
            if (
                name not in self._base
                or name in there
                or (value.single and (value.field, value.of) in singles)
            ):
                continue
            del self._slots[place]
            self._tell("left_out", value.field)

    def _add(self, new: Value[Payload]) -> None:
        if self._live_wins and (new.field, new.key) in self._base:
            self._tell("left_out", new.field)
            return
        self._insert(new)
        self._tell("added", new.field)

    def _join(self, place: tuple[int, int], old: Value[Payload], new: Value[Payload]) -> None:
        if new.says <= old.says:
            return
        winner, loser = (old, new) if self._live_wins else (new, old)
        self._slots[place] = self._form.joined(winner, loser)
        self._tell("added", new.field)

    def _insert(self, value: Value[Payload]) -> None:
        """Beside others of its field: clients that show one of several show the first."""
        self._end += 1
        if value.field not in self._first:
            self._put((self._end, 0), value)
        elif self._live_wins:
            self._put((self._last[value.field], self._end), value)
        else:
            self._put((self._first[value.field], self._end - (1 << 62)), value)

    def _put(self, place: tuple[int, int], value: Value[Payload]) -> None:
        self._slots[place] = value
        self._by_key.setdefault((value.field, value.key), []).append(place)
        if value.single:
            self._singles[value.field, value.of] = place

    def _set(self, place: tuple[int, int], value: Value[Payload], what: str) -> None:
        self._slots[place] = value
        self._tell(what, value.field)

    def _tell(self, what: str, field: str) -> None:
        self._told.setdefault(what, {})[field] = None


def told_of_all(origins: Iterable[Origins]) -> Origins:
    """What of an item's parts came from where, as of one."""
    told: dict[str, set[str]] = {}
    for part in origins:
        for what in Origins.__struct_fields__:
            told.setdefault(what, set()).update(getattr(part, what))
    return Origins(**{what: tuple(sorted(names)) for what, names in told.items()})


# Texts -----------------------------------------------------------------------------------------


def within(part: str, whole: str) -> bool:
    """Whether a text stands in another one, not in the middle of a word."""
    part = part.strip()
    before = r"(?<!\w)" if part[:1].isalnum() else ""
    after = r"(?!\w)" if part[-1:].isalnum() else ""
    return re.search(before + re.escape(part) + after, whole) is not None


MOST_LINES: Final = 2_000
"""Comparing takes the square of it."""


def with_changes_of_both(base: str, mine: str, theirs: str) -> str | None:
    """The text that `base` became on both sides; None where both changed the same lines.

    None, too, where lines repeat so that nobody can say which of them changed.
    """
    both = _changed_by_both(base, mine, theirs)
    if both is None or _changed_by_both(base, both, theirs) != both:
        return None
    return both


def _changed_by_both(base: str, mine: str, theirs: str) -> str | None:
    lines, one, other = (text.splitlines(keepends=True) for text in (base, mine, theirs))
    if max(map(len, (lines, one, other))) > MOST_LINES:
        return None
    in_one, in_other = _places(lines, one), _places(lines, other)
    common = [at for at in range(len(lines)) if at in in_one and at in in_other]
    done: list[str] = []
    start = start_one = start_other = 0
    for at in [*common, len(lines)]:
        end_one, end_other = in_one.get(at, len(one)), in_other.get(at, len(other))
        before = lines[start:at]
        changed, changed_too = one[start_one:end_one], other[start_other:end_other]
        if changed_too in (before, changed):
            done += changed
        elif changed == before:
            done += changed_too
        else:
            return None
        done += lines[at : at + 1]
        start, start_one, start_other = at + 1, end_one + 1, end_other + 1
    return "".join(done)


def _places(lines: Sequence[str], other: Sequence[str]) -> dict[int, int]:
    """Which line is which one of the other text."""
    blocks = SequenceMatcher(None, lines, other, autojunk=False).get_matching_blocks()
    return {at + n: there + n for at, there, size in blocks for n in range(size)}


# What a category gives back --------------------------------------------------------------------


class Reader(Protocol):
    """What is asked of a category to see that a merged item is one."""

    def recognise(self, owner: UserId, content: bytes) -> Recognised | None:
        """What a live content is."""
        ...

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Every byte of a folder as copy, damage or framing."""
        ...


def checked(
    category: Reader, owner: UserId, live: Live, item: Item, origins: Origins
) -> Combined | None:
    """The merged item, where it is read back as what it says, and is as valid as the live one."""
    seen = category.recognise(owner, item.content)
    if seen is None or (seen.ident, seen.digest) != (item.ident, item.digest):
        return None
    if not _is_valid(category, owner, item.content) and _is_valid(category, owner, live.content):
        return None
    return Combined(item=item, origins=origins)


def _is_valid(category: Reader, owner: UserId, content: bytes) -> bool:
    file = File(name="merged", size=len(content), read=lambda: content)
    rules = Rules(repairs=frozenset(), loss=datetime(9999, 1, 1, tzinfo=UTC))
    found = list(category.read(Folder(owner=owner, files=(file,)), rules))
    return any(isinstance(one, Copy) for one in found) and not any(
        isinstance(one, Damaged) for one in found
    )


def latest(*moments: datetime | None) -> datetime | None:
    """The last of them, None where there is none."""
    return max((moment for moment in moments if moment is not None), default=None)
