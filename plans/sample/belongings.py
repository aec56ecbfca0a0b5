"""What users of the sample had: contacts, events, notes, tasks, photos, scores, as plain values.

`facts` is what can be told from a content whatever its format: what the recount compares.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct, structs

from plans.sample import people
from plans.sample.people import Person, pick

LOSS: Final = datetime(2009, 10, 1, 7, tzinfo=UTC)
"""as_of of the plan."""

BOARDS: Final = {
    "rock-and-rocket": (0, 99_999, False),
    "snake": (0, 9_999, False),
    "trivia": (0, 500, False),
    "solitaire": (30, 7_200, True),
    "minesweeper": (5, 3_600, True),
}
"""By board, the least and greatest value, and whether the least is best; as the plan has it."""

DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


class Marked(Struct, frozen=True, kw_only=True):
    """What every version of every item has."""

    uid: str
    canary: str
    revised: datetime


class Contact(Marked, frozen=True, kw_only=True):
    """A person in somebody's address book."""

    given: str
    family: str
    company: str = ""
    mobile: str
    home: str = ""
    email: str = ""
    remark: str = ""

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.given} {self.family}"

    @property
    def note(self) -> str:
        """The remark with the canary."""
        return f"{self.remark} {self.canary}".strip()

    def facts(self) -> dict[str, str]:
        """Name, numbers, addresses, remark."""
        numbers = sorted(filter(None, (self.mobile, self.home)))
        return {
            "name": self.name,
            "numbers": " ".join(numbers),
            "email": self.email,
            "company": self.company,
            "note": self.note,
        }


class Event(Marked, frozen=True, kw_only=True):
    """Something in somebody's calendar; `moved`: one instance was put an hour later."""

    summary: str
    start: datetime
    """As the clock on the wall shows it, without a zone."""
    zone: str
    """Empty: the whole day."""
    rule: str = ""
    moved: datetime | None = None
    location: str = ""
    remark: str = ""

    @property
    def note(self) -> str:
        """The remark with the canary."""
        return f"{self.remark} {self.canary}".strip()

    def facts(self) -> dict[str, str]:
        """Summary, start, rule, place, remark and how many instances differ."""
        return {
            "summary": self.summary,
            "start": self.start.strftime("%Y%m%dT%H%M%S" if self.zone else "%Y%m%d"),
            "rule": self.rule,
            "location": self.location,
            "note": self.note,
            "moved": "1" if self.moved else "0",
        }


class Note(Marked, frozen=True, kw_only=True):
    """A note; `entries`: it is a list to tick off."""

    title: str
    lines: tuple[str, ...]
    is_list: bool = False

    @property
    def body(self) -> str:
        """Its text, the canary in the last line."""
        return "\n".join((*self.lines, self.canary))

    def facts(self) -> dict[str, str]:
        """Title and text."""
        return {"title": self.title, "body": self.body}


class Task(Marked, frozen=True, kw_only=True):
    """Something to be done."""

    title: str
    due: date | None
    done: bool
    remark: str = ""

    @property
    def note(self) -> str:
        """The remark with the canary."""
        return f"{self.remark} {self.canary}".strip()

    def facts(self) -> dict[str, str]:
        """Title, day, state, remark."""
        return {
            "summary": self.title,
            "due": self.due.strftime("%Y%m%d") if self.due else "",
            "done": "1" if self.done else "0",
            "note": self.note,
        }


class Photo(Marked, frozen=True, kw_only=True):
    """A picture and what its user wrote under it."""

    form: Literal["jpg", "png"]
    seed: int
    caption: str

    def facts(self) -> dict[str, str]:
        """The caption; the picture's hash is added by whoever draws it."""
        return {"caption": self.caption}


class Score(Marked, frozen=True, kw_only=True):
    """The best that a user reached on a board."""

    board: str
    value: int

    def facts(self) -> dict[str, str]:
        """Board and value."""
        return {"board": self.board, "value": str(self.value)}


Belonging = Contact | Event | Note | Task | Photo | Score
"""One version of one item."""

CATEGORIES: Final = ("contacts", "calendar", "notes", "tasks", "photos", "high_scores")
"""In the order of the plan's phases."""


def made(category: str, owner: Person, canary: str, rng: Random, *, accented: bool) -> Belonging:
    """The first version of an item. `accented`: its text has characters beyond ASCII."""
    uid = str(UUID(int=rng.getrandbits(128), version=4))
    revised = LOSS - timedelta(seconds=rng.randrange(90 * 86_400, 1_400 * 86_400))
    match category:
        case "contacts":
            return _contact(uid, canary, revised, rng, accented=accented)
        case "calendar":
            return _event(uid, canary, revised, rng, owner.zone, accented=accented)
        case "notes":
            lines = tuple(pick(rng, people.LINES) for _ in range(rng.randrange(1, 5)))
            title = pick(rng, people.TITLES) + (" für Zoë, später" if accented else "")
            is_list = rng.random() < 0.25
            return Note(
                uid=uid, canary=canary, revised=revised, title=title, lines=lines, is_list=is_list
            )
        case "tasks":
            due = (LOSS + timedelta(days=rng.randrange(-60, 90))).date()
            return Task(
                uid=uid,
                canary=canary,
                revised=revised,
                title=pick(rng, people.CHORES) + (" bei Frau Größmann" if accented else ""),
                due=due if rng.random() < 0.7 else None,
                done=rng.random() < 0.3,
                remark=pick(rng, people.LINES),
            )
        case "photos":
            caption = f"{pick(rng, people.CITIES)}, {revised:%B %Y}"
            return Photo(
                uid=uid,
                canary=canary,
                revised=revised,
                form="png" if rng.random() < 0.2 else "jpg",
                seed=rng.getrandbits(32),
                caption=caption,
            )
        case _:
            raise ValueError(category)


