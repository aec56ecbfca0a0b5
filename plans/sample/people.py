"""Names, places and phrases of a small world, and the people who live in it. All of it made up."""

from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

from msgspec import Struct

from plans.sample.truth import token_of

GIVEN: Final = (
    "Anna", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ilse", "Jonas", "Keisha",
    "Liam", "Mara", "Nadia", "Omar", "Paula", "Quinn", "Rosa", "Samuel", "Tomas", "Uma", "Victor",
    "Wendy", "Ximena", "Yusuf", "Aisha", "Bruno", "Chloe", "Diego", "Esther", "Felix", "Gita",
    "Hannah", "Ivan", "Julia", "Karim", "Leila", "Marcus", "Nina", "Oscar", "Priya", "Rafael",
    "Sofia", "Theo", "Viola", "Walter",
)  # fmt: skip
FAMILY: Final = (
    "Keller", "Novak", "Okafor", "Silva", "Tanaka", "Petrov", "Haddad", "Murphy", "Lindqvist",
    "Moreau", "Castillo", "Weber", "Rossi", "Nguyen", "Andersson", "Brandt", "Cohen", "Dubois",
    "Evans", "Fischer", "Garcia", "Hughes", "Ibrahim", "Jansen", "Kowalski", "Larsen", "Martin",
    "Nakamura", "Olsen", "Park", "Quiroga", "Reyes", "Schmidt", "Torres", "Ueda", "Varga", "Wagner",
    "Xu", "Young",
)  # fmt: skip
ACCENTED: Final = (
    ("Zoë", "Müller"),
    ("José", "Núñez"),
    ("Renée", "Lefèvre"),
    ("Søren", "Jørgensen"),
    ("Jürgen", "Größmann"),
    ("Chloé", "Bérénger"),
    ("Åsa", "Sjöström"),
)
"""Names that tell when a text was read in the wrong charset."""
COMPANIES: Final = (
    "Blue Heron Books",
    "Danger Hiking Club",
    "Northgate Dental",
    "Pixel & Sons",
    "Harbor Freight Lines",
    "Lakeview High School",
    "Corner Bakery",
    "Eastside Climbing",
)
CITIES: Final = ("Portland", "Seattle", "Oakland", "Tacoma", "Boise", "Reno", "Eugene", "Fresno")
ZONES: Final = ("America/Los_Angeles", "America/New_York", "Europe/Berlin")
REMARKS: Final = (
    "met at the lake, likes trains",
    "plays bass, lives upstairs",
    "ask about the bike, the red one",
    "two kids, one dog",
    "allergic to nuts, brings own cake",
    "call after six, never before",
)
MEETINGS: Final = (
    "Band practice",
    "Dentist",
    "Standup",
    "Book club",
    "Swimming lesson",
    "Rent is due",
    "Team lunch",
    "Parents' evening",
    "Choir",
    "Yoga",
)
TITLES: Final = (
    "Groceries",
    "Gift ideas",
    "Road trip",
    "Books to read",
    "Wifi at the cabin",
    "Recipe: lentil soup",
    "Apartment hunt",
    "Setlist",
)
LINES: Final = (
    "oat milk, eggs and bread",
    "ask Carla about the tent",
    "page 212, second paragraph",
    "the blue one was 40 dollars",
    "turn left after the bridge",
    "two cups of lentils, one onion",
    "no pets, 3rd floor, nice view",
    "start slow, then the loud part",
)
CHORES: Final = (
    "Renew passport",
    "Call the plumber",
    "Return library books",
    "Pay the phone bill",
    "Water the plants",
    "Book flights",
    "Fix the bike",
    "Write to grandma",
)


Choice = TypeVar("Choice")


class Person(Struct, frozen=True, kw_only=True):
    """A user of the service."""

    user: str
    name: str
    zone: str
    token: str


def people(count: int, seed: int) -> list[Person]:
    """So many users, no two with ids that could be taken for each other; the same for a seed."""
    rng = Random(f"{seed}/people")
    found: list[Person] = []
    taken: set[str] = set()
    while len(found) < count:
        given, family = pick(rng, GIVEN), pick(rng, FAMILY)
        user = _user_id(rng, given, family)
        if user.lower() not in taken:
            taken.add(user.lower())
            found.append(person(seed, user, f"{given} {family}", pick(rng, ZONES)))
    return found


def person(seed: int, user: str, name: str, zone: str = ZONES[0]) -> Person:
    """One user."""
    return Person(user=user, name=name, zone=zone, token=token_of(seed, user))


def pick(rng: Random, choices: Sequence[Choice]) -> Choice:
    """One of them."""
    return choices[rng.randrange(len(choices))]


def _user_id(rng: Random, given: str, family: str) -> str:
    """As services of that time named their users: handles, addresses, telephone numbers."""
    kind = rng.random()
    if kind < 0.7:
        return f"{given.lower()}.{family.lower()}{rng.randrange(2, 99) if kind < 0.4 else ''}"
    if kind < 0.9:
        return f"{given[0].lower()}{family.lower()}@sidekick.example"
    return f"+1425555{rng.randrange(10_000):04}"
