"""One user's Google Takeout: extracted, or in archives of one or many parts, by category.

Archives are never extracted. A member with a name that climbs, a link, a bomb or a lie is a file
that cannot be read, where its place names a category, and harms no other.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import File
from orchestrator.reasons import Reason
from workers.material.archive_members import Archive, ArchiveFile, Member
from workers.material.file_trees import Entry, Tree, text_of
from workers.material.inspection import Fact, Inspection
from workers.material.takeout_products import OTHER, Products, is_data
from workers.material.tar_archives import TarArchive
from workers.material.user_folders import OWNER_FILE
from workers.material.zip_archives import ZipArchive

ARCHIVE: Final = re.compile(rb"(?P<stem>.+?)\.(?:zip|tgz|tar\.gz|tar)", re.IGNORECASE | re.DOTALL)
"""Names of archives; the rest of a folder's files are taken as they are."""

NO_CATEGORY: Final = "not a category"
PACKING: Final = "beside a category's data: lists and renderings that an export adds"
OWNER_FILES: Final = "files that tell whose a folder is"
LOST: Final = "cut or damaged archives: bytes of which nothing could be made"

_HEAD_BYTES: Final = 64 * 1024
_PEEK_BYTES: Final = 4 * 1024 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class Part(Struct, frozen=True, kw_only=True):
    """One archive of an export, as the file system lists it."""

    path: bytes
    size: int
    modified: int
    """Nanoseconds since 1970."""


class _Piece(Struct, frozen=True, kw_only=True):
    """One file of the export."""

    path: str
    """Within the export, safe: product first."""
    product: str
    file: File
    facts: tuple[Fact, ...]
    """What changes with its content."""


class Export(Struct, frozen=True, kw_only=True):
    """Everything of one user, sorted out."""

    files: Mapping[str, tuple[File, ...]]
    """By category."""
    strays: tuple[tuple[str, int, int], ...]
    """Why, files, bytes of what belongs to no category."""
    facts: tuple[tuple[Fact, ...], ...]
    """What the manifest is made of."""
    damaged: tuple[str, ...]
    """What is wrong with archives as a whole."""


