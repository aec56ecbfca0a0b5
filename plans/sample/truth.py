"""What really was: every item of the sample population, its copies, and what must come back.

The file lies beside the material, where no source looks. Knows nothing of how items are restored.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

FILE: Final = "truth.json"

CANARY: Final = re.compile(rb"canary-([0-9a-f]{8})-([0-9a-f]{6})-v(\d)")
"""Owner's token, number of the item, version: a mark that every content of the sample bears."""

Fate = Literal["restored", "stays", "declined", "lost", "own"]
"""What must become of an item.

restored: it is put into the target; stays: the target holds it already, or something newer;
declined: its user is erased, or deleted it since; lost: no source holds it whole; own: its user
made it after the loss, no source ever held it.
"""


class TrueCopy(Struct, frozen=True, kw_only=True):
    """One copy that was put into a source, or that was there and is gone."""

    source: str
    place: str
    """File below the source, or table and row."""
    version: int
    damage: str = ""
    """Empty: as it was written."""
    mends: bool = False
    """The damage can be repaired without a loss."""

    @property
    def whole(self) -> bool:
        """Its item can be had from it."""
        return not self.damage or self.mends


class TrueItem(Struct, frozen=True, kw_only=True):
    """One item, with the content of each of its versions."""

    user: str
    category: str
    number: int
    """Unique in the population; part of its canary."""
    fate: Fate
    after: int | None
    """The version that the target must hold at the end; None: it must not hold any."""
    live: str = ""
    """What the target held before: nothing, or one newer, equal, stale (older than the loss),
    worse (a later score), elsewhere (equal, under another id), deleted, own."""
    versions: dict[str, dict[str, str]]
    """By version, what can be told from a content: names, numbers, texts, hashes."""
    copies: tuple[TrueCopy, ...] = ()

    @property
    def expected(self) -> dict[str, str]:
        """What the content must tell at the end."""
        return self.versions[str(self.after)] if self.after is not None else {}


class GroundTruth(Struct, frozen=True, kw_only=True):
    """Everything about one population."""

    seed: int
    users: tuple[str, ...]
    """In the order of the list of affected users."""
    tokens: dict[str, str]
    """By user, what their canaries begin with."""
    erased: tuple[str, ...]
    ambiguous: tuple[str, ...]
    """Users whose ids differ from another's only in case."""
    items: tuple[TrueItem, ...]
    material: dict[str, str]
    """By source, a hash over all its bytes: sources are only ever read."""

    def damages(self) -> dict[str, int]:
        """How many copies were damaged, by the kind of damage."""
        counts: dict[str, int] = {}
        for item in self.items:
            for copy in item.copies:
                if copy.damage:
                    counts[copy.damage] = counts.get(copy.damage, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def save(self, folder: Path) -> None:
        """Write it down as JSON."""
        (folder / FILE).write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, folder: Path) -> "GroundTruth":
        """Read it back."""
        return msgspec.json.decode((folder / FILE).read_bytes(), type=cls)


def token_of(seed: int, user: str) -> str:
    """What a user's canaries begin with."""
    return sha256(f"{seed}/{user}".encode()).hexdigest()[:8]


def canary(token: str, number: int, version: int) -> str:
    """The mark of one version of one item."""
    return f"canary-{token}-{number:06x}-v{version}"


def hash_of_files(files: Iterable[tuple[str, bytes]]) -> str:
    """A hash over names and bytes, whatever their order."""
    total = sha256()
    for line in sorted(f"{sha256(data).hexdigest()} {name}\n" for name, data in files):
        total.update(line.encode())
    return total.hexdigest()


def hash_of_tree(root: Path) -> str:
    """The same over a file, or over all files of a folder."""
    if root.is_file():
        return hash_of_files([(root.name, root.read_bytes())])
    paths = (path for path in root.rglob("*") if path.is_file())
    return hash_of_files((path.relative_to(root).as_posix(), path.read_bytes()) for path in paths)
