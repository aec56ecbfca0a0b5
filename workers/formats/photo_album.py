"""One user's photos with what describes them: which files are photos, sidecars, tables.

Light: it holds names, and the rows of tables; pictures are read one at a time by whoever wants
them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Damaged, File, Folder, Found, Framing, Span
from orchestrator.reasons import Reason
from workers.formats.photo_descriptions import read_description
from workers.formats.photo_details import (
    Details,
    is_details_name,
    photo_of_table,
    read_details,
)
from workers.formats.photo_sidecars import (
    Pairing,
    is_sidecar_name,
    names_no_photo,
    pair,
    pair_by_title,
)


class Row(Struct, frozen=True, kw_only=True):
    """A photo's row of a table, and where it lies."""

    span: Span
    header: bytes
    data: bytes


@dataclass(slots=True)
class Album:
    """What a folder's names say; made by `Album.of`."""

    _descriptions: dict[str, File] = field(default_factory=dict[str, File])
    _of_photo: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    _carrier: dict[str, str] = field(default_factory=dict[str, str])
    _tables: set[str] = field(default_factory=set[str])
    _taken: dict[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])
    """By table, where the rows begin that photos account for."""
    _rows: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])

    @classmethod
    def of(cls, folder: Folder) -> "Album":
        """The album in which every sidecar was given to its photo, where there is one."""
        album = cls()
        photos: list[str] = []
        tables: dict[str, File] = {}
        for file in folder.files:
            if is_sidecar_name(file.name):
                album._descriptions[file.name] = file
            elif is_details_name(file.name) or photo_of_table(file.name) != file.name:
                tables[file.name] = file
            else:
                photos.append(file.name)
        pairing = pair(photos, tuple(album._descriptions))
        album._of_photo.update(pairing.of_photo)
        album._carrier.update(pairing.carrier)
        album._pair_by_title(photos, pairing)
        known = {_place(photo): photo for photo in photos}
        for table in tables.values():
            album._take_rows(table, known)
        return album

    def is_table(self, name: str) -> bool:
        """Whether a file is a table of photos."""
        return name in self._tables

    def is_description(self, name: str) -> bool:
        """Whether a file is a JSON file."""
        return name in self._descriptions

    def is_carried(self, name: str) -> bool:
        """Whether a photo accounts for this JSON file."""
        return name in self._carrier

    def is_carried_by(self, name: str, photo: str) -> bool:
        """Whether it is this photo that does."""
        return self._carrier.get(name) == photo

    def adopt(self, table: File, photo: str) -> bool:
        """Take a table in that the source ties to a photo; False where it is none."""
        self._take_rows(table, {_place(photo): photo}, own=photo)
        return table.name in self._tables

    def descriptions(self, photo: str) -> list[File]:
        """The sidecars of a photo."""
        return [self._descriptions[name] for name in self._of_photo.get(photo, ())]

    def rows(self, photo: str) -> list[Row]:
        """The rows of tables that a photo accounts for."""
        return self._rows.get(photo, [])

    def table_rest(self, file: File) -> Iterator[Found]:
        """What of a table no photo accounts for."""
        try:
            data = file.read()
        except ItemRejected as rejected:
            yield rejected_file(rejected, file)
            return
        details = read_details(data)
        if details is None:
            reason = Reason.UNSUPPORTED if data else Reason.EMPTY
            yield Damaged(reason=reason, spans=(Span(file.name, 0, len(data)),), data=data)
            return
        yield from _rest(file, data, details, self._taken.get(file.name, frozenset()))

    def _pair_by_title(self, photos: Iterable[str], pairing: Pairing) -> None:
        """Give sidecars whose name leads nowhere to the photo that their title names."""
        alone = [
            name
            for name in self._descriptions
            if name not in pairing.carrier and names_no_photo(name)
        ]
        if not alone:
            return
        undescribed: dict[str, list[str]] = defaultdict(list)
        for photo in photos:
            if photo not in pairing.of_photo:
                undescribed[photo.rpartition("/")[0]].append(photo)
        for name in alone:
            candidates = undescribed.get(name.rpartition("/")[0])
            title = _title(self._descriptions[name]) if candidates else ""
            photo = pair_by_title(title, candidates) if title and candidates else None
            if photo is not None and photo not in self._of_photo:
                self._of_photo[photo] = (name,)
                self._carrier[name] = photo

    def _take_rows(
        self, table: File, known: Mapping[tuple[str, str], str], own: str | None = None
    ) -> None:
        """Give rows to the photos that they name, or to `own`, whose table it is."""
        try:
            data = table.read()
        except ItemRejected:
            return  # reported where the file itself is accounted for
        details = read_details(data)
        if details is None:
            return
        self._tables.add(table.name)
        own = own or known.get(_place(photo_of_table(table.name)))
        folder = table.name.rpartition("/")[0]
        taken: dict[str, int] = {}
        for row in details.rows:
            photo = own or known.get((folder, normalize("NFC", row.photo)))
            if photo is not None and photo not in taken:
                taken[photo] = row.start
                span = Span(table.name, row.start, row.end - row.start)
                found = Row(span=span, header=details.header, data=data[row.start : row.end])
                self._rows.setdefault(photo, []).append(found)
        self._taken[table.name] = frozenset(taken.values())


def rejected_file(rejected: ItemRejected, file: File) -> Damaged:
    """A file whose bytes cannot be had."""
    return Damaged(
        reason=rejected.reason,
        spans=(Span(file.name, 0, file.size),),
        data=rejected.data,
        detail=rejected.detail,
    )


def description_of(file: File) -> tuple[bytes, dict[str, Any]] | Damaged:
    """A JSON file's bytes and content, or the file as one damaged copy."""
    try:
        data = file.read()
    except ItemRejected as rejected:
        return rejected_file(rejected, file)
    try:
        return data, read_description(data)
    except ItemRejected as rejected:
        return Damaged(
            reason=rejected.reason,
            spans=(Span(file.name, 0, len(data)),),
            data=data,
            detail=rejected.detail,
        )


def _title(file: File) -> str:
    match description_of(file):
        case (_, {"title": str() as title}):
            return title
        case _:
            return ""


def _place(photo: str) -> tuple[str, str]:
    folder, _, name = photo.rpartition("/")
    return folder, normalize("NFC", name)


def _rest(file: File, data: bytes, details: Details, taken: frozenset[int]) -> Iterator[Found]:
    for start, end in details.framing:
        yield Framing(Span(file.name, start, end - start))
    for start, end in details.damaged:
        span = Span(file.name, start, end - start)
        detail = "a row that cannot be read"
        yield Damaged(reason=Reason.SYNTAX, spans=(span,), data=data[start:end], detail=detail)
    for row in details.rows:
        if row.start not in taken:
            span = Span(file.name, row.start, row.end - row.start)
            yield Damaged(
                reason=Reason.SIDECAR_ALONE, spans=(span,), data=data[row.start : row.end]
            )
