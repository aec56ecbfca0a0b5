"""The independent recount: what is really in the targets, held against what really was.

It reads the sources' and targets' own files and tables and the truth of the sample; never the
ledger, and nothing of the code that restored. The books come in as plain numbers, to be compared.

    python -m plans.sample.recount FOLDER
"""

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

from plans.sample.second_reading import facts, marks
from plans.sample.truth import GroundTruth, TrueItem, hash_of_tree

SOURCES: Final = {"core": "core.db", "backup": "backup", "devices": "devices"}

WRONGS: Final = {
    "lost": "must be there and is not",
    "duplicated": "is there more than once",
    "unexpected": "is there and should not be",
    "wrong_hands": "bears the mark of another user",
    "overwritten": "is older than what its user had made of it",
    "erased": "belongs to a user who asked to be erased",
    "altered": "does not say what it should",
}
"""Everything that can be wrong with an item."""


class Wrong(Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be."""

    what: str
    """One of `WRONGS`."""
    category: str
    user: str
    item: str
    detail: str = ""


class Held(Struct, frozen=True, kw_only=True):
    """One item that a target holds."""

    category: str
    user: str
    place: str
    content: bytes
    beside: bytes = b""
    stamp: str = ""
    """Changes whenever anybody writes it, even with the same bytes."""


class Recount(Struct, frozen=True, kw_only=True):
    """What was counted."""

    held: int
    """Items in the targets."""
    as_expected: int
    wrongs: tuple[Wrong, ...]
    changed_sources: tuple[str, ...]
    """Sources that are not what they were."""
    expected_books: dict[str, dict[str, int]]
    """By category, the sums that follow from the truth alone."""

    @property
    def sound(self) -> bool:
        """Everything is as it must be."""
        return not self.wrongs and not self.changed_sources

    def counts(self) -> dict[str, int]:
        """How many of each kind of wrong."""
        found = dict.fromkeys(WRONGS, 0)
        for wrong in self.wrongs:
            found[wrong.what] += 1
        return found

    def compare(self, books: Mapping[str, Mapping[str, int]]) -> list[str]:
        """Where the books of a first run say something else; `books` by category."""
        found: list[str] = []
        for category, expected in self.expected_books.items():
            told = books.get(category, {})
            for name, parts in _SUMS.items():
                number = sum(told.get(part, 0) for part in parts)
                if number != expected[name]:
                    found.append(f"{category}: {expected[name]} {name}, the books say {number}")
        return found


_SUMS: Final = {
    "restored": ("restored", "merged"),
    "stays": ("present", "superseded"),
    "declined": ("declined",),
    "lost": ("lost", "quarantined"),
}
"""Fates of items, and which outcomes of the books they show as."""


def recount(folder: Path, truth: GroundTruth | None = None) -> Recount:
    """Count again what `folder` holds."""
    truth = truth or GroundTruth.load(folder)
    items = {item.number: item for item in truth.items}
    whose = {token: user for user, token in truth.tokens.items()}
    wrongs: list[Wrong] = []
    seen: dict[int, list[Held]] = {}
    held = list(everything_held(folder / "restored"))
    for one in held:
        wrong = _misplaced(one, items, whose, truth, seen)
        if wrong is not None:
            wrongs.append(wrong)
    for item in truth.items:
        wrongs.extend(_judged(item, seen.get(item.number, [])))
    bad = {wrong.item for wrong in wrongs}
    return Recount(
        held=len(held),
        as_expected=sum(1 for number in seen if f"{number:06x}" not in bad),
        wrongs=tuple(wrongs),
        changed_sources=tuple(
            source
            for source, name in SOURCES.items()
            if hash_of_tree(folder / "material" / name) != truth.material[source]
        ),
        expected_books=_books(truth.items),
    )


def _misplaced(
    one: Held,
    items: Mapping[int, TrueItem],
    whose: Mapping[str, str],
    truth: GroundTruth,
    seen: dict[int, list[Held]],
) -> Wrong | None:
    """What is wrong with a thing wherever it belongs; else it is noted as seen."""
    found = marks(one.content, one.beside)
    about = {"category": one.category, "user": one.user}
    if one.user in truth.erased:
        return Wrong(what="erased", item=one.place, **about)
    strangers = {whose.get(token, "nobody") for token, _, _ in found} - {one.user}
    if strangers:
        return Wrong(what="wrong_hands", item=one.place, **about)
    if len({number for _, number, _ in found}) != 1:
        return Wrong(what="unexpected", item=one.place, detail="not one mark", **about)
    ((_, number, _), *_) = found
    item = items.get(number)
    if item is None or (item.user, item.category) != (one.user, one.category):
        return Wrong(what="unexpected", item=one.place, detail="unknown mark", **about)
    seen.setdefault(number, []).append(one)
    return None


def _judged(item: TrueItem, held: list[Held]) -> Iterator[Wrong]:
    """What is wrong with one item, from all that bears its mark in its user's hands."""
    name = f"{item.number:06x}"
    about = {"category": item.category, "user": item.user, "item": name}
    if item.after is None:
        if held:
            yield Wrong(what="unexpected", detail=f"its fate is {item.fate}", **about)
        return
    if not held:
        yield Wrong(what="lost", **about)
        return
    if len(held) > 1:
        yield Wrong(what="duplicated", detail=f"{len(held)} times", **about)
    for one in held:
        versions = {version for _, _, version in marks(one.content, one.beside)}
        if versions != {item.after}:
            what = "overwritten" if item.live == "newer" else "altered"
            detail = f"version {sorted(versions)} in place of {item.after}"
            yield Wrong(what=what, detail=detail, **about)
            continue
        told = facts(item.category, one.content, one.beside)
        differing = sorted(
            key for key in {*told, *item.expected} if told.get(key) != item.expected.get(key)
        )
        if differing:
            yield Wrong(what="altered", detail=", ".join(differing), **about)


def _books(items: Iterable[TrueItem]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for item in items:
        sums = found.setdefault(item.category, dict.fromkeys(_SUMS, 0))
        if item.fate in sums:
            sums[item.fate] += 1
    return found


# What the targets hold ---------------------------------------------------------------------------


def everything_held(targets: Path) -> Iterator[Held]:
    """Every item of every user, from the files and tables themselves."""
    yield from _files(targets / "pim")
    yield from _rows(targets / "scores.db")


def _files(root: Path) -> Iterator[Held]:
    for folder in sorted(root.glob("*/*")):
        if folder.parent.name.startswith("."):
            continue
        names = {path.name: path for path in folder.iterdir()}
        for name, path in sorted(names.items()):
            if name.count(".") > 1 and name.rpartition(".")[0] in names:
                continue  # it lies beside another, with which it is read
            beside = [names[other] for other in sorted(names) if other.startswith(f"{name}.")]
            yield Held(
                category=folder.name,
                user=unquote(folder.parent.name),
                place=name,
                content=path.read_bytes(),
                beside=b"".join(other.read_bytes() for other in beside),
                stamp=" ".join(map(_stamp, (path, *beside))),
            )


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_ino}.{status.st_mtime_ns}.{status.st_size}"


def _rows(database: Path) -> Iterator[Held]:
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT player_id, board, record, changed, revision FROM leaderboard"
            " WHERE removed_at IS NULL ORDER BY player_id, board"
        )
        for user, board, record, changed, revision in rows:
            yield Held(
                category="high_scores",
                user=user,
                place=board,
                content=record if isinstance(record, bytes) else record.encode(),
                stamp=f"{changed} {revision}",
            )
    finally:
        connection.close()


def state_of_targets(folder: Path) -> str:
    """A hash over everything that the targets hold: names, bytes, and when each was written."""
    total = sha256()
    for one in everything_held(folder / "restored"):
        for part in (one.category, one.user, one.place, one.stamp):
            total.update(part.encode("utf-8", "surrogateescape") + b"\0")
        total.update(sha256(one.content).digest() + sha256(one.beside).digest())
    return total.hexdigest()


def main(arguments: list[str]) -> int:
    """`python -m plans.sample.recount FOLDER`: say what is wrong; 0 where nothing is."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m plans.sample.recount FOLDER\n")
        return 2
    found = recount(Path(arguments[0]))
    for source in found.changed_sources:
        sys.stdout.write(f"source {source} is not what it was\n")
    for wrong in found.wrongs:
        why = f" ({wrong.detail})" if wrong.detail else ""
        sys.stdout.write(f"{wrong.what}: {wrong.category} {wrong.item} of {wrong.user}{why}\n")
    counts = ", ".join(f"{number} {name}" for name, number in found.counts().items())
    sys.stdout.write(f"{found.held} items in the targets; {counts}\n")
    return 0 if found.sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
