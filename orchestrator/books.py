"""Outcomes, and the laws that their sums obey."""

from enum import StrEnum

from msgspec import Struct, structs


class Outcome(StrEnum):
    """What became of an item. Every item that was found has exactly one."""

    RESTORED = "restored"
    MERGED = "merged"
    PRESENT = "present"
    SUPERSEDED = "superseded"
    DECLINED = "declined"
    QUARANTINED = "quarantined"
    PENDING = "pending"


class Note(StrEnum):
    """What rides along with an outcome."""

    REPAIRED = "repaired"
    DEGRADED = "degraded"
    REPLACED = "replaced"
    BESIDE = "beside"


class Books(Struct, frozen=True, kw_only=True):
    """The sums of one unit, or of any set of units added up."""

    copies: int = 0
    """Copies read, damaged ones included."""
    items: int = 0
    """Items they are copies of."""
    others: int = 0
    """Further copies of those items."""
    nameless: int = 0
    """Quarantined copies that name no item."""
    restored: int = 0
    merged: int = 0
    present: int = 0
    superseded: int = 0
    declined: int = 0
    quarantined: int = 0
    pending: int = 0
    repaired: int = 0
    degraded: int = 0
    replaced: int = 0
    beside: int = 0
    lost: int = 0
    bytes_read: int = 0
    bytes_copies: int = 0
    bytes_quarantined: int = 0
    bytes_framing: int = 0

    def __add__(self, other: "Books") -> "Books":
        """The sums of both."""
        return Books(**{n: getattr(self, n) + getattr(other, n) for n in FIELDS})

    def __sub__(self, other: "Books") -> "Books":
        """What has to be added to `other` to get these."""
        return Books(**{n: getattr(self, n) - getattr(other, n) for n in FIELDS})


EMPTY = Books()
"""Of nothing: what most of a large service's users have in most categories."""

FIELDS: tuple[str, ...] = tuple(field.name for field in structs.fields(Books))
"""Every sum, in the order of the ledger's columns."""


def lost(*, expected: int | None, items: int) -> int:
    """How many items of the census no source holds; never netted between units."""
    return 0 if expected is None else max(0, expected - items)


def imbalances(books: Books, *, settled: bool) -> list[str]:
    """Which laws are broken, as sentences; empty when the books balance.

    `settled`: also demand that nothing is pending.
    """
    found: list[str] = []
    accounted = books.items + books.others + books.nameless
    if books.copies != accounted:
        found.append(f"{books.copies} copies read, {accounted} accounted for")
    outcomes = sum(getattr(books, outcome.value) for outcome in Outcome)
    if books.items != outcomes:
        found.append(f"{books.items} items found, {outcomes} with an outcome")
    spans = books.bytes_copies + books.bytes_quarantined + books.bytes_framing
    if books.bytes_read != spans:
        found.append(f"{books.bytes_read} bytes read, {spans} accounted for")
    if settled and books.pending:
        found.append(f"{books.pending} items pending in a settled unit")
    negative = [name for name in FIELDS if getattr(books, name) < 0]
    found.extend(f"{name} is negative" for name in negative)
    return found
