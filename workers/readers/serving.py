"""Serves one folder to one reader, and believes nothing that it says.

Where files are large a reader is sent several at once: the one that it asks for and those after it,
a few more each time, as long as it asks for them in their order. What a digest from before the loss
vouches for stays here; the reader gets the first bytes and the digest.
"""

import pickle
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from orchestrator.errors import ItemRejected
from orchestrator.items import Copy, Damaged, File, Folder, Found
from orchestrator.ports import Category, Rules
from orchestrator.reasons import Reason
from workers.formats import image_decoding
from workers.formats.image_kinds import ImageKind
from workers.readers import messages
from workers.readers.messages import (
    ENCODER,
    LARGE,
    PAGE_BYTES,
    PAGE_FILES,
    SHEAF_BYTES,
    SHEAF_FILES,
    Begin,
    Decoded,
    Ended,
    Entry,
    Haul,
    Kind,
    Page,
    Rejection,
    Sent,
    Shared,
    Sheaf,
    Word,
)
from workers.readers.reader_process import ReaderProcess

_REMEMBERED: Final = 50_000
_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The longest message, beyond several times the largest file sent."""
_ANSWER_FACTOR: Final = 8
_DECODE_BUDGET: Final = 8 * 1024**3
_DECODE_SECONDS: Final = 3_600
_NEAR: Final = 4
"""Who asks for a file so little after the last one sent reads on: a photo's sidecar comes first."""

Holding = Callable[[str | None], None]
"""Told the name of the file that is being parsed, or None."""


