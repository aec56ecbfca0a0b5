"""Google Keep's notes as Takeout exports them: one JSON object each.

Knows the fields of `Takeout/Keep/*.json`; times are microseconds, as a number or as its digits.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.notes import Note, own_ident
from workers.formats.record_times import from_microseconds

ACCEPT_UNDATED: Final = "accept-undated"
"""The repair for a note without its time of change."""

_SIGNS: Final = frozenset(
    (
        "textContent",
        "listContent",
        "isTrashed",
        "userEditedTimestampUsec",
        "createdTimestampUsec",
    )
)


class _Entry(Struct, frozen=True, rename="camel"):
    text: str = ""
    is_checked: bool = False


class _Label(Struct, frozen=True):
    name: str


class _File(Struct, frozen=True, rename="camel"):
    file_path: str


class _Keep(Struct, frozen=True, rename="camel"):
    title: str = ""
    text_content: str | None = None
    list_content: tuple[_Entry, ...] | None = None
    is_trashed: bool = False
    is_archived: bool = False
    is_pinned: bool = False
    color: str = "DEFAULT"
    labels: tuple[_Label, ...] = ()
    attachments: tuple[_File, ...] = ()
    user_edited_timestamp_usec: int | str | None = None
    created_timestamp_usec: int | str | None = None
    id: str | int | None = None


_KNOWN: Final = frozenset(field.encode_name for field in msgspec.structs.fields(_Keep))


def is_keep(keys: Collection[str]) -> bool:
    """Whether an object with these keys is one of Keep's notes."""
    return not _SIGNS.isdisjoint(keys)


def read_keep(fields: Mapping[str, Any]) -> Note:
    """The note in one of Keep's objects.

    Raises:
        ItemRejected: `STRUCTURE` or `VALUE` where a field is not what Keep writes.
    """
    try:
        keep = msgspec.convert(fields, _Keep)
    except msgspec.ValidationError as error:
        raise ItemRejected(Reason.STRUCTURE, str(error)) from None
    state = [
        word
        for word, holds in (
            ("trashed", keep.is_trashed),
            ("archived", keep.is_archived),
            ("pinned", keep.is_pinned),
        )
        if holds
    ]
    if keep.color not in ("DEFAULT", ""):
        state.append(f"color {keep.color.lower()}")
    revised = _moment(keep.user_edited_timestamp_usec, "userEditedTimestampUsec")
    return Note(
        form="text" if keep.list_content is None else "list",
        title=keep.title,
        body=keep.text_content or "",
        entries=tuple((entry.text, entry.is_checked) for entry in keep.list_content or ()),
        labels=tuple(label.name for label in keep.labels),
        state=tuple(state),
        more={key: value for key, value in fields.items() if key not in _KNOWN and value},
        ident=own_ident(keep.id),
        created=_moment(keep.created_timestamp_usec, "createdTimestampUsec"),
        revised=revised,
        references=tuple(part.file_path for part in keep.attachments),
        needs=() if keep.user_edited_timestamp_usec is not None else (ACCEPT_UNDATED,),
    )


def dated(fields: Mapping[str, Any]) -> bytes:
    """The object with the time of change that stands for none."""
    return msgspec.json.encode({**fields, "userEditedTimestampUsec": 0})


def _moment(value: int | str | None, field: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ItemRejected(Reason.VALUE, field)
    number = int(value) if len(str(value)) < 20 else 0  # noqa: PLR2004 - digits of 64 bits
    return from_microseconds(number) if number else None
