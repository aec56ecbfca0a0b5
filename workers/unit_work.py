"""One unit while it is being worked on: its tally, its account, what it quarantined."""

from collections import Counter
from hashlib import sha256

import msgspec
from msgspec import Struct

from orchestrator.books import EMPTY, Books, Note, Outcome, lost
from orchestrator.causes import Cause
from orchestrator.items import Copy, Ident, UserId
from orchestrator.ledger.keys import KeyRing
from orchestrator.ledger.outcomes import Kept, UnitResult
from orchestrator.lifecycle import UnitState
from orchestrator.plan import OnConflict
from orchestrator.reasons import Reason
from workers.account import Account, Line
from workers.journal import Hands, no_hands
from workers.reading import Quarantined, Reading


class Evidence(Struct, frozen=True, kw_only=True):
    """A quarantined copy as it is kept: where it lay and the bytes themselves."""

    file: str
    spans: tuple[tuple[str, int, int], ...]
    data: bytes
    ident: str | None
    detail: str
    repairs: tuple[str, ...]


encode = msgspec.msgpack.encode


def account_context(run: str, user: int, phase: int) -> bytes:
    """What a unit's account is bound to."""
    return f"account:{run}:{user}:{phase}".encode()


def quarantine_context(run: str, user: int, phase: int) -> bytes:
    """What a unit's quarantined copies are bound to."""
    return f"quarantine:{run}:{user}:{phase}".encode()


