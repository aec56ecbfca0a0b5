"""Payload manifests of BagIt bags (RFC 8493): which digest each file ought to have.

Why not the bagit library: it keeps a whole manifest in memory, refuses a whole bag for one hostile
line, and writes file names, which hold user ids, into logs. It is the second opinion in tests.

A manifest of a million users is read once, keeping 24 bytes for each run of lines of one folder;
after that the lines of one user are read where they stand.
"""

import errno
import hashlib
import os
import re
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Final

from msgspec import Struct

from orchestrator.errors import Unavailable
from workers.material.file_trees import OPENED

ALGORITHMS: Final = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")
"""Strongest first; the first one that a bag has a manifest of is the one that counts."""

TAG_FILES: Final = ("bagit.txt", "bag-info.txt", *(f"manifest-{name}.txt" for name in ALGORITHMS))

_LINE: Final = re.compile(rb"([0-9A-Fa-f]{32,128})[ \t]+\*?(?:\./)*(.+)", re.DOTALL)
_PAYLOAD: Final = re.compile(rb"[0-9A-Fa-f]{32,128}[ \t]+\*?(?:\./)*data/([^/\r\n]+)/")
_BARE_PERCENT: Final = re.compile(rb"%(?!25|0[AaDd])")
_ENCODED: Final = re.compile(rb"%(25|0[AaDd])")
_VERSION: Final = re.compile(rb"^BagIt-Version\s*:\s*(\d+)\.(\d+)\s*$", re.MULTILINE)
_ENCODING: Final = re.compile(
    rb"^Tag-File-Character-Encoding\s*:\s*(?:UTF-?8|US-ASCII|ASCII)\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_OXUM: Final = re.compile(rb"^Payload-Oxum\s*:\s*(\d+)\.(\d+)\s*$", re.MULTILINE | re.IGNORECASE)
_DATE: Final = re.compile(
    rb"^Bagging-Date\s*:\s*(\d{4}-\d\d-\d\d)\s*$", re.MULTILINE | re.IGNORECASE
)
_LINE_BYTES: Final = 1024 * 1024
_TAG_BYTES: Final = 1024 * 1024
_CONFLICT: Final = "listed twice"


class Oxum(Struct, frozen=True, gc=False):
    """How many payload bytes and files a bag says that it has."""

    size: int
    files: int


class BagManifest:
    """The strongest payload manifest of the bag at `root`.

    Raises:
        Unavailable: There is no bag, or none that can be checked.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        _check_declaration(root)
        self.algorithm, self._file = _open_strongest(root)
        self._keys = array("q")
        self._starts = array("Q")
        self._ends = array("Q")
        self.listed = 0
        """Lines that name a payload file in a folder."""
        self.strange = 0
        """Lines that are neither such nor empty."""
        # RFC 8493 writes '%' in a name as %25; bagit-python leaves it as it is.
        self._escapes_percent = True
        try:
            self._index()
        except OSError as error:
            self.close()
            raise _unreadable(error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def names(self, first: bytes) -> bool:
        """Whether it lists anything below `data/<first>/`."""
        return any(True for _ in self._lines(self._spelled(first)))

    def below(self, first: bytes, *further: bytes) -> dict[bytes, str]:
        """The digests of all files below `data/<first>/<further>/`, by the rest of their paths."""
        prefix = b"/".join((b"data", *map(self._spelled, (first, *further)), b""))
        found: dict[bytes, str] = {}
        for line in self._lines(self._spelled(first)):
            match = _LINE.fullmatch(line)
            if match is None or match[2] == prefix or not match[2].startswith(prefix):
                continue
            name, digest = self._name_of(match[2][len(prefix) :]), match[1].decode().lower()
            found[name] = digest if found.get(name, digest) == digest else _CONFLICT
        return found

    def firsts(self) -> Iterator[bytes]:
        """The folders directly below `data` that the manifest names; some more than once."""
        for start, end in zip(self._starts, self._ends, strict=True):
            for line in self._read(start, end):
                match = _PAYLOAD.match(line)
                if match is not None:
                    yield self._name_of(match[1])
                    break

    def paths(self) -> Iterator[bytes]:
        """Every payload path that it lists, as a name."""
        for raw in self._raw_lines():
            for line in raw.splitlines():
                match = _LINE.fullmatch(line)
                if match is not None:
                    yield self._name_of(match[2])

    def digest(self) -> str:
        """SHA-256 of the manifest itself."""
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    def oxum(self) -> Oxum | None:
        """What bag-info.txt says about the payload's size, where it does."""
        match = _OXUM.search(_tag_file(self.root, "bag-info.txt"))
        return None if match is None else Oxum(int(match[1]), int(match[2]))

    def made_after(self, loss: datetime | None) -> bool:
        """Whether bag-info.txt names a day (RFC 8493: of the bag's making) after that of `loss`."""
        if loss is None:
            return False
        made = self._made
        return made is not None and made > loss.astimezone(UTC).date()

    @cached_property
    def _made(self) -> date | None:
        match = _DATE.search(_tag_file(self.root, "bag-info.txt"))
        if match is None:
            return None
        try:
            return date.fromisoformat(match[1].decode())
        except ValueError:
            return None

    def altered_tag_files(self) -> list[str]:
        """Tag files whose bytes are not those that the strongest tag manifest lists."""
        for algorithm in ALGORITHMS:
            listed = _tag_file(self.root, f"tagmanifest-{algorithm}.txt")
            if listed:
                return sorted(_altered(self.root, algorithm, listed))
        return []

    def to_be_fetched(self) -> int:
        """How many files fetch.txt names; they are never fetched."""
        return sum(1 for line in _tag_file(self.root, "fetch.txt").splitlines() if line.strip())

    def _name_of(self, spelled: bytes) -> bytes:
        if not self._escapes_percent:
            return spelled
        return _ENCODED.sub(lambda match: bytes((int(match[1], 16),)), spelled)

    def _spelled(self, name: bytes) -> bytes:
        if not self._escapes_percent:
            return name
        return name.replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")

    def _index(self) -> None:
        """Note where the lines of each folder stand, and how names are spelled."""
        doubtful, before, position = True, b"", 0
        keys, starts, ends = array("q"), array("Q"), array("Q")
        for raw in self._raw_lines():
            end = position + len(raw)
            for line in raw.splitlines():  # of old systems: all lines between two line feeds
                match = _PAYLOAD.match(line)
                if match is None:
                    self.strange += bool(line.strip())
                    continue
                self.listed += 1
                if doubtful and b"%" in line:
                    doubtful = self._learn_spelling(line)
                first = match[1]
                if first == before and position in (starts[-1], ends[-1]):
                    ends[-1] = end
                else:
                    keys.append(hash(first))
                    starts.append(position)
                    ends.append(end)
                before = first
            position = end
        for at in sorted(range(len(keys)), key=keys.__getitem__):
            self._keys.append(keys[at])
            self._starts.append(starts[at])
            self._ends.append(ends[at])

    def _raw_lines(self) -> Iterator[bytes]:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            yield from iter(lambda: file.readline(_LINE_BYTES), b"")

    def _learn_spelling(self, line: bytes) -> bool:
        """Whether '%' is escaped; true while this line cannot tell either."""
        path = line.split(None, 1)[1].lstrip(b"*")
        if _BARE_PERCENT.search(path):
            self._escapes_percent = False
            return False
        as_it_is = os.path.lexists(b"/".join((self.root, path)))
        decoded = os.path.lexists(b"/".join((self.root, self._name_of(path))))
        if as_it_is == decoded:
            return True
        self._escapes_percent = decoded
        return False

    def _lines(self, first: bytes) -> Iterator[bytes]:
        wanted = hash(first)
        at = bisect_left(self._keys, wanted)
        while at < len(self._keys) and self._keys[at] == wanted:
            for line in self._read(self._starts[at], self._ends[at]):
                match = _PAYLOAD.match(line)
                if match is not None and match[1] == first:
                    yield line
            at += 1

    def _read(self, start: int, end: int) -> list[bytes]:
        try:
            return os.pread(self._file, end - start, start).splitlines()
        except OSError as error:
            raise _unreadable(error) from error


def _check_declaration(root: bytes) -> None:
    declaration = _tag_file(root, "bagit.txt")
    version = _VERSION.search(declaration.replace(b"\r", b"\n"))
    if version is None or int(version[1]) > 1:
        raise Unavailable(
            "there is no bag: bagit.txt is missing or names no known version",
            hint="is the path the bag's own folder? Where each user has a bag, say each_user: true",
        )
    if _ENCODING.search(declaration.replace(b"\r", b"\n")) is None:
        raise Unavailable(
            "the bag's tag files are not in UTF-8",
            hint="write bagit.txt and the manifests again in UTF-8",
        )


def _open_strongest(root: bytes) -> tuple[str, int]:
    for algorithm in ALGORITHMS:
        try:
            return algorithm, _open(root, f"manifest-{algorithm}.txt")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(error) from error
    raise Unavailable(
        "the bag has no manifest with a known algorithm",
        hint=f"one of: {', '.join(f'manifest-{name}.txt' for name in ALGORITHMS)}",
    )


def _open(root: bytes, name: str) -> int:
    """One of the bag's own files, opened; a link, device or FIFO counts as missing."""
    path = b"/".join((root, name.encode()))
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return os.open(path, OPENED)


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(
        f"a bag's manifest cannot be read: {error.strerror}",
        hint="is its file system still there, may this user read it?",
    )


def _tag_file(root: bytes, name: str) -> bytes:
    """The bytes of a small file of the bag's own; empty where it cannot be read."""
    try:
        with os.fdopen(_open(root, name), "rb") as file:
            return file.read(_TAG_BYTES)
    except OSError:
        return b""


def _altered(root: bytes, algorithm: str, listed: bytes) -> Iterator[str]:
    for line in listed.splitlines():
        match = _LINE.fullmatch(line)
        name = "" if match is None else match[2].decode(errors="replace")
        if match is None or name not in TAG_FILES:
            continue
        try:
            with os.fdopen(_open(root, name), "rb") as file:
                found = hashlib.file_digest(file, algorithm).hexdigest()
        except OSError:
            found = ""
        if found != match[1].decode().lower():
            yield name
