"""What matters most to people comes first, in bounded memory and the same on every attempt."""

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.items import Copy, Digest, File, Folder, Ident, Item, Media, UserId
from orchestrator.ports import Rules
from workers import reading
from workers.categories import contacts, notes
from workers.reading import Reading, Recovered
from workers.usefulness import Foremost, Kept

OWNER = UserId("ann")
RULES = Rules(repairs=frozenset(), loss=datetime(2009, 10, 1, tzinfo=UTC))


def file(name, data):
    return File(name=name, size=len(data), read=lambda: data)


def keep(number, *, day, pinned=False):
    return {
        "id": f"n{number}",
        "title": f"note {number}",
        "textContent": "text " * 20,
        "isPinned": pinned,
        "userEditedTimestampUsec": int(datetime(2009, 3, day, tzinfo=UTC).timestamp()) * 10**6,
    }


def titles(found):
    return [
        json.loads(winner.copy.item.content)["title"] for portion in found for winner in portion
    ]


def portions(files, *, items, sources=1):
    folders = [
        Recovered(trust=trust, source=f"s{trust}", folder=Folder(owner=OWNER, files=files))
        for trust in range(sources)
    ]
    unit = Reading(folders, notes.KIND(), RULES, lambda: None)
    unit.read()
    return list(unit.portions(items=items, size=10**6))


def notes_of(count):
    """Each of another day, in a random order; every seventh is pinned."""
    days = random.Random(count).sample(range(1, count + 1), count)
    return [
        (
            day,
            day % 7 == 0,
            file(
                f"{n:03}.json",
                json.dumps(keep(day, day=day % 28 + 1, pinned=day % 7 == 0)).encode(),
            ),
        )
        for n, day in enumerate(days)
    ]


def by_usefulness(made):
    order = sorted(made, key=lambda one: (one[1], one[0] % 28), reverse=True)
    return [f"note {day}" for day, _, _ in order]


def test_favourites_come_first_then_what_is_newest():
    made = notes_of(25)
    found = portions([one for _, _, one in made], items=10)
    assert [len(portion) for portion in found] == [10, 10, 5]
    assert titles(found) == by_usefulness(made)


@pytest.mark.parametrize("sources", [1, 2])
def test_where_not_all_is_kept_the_foremost_still_come_first(monkeypatch, sources):
    made = notes_of(25)
    monkeypatch.setattr(reading, "CONTENT_BUDGET", 16 * (reading.OBJECTS + 300))
    found = portions([one for _, _, one in made], items=5, sources=sources)
    told = titles(found)
    assert told[:5] == by_usefulness(made)[:5]
    assert sorted(told) == sorted(by_usefulness(made))
    again = portions([one for _, _, one in made], items=5, sources=sources)
    assert titles(again) == told


def kept(number, useful):
    item = Item(
        ident=Ident(f"i{number}"),
        digest=Digest(bytes(32)),
        media=Media("x", "x/x"),
        content=b"",
        revised=datetime.fromtimestamp(useful, UTC),
    )
    return Kept(Copy(item=item, spans=()), 0, number)


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(0, 10))
def test_no_more_is_kept_than_there_is_room_for_and_nothing_more_useful_is_let_go(useful, room):
    foremost = Foremost(room)
    for number, one in enumerate(useful):
        foremost.offer(kept(number, one), weight=1)
    taken = [useful[one.ordinal] for one in foremost.taken()]
    assert taken == sorted(useful, reverse=True)[:room]


@pytest.mark.parametrize(
    ("line", "favourite"),
    [
        ("CATEGORIES:myContacts,starred", True),
        ("CATEGORIES:Starred in Android", True),
        ("CATEGORIES:friends", False),
        ("NOTE:CATEGORIES:starred are those above", False),
    ],
)
def test_a_starred_contact_is_a_favourite(line, favourite):
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:A\r\nN:A;;;;\r\n{line}\r\nEND:VCARD\r\n"
    folder = Folder(owner=OWNER, files=[file("a.vcf", card.encode())])
    (copy,) = contacts.KIND().read(folder, RULES)
    assert copy.favourite is favourite
