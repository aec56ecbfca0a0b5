"""Notes as plain JSON objects: the row of a table, or what a simple exporter writes."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.notes import Note, own_ident
from workers.formats.ownership import OWNER_FIELDS, plain_key
from workers.formats.record_times import read_time

_BODIES: Final = ("body", "text", "content")
_STATES: Final = {"trashed": "trashed", "archived": "archived", "pinned": "pinned"}
_CREATED: Final = ("created", "created_at")
_REVISED: Final = ("revised", "updated", "modified", "revised_at", "updated_at", "modified_at")
_LABELS: Final = ("labels", "tags")
_KNOWN: Final = frozenset(
    ("id", "title", "color", *_BODIES, *_STATES, *_CREATED, *_REVISED, *_LABELS)
)


def is_note_row(keys: Collection[str]) -> bool:
    """Whether an object with these keys is a note.

    `isChecked` is what tells an entry of a list in one of Keep's notes from a note.
    """
    if "isChecked" in keys:
        return False
    return any(body in keys for body in _BODIES) or ("title" in keys and "id" in keys)


def read_note_row(fields: Mapping[str, Any]) -> Note:
    """The note in one row.

    Raises:
        ItemRejected: `STRUCTURE` or `VALUE` where a field is not what a note has.
    """
    bodies = [key for key in _BODIES if fields.get(key) is not None]
    if len(bodies) > 1:
        raise ItemRejected(Reason.STRUCTURE, "more than one text")
    degraded: list[str] = []
    created = _time(fields, _CREATED, "created", degraded)
    revised = _time(fields, _REVISED, "revised", degraded)
    state = [word for key, word in _STATES.items() if _flag(fields.get(key), key)]
    color = _text(fields.get("color"), "color").lower()
    if color not in ("", "default"):
        state.append(f"color {color}")
    return Note(
        title=_text(fields.get("title"), "title"),
        body=_text(fields[bodies[0]], bodies[0]) if bodies else "",
        labels=_labels(next((fields[key] for key in _LABELS if fields.get(key)), ())),
        state=tuple(state),
        more={
            key: value
            for key, value in fields.items()
            if key not in _KNOWN and plain_key(key) not in OWNER_FIELDS and value
        },
        ident=own_ident(fields.get("id")),
        created=created,
        revised=revised,
        degraded=tuple(degraded),
    )


def _text(value: object, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ItemRejected(Reason.VALUE, f"{field} is no text")
    return value


def _flag(value: object, field: str) -> bool:
    """Databases without a type for it write 0 and 1."""
    if value in (None, False, 0):
        return False
    if value in (True, 1):
        return True
    raise ItemRejected(Reason.VALUE, f"{field} is neither true nor false")


def _labels(value: object) -> tuple[str, ...]:
    """A list of texts, or of objects with a name, or one text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    found: list[str] = []
    for part in value if isinstance(value, list | tuple) else (None,):  # pyright: ignore[reportUnknownVariableType]  # JSON is Any
        label = part.get("name") if isinstance(part, dict) else part  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # JSON is Any
        if not isinstance(label, str):
            raise ItemRejected(Reason.VALUE, "labels are no texts")
        found.append(label)
    return tuple(found)


def _time(
    fields: Mapping[str, Any], names: tuple[str, ...], field: str, degraded: list[str]
) -> Any:
    """The first of `names` that is filled in; what is no time is noted and left empty."""
    value = next((fields[name] for name in names if fields.get(name)), None)
    if value is None:
        return None
    moment = read_time(value)
    if moment is None:
        degraded.append(field)
    return moment
