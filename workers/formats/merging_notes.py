"""Two notes as one: title, labels, entries of a list, and the text where one text holds the other.

Two texts that their user wrote apart from each other are never run together: they are one only
where one stands in the other, or where an older state of both shows who changed which lines. Else
they stay two notes, beside each other. Of formats that cannot be taken apart safely (HTML, ENEX)
the note that says all of the other one is both.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, structs

from orchestrator.errors import ItemRejected
from orchestrator.items import Attachment, Item, Side, UserId
from orchestrator.ports import Combined, Live, Origins, Recognised
from workers.formats import merging, merging_calendars
from workers.formats.journals import looks_like_calendar
from workers.formats.keep import is_keep
from workers.formats.markdown_notes import (
    CREATED,
    IDENTS,
    LABELS,
    REVISED,
    labels_of,
    parts_of,
    read_markdown_note,
)
from workers.formats.merging import (
    TwoThingsError,
    Value,
    latest,
    together,
    told_of_all,
    with_changes_of_both,
    within,
)
from workers.formats.note_formats import ICS, MARKDOWN, interpreted, note_fields
from workers.formats.notes import Note
from workers.formats.plain_text import even_lines
from workers.formats.shaping_notes import shaped_journal

_BODIES: Final = ("textContent", "body", "text", "content")
_JSON_LISTS: Final = ("listContent", "labels", "tags", "attachments")
_JSON_BOOKKEEPING: Final = frozenset(
    {"id", "created", "created_at", "createdTimestampUsec", "userEditedTimestampUsec"}
    | {"revised", "updated", "modified", "revised_at", "updated_at", "modified_at"}
)
_BODY: Final = "text"
LARGEST_JOURNAL: Final = 16 * 1024 * 1024
"""Bytes of files that are put inside of a journal entry."""

Parts = tuple[Any, ...]


class Reader(merging.Reader, Protocol):
    """The category of notes, whose items may have files beside them."""

    def recognise(
        self, owner: UserId, content: bytes, attachments: Sequence[Attachment] = ()
    ) -> Recognised | None:
        """What a live note is."""
        ...


def merged_item(
    category: Reader, owner: UserId, live: Live, item: Item, *, wins: Side, base: Item | None
) -> Combined | None:
    """What the category of notes gives back.

    Where a server made a journal entry of the live one, that is done with the others first.
    """
    if looks_like_calendar(live.content):
        theirs, older = _as_journal(item), None if base is None else _as_journal(base)
        if theirs is None or live.attachments:
            return None
        return merging_calendars.merged_item(
            category, owner, live, theirs, "VJOURNAL", wins=wins, base=older
        )
    seen = category.recognise(owner, live.content, live.attachments)
    both = merged_note(
        (live.content, live.attachments),
        (item.content, item.attachments),
        None if base is None else base.content,
        wins=wins,
    )
    if seen is None or both is None:
        return None
    now = category.recognise(owner, both.content, both.attachments)
    if now is None or now.ident != seen.ident:
        return None
    done = Item(
        ident=seen.ident,
        digest=now.digest,
        media=MARKDOWN if both.content.startswith(b"---") else item.media,
        content=both.content,
        attachments=both.attachments,
        revised=latest(seen.revised, item.revised),
    )
    return Combined(item=done, origins=both.origins)


def _as_journal(item: Item) -> Item | None:
    """A note in the form of a journal entry; None where it has none."""
    try:
        content = shaped_journal(item, LARGEST_JOURNAL)
    except ItemRejected:
        return None
    return structs.replace(item, content=content, media=ICS, attachments=())


class Together(Struct, frozen=True):
    """What both notes are."""

    content: bytes
    attachments: tuple[Attachment, ...]
    origins: Origins


def merged_note(
    live: tuple[bytes, Sequence[Attachment]],
    recovered: tuple[bytes, Sequence[Attachment]],
    base: bytes | None,
    *,
    wins: Side,
) -> Together | None:
    """Both as one note in the live one's format; None where they stay two."""
    (mine, my_files), (theirs, their_files) = live, recovered
    try:
        files, told_of_files = _files_of_both(my_files, their_files)
        one, other = note_fields(mine), note_fields(theirs)
        note, note_too = interpreted(mine), interpreted(theirs)
        if one is not None and other is not None and is_keep(one) == is_keep(other):
            older = None if base is None else note_fields(base)
            newer = _is_newer(note_too, note)
            content, origins = _merged_json(one, other, older, wins=wins, newer=newer)
        elif note.form == note_too.form == "text" and one is None and other is None:
            newer = _is_newer(note_too, note)
            content, origins = _merged_text(mine, theirs, base, wins=wins, newer=newer)
        elif _covers(note, note_too):
            content, origins = mine, Origins()
        elif _covers(note_too, note):
            content, origins = theirs, Origins(taken=(_BODY,))
        else:
            return None
    except (TwoThingsError, ItemRejected):
        return None
    return Together(content, files, told_of_all([origins, told_of_files]))


