"""Notes: Google Keep, Evernote, Markdown, HTML, journal entries, plain text, rows of a table.

A note stays in the format that it came in, its text verbatim. Pictures and recordings that lie
beside it come along as attachments; where one is missing, the note is restored without it and
says so.

Why trashed notes are restored: that a note lies in the trash is part of what its user had.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from posixpath import basename, dirname, normpath, splitext
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct, structs

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    Attachment,
    Copy,
    Damaged,
    File,
    Folder,
    Found,
    Framing,
    Ident,
    Item,
    Media,
    Side,
    Span,
    UserId,
)
from orchestrator.ports import Combined, Live, Recognised, Rules
from orchestrator.reasons import Reason
from workers.formats.enex import as_file, stretches
from workers.formats.idents import derived_ident, ident_beside
from workers.formats.journals import (
    DERIVE_UID,
    FIX_DTSTAMP,
    as_calendar,
    completed,
    journal_stretches,
    sequence,
)
from workers.formats.json_records import pieces
from workers.formats.keep import ACCEPT_UNDATED, dated, is_keep
from workers.formats.markdown_notes import titled_markdown
from workers.formats.merging_notes import merged_item
from workers.formats.note_formats import (
    ENEX,
    ICS,
    JSON,
    MARKDOWN,
    MEDIA,
    TEXT,
    interpreted,
    is_note,
    marked,
    media_of,
    read_note_object,
)
from workers.formats.notes import Note, note_digest
from workers.formats.ownership import check_owner
from workers.formats.record_times import possible
from workers.formats.tiling import blank, gaps, readable, whole_damaged

CATEGORY: Final = "notes"

_SUFFIX: Final = re.compile(r"[a-z0-9]{1,12}")
_OURS: Final = re.compile(r"(.+)\.([0-9a-f]{32}\.[a-z0-9]{1,12})", re.DOTALL)
"""How targets that hold files name an attachment: the note's file, a dot, the attachment."""
_KEEP_PAGE: Final = b'class="note'
_KEEP_LABELS: Final = "labels.txt"
_ORDER: Final = {suffix: rank for rank, suffix in enumerate(MEDIA)}


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Keep JSON, ENEX, Markdown, HTML, VJOURNAL, plain text, and JSON objects of fields."""

    repairs: ClassVar[Mapping[str, str]] = {
        ACCEPT_UNDATED: "A note of Google Keep without its time of change is taken as undated.",
        DERIVE_UID: "A journal entry without UID gets one made of owner and content.",
        FIX_DTSTAMP: "A journal entry without DTSTAMP gets a fixed one.",
    }
    lossy: ClassVar[frozenset[str]] = frozenset()
    bulky: ClassVar[bool] = False

    title_from_name: bool = False
    """A text without a title is titled by its file's name, as programs that keep notes as files
    show it. The title is written into front matter, which makes plain text Markdown."""

    others: Literal["quarantine", "leave"] = "quarantine"
    """What becomes of events and tasks that lie between journal entries. `leave` where another
    phase reads the same files for them; else nothing would say that they were there."""

    def read(self, folder: Folder, rules: Rules) -> Iterator[Found]:
        """Each note with its attachments as one copy; notes before files that nobody refers to."""
        return _Reading(folder, rules, self).found()

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """By the note's own ident where it has one, else by what it says."""
        try:
            note = interpreted(content)
        except ItemRejected:
            return None
        if note.says_nothing and not attachments:
            return None
        digest = note_digest(note, attachments)
        ident = note.ident or derived_ident(owner, CATEGORY, digest)
        return Recognised(ident=ident, digest=digest, revised=note.revised)

    def beside(self, item: Item, mark: str) -> Item:
        """The same note under another ident, its title marked."""
        ident = ident_beside(item.ident)
        content, media = marked(item.content, item.media, ident, mark)
        digest = note_digest(interpreted(content), item.attachments)
        return structs.replace(item, ident=ident, digest=digest, content=content, media=media)

    def merge(
        self, owner: UserId, live: Live, item: Item, *, wins: Side, base: Item | None = None
    ) -> Combined | None:
        """One note of both; None where they stay two, beside each other."""
        return merged_item(self, owner, live, item, wins=wins, base=base)


KIND = Notes


def attachment_name(path: str) -> str:
    """What an attachment is called: a hash of the path by which the note refers to it.

    Whoever holds the note can find it; nothing of the path itself reaches a file system.
    """
    suffix = suffix_of(path)
    return f"{sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.{suffix or 'bin'}"


def suffix_of(name: str) -> str:
    """The suffix of a file's name in lower case; empty where it has none that could be one."""
    suffix = splitext(name)[1][1:].lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _check_filled(note: Note, attachments: Sequence[Attachment], *, missing: bool) -> None:
    """Refuse a note of which nothing is there."""
    if note.says_nothing and not attachments:
        what = "its attachment is missing" if missing else "no title and no text"
        raise ItemRejected(Reason.EMPTY, what)