class Exports:
    """Reads exports below one tree. `limit`: bytes of a member that are unpacked at most."""

    def __init__(self, tree: Tree, *, limit: int, products: Products) -> None:
        self._tree = tree
        self._limit = limit
        self._products = products

    def read(self, folder: bytes | None, parts: tuple[Part, ...]) -> Export:
        """The export that lies in a folder, in archives, or both.

        Raises:
            Unavailable: the file system is away.
        """
        pieces: list[_Piece] = []
        strays: list[tuple[str, int, int]] = []
        damaged: list[str] = []
        seals: list[tuple[Fact, ...]] = []
        extracted: list[Part] = []
        if folder is not None:
            for entry in self._tree.walk(folder):
                if b"/" not in entry.name and not entry.fault and ARCHIVE.fullmatch(entry.name):
                    part = Part(path=entry.path, size=entry.size, modified=entry.modified)
                    extracted.append(part)
                elif entry.name == OWNER_FILE:
                    strays.append((OWNER_FILES, 1, entry.size))
                else:
                    pieces.append(self._extracted(entry))
        for part in (*parts, *extracted):
            file = ArchiveFile(self._tree, part.path, part.size)
            seals.append((part.size, *_ends(file)))
            archive = _archive(file)
            contents = archive.contents()
            pieces.extend(self._packed(archive, member) for member in contents.members)
            if contents.damage:
                damaged.append(contents.damage)
                strays.append((LOST, 1, contents.unclaimed))
        return self._sorted_out(pieces, strays, damaged, seals)

    def _extracted(self, entry: Entry) -> _Piece:
        product, path = self._products.split(text_of(entry.name))
        file = self._tree.file(entry)
        return _Piece(path=path, product=product, file=file, facts=(entry.modified, entry.fault))

    def _packed(self, archive: Archive, member: Member) -> _Piece:
        safe = _safe(member.name)
        product, path = self._products.split(safe)
        read: Callable[[], bytes] = partial(archive.read, member, self._limit)
        if safe != member.name and safe != member.name.removeprefix("./"):
            read = partial(_refused, read)
        file = File(name=path, size=member.size, read=read, modified=member.modified)
        return _Piece(
            path=path,
            product=product,
            file=file,
            facts=(member.checksum, member.modified and member.modified.isoformat(), member.fault),
        )

    def _sorted_out(
        self,
        pieces: list[_Piece],
        strays: list[tuple[str, int, int]],
        damaged: list[str],
        seals: list[tuple[Fact, ...]],
    ) -> Export:
        by_product: dict[str, list[_Piece]] = {}
        for piece in pieces:
            by_product.setdefault(piece.product, []).append(piece)
        found: dict[str, list[File]] = {}
        taken: dict[str, set[str]] = {}
        for product, members in by_product.items():
            category = self._category(product, members)
            paths = frozenset(piece.path for piece in members) if category else frozenset[str]()
            for piece in members:
                if not category or not is_data(category, piece.path, paths):
                    why = PACKING if category else NO_CATEGORY
                    strays.append((why, 1, piece.file.size))
                    continue
                name = _unique(piece.path, taken.setdefault(category, set()))
                file = piece.file
                found.setdefault(category, []).append(
                    File(name=name, size=file.size, read=file.read, modified=file.modified)
                )
        return Export(
            files={category: tuple(files) for category, files in found.items()},
            strays=tuple(strays),
            facts=(*seals, *((piece.path, piece.file.size, *piece.facts) for piece in pieces)),
            damaged=tuple(damaged),
        )

    def _category(self, product: str, pieces: list[_Piece]) -> str:
        if not product:
            return OTHER
        known = self._products.by_name(product)
        if known is not None:
            return known
        heads = {piece.path: piece.file for piece in pieces}
        return self._products.by_content(list(heads), lambda path: _head(heads[path]))


def _archive(file: ArchiveFile) -> Archive:
    """By first bytes, whatever it is called."""
    head, _ = _ends(file)
    if head.startswith(b"\x1f\x8b"):
        return TarArchive(file, packed=True)
    if head[257:262] == b"ustar" or file.path.lower().endswith(b".tar"):
        return TarArchive(file, packed=False)
    return ZipArchive(file)


def _ends(file: ArchiveFile) -> tuple[bytes, bytes]:
    """First and last bytes; the latter are gzip's checksum. Nothing where the storage fails."""
    try:
        return file.at(0, 512), file.at(max(0, file.size - 8), 8)
    except ItemRejected:
        return b"", b""


def account(inspection: Inspection, part: bytes, export: Export) -> None:
    """Add an export to an inspection."""
    for facts in export.facts:
        inspection.piece(part, *facts)
    for why, files, size in export.strays:
        inspection.stray(why, size, files=files)


def _head(file: File) -> bytes:
    if file.size > _PEEK_BYTES:
        return b""
    try:
        return file.read()[:_HEAD_BYTES]
    except ItemRejected as rejected:
        return rejected.data[:_HEAD_BYTES]


def _safe(name: str) -> str:
    """The name without anything that could lead out of a folder."""
    plain = _CONTROL.sub("_", name.replace("\\", "/"))
    parts = [part for part in plain.split("/") if part not in {"", ".", ".."}]
    if parts and _DRIVE.fullmatch(parts[0]):
        parts = parts[1:]
    return "/".join(parts) or "_"


def _refused(read: Callable[[], bytes]) -> bytes:
    raise ItemRejected(
        Reason.STRUCTURE,
        "its name leads out of the archive, or holds what no name has",
        data=read(),
    )


def _unique(path: str, taken: set[str]) -> str:
    """The path, or one that says it is a further file of that name."""
    name, count = path, 1
    while name in taken:
        count += 1
        name = f"again-{count}/{path}"
    taken.add(name)
    return name