def _is_newer(one: Note, other: Note) -> bool:
    if one.revised is None or other.revised is None:
        return one.revised is not None
    return one.revised > other.revised


def _covers(one: Note, other: Note) -> bool:
    """Whether a note says everything that another one says."""
    return (
        one.form == other.form
        and other.title in ("", one.title)
        and (even_lines(one.body) == even_lines(other.body) or not other.body.strip())
        and set(other.entries) <= set(one.entries)
        and set(other.labels) <= set(one.labels)
        and set(other.state) <= set(one.state)
        and set(other.enclosed) <= set(one.enclosed)
        and (not other.more or other.more == one.more)
    )


def _files_of_both(
    mine: Sequence[Attachment], theirs: Sequence[Attachment]
) -> tuple[tuple[Attachment, ...], Origins]:
    """Every file of both. One name for two different files: they stay with their notes."""
    files = {part.name: part for part in mine}
    added = False
    for part in theirs:
        known = files.setdefault(part.name, part)
        if known.data != part.data:
            raise TwoThingsError
        added |= known is part
    return tuple(files.values()), Origins(added=("attachments",) if added else ())


class _Form(Struct, frozen=True):
    """How a note holds two values."""

    base: str | None
    """What the text was."""
    front_matter: bool = False

    def joined(self, value: Value[Parts], other: Value[Parts]) -> Value[Parts]:
        """Nothing is said besides."""
        del other
        return value

    def both(self, value: Value[Parts], other: Value[Parts]) -> Value[Parts] | None:
        """The text of both."""
        if value.field != _BODY:
            return None
        name, first, second = value.holds[0], str(value.holds[1]), str(other.holds[1])
        if self.base is not None:
            text = with_changes_of_both(*map(even_lines, (self.base, first, second)))
            if text is None:
                raise TwoThingsError
            return _body(name, text)
        if within(second, first):
            return value
        if within(first, second):
            return other
        raise TwoThingsError

    def aside(self, value: Value[Parts]) -> Iterable[Value[Parts]]:
        """A title or the like under another name; an entry of a list is ticked or not."""
        name, held = value.holds
        if value.of or isinstance(held, bool):
            return []
        if self.front_matter:
            lines = held if isinstance(held, tuple) else (f"{name}: {json.dumps(held)}",)
            return [_front_lines(f"x_{value.field}", (f"x_{lines[0]}", *lines[1:]))]
        return [_single(f"x_{value.field}", f"x_{name}", held)]


def _body(name: str, text: str) -> Value[Parts]:
    key = even_lines(text).strip().encode()
    return Value(field=_BODY, key=key, says=_something(key), single=True, holds=(name, text))


def _single(field: str, name: str, held: Any) -> Value[Parts]:
    said = held or isinstance(held, bool)
    key = msgspec.json.encode(held, order="sorted") if said else b""
    return Value(field=field, key=key, says=_something(key), single=True, holds=(name, held))


def _something(key: bytes) -> frozenset[bytes]:
    """A value that says anything says more than an empty one."""
    return frozenset([key] if key else [])


# JSON ------------------------------------------------------------------------------------------


def _merged_json(
    mine: Mapping[str, Any],
    theirs: Mapping[str, Any],
    base: Mapping[str, Any] | None,
    *,
    wins: Side,
    newer: bool,
) -> tuple[bytes, Origins]:
    read = _json_values(mine), _json_values(theirs), _json_values(base or {})
    text = next((str(value.holds[1]) for value in read[2] if value.field == _BODY), None)
    values, origins = together(
        read[0],
        [value for value in read[1] if value.key],
        read[2],
        wins=wins,
        form=_Form(text if base is not None else None),
    )
    fields = {key: held for key, held in mine.items() if key in _JSON_BOOKKEEPING}
    if newer:
        fields |= {key: theirs[key] for key in fields.keys() & theirs.keys() if key != "id"}
    fields |= {key: [] for key in _JSON_LISTS if isinstance(mine.get(key), list)}
    for value in values:
        name, held = value.holds
        if value.of or not value.single:
            parts = fields.setdefault(name, [])
            if not isinstance(parts, list):
                raise TwoThingsError  # labels as a list, and as one text
            parts.append(held)
        elif name not in fields or fields[name] == held:
            fields[name] = held
        else:
            raise TwoThingsError  # two values under one name
    return msgspec.json.encode(fields), origins


