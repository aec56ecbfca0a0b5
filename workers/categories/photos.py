"""Photos: pictures restored byte for byte, each with the description that lies beside it.

A photo is its bytes: equal pictures from year folders, albums and several sources are copies of
one item. Pictures are never rewritten; what may be changed is the name's suffix, and junk after
the picture's end may be left out.

Why an album's `metadata.json` is framing: it describes a folder, not a photo, and albums are not
restored; its bytes are counted, and an album's photos are restored like all others.

A picture that a digest from before the loss vouches for is taken as it is: it is what the service
had accepted, and no decoder could tell more of it than that not a bit has changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    Attachment,
    Copy,
    Damaged,
    Digest,
    File,
    Folder,
    Found,
    Framing,
    Ident,
    Item,
    Media,
    Span,
    UserId,
    Vouched,
)
from orchestrator.ports import Recognised, Rules
from orchestrator.reasons import Reason
from workers.formats.idents import ident_beside
from workers.formats.image_kinds import (
    MEDIA,
    RAW_SUFFIXES,
    image_kind,
    is_wrong_suffix,
    suffix_of,
)
from workers.formats.images import HEAD, Limits, Picture, examine
from workers.formats.photo_album import Album, Row, description_of
from workers.formats.photo_descriptions import (
    About,
    about,
    changed_at,
    meaning,
    read_description,
    taken_at,
)
from workers.formats.photo_details import details_meaning

RETYPE: Final = "retype-wrong-suffix"
TRIM: Final = "trim-junk-after-end"

_SKEW: Final = timedelta(days=1)
_JSON: Final = "json"
_CSV: Final = "csv"
_SHA256: Final = "sha256"
_BESIDE: Final = "reinstate"
"""Key of a description that says of which photo this one is put beside."""
_WHITE_SPACE: Final = b" \t\r\n"


@dataclass(frozen=True, kw_only=True)
class Photos:
    """JPEG, PNG, HEIC, AVIF, WebP, GIF, TIFF, BMP and JPEG 2000 pictures with their sidecars."""

    repairs: ClassVar[Mapping[str, str]] = {
        RETYPE: "A picture under another format's suffix is stored under its own.",
        TRIM: "Bytes after the picture's end that belong to no part of it are left out.",
    }
    lossy: ClassVar[frozenset[str]] = frozenset()
    bulky: ClassVar[bool] = True

    pixels: int = 300_000_000
    """Pictures with more pixels than this (width times height) are quarantined undecoded."""

    memory: int = 2 * 1024**3
    """Bytes that decoding one picture may take; large ones are decoded in a process of their
    own. Pictures that take more are quarantined undecoded."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Each photo with its sidecars as one copy, in the order of the photos."""
        album = Album.of(folder)
        for file in folder.files:
            if album.is_table(file.name):
                yield from album.table_rest(file)
            elif album.is_description(file.name):
                if not album.is_carried(file.name):
                    yield from _alone(file)
            else:
                yield from self._tied(file, album, rules)
                continue
            for companion in file.beside:
                yield from self._photo(companion, (), album, rules)

    def _tied(self, file: File, album: Album, rules: Rules) -> Iterator[Found]:
        """A photo with the files that its source ties to it: descriptions, or pictures as well."""
        descriptions: list[File] = []
        tables: list[File] = []
        pictures: list[File] = []
        for companion in file.beside:
            if _is_picture(companion):
                pictures.append(companion)
            elif album.adopt(companion, file.name):
                tables.append(companion)
            else:
                descriptions.append(companion)
        yield from self._photo(file, descriptions, album, rules)
        for table in tables:
            yield from album.table_rest(table)
        for picture in pictures:
            yield from self._photo(picture, (), album, rules)

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """By first bytes and hash: whoever stores a photo may not change a byte of it."""
        del owner
        if image_kind(content[:HEAD]) is None:
            return None
        descriptions = [_tolerated(part) for part in attachments if part.name.startswith(_JSON)]
        content_hash = sha256(content).digest()
        return Recognised(
            ident=_ident(content_hash, descriptions),
            digest=_digest(content_hash, attachments),
            revised=next(filter(None, map(_changed, descriptions)), None),
        )

    def beside(self, item: Item, mark: str) -> Item:
        """The same picture with a description that names the mark: pictures are never rewritten."""
        old = next((part for part in item.attachments if part.name == _JSON), None)
        description = _tolerated(old) if old is not None else {}
        said = description.get("description")
        described = {
            **description,
            "description": f"{said} ({mark})" if isinstance(said, str) and said else mark,
            _BESIDE: {"beside": item.ident, "mark": mark},
        }
        new = Attachment(
            name=_JSON, data=msgspec.json.encode(described, order="deterministic") + b"\n"
        )
        attachments = (new, *(part for part in item.attachments if part is not old))
        return msgspec.structs.replace(
            item,
            ident=ident_beside(item.ident, mark),
            digest=_digest(_hash_of(item), attachments),
            attachments=attachments,
        )

    def _photo(
        self, file: File, descriptions: Sequence[File], album: Album, rules: Rules
    ) -> Iterator[Found]:
        """One picture with everything that describes it."""
        sidecars = _Sidecars()
        for description in descriptions:
            yield from sidecars.add(description, carried=True)
        for description in album.descriptions(file.name):
            carried = album.is_carried_by(description.name, file.name)
            yield from sidecars.add(description, carried=carried)
        for row in album.rows(file.name):
            sidecars.add_row(row)
        try:
            whole = _vouched(file, rules)
            if whole is not None:
                yield sidecars.copy(file, whole, rules)
                return
            data = file.read()
        except ItemRejected as rejected:
            span = Span(file.name, 0, file.size)
            yield sidecars.damaged(rejected, span, rejected.data)
            return
        span = Span(file.name, 0, len(data))
        if data and not sidecars.spans and not data.strip(_WHITE_SPACE):
            yield Framing(span)
            return
        try:
            picture = self._examine(file, data, rules)
        except ItemRejected as rejected:
            yield sidecars.damaged(rejected, span, data)
            return
        wanted = _repairs(file, data, picture)
        if missing := [name for name in wanted if name not in rules.repairs]:
            detail = f"the repair {missing[0]} would help"
            reason = Reason.STRUCTURE if missing[0] == TRIM else Reason.VALUE
            yield sidecars.damaged(ItemRejected(reason, detail), span, data)
            return
        content = data[: picture.end] if picture.end < len(data) else data
        whole = _Whole(
            content=content,
            sha256=sha256(content).digest(),
            media=picture.media,
            length=len(data),
            repairs=tuple(wanted),
            degraded=("metadata",) if picture.metadata_damaged else (),
        )
        yield sidecars.copy(file, whole, rules)

    def _examine(self, file: File, data: bytes, rules: Rules) -> Picture:
        if len(data) > rules.item_bytes:
            raise ItemRejected(Reason.TOO_LARGE, f"{len(data)} bytes")
        if suffix_of(file.name) in RAW_SUFFIXES:
            raise ItemRejected(Reason.UNSUPPORTED, "a camera's raw picture")
        return examine(data, Limits(pixels=self.pixels, memory=self.memory))


