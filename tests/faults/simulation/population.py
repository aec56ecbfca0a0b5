"""Made-up users: what was recovered of them, what their live service holds, and what must come out.

The truth is kept in words of its own (tokens in the contents), never in those of the ledger.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.items import File, Folder, Ident, Item, UserId
from orchestrator.ports import Rules
from workers.categories import contacts, notes

AS_OF = datetime(2009, 10, 1, tzinfo=UTC)
RULES = Rules(repairs=frozenset(), loss=AS_OF)
CATEGORIES = ("contacts", "notes")
READERS = {"contacts": contacts.KIND(), "notes": notes.KIND()}
SITUATIONS = {"none": 10, "equal": 2, "older": 3, "own": 2, "deleted": 1, "deleted-before": 1}
"""What the target holds of an item before the run, with weights."""


@dataclass(kw_only=True)
class Truth:
    """One item: what of it was recovered, and what the target held before."""

    owner: UserId
    category: str
    ident: Ident
    token: str
    """In the content that must come out, and nowhere else."""
    copies: int
    situation: str


@dataclass(kw_only=True)
class Population:
    """Everything that is true at the start."""

    core: dict[UserId, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    devices: dict[UserId, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    truths: list[Truth] = field(default_factory=list)
    damaged: dict[tuple[UserId, str], int] = field(default_factory=dict)
    """Copies that name no item, by owner and category."""
    live: list[tuple[str, UserId, Ident, bytes, datetime, bool]] = field(default_factory=list)
    """Category, owner, ident, content, when, whether it was deleted then."""

    @property
    def users(self) -> list[UserId]:
        """Everyone of whom anything was recovered, in the order of the run's numbers."""
        held = (self.core, self.devices)
        return sorted(user for user in self.core if any(any(one[user].values()) for one in held))


def content(category: str, ident: str, token: str, revised: datetime) -> bytes:
    """A contact or note that says `token`."""
    moment = f"{revised:%Y-%m-%dT%H:%M:%SZ}"
    if category == "contacts":
        lines = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{ident}", f"FN:{token}", f"N:;{token};;;")
        return "\r\n".join((*lines, f"REV:{moment}", "END:VCARD", "")).encode()
    fields = {"id": ident, "title": token, "body": f"says {token}", "revised": moment}
    return json.dumps(fields).encode()


def as_item(owner: UserId, category: str, data: bytes) -> Item:
    """What the category makes of one intact file."""
    file = File(name="one", size=len(data), read=lambda: data)
    (found,) = READERS[category].read(Folder(owner=owner, files=[file]), RULES)
    return found.item  # pyright: ignore[reportAttributeAccessIssue]  a copy, or the test is wrong


def populate(rng: random.Random, users: int) -> Population:
    """So many users with a few items each."""
    made = Population()
    for number in range(users):
        owner = UserId(f"u{number}")
        made.core[owner] = {}
        made.devices[owner] = {}
        for category in CATEGORIES:
            made.core[owner][category] = {}
            made.devices[owner][category] = {}
            for index in range(rng.choice((0, 1, 1, 2, 3))):
                _item(made, rng, owner, category, index)
            if rng.random() < 0.15:
                whole = content(category, f"{owner}-{category}-cut", "cut", AS_OF)
                made.core[owner][category]["zz-cut"] = whole[:-20]
                made.damaged[owner, category] = 1
    return made


def _item(made: Population, rng: random.Random, owner: UserId, category: str, index: int) -> None:
    ident = Ident(f"{owner}-{category}-{index}")
    token = f"{owner}x{category}x{index}xrecovered"
    revised = AS_OF - timedelta(days=rng.randrange(10, 50))
    newest = content(category, ident, token, revised)
    older = content(category, ident, f"{token[:-9]}old", revised - timedelta(days=100))
    name, copies = f"{index}.dat", 1
    match rng.choice(("core", "core", "core", "both", "both", "devices", "devices-older")):
        case "core":
            made.core[owner][category][name] = newest
        case "both":
            made.core[owner][category][name] = made.devices[owner][category][name] = newest
            copies = 2
        case "devices":
            made.devices[owner][category][name] = newest
        case _:
            made.core[owner][category][name] = newest
            made.devices[owner][category][name] = older
            copies = 2
    situation = rng.choices(list(SITUATIONS), weights=list(SITUATIONS.values()))[0]
    made.truths.append(
        Truth(
            owner=owner,
            category=category,
            ident=ident,
            token=token,
            copies=copies,
            situation=situation,
        )
    )
    before = revised - timedelta(days=200)
    live = content(category, ident, f"{token[:-9]}live", before)
    after = AS_OF + timedelta(days=3)
    own = content(category, ident, f"{token[:-9]}own", after)
    match situation:
        case "equal":
            item = as_item(owner, category, newest)
            made.live.append((category, owner, ident, item.content, before, False))
        case "older":
            made.live.append((category, owner, ident, live, before, False))
        case "own":
            made.live.append((category, owner, ident, own, after, False))
        case "deleted":
            made.live.append((category, owner, ident, live, after, True))
        case "deleted-before":
            made.live.append((category, owner, ident, live, before, True))
        case _:
            pass
