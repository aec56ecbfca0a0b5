"""Reads one unit from every source and settles on one copy an item; accounts for every byte.

Memory: contents are kept up to a budget. Beyond it only digests are, some hundred bytes an item,
and the winners' contents come from reading once more, in the same order: of a user with 200,000
items no more is in memory than 20 MB.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TypeVar

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import (
    Copy,
    Damaged,
    Digest,
    File,
    Folder,
    Found,
    Framing,
    Ident,
    Item,
    Span,
    Vouched,
)
from orchestrator.ports import Category, Rules
from orchestrator.reasons import Reason
from orchestrator.reconcile import precedence
from workers.candidates import Base, Candidate, Candidates, Rank
from workers.in_hand import UNWATCHED, Watch
from workers.readers.pool import Here, Holding, Parser
from workers.usefulness import Foremost, Kept, usefulness

Got = TypeVar("Got", bytes, Vouched)

CONTENT_BUDGET = 32 * 1024 * 1024
"""Bytes of contents that one unit keeps in memory, with what their own objects take."""
OBJECTS = 1024
"""Bytes of memory that an item takes besides its content, about."""


class Recovered(Struct, frozen=True, kw_only=True):
    """What one source holds of one unit; sources count from 0, most trusted first."""

    trust: int
    source: str
    folder: Folder


class Winner(Struct, frozen=True, kw_only=True, gc=False):
    """The copy that speaks for an item."""

    copy: Copy
    source: str


class Quarantined(Struct, frozen=True, kw_only=True, gc=False):
    """A damaged copy and where it was found."""

    source: str
    damaged: Damaged


@dataclass(slots=True)
class Reading:
    """Everything the sources hold of one unit, settled."""

    recovered: Sequence[Recovered]
    category: Category
    rules: Rules
    beat: Callable[[], None]
    watch: Watch = UNWATCHED
    parser: Parser = field(default_factory=Here)
    ambiguous: bool = False
    mended: frozenset[str] = frozenset()
    """SHA-256 of damaged copies that an operator mended: the files of the first source."""
    merging: bool = False
    """Older versions are wanted, too: what they still had and a newer one has not was let go of."""
    damaged: list[Quarantined] = field(default_factory=list[Quarantined])
    versions: list[Quarantined] = field(default_factory=list[Quarantined])
    """Sound copies that differ from the one used, and that nothing but trust ranks below it."""
    copies: int = 0
    nameless: int = 0
    bytes_read: int = 0
    bytes_copies: int = 0
    bytes_quarantined: int = 0
    bytes_framing: int = 0
    _best: Candidates = field(default_factory=Candidates)
    _broken: set[Ident] = field(default_factory=set[Ident])
    _idents_of_mended: dict[str, Ident] = field(default_factory=dict[str, Ident])
    _met: dict[str, int] = field(default_factory=dict[str, int])
    _versions: set[Digest] = field(default_factory=set[Digest])
    _kept: int = 0
    _foremost: Foremost = field(default_factory=lambda: Foremost(CONTENT_BUDGET // 2))

    @property
    def winners(self) -> int:
        """Items with an intact copy."""
        return len(self._best)

    @property
    def broken(self) -> set[Ident]:
        """Items all of whose copies are damaged."""
        return self._broken

    @property
    def items(self) -> int:
        """Items that were found."""
        return len(self._best) + len(self._broken)

    @property
    def others(self) -> int:
        """Further copies of the items found."""
        return self.copies - self.nameless - self.items

    def holds(self, ident: Ident) -> bool:
        """Whether a source holds an intact copy of that item."""
        return ident in self._best

    def bases(self, idents: AbstractSet[Ident]) -> dict[Ident, Item]:
        """An older version of each item that has one: the newest of them, intact and dated.

        Beyond the budget the sources are read once more for it, so ask for many at a time.
        """
        found: dict[Ident, Item] = {}
        unread: dict[tuple[int, int], Ident] = {}
        for ident in idents:
            candidate = self._best.get(ident)
            base = None if candidate is None else candidate.base
            if base is not None and base.item is not None:
                found[ident] = base.item
            elif base is not None:
                unread[base.trust, base.ordinal] = ident
        for trust in {trust for trust, _ in unread}:
            for ordinal, copy in enumerate(self._stream(self.recovered[trust])):
                ident = unread.get((trust, ordinal))
                if ident is not None and isinstance(copy, Copy):
                    found[ident] = copy.item
        return found

    def portions(self, *, items: int, size: int) -> Iterator[list[Winner]]:
        """The winners, at most `items` and about `size` bytes at a time, in a stable order.

        The most useful come first: all of them where contents are kept, else as many as the budget
        holds, and then by portions.
        """
        portion: list[Winner] = []
        held = 0
        packed = self._kept < 0
        for winner in self._contents():
            portion.append(winner)
            held += winner.copy.item.size
            if len(portion) >= items or held >= size:
                if packed:
                    _order(portion)
                with self.watch.in_hand.put_down():
                    yield portion
                portion, held = [], 0
        if portion:
            if packed:
                _order(portion)
            yield portion

    def _contents(self) -> Iterator[Winner]:
        if self._kept >= 0:
            copies = [(one.copy, one.trust) for one in self._best.all() if one.copy is not None]
            copies.sort(key=lambda pair: usefulness(pair[0]), reverse=True)
            for copy, trust in copies:
                yield Winner(copy=copy, source=self.recovered[trust].source)
            return
        wanted = [Ordinals() for _ in self.recovered]
        for candidate in self._best.all():
            wanted[candidate.trust].add(candidate.ordinal)
        for kept in self._foremost.taken():
            if self._speaks(kept):
                wanted[kept.trust].discard(kept.ordinal)
                yield Winner(copy=kept.copy, source=self.recovered[kept.trust].source)
        for part in self.recovered:
            for ordinal, found in enumerate(self._stream(part)):
                if ordinal in wanted[part.trust] and isinstance(found, Copy):
                    yield Winner(copy=found, source=part.source)

    def _speaks(self, kept: Kept) -> bool:
        """Whether that copy is the one that speaks for its item."""
        best = self._best.get(kept.copy.item.ident)
        return best is not None and (best.trust, best.ordinal) == (kept.trust, kept.ordinal)

    def _stream(self, part: Recovered, files: "_Files | None" = None) -> Iterator[Found]:
        """What one source holds, with a heartbeat now and then."""
        files = files or self._files(part)
        folder = Folder(owner=part.folder.owner, files=files)
        found = (
            _unowned(folder)
            if self.ambiguous
            else self.parser.parse(self.category, folder, self.rules, self._holding(part))
        )
        for ordinal, one in enumerate(found):
            yield one
            if ordinal % 256 == 0:
                with self.watch.in_hand.put_down():
                    self.beat()
        self.watch.in_hand.let_go()

    def _files(self, part: Recovered) -> "_Files":
        return _Files(part, self.watch, apart=self.parser.apart)

    def _holding(self, part: Recovered) -> Holding:
        """For whoever parses elsewhere: what it has in its hands there."""

        def hold(name: str | None) -> None:
            if name is None:
                self.watch.before()
            else:
                self.watch.hold(part.source, name)

        return hold

    def read(self) -> None:
        """Take in every source. Raises `Unavailable` when one of them is away."""
        named: list[Ident] = []
        for part in self.recovered:
            files = self._files(part)
            for ordinal, found in enumerate(self._stream(part, files)):
                match found:
                    case Copy():
                        self._take(found, part.trust, ordinal)
                    case Damaged():
                        self.copies += 1
                        self.bytes_quarantined += sum(span.length for span in found.spans)
                        self.damaged.append(Quarantined(source=part.source, damaged=found))
                        ident = found.ident or self._mended_ident(found)
                        if ident is None:
                            self.nameless += 1
                        else:
                            named.append(ident)
                    case Framing():
                        self.bytes_framing += found.span.length
            self.bytes_read += files.size
        self._broken = {ident for ident in named if ident not in self._best}
        if len(self.recovered) > 1:
            self._best.collapse()

    def _take(self, copy: Copy, trust: int, ordinal: int) -> None:
        self.copies += 1
        for span in copy.spans:
            self.bytes_copies += span.length
            if trust == 0 and span.file in self.mended:
                self._idents_of_mended.setdefault(span.file, copy.item.ident)
        rank = precedence(copy, trust)
        item = copy.item
        known = self._best.get(item.ident)
        keep = self._kept >= 0
        if known is None:
            self._best.put(
                item.ident,
                Candidate(rank, trust, ordinal, item.digest, copy if keep else None, 1, 1 << trust),
            )
            self._grow(item)
            self._advance(copy, trust, ordinal)
            return
        self._keep_version(copy, rank, known, trust)
        known.copies += 1
        known.seen_by |= 1 << trust
        if self.merging:
            self._keep_base(Base(rank, trust, ordinal, item if keep else None), known)
        if rank > known.rank:
            if known.copy is not None:
                self._shrink(known.copy.item)
            known.rank, known.trust, known.ordinal = rank, trust, ordinal
            known.digest, known.copy = item.digest, copy if self._kept >= 0 else None
            self._best.put(item.ident, known)
            self._grow(item)
            self._advance(copy, trust, ordinal)
        else:
            self._best.put(item.ident, known)

    def _keep_base(self, place: Base, known: Candidate) -> None:
        """Of two copies the one that ranks lower may be an older state of the other."""
        if place.rank > known.rank:
            winner, older = place.rank, Base(known.rank, known.trust, known.ordinal, None)
            older.item = None if known.copy is None else known.copy.item
        else:
            winner, older = known.rank, place
        bases = [base for base in (older, known.base) if base and _is_older(base.rank, winner)]
        best = max(bases, key=lambda base: base.rank, default=None)
        if best is not known.base:
            if known.base is not None and known.base.item is not None:
                self._shrink(known.base.item)
            known.base = best
            if best is not None and best.item is not None:
                self._grow(best.item)

    def _keep_version(self, copy: Copy, rank: Rank, known: Candidate, trust: int) -> None:
        """Keep what only trust, or chance, ranks below the copy that speaks for its item.

        An older version is told by its date and stays where it lies. Of two that nothing tells
        apart one may be another thing under the same ident, so its bytes go into quarantine.
        """
        *worth, _trust = rank
        *best, _best_trust = known.rank
        if worth != best or copy.item.digest in {known.digest, *self._versions}:
            return
        self._versions.add(copy.item.digest)
        version = Damaged(
            reason=Reason.VERSION,
            spans=copy.spans,
            data=copy.item.content,
            ident=copy.item.ident,
            repairs=copy.repairs,
        )
        self.versions.append(Quarantined(source=self.recovered[trust].source, damaged=version))

    def _mended_ident(self, damaged: Damaged) -> Ident | None:
        """The item that an operator made of these bytes, whose further copy they are.

        What looks alike stands for one mended copy after the other. Further ones are copies of the
        first, except where there are no bytes at all: nothing is no copy of anything.
        """
        if not self.mended:
            return None
        digest = sha256(damaged.data).hexdigest()
        number = self._met[digest] = self._met.get(digest, 0) + 1
        name = digest if number == 1 else f"{digest}-{number}"
        if name not in self.mended and damaged.data:
            name = digest
        return self._idents_of_mended.get(name)

    def _grow(self, item: Item) -> None:
        if self._kept < 0:
            return
        self._kept += item.size + OBJECTS
        if self._kept > CONTENT_BUDGET:
            self._kept = -1
            for one in self._best.all():
                if one.copy is not None:
                    self._advance(one.copy, one.trust, one.ordinal)
            self._best.pack()

    def _advance(self, copy: Copy, trust: int, ordinal: int) -> None:
        """Keep the content of what comes first, where not all can be kept."""
        if self._kept < 0:
            weight = copy.item.size + OBJECTS
            self._foremost.offer(Kept(copy, trust, ordinal), weight=weight)

    def _shrink(self, item: Item) -> None:
        if self._kept >= 0:
            self._kept -= item.size + OBJECTS


def _order(portion: list[Winner]) -> None:
    """The most useful first, those that are equally so as they came."""
    portion.sort(key=lambda winner: usefulness(winner.copy), reverse=True)


class Ordinals:
    """Numbers from 0 up, a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Take in one."""
        missing = number // 8 + 1 - len(self._bits)
        if missing > 0:
            self._bits.extend(bytes(missing + len(self._bits)))
        self._bits[number // 8] |= 1 << number % 8

    def discard(self, number: int) -> None:
        """Leave one out again."""
        if number in self:
            self._bits[number // 8] &= ~(1 << number % 8)

    def __contains__(self, number: int) -> bool:
        at = number // 8
        return at < len(self._bits) and bool(self._bits[at] >> number % 8 & 1)


def _is_older(rank: Rank, than: Rank) -> bool:
    """Whether a copy is intact, and by its date an older one of the same merit."""
    intact, merit, dated, at, *_ = rank
    _, other_merit, other_dated, other_at, *_ = than
    return intact and merit == other_merit and dated and other_dated and at < other_at


class _Files:
    """A folder's files: each is measured, and watched when it is about to be parsed."""

    def __init__(self, part: Recovered, watch: Watch, *, apart: bool) -> None:
        """`apart`: another process parses them, and says what it has in its hands."""
        self._files = part.folder.files
        self._source = part.source
        self._watch = watch
        self._attend = watch.check if apart else watch.take
        self._listed = 0
        """Bytes that the source says they have."""
        self._beyond: dict[str, int] = {}
        """Of files that turned out to be longer or shorter: by how much."""

    @property
    def size(self) -> int:
        """Bytes that they turned out to have."""
        return self._listed + sum(self._beyond.values())

    def __iter__(self) -> Iterator[File]:
        listed = 0
        for file in self._files:
            listed += file.size
            for companion in file.beside:
                listed += companion.size
            yield self._watched(file)
        self._listed = listed

    def _watched(self, file: File) -> File:
        vouched = file.vouched
        return File(
            name=file.name,
            size=file.size,
            read=partial(self._obtain, file, file.read),
            modified=file.modified,
            beside=tuple(map(self._watched, file.beside)) if file.beside else (),
            vouched=None if vouched is None else partial(self._obtain, file, vouched),
        )

    def _obtain(self, file: File, get: Callable[[], Got]) -> Got:
        self._watch.before()
        try:
            got = get()
            data = got if isinstance(got, bytes) else got.content
            self._attend(self._source, file.name, data)
        except ItemRejected:
            self._beyond.pop(file.name, None)
            raise
        if len(data) != file.size:
            self._beyond[file.name] = len(data) - file.size
        return got


def _unowned(folder: Folder) -> Iterator[Found]:
    """Every file of a user whose identity is ambiguous, as one damaged copy each."""
    for file in folder.files:
        for part in (file, *file.beside):
            try:
                data, size = part.read(), None
            except ItemRejected as rejected:
                data, size = rejected.data, part.size
            yield Damaged(
                reason=Reason.AMBIGUOUS_OWNER,
                spans=(Span(part.name, 0, len(data) if size is None else size),),
                data=data,
            )