def _json_values(fields: Mapping[str, Any]) -> list[Value[Parts]]:
    found: list[Value[Parts]] = []
    for name, held in fields.items():
        if name in _JSON_BOOKKEEPING:
            continue
        if name in _BODIES and isinstance(held, str):
            found.append(_body(name, held))
        elif name == "listContent" and isinstance(held, list):
            found += [_entry(name, entry) for entry in held]  # pyright: ignore[reportUnknownVariableType]  # JSON is Any
        elif name in _JSON_LISTS and isinstance(held, list):
            found += [_part(name, part) for part in held]  # pyright: ignore[reportUnknownVariableType]  # JSON is Any
        else:
            found.append(_single(name, name, held))
    return found


def _entry(name: str, entry: Any) -> Value[Parts]:
    """One line of a list: which one, by its text; ticked or not, by the side that wins."""
    text = str(entry.get("text", "")) if isinstance(entry, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # JSON is Any
    key = msgspec.json.encode(entry, order="sorted")
    return Value(field=name, key=key, single=True, of=text.encode() + b"\n", holds=(name, entry))


def _part(name: str, part: Any) -> Value[Parts]:
    return Value(field=name, key=msgspec.json.encode(part, order="sorted"), holds=(name, part))


# Text ------------------------------------------------------------------------------------------


def _merged_text(
    mine: bytes, theirs: bytes, base: bytes | None, *, wins: Side, newer: bool
) -> tuple[bytes, Origins]:
    read = _text_values(mine), _text_values(theirs), [] if base is None else _text_values(base)
    values, origins = together(
        read[0],
        [value for value in read[1] if value.key],
        read[2],
        wins=wins,
        form=_Form(None if base is None else parts_of(base).body, front_matter=True),
    )
    if origins == Origins():
        return mine, origins
    body = "".join(str(value.holds[1]) for value in values if value.field == _BODY)
    front = _bookkeeping(mine, theirs if newer else mine)
    labels = [value.holds[1] for value in values if value.field == "labels"]
    if labels:
        front.append(f"tags: {json.dumps(labels, ensure_ascii=False)}")
    for value in values:
        name, held = value.holds
        if value.field in (_BODY, "labels") or not held:
            continue
        front += held if isinstance(held, tuple) else [f"{name}: {json.dumps(held)}"]
    content = "\n".join(["---", *front, "---", body]) if front else body
    if read_markdown_note(content.encode()).body != body:
        raise TwoThingsError  # a text that begins as front matter does
    return content.encode(), origins


def _bookkeeping(mine: bytes, newer: bytes) -> list[str]:
    """The lines that say which note it is, and when it was written."""
    times = {key: lines for key, lines in parts_of(newer).fields if key in REVISED}
    kept: list[str] = []
    for key, lines in parts_of(mine).fields:
        if key in IDENTS or key in CREATED or key in REVISED:
            kept += [line.rstrip("\r\n") for line in times.get(key, lines)]
    return kept


def _text_values(content: bytes) -> list[Value[Parts]]:
    parts = parts_of(content)
    note = read_markdown_note(content)
    found: list[Value[Parts]] = []
    for key, lines in parts.fields:
        if key in IDENTS or key in CREATED or key in REVISED:
            continue
        if key in LABELS:
            found += map(_label, labels_of(lines))
        elif key == "title":
            found.append(_single("title", "title", note.title))
        else:
            found.append(_front_lines(key, tuple(line.rstrip() for line in lines)))
    found.append(_body("", parts.body))
    return found


def _label(label: str) -> Value[Parts]:
    return Value(field="labels", key=label.encode(), holds=("tags", label))


def _front_lines(key: str, lines: tuple[str, ...]) -> Value[Parts]:
    """A field of the front matter that we know nothing of, as it stands."""
    said = "\n".join(lines).encode()
    return Value(field=key, key=said, single=bool(key), holds=(key, lines))