class _Whole(Struct, frozen=True, kw_only=True, gc=False):
    """A picture that is restored, and what is known of it."""

    content: bytes
    sha256: bytes
    media: Media
    length: int
    """Bytes of its file, those that are left out included."""
    repairs: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


def _vouched(file: File, rules: Rules) -> _Whole | None:
    """The picture as a digest from before the loss vouches for it; None where it is examined.

    Raises `ItemRejected` where the bytes cannot be had, or are others.
    """
    if file.vouched is None or suffix_of(file.name) in RAW_SUFFIXES:
        return None
    known: Vouched = file.vouched()
    kind = image_kind(known.head[:HEAD])
    if kind is None or known.length > rules.item_bytes:
        return None
    return _Whole(
        content=known.content, sha256=known.sha256, media=MEDIA[kind], length=known.length
    )


class _Sidecars:
    """What describes one photo, and which bytes of it the photo accounts for."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._carried: list[bytes] = []
        self._descriptions: list[tuple[bytes, dict[str, Any]]] = []
        self._rows: list[bytes] = []

    def add(self, file: File, *, carried: bool) -> Iterator[Damaged]:
        """Take a sidecar in; one that cannot be read is damaged by itself, not with its photo.

        `carried`: this photo accounts for its bytes.
        """
        match description_of(file):
            case Damaged() as damaged:
                if carried:
                    yield damaged
            case (data, description):
                self._descriptions.append((data, description))
                if carried:
                    self.spans.append(Span(file.name, 0, len(data)))
                    self._carried.append(data)

    def add_row(self, row: Row) -> None:
        """Take a row of a table of photos in."""
        self._rows.append(row.header + row.data)
        self.spans.append(row.span)
        self._carried.append(row.data)

    def damaged(self, rejected: ItemRejected, span: Span, data: bytes) -> Damaged:
        """The photo and its sidecars as one damaged copy."""
        return Damaged(
            reason=rejected.reason,
            spans=(span, *self.spans),
            data=b"".join((data, *self._carried)),
            detail=rejected.detail,
        )

    def copy(self, file: File, picture: _Whole, rules: Rules) -> Copy:
        """The photo and its sidecars as one copy."""
        span = Span(file.name, 0, picture.length)
        described = [(_JSON, sidecar) for sidecar, _ in self._descriptions]
        described.extend((_CSV, row) for row in self._rows)
        attachments = _attachments(described)
        said = [description for _, description in self._descriptions]
        revised, implausible = self._revised(rules)
        degraded = [*picture.degraded]
        if implausible:
            degraded.append("modification-time")
        return Copy(
            item=Item(
                ident=_ident(picture.sha256, said),
                digest=_digest(picture.sha256, attachments),
                media=picture.media,
                content=picture.content,
                attachments=attachments,
                revised=revised,
            ),
            spans=(span, *self.spans),
            repairs=picture.repairs,
            degraded=tuple(degraded),
            merit=1 if attachments else 0,
            favourite=self._favourite(),
            dated=next(filter(None, map(taken_at, said)), file.modified),
        )

    def _favourite(self) -> bool:
        if any(said.get("favorited") is True for _, said in self._descriptions):
            return True
        rows = filter(None, map(details_meaning, self._rows))
        return any(row.get("favorite", "").lower() == "yes" for row in rows)

    def _revised(self, rules: Rules) -> tuple[datetime | None, bool]:
        """When it was last changed, and whether what is said about that cannot be."""
        implausible = False
        for _, description in self._descriptions:
            try:
                changed = changed_at(description)
            except ValueError:
                implausible = True
                continue
            if changed is None:
                continue
            if changed > rules.loss + _SKEW or (
                rules.service_start is not None and changed < rules.service_start
            ):
                implausible = True
                continue
            return changed, implausible
        return None, implausible


def _attachments(described: Sequence[tuple[str, bytes]]) -> tuple[Attachment, ...]:
    """Named json, json-2, …, csv: from a fixed set, whatever the files were called."""
    counts: dict[str, int] = {}
    found: list[Attachment] = []
    for form, data in described:
        counts[form] = counts.get(form, 0) + 1
        name = form if counts[form] == 1 else f"{form}-{counts[form]}"
        found.append(Attachment(name=name, data=data))
    return tuple(found)


def _alone(file: File) -> Iterator[Found]:
    """A JSON file that belongs to no photo here."""
    found = description_of(file)
    if isinstance(found, Damaged):
        blank = found.data and not found.data.strip(_WHITE_SPACE)
        yield Framing(found.spans[0]) if blank else found
        return
    data, description = found
    span = Span(file.name, 0, len(data))
    match about(description):
        case About.ALBUM:
            yield Framing(span)
        case About.PHOTO:
            yield Damaged(reason=Reason.SIDECAR_ALONE, spans=(span,), data=data)
        case About.NEITHER:
            detail = "JSON that describes neither a photo nor an album"
            yield Damaged(reason=Reason.UNSUPPORTED, spans=(span,), data=data, detail=detail)


def _is_picture(companion: File) -> bool:
    try:
        head = companion.read()[:HEAD]
    except ItemRejected as rejected:
        head = rejected.data[:HEAD]
    return image_kind(head) is not None


def _repairs(file: File, data: bytes, picture: Picture) -> list[str]:
    wanted = [TRIM] if picture.end < len(data) else []
    if is_wrong_suffix(picture.kind, file.name):
        wanted.append(RETYPE)
    return wanted


def _ident(content_hash: bytes, descriptions: Sequence[Mapping[str, Any]]) -> Ident:
    """The picture's hash; for one that was put beside another, what `beside` derived from that."""
    ident = Ident(f"{_SHA256}:{content_hash.hex()}")
    for description in descriptions:
        match description.get(_BESIDE):
            case {"beside": str() as old, "mark": str() as mark}:
                return ident_beside(Ident(old), mark)
            case _:
                pass
    return ident


def _hash_of(item: Item) -> bytes:
    """SHA-256 of a picture; most name it."""
    algorithm, _, named = item.ident.partition(":")
    return bytes.fromhex(named) if algorithm == _SHA256 else sha256(item.content).digest()


def _digest(content_hash: bytes, attachments: Sequence[Attachment]) -> Digest:
    """Of the picture's bytes and of what its descriptions mean."""
    total = sha256(b"photo\n" + content_hash)
    for part in sorted(attachments, key=lambda part: part.name):
        total.update(part.name.encode() + b"\n" + sha256(_meaning(part)).digest())
    return Digest(total.digest())


def _meaning(part: Attachment) -> bytes:
    if part.name.startswith(_CSV):
        found = details_meaning(part.data)
        return part.data if found is None else meaning(found)
    try:
        return meaning(read_description(part.data))
    except ItemRejected:
        return part.data


def _tolerated(part: Attachment) -> dict[str, Any]:
    """A live description; one that cannot be read says nothing."""
    try:
        return read_description(part.data)
    except ItemRejected:
        return {}


def _changed(description: Mapping[str, Any]) -> datetime | None:
    try:
        return changed_at(description)
    except ValueError:
        return None


KIND = Photos
