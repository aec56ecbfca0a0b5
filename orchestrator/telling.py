"""What people are told, in plain words: the public about everybody, users about their own. Pure.

Nothing here names anybody. Of fewer than `FEW` users or items no number is given, and no share
from which one could be reckoned: who knows of one of them would learn what became of that one.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from orchestrator.books import Books
from orchestrator.lifecycle import CellState, UnitState

FEW = 10
ITEMS: Mapping[str, str] = {
    "calendar": "calendar entries",
    "high_scores": "high scores",
}
"""What the items of a category are called, where it is not like the category itself."""


class Going(Struct, frozen=True, kw_only=True):
    """How one category is going, over everybody."""

    category: str
    state: CellState
    users: int
    done: int
    """Users for whom it was settled."""
    failed: int = 0
    cancelled: int = 0
    books: Books = Books()

    @property
    def begun(self) -> bool:
        """Whether anybody's turn has come."""
        return self.state is not CellState.CLOSED or self.done > 0

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to do by itself."""
        return self.users == self.done + self.failed + self.cancelled


def spelled(category: str) -> str:
    """A category as people write it."""
    return category.replace("_", " ")


def items_of(category: str) -> str:
    """What its items are called."""
    return ITEMS.get(category, spelled(category))


def whole_percent(part: int, whole: int) -> int | None:
    """Rounded down, never to 0 or 100; None where a number would tell too much, or nothing."""
    if part < FEW or whole - part < FEW:
        return None
    return min(99, max(1, 100 * part // whole))


def how_many(part: int, whole: int) -> str:
    """How many of all users, as the beginning of a sentence."""
    if not part:
        return "Nobody yet"
    if part == whole:
        return "Everybody"
    percent = whole_percent(part, whole)
    if percent is not None:
        return f"{percent} % of users"
    return "The first users" if 2 * part < whole else "Almost everybody"


def about(count: int) -> str:
    """A number of items as the public hears it: two digits of it, or no number at all."""
    if count < FEW:
        return "a few"
    unit = max(10, 10 ** (len(str(count)) - 2))
    return f"about {round(count / unit) * unit:,}"


# The public -----------------------------------------------------------------------------------


def progress_of(going: Going) -> str:
    """How far a category is, in one sentence."""
    name, has = spelled(going.category), "have their"
    if not going.begun:
        return f"We have not begun with {name} yet."
    told = how_many(going.done, going.users)
    if told in {"Everybody", "Nobody yet"}:
        has = "has their"
    return f"{told} {has} {name} back, as far as we found them."


def losses_of(going: Going) -> Iterator[str]:
    """What is missing of a category, and why, as far as it is known by now."""
    name, books = items_of(going.category), going.books
    if books.lost:
        yield (
            f"{_capital(about(books.lost))} {name} that people had before could not be found "
            "in any of our copies."
        )
    damaged = books.quarantined + books.nameless
    if damaged:
        yield (
            f"{_capital(about(damaged))} {name} were found damaged. "
            "We keep them and try to mend what can be mended."
        )
    if books.superseded:
        yield (
            f"{_capital(about(books.superseded))} {name} had been changed by their owners since; "
            "we left those as they are."
        )
    if going.failed:
        yield (
            f"For some users, {spelled(going.category)} could not be restored yet; "
            "we know of it and try again."
        )


def following(goings: Sequence[Going]) -> str:
    """What comes next; empty where nothing does."""
    under_way = [spelled(one.category) for one in goings if one.begun and not one.over]
    to_come = [spelled(one.category) for one in goings if not one.begun]
    told = ""
    if under_way:
        told = f"We are going on with {_listed(under_way)}."
    if to_come:
        told += f"{' ' if told else ''}Next: {', then '.join(to_come)}."
    return told


def bulletin(goings: Sequence[Going], *, paused: bool = False) -> str:
    """A draft of what to tell the public: how far, what next, what was lost. Paragraphs."""
    told = [" ".join(progress_of(one) for one in goings if one.begun)]
    if not told[0]:
        told = ["We are preparing to put back what was lost. Nothing was restored yet."]
    if paused:
        told.append("We have paused for the moment, to look into something before we go on.")
    told.append(following(goings))
    told.append(" ".join(one for going in goings for one in losses_of(going)))
    return "\n\n".join(part for part in told if part)


# One user -------------------------------------------------------------------------------------


def of_unit(expected: int | None, books: Books, state: UnitState) -> Iterator[str]:
    """What became of one category of one user; support and the user are told the same."""
    yield from _STANDING.get(state, ())
    back = books.restored + books.merged + books.present
    if expected is not None:
        yield f"{back:,} of {expected:,} are there now."
    elif books.items:
        yield f"{back:,} of the {books.items:,} that we found are there now."
    for count, became in (
        (books.merged, "combined with what you had."),
        (books.beside, "put beside what you had."),
        (books.superseded, "changed since, and nothing of that was touched."),
        (books.declined, "deleted or declined, and not brought back."),
        (books.quarantined + books.nameless, "found damaged and kept; some may be mended."),
        (books.lost, "found nowhere."),
    ):
        if count:
            yield f"{count:,} {'was' if count == 1 else 'were'} {became}"


_STANDING: Mapping[UnitState, tuple[str, ...]] = {
    UnitState.WAITING: ("It is still being restored.",),
    UnitState.HELD: ("It is still being restored.",),
    UnitState.FAILED: ("It could not be restored yet; we know, and it will be tried again.",),
    UnitState.CANCELLED: ("It was not restored: the restoration was cancelled.",),
}


def banner(*, back: Sequence[str], partly: Sequence[str], rest: Sequence[str], over: bool) -> str:
    """One or two sentences about one user, by category; `rest`: what is not done."""
    told: list[str] = []
    if back:
        told.append(f"Back: your {_listed(back)}.")
    if partly:
        told.append(f"Not all is back of your {_listed(partly)}.")
    if rest and over:
        told.append(f"We could not restore your {_listed(rest)} yet.")
    elif rest:
        told.append(f"Still to come: your {_listed(rest)}.")
    return " ".join(told)


def advice(books: Books, state: UnitState, *, may_choose: bool) -> Iterator[str]:
    """What the user can do about one category."""
    if books.superseded and may_choose:
        yield "Where yours differs from what we found, you can choose what we do: see above."
    if books.quarantined + books.nameless + books.lost:
        yield (
            "If another device still shows what is missing, copy it before you reset or sync that "
            "device."
        )
    if books.lost or (state is UnitState.SETTLED and books.quarantined + books.nameless):
        yield "If you had more than this, tell our support how many; they can search once more."


class Place(StrEnum):
    """Where something that a user misses is."""

    RESTORED = "restored"
    MERGED = "merged"
    THERE = "there"
    """It was there already, not by our hand."""
    KEPT = "kept"
    """The user's own is newer, and stays."""
    DELETED = "deleted"
    """Its user deleted it, after the loss or after we brought it back; or it was declined."""
    QUARANTINED = "quarantined"
    FOUND = "found"
    """It was found by the search: it is not there, and can be brought back."""
    NEVER_FOUND = "never-found"


