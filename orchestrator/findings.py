"""What a verify and an undo find out about each place that a run wrote to, and their sums.

Both are runs about another run, with units and books like any. Each place counts as one item and
ends with exactly one finding; the books have their own words for them, so that the same laws and
counters hold: this table is the only place where one is translated into the other.
"""

from collections.abc import Mapping
from enum import StrEnum

from orchestrator.books import Books, Note, Outcome

VERIFY = "verify"
UNDO = "undo"


class Drift(StrEnum):
    """How a place compares with what was left there."""

    AS_LEFT = "as_left"
    CHANGED = "changed"
    """Something else is there now."""
    GONE = "gone"
    """Nothing is there any more."""
    NEVER = "never_there"
    """A write was meant, and never got there."""


class Undone(StrEnum):
    """What an undo made of a place."""

    REMOVED = "removed"
    PUT_BACK = "put_back"
    LEFT = "left"
    """Somebody changed it since, or it could not be undone safely."""
    ALREADY = "already"
    """It was as before the run, or never got there."""


class Why(StrEnum):
    """Why a place was left as it is."""

    CHANGED = "changed-since"
    GONE = "gone-since"
    DECLINED = "user-declined"
    UNSAFE = "target-cannot-compare"
    REFUSED = "target-refused"
    ERASED = "keys-erased"

    @property
    def sentence(self) -> str:
        """For an operator."""
        return _SENTENCES[self]


_SENTENCES = {
    Why.CHANGED: "somebody changed it since",
    Why.GONE: "somebody removed it since",
    Why.DECLINED: "its user asked to be erased: nothing is written for them",
    Why.UNSAFE: "the target cannot change exactly the version that was looked at",
    Why.REFUSED: "the target did not take it",
    Why.ERASED: "what was there before cannot be read: its keys were erased",
}

_OUTCOMES: Mapping[Drift | Undone, Outcome] = {
    Drift.AS_LEFT: Outcome.RESTORED,
    Drift.CHANGED: Outcome.SUPERSEDED,
    Drift.GONE: Outcome.DECLINED,
    Drift.NEVER: Outcome.PRESENT,
    Undone.REMOVED: Outcome.RESTORED,
    Undone.PUT_BACK: Outcome.RESTORED,
    Undone.LEFT: Outcome.SUPERSEDED,
    Undone.ALREADY: Outcome.PRESENT,
}


def outcome_of(finding: Drift | Undone) -> Outcome:
    """The books' word for it."""
    return _OUTCOMES[finding]


def note_of(finding: Drift | Undone, *, over: bool) -> Note | None:
    """`over`: as left over something else, which an undo would put back."""
    return Note.REPLACED if finding is Undone.PUT_BACK or over else None


def books_of(findings: Mapping[Drift | Undone, int], *, over: int = 0) -> Books:
    """The sums of one unit; `over`: of those as left, how many an undo would put back."""
    places = sum(findings.values())
    sums = dict.fromkeys((outcome.value for outcome in Outcome), 0)
    for finding, number in findings.items():
        sums[outcome_of(finding)] += number
    as_wished = (Drift.AS_LEFT, Undone.REMOVED, Undone.PUT_BACK, Undone.ALREADY)
    return Books(
        copies=places,
        items=places,
        replaced=findings.get(Undone.PUT_BACK, 0) + over,
        lost=places - sum(findings.get(finding, 0) for finding in as_wished),
        **sums,
    )


def drifts(books: Books) -> dict[str, int]:
    """The sums of a verify in its own words."""
    return {
        "places": books.items,
        Drift.AS_LEFT: books.restored,
        Drift.CHANGED: books.superseded,
        Drift.GONE: books.declined,
        Drift.NEVER: books.present,
    }


def undone(books: Books) -> dict[str, int]:
    """The sums of an undo in its own words."""
    return {
        "places": books.items,
        Undone.REMOVED: books.restored - books.replaced,
        Undone.PUT_BACK: books.replaced,
        Undone.LEFT: books.superseded,
        Undone.ALREADY: books.present,
    }


def would_be_undone(books: Books) -> dict[str, int]:
    """What an undo would do, by the sums of a verify."""
    return {
        "places": books.items,
        Undone.REMOVED: books.restored - books.replaced,
        Undone.PUT_BACK: books.replaced,
        Undone.LEFT: books.superseded,
        Undone.ALREADY: books.declined + books.present,
    }
