"""Recovered files in an object store: `<url>/<user>/<category>/<any name>`, like `vdir`.

The user's part of a name carries the user id, percent-escaped where it is not plain. Nothing is
ever written. An object that was changed since it was listed, or lies in an archive that has to be
thawed first, is quarantined as unreadable, never taken for what it is not.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import File, Folder, UserId
from orchestrator.options.references import Location, Secret
from orchestrator.ports import Inventory, Surroundings
from orchestrator.reasons import Reason
from workers.material.file_trees import FILE_BYTES, Entry, moment, text_of
from workers.material.inspection import Inspection
from workers.material.user_trees import UserTree
from workers.storage.buckets import LOCAL, Access, Bucket

if TYPE_CHECKING:
    from obstore import ObjectMeta

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Objects named after users and categories."""

    url: Location
    """`s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`."""
    endpoint: str = ""
    """The address of a store that speaks like S3, where it is not Amazon's."""
    region: str = ""
    """The region, where the store has any."""
    access_key: Secret | None = None
    """S3's key id, by reference; without it, what the worker's environment says."""
    secret_key: Secret | None = None
    """S3's key, by reference."""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    """Further settings of the store's client, none of them secret."""
    file_bytes: int = FILE_BYTES
    """An object larger than this is quarantined unread."""

    def open(self, surroundings: Surroundings) -> "ObjectsSource":
        """Ready to read; connects on first use."""

        def opened() -> Access:
            access = Access.of(self, surroundings.secret)
            if access.url.startswith(LOCAL):
                raise Unavailable(
                    "objects source: a folder of this machine is no object store",
                    hint="name it as a source of kind vdir",
                )
            return access

        bucket = Bucket(opened, folder=surroundings.folder, called="objects source")
        tree = ObjectTree(bucket, file_bytes=self.file_bytes)
        return ObjectsSource(bucket, UserTree(tree, categories=surroundings.categories))


class ObjectsSource:
    """A bucket, opened."""

    def __init__(self, bucket: Bucket, users: UserTree) -> None:
        self._bucket = bucket
        self._users = users

    def inspect(self) -> Inventory:
        """Lists everything once, without reading any object.

        The manifest covers names, sizes and times of objects.
        """
        inspection = Inspection()
        for _ in self._users.survey(inspection):
            pass
        inspection.note("the manifest covers names, sizes and times of objects, not their bytes")
        return inspection.inventory()

    def users(self) -> Iterator[UserId]:
        """In the order of their names."""
        return self._users.owners()

    def folders(self, category: str, owners: Sequence[UserId]) -> Iterator[Folder]:
        """Objects are listed when a folder is iterated."""
        return self._users.folders(category, owners)

    def close(self) -> None:
        """Let go of the connections."""
        self._bucket.close()


class ObjectTree:
    """An object store's names as folders in folders."""

    def __init__(self, bucket: Bucket, *, file_bytes: int) -> None:
        self._bucket = bucket
        self._file_bytes = file_bytes

    def check(self) -> None:
        """Prove that something is there: a wrong prefix looks like users without data.

        Raises:
            Unavailable: It is not so.
        """
        if next(self._under(()), None) is None:
            raise Unavailable(
                "objects source: nothing is there",
                hint="are bucket and prefix right? A source that holds nothing has to be left out",
            )

    def is_folder(self, *parts: bytes) -> bool:
        """Whether there is any object below."""
        return next(self._under(parts), None) is not None

    def level(self, *parts: bytes) -> list["Level"]:
        """What lies directly below, by name."""
        prefix = _key(parts)
        folders, objects = self._bucket.level(f"{prefix}/" if prefix else None)
        found = [Level(name.encode(), _key((*parts, name.encode())).encode()) for name in folders]
        for meta in objects:
            path = meta["path"].encode()
            found.append(Level(path.rpartition(b"/")[2], path, meta["size"], _time(meta)))
        return sorted(found, key=lambda one: (one.name, one.size is None))

    def walk(self, *parts: bytes) -> Iterator[Entry]:
        """Every object below, in the order of the store's listing."""
        start = len(_key(parts).encode()) + 1
        for meta in self._under(parts):
            path = meta["path"].encode()
            yield Entry(path[start:], path, meta["size"], _time(meta))

    def head(self, *parts: bytes, limit: int) -> bytes | None:
        """The first bytes of an object; None where none can be read."""
        entry = next((each for each in self.level(*parts[:-1]) if each.name == parts[-1]), None)
        if entry is None or entry.size is None or entry.size > limit:
            return None
        return self.read(Entry(entry.name, entry.path, entry.size, entry.modified))

    def folds_case(self, part: bytes) -> bool | None:
        """Never: names of objects are bytes."""
        del part
        return False

    def file(self, entry: Entry) -> File:
        """An entry as a source gives it."""
        return File(
            name=text_of(entry.name),
            size=entry.size,
            read=partial(self.read, entry),
            modified=moment(entry.modified),
        )

    def read(self, entry: Entry) -> bytes:
        """All bytes of an entry.

        Raises:
            Unavailable: The store is away.
            ItemRejected: These bytes cannot be had.
        """
        if entry.size > self._file_bytes:
            raise ItemRejected(
                Reason.TOO_LARGE, f"{entry.size} bytes, the limit is {self._file_bytes}"
            )
        found = self._bucket.get(entry.path.decode())
        if found is None:
            raise ItemRejected(Reason.UNREADABLE, "gone since it was listed")
        data, meta = found
        if (meta["size"], _time(meta)) != (entry.size, entry.modified):
            raise ItemRejected(Reason.UNREADABLE, "changed since it was listed", data=data)
        return data

    def _under(self, parts: Sequence[bytes]) -> "Iterator[ObjectMeta]":
        return self._bucket.under(_key(parts))


@dataclass(frozen=True, slots=True)
class Level:
    """One name directly below another, as a folder or an object (which has a size)."""

    name: bytes
    path: bytes
    size: int | None = None
    modified: int = 0

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        """Whether other names go on from it."""
        del follow_symlinks
        return self.size is None

    def is_file(self, *, follow_symlinks: bool) -> bool:
        """Whether it is an object."""
        del follow_symlinks
        return self.size is not None

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        """Its size and time."""
        del follow_symlinks
        seconds = self.modified / 1e9
        size = self.size or 0
        return os.stat_result((0, 0, 0, 0, 0, 0, size, seconds, seconds, seconds))


def _key(parts: Sequence[bytes]) -> str:
    return b"/".join(parts).decode()


def _time(meta: "ObjectMeta") -> int:
    """Whole seconds, in nanoseconds: listings tell more of them than answers do."""
    return int((meta["last_modified"] - _EPOCH).total_seconds()) * 1_000_000_000


KIND = Objects
