"""What befell each item: which sources have a copy of it, of which version, and how damaged.

A table of stories with their weights; one story an item. What must come back follows from the
copies alone: the newest version of which a whole copy is left.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Final

from msgspec import Struct

from plans.sample import calendars, cards

CORE: Final = "core"
BACKUP: Final = "backup"
DEVICES: Final = "devices"


class Told(Struct, frozen=True):
    """One copy of a story. `damage` may be a group: `fatal`, `flaw`, `stored`."""

    source: str
    version: int = 1
    damage: str = ""


class Story(Struct, frozen=True):
    """How an item fared."""

    name: str
    weight: int
    copies: tuple[Told, ...]
    only: tuple[str, ...] = ()
    """Categories that it can befall; empty: all."""


STORIES: Final = (
    Story("everywhere", 14, (Told(CORE), Told(BACKUP), Told(DEVICES))),
    Story("in the backup", 22, (Told(BACKUP),)),
    Story("in the core", 10, (Told(CORE),)),
    Story("on the phone", 8, (Told(DEVICES),)),
    Story("core and phone", 6, (Told(CORE), Told(DEVICES))),
    Story(
        "edited on the phone",
        9,
        (Told(BACKUP), Told(DEVICES, 2)),
        ("contacts", "calendar", "notes", "tasks", "high_scores"),
    ),
    Story(
        "edited, and the edit is damaged",
        3,
        (Told(BACKUP), Told(DEVICES, 2, "fatal")),
        ("contacts", "calendar", "notes", "tasks", "high_scores"),
    ),
    Story(
        "damaged in the backup, whole on the phone", 5, (Told(BACKUP, 1, "stored"), Told(DEVICES))
    ),
    Story("damaged in the core, whole in the backup", 4, (Told(CORE, 1, "fatal"), Told(BACKUP))),
    Story("damaged in the backup, nowhere else", 3, (Told(BACKUP, 1, "stored"),)),
    Story("damaged on the phone, nowhere else", 3, (Told(DEVICES, 1, "fatal"),)),
    Story("damaged everywhere", 2, (Told(CORE, 1, "fatal"), Told(BACKUP, 1, "fatal"))),
    Story("flawed in the backup", 5, (Told(BACKUP, 1, "flaw"),)),
    Story("flawed on the phone", 4, (Told(DEVICES, 1, "flaw"),)),
    Story("contradictory", 2, (Told(BACKUP, 1, "contradictory-rule"),), ("calendar",)),
    Story(
        "under two ids",
        4,
        (Told(BACKUP), Told(DEVICES, 1, "other-id")),
        ("contacts",),
    ),
    Story(
        "without an id on the phone",
        2,
        (Told(BACKUP), Told(DEVICES, 1, "no-uid")),
        ("contacts", "calendar"),
    ),
    Story(
        "without an id in the backup",
        1,
        (Told(BACKUP, 1, "no-uid"), Told(DEVICES)),
        ("contacts", "notes"),
    ),
    Story(
        "without an id anywhere",
        1,
        (Told(BACKUP, 1, "no-uid"), Told(DEVICES, 1, "no-uid")),
        ("contacts", "calendar"),
    ),
    Story("twice in albums", 3, (Told(BACKUP), Told(BACKUP, 1, "in-an-album")), ("photos",)),
    Story(
        "with a stranger",
        2,
        (Told(BACKUP), Told(DEVICES, 1, "wrong-owner")),
        ("notes", "high_scores"),
    ),
    Story("only with a stranger", 1, (Told(DEVICES, 1, "wrong-owner"),), ("notes",)),
    Story("only described", 2, (Told(DEVICES, 1, "picture-gone"),), ("photos",)),
    Story("nowhere", 4, ()),
)

STORED: Final = ("bit-flip", "missing")
"""Damage of a file that a manifest tells of."""

FATAL: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("contacts", CORE): ("cut", "zeroed", "garbled"),
    ("contacts", BACKUP): ("cut", "garbled"),
    ("contacts", DEVICES): ("cut", "zeroed", "garbled"),
    ("calendar", CORE): ("cut", "garbled", "contradictory-rule"),
    ("calendar", BACKUP): ("cut", "zeroed", "garbled", "contradictory-rule"),
    ("calendar", DEVICES): ("cut", "zeroed", "contradictory-rule"),
    ("notes", CORE): ("garbled",),
    ("notes", BACKUP): ("cut", "zeroed", "garbled", "emptied"),
    ("notes", DEVICES): ("cut", "zeroed", "emptied"),
    ("tasks", CORE): ("garbled",),
    ("tasks", BACKUP): ("garbled",),
    ("tasks", DEVICES): ("cut", "zeroed", "garbled", "emptied"),
    ("photos", CORE): ("cut", "zeroed", "bit-flip"),
    ("photos", BACKUP): ("cut", "zeroed"),
    ("photos", DEVICES): ("cut", "zeroed", "emptied"),
    ("high_scores", CORE): ("out-of-range",),
    ("high_scores", BACKUP): ("out-of-range", "garbled"),
    ("high_scores", DEVICES): ("out-of-range", "garbled"),
}
"""What befalls a copy for good, by category and source. The core's pictures bear hashes."""

FLAWS: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("contacts", BACKUP): cards.FLAWS,
    ("contacts", DEVICES): cards.FLAWS,
    ("calendar", BACKUP): calendars.EVENT_FLAWS,
    ("calendar", DEVICES): calendars.EVENT_FLAWS,
    ("notes", BACKUP): ("undated", "no-uid"),
    ("tasks", DEVICES): calendars.TASK_FLAWS,
    ("photos", BACKUP): ("wrong-suffix", "junk-after-end"),
    ("photos", DEVICES): ("wrong-suffix", "junk-after-end"),
}
"""What can be repaired."""

NEEDS_ACCENTS: Final = frozenset({"mojibake", "garbled"})
MENDS: Final = frozenset(
    {"other-id", "in-an-album", *(flaw for flaws in FLAWS.values() for flaw in flaws)}
)


def story_for(category: str, rng: Random) -> Story:
    """One of the stories that can befall an item of that category."""
    possible = _possible(category)
    return possible[rng.randrange(len(possible))]


def damage_of(told: Told, category: str, rng: Random) -> str:
    """The damage that a story means, one of its group."""
    choices = _choices(told, category)
    return choices[rng.randrange(len(choices))] if choices else told.damage


@cache
def _possible(category: str) -> list[Story]:
    """The stories that can befall a category, each as often as its weight."""
    groups = {"fatal", "flaw", "stored"}
    return [
        story
        for story in STORIES
        if (not story.only or category in story.only)
        and all(told.damage not in groups or _choices(told, category) for told in story.copies)
        for _ in range(story.weight)
    ]


def _choices(told: Told, category: str) -> Sequence[str]:
    match told.damage:
        case "fatal":
            return FATAL.get((category, told.source), ())
        case "flaw":
            return FLAWS.get((category, told.source), ())
        case "stored":
            return STORED if category in {"contacts", "notes", "photos"} else ()
        case _:
            return ()