def score(board: str, owner: Person, canary: str, rng: Random) -> Score:
    """A first result on a board: one that can be bettered."""
    least, most, _ = BOARDS[board]
    revised = LOSS - timedelta(seconds=rng.randrange(90 * 86_400, 900 * 86_400))
    value = least + (most - least) * rng.randrange(30, 70) // 100
    uid = f"{board}/{owner.token}"
    return Score(uid=uid, canary=canary, revised=revised, board=board, value=value)


def changed(old: Belonging, canary: str, rng: Random, *, at: datetime | None = None) -> Belonging:
    """A later version of the same item; `at`: when it was changed, else a while before the loss."""
    revised = at or LOSS - timedelta(seconds=rng.randrange(86_400, 80 * 86_400))
    new = structs.replace(old, canary=canary, revised=revised)
    match new:
        case Contact():
            return structs.replace(new, mobile=_number(rng), remark=pick(rng, people.REMARKS))
        case Event():
            start = new.start + timedelta(minutes=30 if new.zone else 0)
            return structs.replace(new, start=start, moved=None, location=pick(rng, people.CITIES))
        case Note():
            return structs.replace(new, lines=(*new.lines, pick(rng, people.LINES)))
        case Task():
            return structs.replace(new, done=not new.done, remark=pick(rng, people.LINES))
        case Score(board=board, value=value):
            least, most, lowest_is_best = BOARDS[board]
            step = (most - least) * rng.randrange(5, 25) // 100
            return structs.replace(new, value=value - step if lowest_is_best else value + step)
        case _:
            raise ValueError(type(old).__name__)


def worsened(best: Score, canary: str, *, at: datetime) -> Score:
    """Another result on the same board, later and not as good."""
    least, most, lowest_is_best = BOARDS[best.board]
    value = most if lowest_is_best else least
    return structs.replace(best, canary=canary, revised=at, value=value)


def _contact(uid: str, canary: str, revised: datetime, rng: Random, *, accented: bool) -> Contact:
    given, family = pick(rng, people.GIVEN), pick(rng, people.FAMILY)
    if accented:
        given, family = pick(rng, people.ACCENTED)
    host = pick(rng, ("mail.example", "post.example", "sidekick.example"))
    return Contact(
        uid=uid,
        canary=canary,
        revised=revised,
        given=given,
        family=family,
        company=pick(rng, people.COMPANIES) if rng.random() < 0.4 else "",
        mobile=_number(rng),
        home=_number(rng) if rng.random() < 0.4 else "",
        email=f"{uid[:8]}@{host}" if rng.random() < 0.6 else "",
        remark=pick(rng, people.REMARKS),
    )


def _event(
    uid: str, canary: str, revised: datetime, rng: Random, zone: str, *, accented: bool
) -> Event:
    day = LOSS.replace(tzinfo=None, hour=0) + timedelta(days=rng.randrange(-200, 120))
    all_day = rng.random() < 0.2
    start = day + timedelta(hours=rng.randrange(7, 20), minutes=rng.choice((0, 15, 30)))
    rule = "" if rng.random() < 0.45 else _rule(rng, start, all_day=all_day)
    weekly = rule.startswith("FREQ=WEEKLY") and not all_day
    moved = start + timedelta(days=14) if weekly and rng.random() < 0.4 else None
    return Event(
        uid=uid,
        canary=canary,
        revised=revised,
        summary=pick(rng, people.MEETINGS) + (" mit Zoë Müller" if accented else ""),
        start=day if all_day else start,
        zone="" if all_day else zone,
        rule=rule,
        moved=moved,
        location=pick(rng, people.CITIES) if rng.random() < 0.5 else "",
        remark=pick(rng, people.REMARKS),
    )


def _rule(rng: Random, start: datetime, *, all_day: bool) -> str:
    weekday = DAYS[start.weekday()]
    until = f"{start + timedelta(days=180):%Y%m%d}"
    rules: Sequence[str] = (
        f"FREQ=WEEKLY;BYDAY={weekday}",
        f"FREQ=WEEKLY;INTERVAL=2;BYDAY={weekday}",
        f"FREQ=WEEKLY;COUNT=12;BYDAY={weekday}",
        f"FREQ=DAILY;UNTIL={until}" if all_day else f"FREQ=DAILY;UNTIL={until}T235959Z",
        "FREQ=MONTHLY;BYDAY=-1FR",
        f"FREQ=MONTHLY;BYMONTHDAY={min(start.day, 28)}",
        "FREQ=YEARLY",
    )
    return pick(rng, rules)


def _number(rng: Random) -> str:
    return f"+1503555{rng.randrange(10_000):04}"