_PLACES: Mapping[Place, str] = {
    Place.RESTORED: "we brought back",
    Place.THERE: "were there all the time",
    Place.MERGED: "were combined with what you had",
    Place.KEPT: "stayed as you changed them since",
    Place.DELETED: "were deleted, so we did not bring them back",
    Place.QUARANTINED: "were found damaged; we keep them and try to mend them",
    Place.FOUND: "more were found now",
    Place.NEVER_FOUND: "are in none of our copies. We are sorry",
}
"""In the order in which they are told."""


class ToppedUp(StrEnum):
    """What is done about what a search found."""

    NOT_YET = "not-yet"
    UNDER_WAY = "under-way"
    DONE = "done"


_SEARCHED = "We have searched every copy that we have once more."
_FOLLOWS: Mapping[ToppedUp, str] = {
    ToppedUp.NOT_YET: "; they can be brought back",
    ToppedUp.UNDER_WAY: "; they are being brought back",
    ToppedUp.DONE: "",
}


def claim_answer(
    category: str,
    *,
    had: int,
    sees: int,
    places: Mapping[Place, int],
    reasons: Sequence[str] = (),
    top_up: ToppedUp = ToppedUp.NOT_YET,
    brought_back: int = 0,
) -> str:
    """What to tell a user who missed something, after the search. Lines."""
    name = items_of(category)
    told = [f"You told us that you had {had:,} {name} and see {sees:,}. {_SEARCHED}"]
    for place, words in _PLACES.items():
        count = places.get(place, 0)
        if not count:
            continue
        sentence = f"{words}{_FOLLOWS[top_up]}" if place is Place.FOUND else words
        told.append(f"- {count:,} {_singular(sentence) if count == 1 else sentence}.")
        if place is Place.QUARANTINED:
            told.extend(f"  {reason}" for reason in reasons)
    if top_up is ToppedUp.DONE:
        verb = "is" if brought_back == 1 else "are"
        told.append(f"- Of those found now, {brought_back:,} {verb} back.")
    if len(told) == 1:
        told.append(f"We know of no {name} of yours.")
    return "\n".join(told)


def _singular(words: str) -> str:
    """The same of one."""
    for many, one in (
        ("were ", "was "),
        ("are ", "is "),
        ("them", "it"),
        ("they ", "it "),
    ):
        words = words.replace(many, one)
    return words


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
