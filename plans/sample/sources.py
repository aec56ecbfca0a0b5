"""The recovered material: a database, a bag and the caches of devices, written to disk.

Copies are put in one by one; many of a kind share a file, as exports do. What happened to a record
before it was stored lies in its bytes; what happened to a file of the bag afterwards differs from
the bag's manifest.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from plans.sample import calendars, cards, notebooks
from plans.sample.belongings import LOSS, Belonging, Contact, Event, Note, Photo, Score, Task
from plans.sample.damages import RAW, damaged
from plans.sample.fates import BACKUP, CORE, STORED
from plans.sample.people import Person
from plans.sample.pictures import draw
from plans.sample.truth import hash_of_files, hash_of_tree

TABLES: Final = {
    "contacts": ("contacts", ("user_id", "card_id", "vcard", "changed")),
    "calendar": ("events", ("user_id", "event_id", "icalendar", "changed")),
    "notes": ("notes", ("user_id", "note_id", "title", "body", "created", "changed")),
    "tasks": ("tasks", ("user_id", "task_id", "title", "notes", "status", "due", "changed")),
    "photos": (
        "photos",
        ("user_id", "file_name", "image", "image_sha256", "description", "changed"),
    ),
    "high_scores": (
        "high_scores",
        ("user_id", "score_id", "board", "value", "achieved", "replay"),
    ),
}
"""The core database, as the plan maps it."""

_WRITTEN: Final = int(LOSS.timestamp()) - 3_600
"""When every recovered file was last written: shortly before the loss."""


class Given(Struct, frozen=True, kw_only=True):
    """One copy to be put into a source."""

    category: str
    source: str
    owner: Person
    folder: Person
    """Whose folder it lies in: the owner's, unless something went wrong."""
    number: int
    thing: Belonging
    damage: str = ""
    old_form: bool = False
    """In the older one of two formats, where there are two."""