class Serving:
    """One folder, served to one reader."""

    def __init__(
        self, reader: ReaderProcess, folder: Folder, holding: Holding, seconds: float
    ) -> None:
        self._reader = reader
        self._line = reader.line
        self._folder = folder
        self._holding = holding
        self._seconds = seconds
        self._iterator: Iterator[File] = iter(())
        self._next = 0
        """The number of files that the iterator has given."""
        self._remembered: list[File] = []
        self._most = _REMEMBERED
        self._ahead = True
        self._sheaf: dict[tuple[int, int], bytes] = {}
        """Large files of the last sheaf, by number and part."""
        self._alone: dict[tuple[int, int], bytes] = {}
        """The large file that was sent last without one."""
        self._sent = 0
        """The number of the last file that came in a sheaf."""
        self._window = 1
        """How many files the next sheaf has."""
        self._shared = 0
        """Bytes of shared memory that the last sheaf takes."""
        self._largest = 0
        self._seen = messages.NOTHING
        self._since: tuple[float, float] | None = None
        """Processor time of the reader, and ours, when it was first late with that file."""
        self._renamed: dict[str, str] = {}

    def read(self, category: Category, rules: Rules) -> Iterator[Found]:
        """Everything that the reader finds. Raises `ItemRejected` when it is lost."""
        if category.bulky:
            self._most, self._ahead = sys.maxsize, False
        try:
            page = self._page(0)
            named = pickle.dumps(category)
            self._say(Kind.BEGIN, Begin(named, self._folder.owner, rules, page))
            while True:
                kind, payload = self._hear()
                match kind:
                    case Kind.FOUND | Kind.END:
                        yield from self._believed(messages.HAULS.decode(payload))
                        if kind is Kind.END:
                            return
                    case Kind.NEXT:
                        self._say(Kind.PAGE, self._page(int.from_bytes(payload, "little")))
                    case Kind.READ | Kind.VOUCH:
                        self._send(vouched=kind is Kind.VOUCH)
                    case Kind.DECODE:
                        self._decode(payload)
                    case Kind.FAILED:
                        raise self._lost(payload.decode("ascii", "replace")[:200])
                    case _:
                        raise self._lost("it spoke out of turn")
        except (Ended, msgspec.MsgspecError, IndexError) as error:
            raise self._lost("it ended, or spoke nonsense") from error

    # Speaking -----------------------------------------------------------------------------------

    def _say(self, kind: Kind, message: Begin | Page) -> None:
        try:
            encoded = ENCODER.encode(message)
        except UnicodeEncodeError:  # a file's name that is no text
            encoded = ENCODER.encode(self._spelt(message))
        self._since = None
        self._line.say(kind, encoded, late=self._late)

    def _hear(self) -> tuple[Kind, bytes]:
        self._since = None
        most = _ANSWER_BYTES + _ANSWER_FACTOR * self._largest
        return self._line.hear(most, late=self._late)

    def _late(self) -> None:
        """Nothing came for a while: see whether it goes on, and for how long with one file."""
        holds = self._reader.holds()
        now = time.monotonic()
        try:
            busy = messages.processor_seconds(self._reader.pid)
        except OSError:
            busy = now
        if self._since is None or holds != self._seen:
            self._seen, self._since = holds, (busy, now)
            self._tell()
        elif busy - self._since[0] > self._seconds or now - self._since[1] > 1.5 * self._seconds:
            raise self._lost("it takes too long")

    def _tell(self) -> None:
        file = self._held()
        self._holding(None if file is None else file.name)

    def _lost(self, why: str) -> ItemRejected:
        self._tell()
        return ItemRejected(Reason.POISON, f"reading it ended its reader: {why}")

    # Files --------------------------------------------------------------------------------------

    def _page(self, number: int) -> Page:
        entries: list[Entry] = []
        room, last = PAGE_BYTES, False
        for file in self._from(number):
            entry = self._entry(file, room)
            if isinstance(entry.data, bytes):
                room -= len(entry.data)
            entries.append(entry)
            if len(entries) >= PAGE_FILES or room <= 0:
                break
        else:
            last = True
        self._holding(None)
        return Page(entries, last)

    def _from(self, number: int) -> Iterator[File]:
        if number < len(self._remembered):
            yield from self._remembered[number:]
            number = len(self._remembered)
        if number != self._next or number == 0:
            self._iterator = islice(iter(self._folder.files), number, None)
            self._next = number
        for file in self._iterator:
            if self._next == len(self._remembered) < self._most:
                self._remembered.append(file)
            self._next += 1
            yield file

    def _entry(self, file: File, room: int) -> Entry:
        data: bytes | Rejection | None = None
        if self._ahead and file.size <= min(LARGE, room):
            data = self._bytes(file)
            if len(data.data if isinstance(data, Rejection) else data) > LARGE:
                data = None
        beside = tuple(self._entry(one, 0) for one in file.beside) if file.beside else ()
        vouched = file.vouched is not None
        return Entry(file.name, file.size, file.modified, data, beside, vouched)

    def _bytes(self, file: File) -> bytes | Rejection:
        try:
            data = file.read()
        except ItemRejected as rejected:
            return Rejection(rejected.reason, rejected.detail, rejected.data)
        self._largest = max(self._largest, len(data))
        return data

    def _held(self) -> File | None:
        """The file in the reader's hands; None where it holds none of this folder."""
        number, part = self._reader.holds()
        if number < 1:
            return None
        if number <= len(self._remembered):
            file = self._remembered[number - 1]
        else:
            file = next(islice(iter(self._folder.files), number - 1, None), None)
        parts = [] if file is None else list(_with_companions(file))
        return parts[part] if 0 <= part < len(parts) else None

    def _send(self, *, vouched: bool) -> None:
        """Answer with the file in the reader's hands, and what it is likely to ask for next."""
        key = self._reader.holds()
        file = self._held()
        if file is None:
            raise Ended
        reads_on = not (self._ahead or key[1]) and self._reads_on(key[0])
        if reads_on:
            kind, sheaf = Kind.SHEAF, self._next_sheaf(key[0], vouched=vouched)
        else:
            self._alone.clear()
            sent = self._lend(key, file, self._alone, self._shared, vouched=vouched)
            kind, sheaf = Kind.ALONE, Sheaf(key[0], [sent])
        self._holding(None)
        self._since = None
        self._line.say(kind, ENCODER.encode(sheaf), late=self._late)

    def _reads_on(self, number: int) -> bool:
        if number <= _NEAR < self._sent:  # from the beginning again
            self._sent, self._window = 0, 1
        return self._sent < number <= self._sent + _NEAR

    def _next_sheaf(self, number: int, *, vouched: bool) -> Sheaf:
        """The file of that number, those that were skipped before it, and some after it."""
        skipped = self._remembered[self._sent : number - 1]
        first = self._sent + 1
        if sum(file.size for file in skipped) > SHEAF_BYTES:
            first = number
        self._sheaf.clear()
        self._shared = 0
        sent: list[Sent] = []
        size = 0
        for at in range(first, max(number, first + self._window - 1) + 1):
            file = self._remembered[at - 1] if at <= len(self._remembered) else None
            if file is None or (at > number and size + file.size > SHEAF_BYTES):
                break
            size += file.size
            ours = vouched if at == number else file.vouched is not None
            one = self._lend((at, 0), file, self._sheaf, self._shared, vouched=ours)
            if isinstance(one, Shared):
                self._shared += one.length
            sent.append(one)
        self._sent = first + len(sent) - 1
        self._window = min(2 * self._window, SHEAF_FILES)
        return Sheaf(first, sent)

    def _lend(
        self,
        key: tuple[int, int],
        file: File,
        kept: dict[tuple[int, int], bytes],
        offset: int,
        *,
        vouched: bool,
    ) -> Sent:
        """What is sent of a file: itself, where it lies, or who vouches for it."""
        word: Word | None = None
        if vouched and file.vouched is not None:
            try:
                known = file.vouched()
            except ItemRejected as rejected:
                return Rejection(rejected.reason, rejected.detail, rejected.data)
            data = known.content
            word = Word(known.head, known.length, known.sha256)
        else:
            data = self._bytes(file)
            if isinstance(data, Rejection):
                return data
        self._largest = max(self._largest, len(data))
        if len(data) <= LARGE:
            return data
        kept[key] = data
        if word is not None:
            return word
        self._reader.share(data, offset)
        return Shared(offset, len(data))

    def _decode(self, payload: bytes) -> None:
        asked = messages.DECODES.decode(payload)
        kind, picture = self._hear()
        if kind is not Kind.PICTURE or asked.kind not in set(ImageKind):
            raise Ended
        self._tell()
        ending = image_decoding.run_decoder(
            asked.kind,
            picture,
            budget=min(max(asked.budget, 0), _DECODE_BUDGET),
            seconds=min(max(asked.seconds, 1), _DECODE_SECONDS),
        )
        self._holding(None)
        answer = ENCODER.encode(Decoded(ending.status, ending.word))
        self._line.say(Kind.DECODED, answer, late=self._late)

    # What was found -----------------------------------------------------------------------------

    def _believed(self, haul: Haul) -> Iterator[Found]:
        found = haul.found
        for kept in haul.kept:
            key = (kept.number, kept.part)
            lent = self._alone.get(key) or self._sheaf.get(key, b"")
            if not 0 <= kept.offset <= kept.offset + kept.length <= len(lent):
                raise Ended
            whole = kept.offset == 0 and kept.length == len(lent)
            content = lent if whole else lent[kept.offset :][: kept.length]
            match found[kept.index]:
                case Copy() as copy:
                    item = replace(copy.item, content=content)
                    found[kept.index] = replace(copy, item=item)
                case Damaged() as damaged:
                    found[kept.index] = replace(damaged, data=content)
                case _:
                    raise Ended
        return map(self._respelt, found) if self._renamed else iter(found)

    def _spelt(self, message: Begin | Page) -> Begin | Page:
        """The same with names that can be written down."""
        if isinstance(message, Begin):
            return replace(message, page=self._spelt(message.page))
        return Page([self._spelt_entry(entry) for entry in message.entries], message.last)

    def _spelt_entry(self, entry: Entry) -> Entry:
        name = entry.name.encode("utf-8", "backslashreplace").decode()
        if name != entry.name:
            self._renamed[name] = entry.name
        return replace(entry, name=name, beside=tuple(map(self._spelt_entry, entry.beside)))

    def _respelt(self, found: Found) -> Found:
        spans = [found.span] if not isinstance(found, Copy | Damaged) else found.spans
        renamed = tuple(replace(s, file=self._renamed.get(s.file, s.file)) for s in spans)
        if isinstance(found, Copy | Damaged):
            return replace(found, spans=renamed)
        return replace(found, span=renamed[0])


def _with_companions(file: File) -> Iterator[File]:
    yield file
    for one in file.beside:
        yield from _with_companions(one)
