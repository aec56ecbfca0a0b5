"""Object stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob, or a local folder.

`<url>/<user>/<category>/<ident>.<suffix>`, user and ident percent-escaped; attachments below
`<item>.parts/`. The item's own object is the commit: it comes last, and its metadata name the
attachments that belong to it, so that item and attachments change together.

What holds:
- An object appears whole or not at all, with the checksum that was sent, and only where nothing
  was (`If-None-Match: *`). Large ones go in one request as well: an upload in parts could not be
  made conditional on what is there.
- One is replaced only in the version that was looked at (`If-Match`).
- Stores that ignore these conditions are found out by a probe before the first write: there, an
  object is looked for before it is put, and nothing is ever replaced. Photos are named after their
  content, so that what could meet under one name is the same picture.
- One is removed only in that version, too (a signed `DELETE` with `If-Match`), where the store
  proved to keep this; nowhere else is anything removed but probes.

What does not: there are no tombstones; a deleted object is just gone. A version is a fingerprint of
the content, so that writing the same content anew is no change.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Attachment, Ident, Item, Media, UserId
from orchestrator.options.references import Location, Secret
from orchestrator.ports import (
    Capabilities,
    Entry,
    Fate,
    Live,
    Place,
    Removal,
    Surroundings,
    Write,
    Written,
)
from workers.formats.path_parts import escape
from workers.storage.buckets import Access, Bucket
from workers.storage.item_names import ident_in, unfit

if TYPE_CHECKING:
    from obstore import ObjectMeta

PROBE: Final = UserId("reinstate-probe")
"""Below whose name the probe writes; never a real user's."""

MARK: Final = ".reinstate"
"""The object that tells this store from one that was made anew under its name."""

PARTS: Final = "reinstate-parts"
"""The metadata of an item that names its attachments, as `name=object` pairs."""

_BELOW: Final = ".parts/"
STALE: Final = "0"
"""A version that no object has."""

_LONGEST_PARTS: Final = 1_800
"""Bytes; S3 takes 2 KB of metadata."""
_LONGEST_NAME: Final = 255
_MARKED: Final = re.compile(rb"[0-9a-f]{32}")
_GONE: Final = Written(fate=Fate.CONFLICT)


@dataclass(frozen=True, kw_only=True)
class Objects:
    """A bucket with one object per item, and its attachments beside it."""

    url: Location
    """`s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or `local:folder`."""
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
    connections: int = 16
    """Requests at the same time, of each worker process."""

    def open(self, surroundings: Surroundings) -> "ObjectsTarget":
        """Ready to write; connects on first use."""

        def access() -> Access:
            return Access.of(self, surroundings.secret, connections=max(1, self.connections))

        return ObjectsTarget(Bucket(access, folder=surroundings.folder, called="objects target"))


