"""Notes as Google Keep, Markdown and rows; tasks as Google Tasks; scores as JSON and CSV."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from plans.sample.belongings import Note, Photo, Score, Task


def keep(note: Note, flaw: str = "") -> bytes:
    """As Takeout exports Keep's notes."""
    edited = int(note.revised.timestamp()) * 1_000_000
    fields: dict[str, Any] = {
        "color": "DEFAULT",
        "isTrashed": False,
        "isPinned": False,
        "isArchived": False,
        "title": note.title,
        "userEditedTimestampUsec": edited,
        "createdTimestampUsec": edited - 86_400_000_000,
        "id": note.uid,
    }
    if note.is_list:
        fields["listContent"] = [
            {"text": line, "isChecked": number % 2 == 1}
            for number, line in enumerate(note.body.split("\n"))
        ]
    else:
        fields["textContent"] = note.body
    gone = {"undated": "userEditedTimestampUsec", "no-uid": "id"}.get(flaw)
    if gone is not None:
        del fields[gone]
    return _json(fields)


def note_row(note: Note, owner: str) -> bytes:
    """As the phones of the service cached them."""
    return _json(
        {
            "id": note.uid,
            "owner": owner,
            "title": note.title,
            "body": note.body,
            "revised": instant(note.revised),
        }
    )


def markdown(note: Note) -> bytes:
    """As a program that keeps notes as files does."""
    front = (f"title: {json.dumps(note.title)}", f"uid: {note.uid}")
    dated = f"updated: {instant(note.revised)}"
    return "\n".join(("---", *front, dated, "---", note.body, "")).encode()


def google_task(task: Task, flaw: str = "") -> dict[str, Any]:
    """One entry of Takeout's `Tasks.json`."""
    status = "completed" if task.done else "needsAction"
    fields: dict[str, Any] = {
        "kind": "tasks#task",
        "id": task.uid,
        "title": task.title,
        "notes": task.note,
        "status": "n\N{REPLACEMENT CHARACTER}eds?ction" if flaw == "garbled" else status,
        "updated": instant(task.revised),
    }
    return fields | ({"due": f"{task.due}T00:00:00Z"} if task.due else {})


def google_tasks(entries: Iterable[dict[str, Any]]) -> bytes:
    """The whole of it."""
    listed = {"kind": "tasks#tasks", "title": "My tasks", "items": list(entries)}
    return _json({"kind": "tasks#taskLists", "items": [listed]})


def score_fields(score: Score, player: str, flaw: str = "") -> dict[str, Any]:
    """One result, as phones keep them."""
    value: object = score.value
    if flaw == "out-of-range":
        value = 2_000_000_000
    elif flaw == "garbled":
        value = f"{score.value}?"
    return {
        "board": score.board,
        "value": value,
        "achieved": instant(score.revised),
        "player": player,
        "replay": score.canary,
    }


def score_list(entries: Iterable[dict[str, Any]]) -> bytes:
    """All results of a phone."""
    return _json({"scores": list(entries)})


def score_table(entries: Iterable[dict[str, Any]]) -> bytes:
    """The same as CSV."""
    columns = ("board", "value", "achieved", "player", "replay")
    rows = [",".join(str(entry[column]) for column in columns) for entry in entries]
    return "\n".join((",".join(columns), *rows, "")).encode()


def sidecar(photo: Photo, name: str) -> bytes:
    """What Takeout puts beside a photo."""
    seconds = str(int(photo.revised.timestamp()))
    return _json(
        {
            "title": name,
            "description": f"{photo.caption} {photo.canary}",
            "photoTakenTime": {"timestamp": seconds},
            "photoLastModifiedTime": {"timestamp": seconds},
        }
    )


def instant(at: datetime) -> str:
    """A moment in UTC, as JSON writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _json(fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False, indent=1).encode()
