"""A reader's side: parses the folders that its worker sends, and says what it found.

Runs confined: it can compute, read modules, and speak over two pipes. Whatever else it tries fails.
"""

import mmap
import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    HEAD_BYTES,
    Copy,
    Damaged,
    File,
    Folder,
    Found,
    Framing,
    UserId,
    Vouched,
)
from orchestrator.ports import Category
from workers.formats import image_decoding
from workers.readers import messages
from workers.readers.messages import (
    ENCODER,
    FLUSH_BYTES,
    FLUSH_FOUND,
    LARGE,
    NOTE,
    SHARED_AT,
    Begin,
    Decode,
    Ended,
    Entry,
    Haul,
    Kept,
    Kind,
    Line,
    Rejection,
    Sent,
    Shared,
    Sheaf,
    Word,
)

_OURS: Final = ("orchestrator.", "workers.")


def serve(incoming: int, outgoing: int, note: int) -> None:
    """Read one folder after the other until the worker has gone."""
    line = Line(incoming, outgoing)
    with mmap.mmap(note, NOTE.size) as held:
        image_decoding.decode_elsewhere(_Decoding(line))
        categories: dict[bytes, Category] = {}
        shared = partial(_shared, note)
        try:
            while True:
                _answer(line, held, shared, categories)
        except Ended:
            return


def _shared(note: int, place: Shared) -> bytes:
    """The bytes of a large file in the note's file."""
    start, length = SHARED_AT + place.offset, place.length
    data = os.pread(note, length, start)
    while len(data) < length and (more := os.pread(note, length - len(data), start + len(data))):
        data += more
    return data


def _answer(
    line: Line,
    held: mmap.mmap,
    shared: Callable[[Shared], bytes],
    categories: dict[bytes, Category],
) -> None:
    _, payload = line.hear()
    begin = messages.BEGINNINGS.decode(payload)
    NOTE.pack_into(held, 0, *messages.NOTHING)
    try:
        category = categories.get(begin.category)
        if category is None:
            category = pickle.loads(begin.category)  # noqa: S301  from our worker, never from data
            categories[begin.category] = category
        _Parsing(line, held, shared, begin).carry_out(category)
    except Ended:
        raise
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001  told to the worker
        line.say(Kind.FAILED, _where(error).encode())


def _where(error: BaseException) -> str:
    """The class of an error and the place of ours where it came up; nothing of its text."""
    place, step = "", error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        if module.startswith(_OURS):
            place = f" in {module}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(error).__name__}{place}"