class Material:
    """Everything that will be found after the loss."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed}/damage")
        self._rows: dict[str, list[tuple[Any, ...]]] = {category: [] for category in TABLES}
        self._records: dict[str, dict[str, list[Any]]] = {"backup": {}, "devices": {}}
        self._joined: dict[str, Callable[[list[Any]], bytes]] = {}
        self._stored: dict[str, str] = {}
        self._pictures: dict[str, bytes] = {}

    def put(self, given: Given) -> str:
        """Put one copy in; its place."""
        if given.source == CORE:
            row = self._row(given)
            self._rows[given.category].append(row)
            return f"{TABLES[given.category][0]}/{row[1]}"
        place = _FILERS[given.category](self, given)
        if given.damage in STORED:
            self._stored[place] = given.damage
        return place

    def picture(self, photo: Photo) -> bytes:
        """The bytes of a photo, drawn once."""
        if photo.canary not in self._pictures:
            self._pictures[photo.canary] = draw(photo.form, photo.seed, photo.canary)
        return self._pictures[photo.canary]

    def write(self, folder: Path) -> dict[str, str]:
        """Write it all down; by source, a hash over its bytes."""
        folder.mkdir(parents=True)
        _database(folder / "core.db", self._rows)
        return {
            "core": hash_of_tree(folder / "core.db"),
            "backup": _put_all(folder / "backup", dict(self._bag())),
            "devices": _put_all(folder / "devices", dict(self._files("devices"))),
        }

    # Files -------------------------------------------------------------------------------------

    def file(self, given: Given, name: str, data: bytes) -> str:
        """A file of its own for one copy."""
        return self.add(given, name, self.hurt(given, data), b"".join)

    def add(self, given: Given, name: str, record: Any, join: Callable[[list[Any]], bytes]) -> str:
        """One record of a file that `join` makes of all its records; the file's place."""
        part = (
            quote(given.folder.user, safe="_@+-").replace(".", "%2E")
            if given.source == BACKUP
            else given.folder.user
        )
        place = f"{part}/{given.category}/{name}"
        self._records[given.source].setdefault(place, []).append(record)
        self._joined[place] = join
        return place

    def hurt(self, given: Given, data: bytes) -> bytes:
        """The bytes after what befell them before they were stored."""
        return damaged(data, given.damage, self._rng) if given.damage in RAW else data

    def _files(self, source: str) -> Iterable[tuple[str, bytes]]:
        for place, records in sorted(self._records[source].items()):
            yield place, self._joined[place](records)

    def _bag(self) -> Iterable[tuple[str, bytes]]:
        manifest: list[str] = []
        size = 0
        for place, data in self._files(BACKUP):
            name = f"data/{place}".replace("%", "%25")
            manifest.append(f"{sha256(data).hexdigest()}  {name}\n")
            size += len(data)
            damage = self._stored.get(place, "")
            if damage != "missing":
                yield f"data/{place}", damaged(data, damage, self._rng) if damage else data
        tags = {
            "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
            "bag-info.txt": "Source-Organization: Danger\nBagging-Date: 2009-09-30\n"
            f"Payload-Oxum: {size}.{len(manifest)}\n",
            "manifest-sha256.txt": "".join(manifest),
        }
        listed = [f"{sha256(text.encode()).hexdigest()}  {name}\n" for name, text in tags.items()]
        for name, text in {**tags, "tagmanifest-sha256.txt": "".join(listed)}.items():
            yield name, text.encode()

    # Rows --------------------------------------------------------------------------------------

    def _row(self, given: Given) -> tuple[Any, ...]:
        changed = notebooks.instant(given.thing.revised)
        user = given.folder.user
        match given.thing:
            case Contact() as contact:
                return (user, given.number, self.hurt(given, cards.card(contact, "3.0")), changed)
            case Event() as event:
                flaw = given.damage if given.damage not in RAW else ""
                whole = _calendar([(event.zone, calendars.event(event, flaw))])
                return (user, given.number, self.hurt(given, whole), changed)
            case Note() as note:
                title = self.hurt(given, note.title.encode())
                return (user, note.uid, title, note.body, changed, changed)
            case Task() as task:
                title = self.hurt(given, task.title.encode())
                status = "completed" if task.done else "needsAction"
                due = str(task.due) if task.due else None
                return (user, task.uid, title, task.note, status, due, changed)
            case Photo() as photo:
                picture = self.picture(photo)
                name = f"IMG_{given.number:04}.{photo.form}"
                left = damaged(picture, given.damage, self._rng) if given.damage else picture
                described = notebooks.sidecar(photo, name)
                return (user, name, left, sha256(picture).hexdigest(), described, changed)
            case Score() as score:
                fields = notebooks.score_fields(score, user, given.damage)
                value = fields["value"]
                return (user, given.number, score.board, value, changed, score.canary)
            case _:
                raise ValueError(given.category)


# Where which copy goes ---------------------------------------------------------------------------


def _contact(material: Material, given: Given) -> str:
    contact = given.thing
    assert isinstance(contact, Contact)  # noqa: S101  by its category
    flaw = given.damage if given.damage in cards.FLAWS else ""
    uid = f"device-{contact.uid[:13]}" if given.damage == "other-id" else None
    sound = flaw in {"", "no-uid"} and given.damage != "garbled"
    form: cards.Version = "2.1" if given.old_form and sound else "3.0"
    card = material.hurt(given, cards.card(contact, form, flaw, uid=uid))
    if given.source == BACKUP and (given.damage in STORED or not given.old_form):
        return material.add(given, f"{contact.uid}.vcf", card, b"".join)
    return material.add(given, "phonebook.vcf", _closed(card), b"".join)


def _event(material: Material, given: Given) -> str:
    event = given.thing
    assert isinstance(event, Event)  # noqa: S101  by its category
    flaw = given.damage if given.damage not in RAW else ""
    record = _closed(material.hurt(given, calendars.event(event, flaw)))
    zone = event.zone if flaw != "windows-zone" else ""
    name = "calendar.ics" if given.source == BACKUP or given.old_form else f"{event.uid}.ics"
    return material.add(given, name, (zone, record), _calendar)