class UnitWork(Struct, kw_only=True):
    """A unit of the batch in hand."""

    run: str
    user: int
    phase: int
    owner: UserId
    user_hash: bytes
    ring: KeyRing
    expected: int | None
    attempts: int
    declined: bool
    ambiguous: bool
    policy: OnConflict = OnConflict.NEWEST
    """The plan's, or what this user chose."""
    released: dict[str, bytes] = {}
    """Copies that an operator mended, by the SHA-256 of what was quarantined."""
    poisonous: frozenset[bytes] = frozenset()
    """Copies that nobody shall take into their hands any more: see `ledger.deaths`."""
    reading: Reading | None = None
    trouble: Cause | None = None
    """Why items are still pending."""
    outcomes: dict[str, int] = {}
    kept: list[Kept] = []
    _hands: Hands | None = None
    _lines: Account | None = None

    @property
    def hands(self) -> Hands:
        """What is at the target by our hand. Made when first needed: most users have nothing."""
        if self._hands is None:
            self._hands = no_hands()
        return self._hands

    @hands.setter
    def hands(self, known: Hands) -> None:
        self._hands = known

    @property
    def lines(self) -> Account:
        """What became of each item; made when first needed, too."""
        if self._lines is None:
            self._lines = Account()
        return self._lines

    def recovered(self, ident: Ident) -> bool:
        """Whether a source holds an intact copy of that item."""
        return self.reading is not None and self.reading.holds(ident)

    def note(
        self,
        copy: Copy,
        source: str,
        outcome: Outcome,
        note: Note | None = None,
        reason: Reason | None = None,
        origins: str = "",
    ) -> None:
        """Account for one item."""
        self._count(outcome)
        if outcome in {Outcome.RESTORED, Outcome.MERGED}:
            if note is not None:
                self._count(note)
            if copy.repairs:
                self._count(Note.REPAIRED)
            if copy.degraded:
                self._count(Note.DEGRADED)
        self.lines.append(
            Line(
                ident=copy.item.ident,
                outcome=outcome,
                note=note or "",
                source=source,
                repairs=copy.repairs,
                degraded=copy.degraded,
                reason=reason or "",
                origins=origins,
            )
        )

    def _count(self, name: str) -> None:
        self.outcomes[name] = self.outcomes.get(name, 0) + 1

    def keep_damaged(self) -> None:
        """Seal what failed validation, and versions that were not used, each with its reason.

        Nothing of a declined user is kept.
        """
        if self.reading is None:
            return
        for broken in sorted(self.reading.broken):
            outcome = Outcome.DECLINED if self.declined else Outcome.QUARANTINED
            self._count(outcome)
            self.lines.append(Line(ident=broken, outcome=outcome))
        if not self.declined:
            met = Counter[str]()
            for found in (*self.reading.damaged, *self.reading.versions):
                kept = self._sealed(found)
                met[kept.sha256] += 1
                number = met[kept.sha256]
                name = kept.sha256 if kept.length or number == 1 else f"{kept.sha256}-{number}"
                if name not in self.released:
                    self.kept.append(kept)

    def keep_refused(self, copy: Copy, source: str, reason: Reason, detail: str) -> None:
        """Quarantine an intact item that the target did not take, or altered."""
        self.note(copy, source, Outcome.QUARANTINED, reason=reason)
        evidence = Evidence(
            file=copy.spans[0].file if copy.spans else "",
            spans=tuple((span.file, span.offset, span.length) for span in copy.spans),
            data=copy.item.content,
            ident=copy.item.ident,
            detail=detail,
            repairs=copy.repairs,
        )
        self.kept.append(self._seal(source, reason, evidence))

    def _sealed(self, found: Quarantined) -> Kept:
        damaged = found.damaged
        evidence = Evidence(
            file=damaged.spans[0].file if damaged.spans else "",
            spans=tuple((span.file, span.offset, span.length) for span in damaged.spans),
            data=damaged.data,
            ident=damaged.ident,
            detail=damaged.detail,
            repairs=damaged.repairs,
        )
        return self._seal(found.source, damaged.reason, evidence)

    def _seal(self, source: str, reason: Reason, evidence: Evidence) -> Kept:
        return Kept(
            source=source,
            reason=reason,
            sha256=sha256(evidence.data).hexdigest(),
            length=len(evidence.data),
            sealed=self.seal(encode(evidence), quarantine_context(self.run, self.user, self.phase)),
        )

    def books(self) -> Books:
        """The sums as they stand; what has no outcome yet is pending."""
        reading = self.reading
        if reading is None:
            return EMPTY
        if not reading.copies and not reading.bytes_read:
            missing = 0 if self.declined else lost(expected=self.expected, items=0)
            return Books(lost=missing) if missing else EMPTY
        counts = {str(name): number for name, number in self.outcomes.items()}
        done = sum(counts.get(outcome.value, 0) for outcome in Outcome)
        return Books(
            copies=reading.copies,
            items=reading.items,
            others=reading.others,
            nameless=reading.nameless,
            bytes_read=reading.bytes_read,
            bytes_copies=reading.bytes_copies,
            bytes_quarantined=reading.bytes_quarantined,
            bytes_framing=reading.bytes_framing,
            lost=0 if self.declined else lost(expected=self.expected, items=reading.items),
            **(counts | {"pending": reading.items - done}),
        )

    def settled(self) -> UnitResult:
        """The result of a unit all of whose items have an outcome."""
        return UnitResult(
            user=self.user,
            state=UnitState.SETTLED,
            books=self.books(),
            kept=tuple(self.kept),
            account=self.account(),
        )

    def not_yet(self, why: Cause, *, state: UnitState, not_before: int) -> UnitResult:
        """The result of a unit that has to be tried again, or has failed."""
        return UnitResult(
            user=self.user,
            state=state,
            books=self.books(),
            cause=why,
            not_before=not_before,
            kept=tuple(self.kept),
            account=self.account(),
        )

    def let_go(self) -> None:
        """It has its result: nothing of it is needed any more but who it was."""
        self.reading = None
        self._hands = self._lines = None
        self.released = {}
        self.kept = []

    def account(self) -> bytes | None:
        """What became of each item; None where there is nothing to tell, and if declined."""
        if self.declined or not self._lines:
            return None
        return self.seal(self.lines.encoded(), account_context(self.run, self.user, self.phase))

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Under the user's own key."""
        return self.ring.of(self.user_hash).seal(data, context)