class _Parsing:
    """One folder."""

    def __init__(
        self, line: Line, held: mmap.mmap, shared: Callable[[Shared], bytes], begin: Begin
    ) -> None:
        self._line = line
        self._held = held
        self._shared = shared
        self._begin = begin
        self._sheet: _Sheet | None = _Sheet(0, begin.page)
        """The page that is turned to: only its files' bytes are kept."""
        self._found: list[Found] = []
        self._kept: list[Kept] = []
        self._size = 0
        self._sheaf = Sheaf(0, [])
        self._large = Token()
        self._large_bytes = b""
        """The large file that was read last."""

    def carry_out(self, category: Category) -> None:
        """Say everything that is in it."""
        folder = Folder(owner=UserId(self._begin.owner), files=_Files(self))
        for found in category.read(folder, self._begin.rules):
            self._add(found)
            if self._size >= FLUSH_BYTES or len(self._found) >= FLUSH_FOUND:
                self._flush(Kind.FOUND)
        self._flush(Kind.END)

    def _flush(self, kind: Kind) -> None:
        self._line.say(kind, ENCODER.encode(Haul(self._found, self._kept)))
        self._found, self._kept, self._size = [], [], 0

    def _add(self, found: Found) -> None:
        match found:
            case Copy():
                content = found.item.content
                if self._is_known(content):
                    found = replace(found, item=replace(found.item, content=b""))
                else:
                    self._size += found.item.size
            case Damaged():
                if self._is_known(found.data):
                    found = replace(found, data=b"")
                else:
                    self._size += len(found.data)
            case Framing():
                pass
        self._found.append(found)

    def _is_known(self, content: bytes) -> bool:
        """Whether the worker still holds it: then only what part it is is noted."""
        if len(content) > LARGE and self._large_bytes.startswith(content):
            whose, length = self._large, len(content)
        elif not content and isinstance(content, Token):
            whose, length = content, content.length
        else:
            return False
        self._kept.append(Kept(len(self._found), whose.number, whose.part, 0, length))
        return True

    # Files --------------------------------------------------------------------------------------

    def files(self) -> Iterator[File]:
        """All of them, page by page."""
        number = 0
        while True:
            sheet = self._sheet
            if sheet is None or sheet.first != number:
                sheet = self._turn_to(number)
            for entry in sheet.entries:
                number += 1
                yield self._file(sheet, entry, number)
            if sheet.last:
                return

    def _turn_to(self, number: int) -> "_Sheet":
        if self._sheet is not None:
            self._sheet.let_go()
        self._line.say(Kind.NEXT, number.to_bytes(8, "little"))
        _, payload = self._line.hear()
        self._sheet = _Sheet(number, messages.PAGES.decode(payload))
        return self._sheet

    def _file(self, sheet: "_Sheet", entry: Entry, number: int) -> File:
        if not entry.beside:
            return self._part(sheet, entry, number, 0, ())
        return self._tied(sheet, entry, number, count())

    def _tied(self, sheet: "_Sheet", entry: Entry, number: int, parts: Iterator[int]) -> File:
        """A file is part 0, what lies beside it has the numbers from 1 on."""
        part = next(parts)
        beside = tuple(self._tied(sheet, one, number, parts) for one in entry.beside)
        return self._part(sheet, entry, number, part, beside)

    def _part(
        self, sheet: "_Sheet", entry: Entry, number: int, part: int, beside: tuple[File, ...]
    ) -> File:
        one = _Part(self, sheet, number, part)
        return File(
            name=entry.name,
            size=entry.size,
            read=one.read,
            modified=entry.modified,
            beside=beside,
            vouched=one.vouched if entry.vouched else None,
        )

    def take(self, sheet: "_Sheet", number: int, part: int, kind: Kind) -> bytes | Shared | Word:
        """What there is of a file, which is in hand from now on. Raises `ItemRejected`."""
        NOTE.pack_into(self._held, 0, number, part)
        sent: Sent | None = None
        if sheet.pages and not part:
            sent = sheet.pages[number - sheet.first - 1].data
        if sent is None:
            sent = self._obtain(number, part, kind)
        if isinstance(sent, Rejection):
            raise ItemRejected(sent.reason, sent.detail, data=sent.data)
        return sent

    def fetch(self, number: int, part: int, place: Shared) -> bytes:
        """The bytes of a large file, which is known to the worker."""
        self._large_bytes = self._shared(place)
        self._large = Token.of(number, part, place.length)
        return self._large_bytes

    def _obtain(self, number: int, part: int, kind: Kind) -> Sent:
        """The bytes of the file in the note, or who vouches for them."""
        unfit = Word if kind is Kind.READ else Shared
        at = number - self._sheaf.first
        if not part and 0 <= at < len(self._sheaf.sent):
            sent = self._sheaf.sent[at]
            if not isinstance(sent, unfit):
                return sent
        if self._found:
            self._flush(Kind.FOUND)  # the worker holds no other large files than it sent last
        self._line.say(kind)
        answer, payload = self._line.hear()
        sheaf = messages.SHEAVES.decode(payload)
        if answer is Kind.SHEAF:
            self._sheaf = sheaf
        return sheaf.sent[number - sheaf.first]


class _Part(Struct, frozen=True, gc=False):
    """A file of the folder, or one beside it: what of it is read when."""

    parsing: _Parsing
    sheet: "_Sheet"
    number: int
    part: int

    def read(self) -> bytes:
        """All its bytes."""
        sent = self.parsing.take(self.sheet, self.number, self.part, Kind.READ)
        if isinstance(sent, bytes):
            return sent
        if isinstance(sent, Word):
            raise Ended
        return self.parsing.fetch(self.number, self.part, sent)

    def vouched(self) -> Vouched:
        """The digest that vouches for them; large ones stay with the worker."""
        sent = self.parsing.take(self.sheet, self.number, self.part, Kind.VOUCH)
        if isinstance(sent, Shared):
            raise Ended
        if isinstance(sent, Word):
            content = Token.of(self.number, self.part, sent.length)
            return Vouched(head=sent.head, length=sent.length, sha256=sent.sha256, content=content)
        digest = sha256(sent).digest()
        return Vouched(head=sent[:HEAD_BYTES], length=len(sent), sha256=digest, content=sent)


class Token(bytes):
    """Stands for the content of a file that lies with the worker, and has no bytes."""

    number = 0
    part = 0
    length = 0

    @classmethod
    def of(cls, number: int, part: int, length: int) -> "Token":
        """The whole of that file."""
        token = cls()
        token.number, token.part, token.length = number, part, length
        return token


class _Files:
    """Iterable as often as a category likes."""

    def __init__(self, parsing: _Parsing) -> None:
        self._parsing = parsing

    def __iter__(self) -> Iterator[File]:
        return self._parsing.files()


class _Sheet:
    """One page of files, whose bytes are at hand until it is turned."""

    def __init__(self, first: int, page: messages.Page) -> None:
        self.first = first
        self.entries = page.entries
        self.last = page.last
        self.pages = [*page.entries]
        """Empty once it was turned."""

    def let_go(self) -> None:
        """Whoever still wants the bytes of a file asks for them."""
        self.pages.clear()


class _Decoding:
    """Asks the worker to have a picture decoded: no process can be started here."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __call__(self, kind: str, data: bytes, budget: int, seconds: int) -> Any:
        self._line.say(Kind.DECODE, ENCODER.encode(Decode(kind, budget, seconds)))
        self._line.say(Kind.PICTURE, data)
        _, payload = self._line.hear()
        told = messages.DECODINGS.decode(payload)
        return image_decoding.Ending(status=told.status, word=told.word)