def _note(material: Material, given: Given) -> str:
    note = given.thing
    assert isinstance(note, Note)  # noqa: S101  by its category
    if given.source != BACKUP and not note.is_list:
        return material.file(given, f"{note.uid}.json", notebooks.note_row(note, given.owner.user))
    if given.source == BACKUP and given.old_form and not note.is_list and not given.damage:
        return material.file(given, f"{note.uid}.md", notebooks.markdown(note))
    return material.file(given, f"{note.uid}.json", notebooks.keep(note, given.damage))


def _task(material: Material, given: Given) -> str:
    task = given.thing
    assert isinstance(task, Task)  # noqa: S101  by its category
    if given.source == BACKUP:
        entry = notebooks.google_task(task, given.damage)
        return material.add(given, "Tasks.json", entry, notebooks.google_tasks)
    flaw = given.damage if given.damage in calendars.TASK_FLAWS else ""
    record = calendars.task(task, flaw)
    if given.old_form and given.damage != "emptied":
        record = _closed(material.hurt(given, record))
        return material.add(given, "tasks.ics", ("", record), _calendar)
    return material.file(given, f"{task.uid}.ics", calendars.calendar([record]))


def _photo(material: Material, given: Given) -> str:
    photo = given.thing
    assert isinstance(photo, Photo)  # noqa: S101  by its category
    form = photo.form
    if given.damage == "wrong-suffix":
        form = "png" if form == "jpg" else "jpg"
    album = "Album/" if given.damage == "in-an-album" else ""
    name = f"{album}IMG_{given.number:04}.{form}"
    described = notebooks.sidecar(photo, name.removeprefix(album))
    sidecar = f"{name}.supplemental-metadata.json"
    if given.damage == "picture-gone":
        return material.add(given, sidecar, described, b"".join)
    if given.source == BACKUP:
        material.add(given, sidecar, described, b"".join)
    picture = material.picture(photo)
    if given.damage == "junk-after-end":
        picture += b"\r\n--boundary--\r\n" * 3
    return material.file(given, name, picture)


def _score(material: Material, given: Given) -> str:
    score = given.thing
    assert isinstance(score, Score)  # noqa: S101  by its category
    fields = notebooks.score_fields(score, given.owner.user, given.damage)
    if given.source == BACKUP:
        return material.add(given, "scores.csv", fields, notebooks.score_table)
    return material.add(given, "scores.json", fields, notebooks.score_list)


_FILERS: Final[dict[str, Callable[[Material, Given], str]]] = {
    "contacts": _contact,
    "calendar": _event,
    "notes": _note,
    "tasks": _task,
    "photos": _photo,
    "high_scores": _score,
}


def _closed(record: bytes) -> bytes:
    """A record that others may follow: what begins after it begins in a line of its own."""
    return record if record.endswith(b"\n") else record + b"\r\n"


def _calendar(records: list[tuple[str, bytes]]) -> bytes:
    zones = sorted({zone for zone, _ in records if zone})
    return calendars.calendar((record for _, record in records), zones)


# On disk -----------------------------------------------------------------------------------------


def _put_all(root: Path, contents: dict[str, bytes]) -> str:
    """Write files below `root`; a hash over them."""
    for folder in sorted({name.rpartition("/")[0] for name in contents}):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        path = f"{root}/{name}"
        with open(path, "wb", buffering=0) as out:  # noqa: PTH123  thousands of times
            out.write(data)
        os.utime(path, (_WRITTEN, _WRITTEN))
    return hash_of_files(contents.items())


def _database(path: Path, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for category, (table, columns) in TABLES.items():
            names = ", ".join(columns)
            connection.execute(f"CREATE TABLE {table} ({names})")
            # A damaged text is a text for the database all the same.
            marks = ", ".join("CAST(? AS TEXT)" if name == "title" else "?" for name in columns)
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[category])  # noqa: S608  names of this module
            connection.execute(f"CREATE INDEX {table}_by_user ON {table} (user_id)")
    connection.close()
    os.utime(path, (_WRITTEN, _WRITTEN))