class ObjectsTarget:
    """A bucket, opened."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._proven: Capabilities | None = None
        self._removes = False

    def identity(self, category: str) -> str:
        """Where it is, and the mark that inspection put there."""
        del category
        mark = self._get(MARK)
        return f"objects:{self._bucket.identity()}:{'' if mark is None else mark[0].decode()}"

    def close(self) -> None:
        """Close the connections."""
        self._bucket.close()

    # Inspection --------------------------------------------------------------------------------

    def inspect(self, categories: Sequence[str]) -> Capabilities:
        """Mark the store, and find out with probes which conditions it keeps."""
        del categories
        if self._get(MARK) is None:
            self._create(MARK, uuid4().hex.encode(), {})
        with self._lock:
            self._proven = self._probe()
            return self._proven

    def _abilities(self) -> Capabilities:
        """What a probe found, in this process: never taken on trust from an earlier one."""
        with self._lock:
            if self._proven is None:
                self._proven = self._probe()
            return self._proven

    def _probe(self) -> Capabilities:
        key = f"{escape(PROBE)}/{uuid4().hex}"
        try:
            first = self._create(key, b"probe", {})
            create_only = first is not None and self._create(key, b"again", {}) is None
            compare_and_set = create_only and self._replaces_by_version(key, first or "")
            if self._get(key) is None:
                raise Unavailable(
                    "objects target: an object was not there when it was read back",
                    hint="is something else removing objects from this bucket?",
                )
            self._removes = compare_and_set and self._removes_by_version(key)
        finally:
            self._remove(key)
        notes: list[str] = []
        if not create_only:
            notes.append(
                "conditions of writes are ignored by this store: objects are looked for before"
                " they are put, and nothing is replaced"
            )
        elif not self._removes:
            notes.append("undo removes nothing here: the store does not remove by version")
        return Capabilities(
            create_only=create_only,
            compare_and_set=compare_and_set,
            tombstones=False,
            notes=tuple(notes),
        )

    def _replaces_by_version(self, key: str, version: str) -> bool:
        if self._bucket.is_local():
            return False
        if self._replace(key, b"stale", {}, STALE) is not None:
            return False
        return self._replace(key, b"right", {}, version) is not None

    def _removes_by_version(self, key: str) -> bool:
        meta = self._head(key)
        if meta is None or self._remove_version(key, STALE):
            return False
        return self._remove_version(key, self._version(meta))

    # Looking -----------------------------------------------------------------------------------

    def ref(self, category: str, ident: Ident, media: Media) -> str:
        """The object's name below its user's and category's."""
        del category
        return f"{escape(ident)}.{escape(media.suffix)}"

    def survey(self, category: str, owners: Sequence[UserId]) -> Iterator[Entry]:
        """Every object directly below these users' and the category's names, whoever put it."""

        def entries(owner: UserId) -> list[Entry]:
            folder = _folder(category, owner)
            _, found = self._bucket.level(f"{folder}/")
            return [self._entry(owner, each["path"][len(folder) + 1 :], each) for each in found]

        found = False
        for some in self._bucket.each(entries, list(owners)):
            found |= bool(some)
            yield from some
        if owners and not found:
            self._check_mark()

    def _check_mark(self) -> None:
        """Raise `Unavailable` where something else than the store answers.

        Its client takes any page for a list of nothing.
        """
        mark = self._get(MARK)
        if mark is not None and not _MARKED.fullmatch(mark[0]):
            raise Unavailable(
                "objects target: something else than the store answers",
                hint="a login page or a proxy? check url and endpoint",
            )

    def fetch(self, category: str, places: Sequence[Place]) -> list[Live | None]:
        """The contents of these objects, with the attachments that their metadata name."""
        return list(self._bucket.each(lambda place: self._live(category, place), list(places)))

    def _live(self, category: str, place: Place) -> Live | None:
        if not _is_name(place.ref):
            return None
        key = f"{_folder(category, place.owner)}/{place.ref}"
        found = self._get(key)
        if found is None:
            return None
        content, meta, attributes = found
        attachments: list[Attachment] = []
        for name, part in self._parts(key, attributes):
            beside = self._get(part)
            if beside is not None:
                attachments.append(Attachment(name=name, data=beside[0]))
        return Live(
            entry=self._entry(place.owner, place.ref, meta),
            content=content,
            attachments=tuple(attachments),
        )

    def _parts(self, key: str, attributes: Mapping[str, str]) -> list[tuple[str, str]]:
        """The attachments of an item: name and key of each."""
        if self._bucket.is_local():  # no metadata, but nothing is replaced there either
            return [
                (each["path"].rpartition("/")[2], each["path"])
                for each in self._bucket.level(key + _BELOW)[1]
            ]
        told = attributes.get(PARTS, "")
        pairs = (pair.partition("=") for pair in told.split(",") if pair)
        return [(name, f"{key}{_BELOW}{stored}") for name, _, stored in pairs]

    def _entry(self, owner: UserId, name: str, meta: "ObjectMeta") -> Entry:
        return Entry(
            owner=owner,
            ref=name,
            version=self._version(meta),
            ident=ident_in(name),
            modified=meta["last_modified"],
            size=meta["size"],
        )

    def _version(self, told: Any) -> str:
        kind = "version" if self._bucket.versioned_by_generation() else "e_tag"
        return (told[kind] or "").strip('"')  # some tell it quoted in one answer, bare in another

    # Writing -----------------------------------------------------------------------------------

    def write(self, category: str, writes: Sequence[Write]) -> list[Written]:
        """Each object by itself, many at a time; of several to one name, the first is first."""
        able = self._abilities()
        answers: list[Written] = [_GONE] * len(writes)
        for numbers in _rounds(writes):
            some = [writes[number] for number in numbers]
            answered = self._bucket.each(lambda write: self._put(category, write, able), some)
            for number, answer in zip(numbers, answered, strict=True):
                answers[number] = answer
        return answers

    def _put(self, category: str, write: Write, able: Capabilities) -> Written:
        refusal = _refusal(write)
        if refusal is not None:
            return refusal
        if write.expected is not None and not able.compare_and_set:
            return Written(fate=Fate.CONFLICT, detail="this store replaces nothing by version")
        key = f"{_folder(category, write.owner)}/{write.ref}"
        try:
            if self._is_hopeless(key, write, able):
                return _GONE
            told = self._put_parts(key, write.item)
            if len(told) > _LONGEST_PARTS:
                return Written(fate=Fate.REFUSED, detail="more attachments than a store can name")
            attributes = self._attributes(write.item, told)
            if write.expected is None:
                version = self._create(key, write.item.content, attributes)
            else:
                version = self._replace(key, write.item.content, attributes, write.expected)
        except ItemRejected as rejected:
            return Written(fate=Fate.REFUSED, detail=rejected.detail)
        return _GONE if version is None else Written(fate=Fate.DONE, version=version)

    def _is_hopeless(self, key: str, write: Write, able: Capabilities) -> bool:
        """Whether a look tells that the condition does not hold.

        Asked where the store does not ask by itself, before attachments are put, and before a
        replace: not every store compares whole versions.
        """
        if write.expected is None and able.create_only and not write.item.attachments:
            return False
        meta = self._head(key)
        if write.expected is None:
            return meta is not None
        return meta is None or self._version(meta) != write.expected

    def _put_parts(self, key: str, item: Item) -> str:
        """Put the attachments; what the item's metadata say of them.

        One that is there with equal content is taken as it is; another one, of an attempt that
        died or of the version to be replaced, is left alone.
        """
        told: list[str] = []
        for part in item.attachments:
            stored = part.name
            place = f"{key}{_BELOW}{stored}"
            if self._create(place, part.data, {}) is None:
                there = self._get(place)
                if there is not None and there[0] != part.data:
                    if self._bucket.is_local():
                        self._overwrite(place, part.data)  # its item is not there: nobody's
                    else:
                        stored = f"{part.name}~{sha256(part.data).hexdigest()[:16]}"
                        self._create(f"{key}{_BELOW}{stored}", part.data, {})
            told.append(f"{part.name}={stored}")
        return ",".join(told)

    def _attributes(self, item: Item, parts: str) -> dict[str, str]:
        attributes = {"Content-Type": item.media.mime}
        if parts:
            attributes[PARTS] = parts
        return attributes

    # Removing ----------------------------------------------------------------------------------

    def remove(self, category: str, removals: Sequence[Removal]) -> list[Written]:
        """Each object by itself, many at a time, its attachments after it."""
        self._abilities()

        def one(removal: Removal) -> Written:
            if not self._removes:
                return Written(fate=Fate.REFUSED, detail="this store does not remove by version")
            if not _is_name(removal.ref):
                return _GONE
            key = f"{_folder(category, removal.owner)}/{removal.ref}"
            meta = self._head(key)
            if meta is not None and self._version(meta) != removal.expected:
                return _GONE
            gone = meta is not None and self._remove_version(key, removal.expected)
            if gone or meta is None:
                for each in self._bucket.level(key + _BELOW)[1]:
                    self._remove(each["path"])
            return Written(fate=Fate.DONE) if gone else _GONE

        return list(self._bucket.each(one, list(removals)))

    def _remove_version(self, key: str, version: str) -> bool:
        """Whether that version of an object was there, and is gone."""
        return self._bucket.remove(key, {"If-Match": f'"{version}"'})

    # One object --------------------------------------------------------------------------------

    def _create(self, key: str, data: bytes, attributes: dict[str, str]) -> str | None:
        """Its version; None where something is there already."""
        return self._send(key, data, attributes, "create")

    def _replace(
        self, key: str, data: bytes, attributes: dict[str, str], expected: str
    ) -> str | None:
        """Its version; None where it is not the expected one."""
        if self._bucket.versioned_by_generation():
            return self._send(key, data, attributes, {"version": expected})
        return self._send(key, data, attributes, {"e_tag": f'"{expected}"'})

    def _overwrite(self, key: str, data: bytes) -> None:
        self._send(key, data, {}, "overwrite")

    def _send(self, key: str, data: bytes, attributes: dict[str, str], mode: Any) -> str | None:
        import obstore  # noqa: PLC0415 - a heavy import, if used
        from obstore import exceptions  # noqa: PLC0415 - a heavy import, if used

        try:
            with self._bucket.errors():
                told = obstore.put(
                    self._bucket.store,
                    key,
                    data,
                    attributes=None if self._bucket.is_local() else attributes,
                    mode=mode,
                    use_multipart=False,
                )
        except (
            exceptions.AlreadyExistsError,
            exceptions.PreconditionError,
            FileNotFoundError,
        ):
            return None
        return self._version(told)

    def _get(self, key: str) -> "tuple[bytes, ObjectMeta, dict[str, str]] | None":
        import obstore  # noqa: PLC0415 - a heavy import, if used

        try:
            with self._bucket.errors():
                got = obstore.get(self._bucket.store, key)
                attributes = {str(name): str(value) for name, value in got.attributes.items()}
                return bytes(got.bytes()), got.meta, attributes
        except FileNotFoundError:
            return None

    def _head(self, key: str) -> "ObjectMeta | None":
        import obstore  # noqa: PLC0415 - a heavy import, if used

        try:
            with self._bucket.errors():
                return obstore.head(self._bucket.store, key)
        except FileNotFoundError:
            return None

    def _remove(self, key: str) -> None:
        import obstore  # noqa: PLC0415 - a heavy import, if used

        try:
            with self._bucket.errors():
                obstore.delete(self._bucket.store, key)
        except FileNotFoundError:
            return


def _folder(category: str, owner: UserId) -> str:
    return f"{escape(owner)}/{escape(category)}"


def _is_name(ref: str) -> bool:
    """Whether an object directly below a category can be called that."""
    return (
        0 < len(ref.encode("utf-8", "replace")) <= _LONGEST_NAME
        and ref.isprintable()
        and not ref.startswith(".")
        and "/" not in ref
    )


def _refusal(write: Write) -> Written | None:
    """What can be answered without asking the store."""
    if not _is_name(write.ref):
        return Written(fate=Fate.REFUSED, detail="not a name that an object can have")
    return unfit(write.item.attachments)


def _rounds(writes: Sequence[Write]) -> Iterator[list[int]]:
    """The numbers of the writes in parts that name each object once."""
    left = list(range(len(writes)))
    while left:
        seen: set[tuple[UserId, str]] = set()
        some: list[int] = []
        for number in left:
            key = (writes[number].owner, writes[number].ref)
            if key not in seen:
                seen.add(key)
                some.append(number)
        yield some
        taken = set(some)
        left = [number for number in left if number not in taken]


KIND = Objects
