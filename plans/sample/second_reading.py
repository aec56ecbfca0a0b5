"""What a content tells, and which marks it bears: tiny readers of every format of the sample.

A second opinion that shares nothing with the code whose results it judges. It reads what sound
contents look like; of anything else it says nothing, which the recount then reports.
"""

import json
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from plans.sample.truth import CANARY

Lines = list[tuple[str, str, str]]
"""Name, parameters and value of each line."""

_FOLD: Final = re.compile(rb"\r?\n[ \t]")
_ESCAPE: Final = re.compile(r"\\([\\,;nN])")


def marks(*contents: bytes) -> set[tuple[str, int, int]]:
    """Token, number and version of every canary in contents, folded lines joined."""
    return {
        (match[1].decode(), int(match[2], 16), int(match[3]))
        for content in contents
        for match in CANARY.finditer(_FOLD.sub(b"", content))
    }


def facts(category: str, content: bytes, described: bytes = b"") -> dict[str, str]:
    """What a content tells, as the truth puts it; `described`: the sidecar of a photo."""
    try:
        return _READERS[category](content, described)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return {"unreadable": type(error).__name__}


def _contact(content: bytes, _: bytes) -> dict[str, str]:
    lines = _lines(content)
    values = _values(lines)
    return {
        "name": _text(values["FN"][0]),
        "numbers": " ".join(sorted(_text(value) for value in values.get("TEL", ()))),
        "email": _text(_only(values, "EMAIL")),
        "company": _text(_only(values, "ORG")),
        "note": _text(_only(values, "NOTE")),
    }


def _event(content: bytes, _: bytes) -> dict[str, str]:
    parts = _components(content, "VEVENT")
    master = next(part for part in parts if not any(name == "RECURRENCE-ID" for name, _, _ in part))
    values = _values(master)
    return {
        "summary": _text(_only(values, "SUMMARY")),
        "start": values["DTSTART"][0],
        "rule": _only(values, "RRULE"),
        "location": _text(_only(values, "LOCATION")),
        "note": _text(_only(values, "DESCRIPTION")),
        "moved": str(len(parts) - 1),
    }


def _task(content: bytes, _: bytes) -> dict[str, str]:
    (part,) = _components(content, "VTODO")
    values = _values(part)
    return {
        "summary": _text(_only(values, "SUMMARY")),
        "due": _only(values, "DUE")[:8],
        "done": "1" if _only(values, "STATUS") == "COMPLETED" else "0",
        "note": _text(_only(values, "DESCRIPTION")),
    }


def _note(content: bytes, _: bytes) -> dict[str, str]:
    text = content.decode()
    if text.startswith("{"):
        fields: Mapping[str, Any] = json.loads(text)
        if "listContent" in fields:
            body = "\n".join(entry["text"] for entry in fields["listContent"])
        else:
            body = fields.get("textContent", fields.get("body", ""))
        return {"title": fields["title"], "body": body.strip()}
    front, body = text.split("---\n", 2)[1:]
    title = re.search(r"^title: (.*)$", front, re.MULTILINE)
    return {"title": json.loads(title[1]) if title else "", "body": body.strip()}


def _photo(content: bytes, described: bytes) -> dict[str, str]:
    said = json.loads(described)["description"] if described else ""
    caption = re.sub(r" ?canary-\S+", "", said)
    return {"picture": f"sha256:{sha256(content).hexdigest()}", "caption": caption}


def _score(content: bytes, _: bytes) -> dict[str, str]:
    fields = json.loads(content)
    return {"board": fields["board"], "value": str(fields["value"])}


_READERS: Final[dict[str, Callable[[bytes, bytes], dict[str, str]]]] = {
    "contacts": _contact,
    "calendar": _event,
    "notes": _note,
    "tasks": _task,
    "photos": _photo,
    "high_scores": _score,
}


def _lines(content: bytes) -> Lines:
    found: Lines = []
    for raw in _FOLD.sub(b"", content).decode().splitlines():
        head, colon, value = raw.partition(":")
        if colon:
            name, _, params = head.partition(";")
            found.append((name.rpartition(".")[2].upper(), params, value))
    return found


def _components(content: bytes, kind: str) -> list[Lines]:
    """The lines of each component of that kind, without those of what is inside of it."""
    found: list[Lines] = []
    open_: list[str] = []
    for line in _lines(content):
        name, _, value = line
        if name == "BEGIN":
            open_.append(value)
            if value == kind:
                found.append([])
        elif name == "END":
            open_.pop()
        elif open_ and open_[-1] == kind:
            found[-1].append(line)
    return found


def _values(lines: Lines) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, _, value in lines:
        values.setdefault(name, []).append(value)
    return values


def _only(values: Mapping[str, list[str]], name: str) -> str:
    found = values.get(name, [""])
    if len(found) > 1:
        raise ValueError(name)
    return found[0]


def _text(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)