def _completed(
    entry: bytes, zones: tuple[bytes, ...], needs: tuple[str, ...], ident: Ident
) -> bytes:
    return as_calendar(completed(entry, needs, ident), zones)


def _dated(fields: Mapping[str, Any], needs: tuple[str, ...], ident: Ident) -> bytes:
    del needs, ident
    return dated(fields)


def _companions(names: Mapping[str, File]) -> Mapping[str, list[File]]:
    """By the name of a note's file, the attachments that lie beside it as we restored them."""
    found: dict[str, list[File]] = {}
    for name, file in names.items():
        match = _OURS.fullmatch(name)
        if match is not None and match[1] in names:
            found.setdefault(match[1], []).append(file)
    return found


class _Record(Struct, frozen=True, kw_only=True, gc=False):
    """Bytes of a file that are to be a note: its content, or why there is none."""

    start: int
    end: int
    content: bytes = b""
    media: Media = TEXT
    reason: Reason | None = None
    detail: str = ""
    sequence: int = 0
    fields: Mapping[str, Any] | None = None
    """Of a JSON object, decoded."""
    repaired: Callable[[tuple[str, ...], Ident], bytes] | None = None
    """The content with the repairs that it needs."""


class _Reading:
    """One reading of one folder."""

    def __init__(self, folder: Folder, rules: Rules, options: Notes) -> None:
        self.owner = folder.owner
        self.rules = rules
        self.options = options
        self.files = list(folder.files)
        self.by_name = {part.name: part for file in self.files for part in (file, *file.beside)}
        self.companions = _companions(self.by_name)
        self.done: set[str] = set()
        self.keep_folders: set[str] = set()
        """Directories with notes of Google Keep."""

    def found(self) -> Iterator[Found]:
        """Everything in the folder."""
        self.files.sort(key=lambda file: _ORDER.get(suffix_of(file.name), len(_ORDER)))
        for file in self.files:
            if file.name not in self.done:
                yield from self.file(file, (*file.beside, *self.companions.get(file.name, ())))
            for part in file.beside:
                if part.name not in self.done:
                    yield from self.file(part, ())

    def file(self, file: File, tied: tuple[File, ...]) -> Iterator[Found]:
        """Everything in one file; `tied` are the files that come with it."""
        self.done.add(file.name)
        data = readable(file)
        if isinstance(data, Damaged):
            yield data
            return
        framing = blank(file.name, data)
        if framing is not None:
            yield framing
            return
        media = media_of(data, suffix_of(file.name))
        if media is None:
            detail = f"a file of type {suffix_of(file.name) or 'unknown'} that no note refers to"
            yield whole_damaged(file.name, data, Reason.UNSUPPORTED, detail)
            return
        if media is TEXT and self.is_label_list(file.name):
            yield Framing(Span(file.name, 0, len(data)))
            return
        records = list(self.records(data, media))
        alone = len(records) == 1
        for record in records:
            yield from self.note(file.name, data, record, tied if alone else ())
        yield from gaps(file.name, len(data), ((each.start, each.end) for each in records))

    def records(self, data: bytes, media: Media) -> Iterator[_Record]:
        """The stretches of a file that are notes, or should be."""
        if media is JSON:
            yield from self.objects(data)
        elif media is ENEX:
            for part in stretches(data):
                raw = data[part.start : part.end]
                reason, detail = None, ""
                if not part.note:
                    reason, detail = Reason.SYNTAX, "outside of any note"
                elif not part.closed:
                    reason, detail = Reason.CUT, "a note that does not end"
                if reason is not None and b"\0" * 16 in raw:
                    reason, detail = Reason.ZEROED, "a run of zeros"
                yield _Record(
                    start=part.start,
                    end=part.end,
                    content=as_file(raw),
                    media=ENEX,
                    reason=reason,
                    detail=detail,
                )
        elif media is ICS:
            for entry in journal_stretches(data):
                if entry.reason is Reason.UNSUPPORTED and self.options.others == "leave":
                    continue
                raw = data[entry.start : entry.end]
                yield _Record(
                    start=entry.start,
                    end=entry.end,
                    content=as_calendar(raw, entry.zones) if entry.reason is None else b"",
                    media=ICS,
                    reason=entry.reason,
                    detail=entry.detail,
                    sequence=sequence(raw) if entry.reason is None else 0,
                    repaired=partial(_completed, raw, entry.zones),
                )
        else:
            yield _Record(start=0, end=len(data), content=data, media=media)

    def objects(self, data: bytes) -> Iterator[_Record]:
        """The notes of a JSON file."""
        for piece in pieces(data, is_note):
            end = piece.offset + piece.length
            reason, detail = piece.reason, piece.detail
            if piece.fields is not None:
                try:
                    check_owner(piece.fields, self.owner)
                except ItemRejected as rejected:
                    reason, detail = rejected.reason, rejected.detail
            yield _Record(
                start=piece.offset,
                end=end,
                content=data[piece.offset : end],
                media=JSON,
                reason=reason,
                detail=detail,
                fields=piece.fields,
                repaired=partial(_dated, piece.fields or {}),
            )

    def note(
        self, name: str, data: bytes, record: _Record, tied: tuple[File, ...]
    ) -> Iterator[Found]:
        """One note with its attachments, or the reason why it is none."""
        spans = [Span(name, record.start, record.end - record.start)]
        attachments: list[Attachment] = []
        try:
            note, content, media = self.valid(name, record)
            missing = yield from self.attach(name, note, tied, attachments, spans)
            _check_filled(note, attachments, missing=missing)
        except ItemRejected as rejected:
            yield Damaged(
                reason=rejected.reason,
                spans=tuple(spans),
                data=data[record.start : record.end],
                detail=rejected.detail,
            )
            return
        if record.fields is not None and is_keep(record.fields):
            self.keep_folders.add(dirname(name))
            spans.extend(self.page_of(name))
        degraded = list(note.degraded)
        if missing and "attachments" not in degraded:
            degraded.append("attachments")
        if note.created is not None and not possible(note.created, self.rules):
            degraded.append("created")
        revised = note.revised
        if revised is not None and not possible(revised, self.rules):
            degraded.append("revised")
            revised = None
        digest = note_digest(note, attachments)
        ident = note.ident or derived_ident(self.owner, CATEGORY, digest)
        if note.needs and record.repaired is not None:
            content = record.repaired(note.needs, ident)
        yield Copy(
            item=Item(
                ident=ident,
                digest=digest,
                media=media,
                content=content,
                attachments=tuple(attachments),
                revised=revised,
            ),
            spans=tuple(spans),
            repairs=note.needs,
            degraded=tuple(degraded),
            sequence=record.sequence,
            favourite="pinned" in note.state,
        )

    def valid(self, name: str, record: _Record) -> tuple[Note, bytes, Media]:
        """The note in a record, and the content and media to write.

        Raises:
            ItemRejected: it is none, or would need a repair that is off.
        """
        if record.reason is not None:
            raise ItemRejected(record.reason, record.detail)
        if record.end - record.start > self.rules.item_bytes:
            raise ItemRejected(Reason.TOO_LARGE, f"more than {self.rules.item_bytes} bytes")
        content, media, fields = record.content, record.media, record.fields
        note = read_note_object(fields) if fields is not None else interpreted(content)
        for repair in note.needs:
            if repair not in self.rules.repairs:
                raise ItemRejected(Reason.STRUCTURE, f"the repair {repair} would help")
        if self.options.title_from_name and media in (MARKDOWN, TEXT) and not note.title:
            title = splitext(basename(name))[0]
            if note.form == "text" and title and title.isprintable():
                content, media = titled_markdown(content, title), MARKDOWN
                note = interpreted(content)
        return note, content, media

    def attach(
        self,
        name: str,
        note: Note,
        tied: tuple[File, ...],
        attachments: list[Attachment],
        spans: list[Span],
    ) -> Generator[Found, None, bool]:
        """Take in the files that the note shows; whether one is missing or cannot be read.

        A file that several notes show is accounted for with the first of them.
        """
        wanted = [(path, self.beside(name, path)) for path in dict.fromkeys(note.references)]
        known = {part.name for _, part in wanted if part is not None}
        wanted.extend((basename(part.name), part) for part in tied if part.name not in known)
        missing = False
        for path, part in wanted:
            data = readable(part) if part is not None else None
            if isinstance(data, bytes) and part is not None:
                ours = _OURS.fullmatch(part.name)
                called = ours[2] if ours is not None else attachment_name(path)
                attachments.append(Attachment(name=called, data=data))
                if part.name not in self.done:
                    spans.append(Span(part.name, 0, len(data)))
            else:
                missing = True
                if isinstance(data, Damaged) and part is not None and part.name not in self.done:
                    yield data
            if part is not None:
                self.done.add(part.name)
        return missing

    def beside(self, name: str, path: str) -> File | None:
        """The file that a note shows under `path`, by that name or by the one we gave it."""
        directory = dirname(name)
        given = normpath(f"{directory}/{path}" if directory else path)
        stem, suffix = splitext(given)
        other = {".jpeg": ".jpg", ".jpg": ".jpeg"}.get(suffix.lower())  # Takeout mixes them up
        restored = f"{name}.{attachment_name(path)}"
        for candidate in (given, stem + other if other else given, restored):
            found = self.by_name.get(candidate)
            if found is not None and candidate != name:
                return found
        return None

    def page_of(self, name: str) -> Iterator[Span]:
        """The page that Takeout adds to each of Keep's notes: the same note, ready to be shown."""
        page = self.by_name.get(splitext(name)[0] + ".html")
        if page is None or page.name in self.done:
            return
        data = readable(page)
        if isinstance(data, bytes) and _KEEP_PAGE in data:
            self.done.add(page.name)
            yield Span(page.name, 0, len(data))

    def is_label_list(self, name: str) -> bool:
        """Whether it is Keep's list of all labels; the notes themselves carry theirs."""
        return basename(name).lower() == _KEEP_LABELS and dirname(name) in self.keep_folders
