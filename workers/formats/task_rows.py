"""Tasks as JSON: Google Tasks, Microsoft To Do, and plain objects such as the row of a table.

Which of them a record is shows in its fields. Every field becomes a property; one that no property
is made for becomes an X- property of its name, so that nothing of a record is dropped.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from html import unescape as without_entities
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.calendar_properties import made
from workers.formats.calendar_records import Node
from workers.formats.calendar_rows import (
    bookkeeping,
    flag,
    other_lines,
    text_field,
    text_lines,
    time_line,
)
from workers.formats.calendar_times import Moment
from workers.formats.content_lines import Line, escape
from workers.formats.record_times import read_time
from workers.formats.time_zones import to_utc, zone_name

_STATUS: Final[Mapping[str, str]] = {
    "needsaction": "NEEDS-ACTION",
    "notstarted": "NEEDS-ACTION",
    "waitingonothers": "NEEDS-ACTION",
    "deferred": "NEEDS-ACTION",
    "open": "NEEDS-ACTION",
    "todo": "NEEDS-ACTION",
    "inprogress": "IN-PROCESS",
    "inprocess": "IN-PROCESS",
    "completed": "COMPLETED",
    "complete": "COMPLETED",
    "done": "COMPLETED",
    "cancelled": "CANCELLED",
    "canceled": "CANCELLED",
}
_SAYS_MORE: Final = frozenset({"waitingonothers", "deferred"})
_IMPORTANCE: Final = {"high": b"1", "low": b"9", "normal": b"", "": b""}
_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00(?:\.0+)?Z?", re.ASCII)
_TAG: Final = re.compile(r"<[^>]*>")
_BREAK_TAG: Final = re.compile(r"<(?:br|/p|/div|/li)\b[^>]*>", re.IGNORECASE)

_TECHNICAL: Final = frozenset({"kind", "etag", "selfLink", "@odata.etag", "@odata.context"})
_GOOGLE: Final = frozenset(
    {"id", "title", "notes", "status", "due", "completed", "updated", "parent", "created"}
)
_MICROSOFT: Final = frozenset(
    {"id", "title", "status", "importance", "body", "dueDateTime", "startDateTime", "categories"}
    | {"completedDateTime", "createdDateTime", "lastModifiedDateTime", "recurrence"}
    | {"isReminderOn", "reminderDateTime", "checklistItems", "bodyLastModifiedDateTime"}
)
_PLAIN_TEXTS: Final = {
    "summary": "SUMMARY",
    "title": "SUMMARY",
    "description": "DESCRIPTION",
    "notes": "DESCRIPTION",
    "location": "LOCATION",
    "url": "URL",
    "parent": "RELATED-TO",
}
_PLAIN: Final = frozenset(
    {"uid", "id", "start", "due", "all_day", "time_zone", "rrule", "status", "completed"}
    | {"revised", "updated", "created", "priority", "percent", *_PLAIN_TEXTS}
)
_LISTS: Final = frozenset({"items", "tasks", "value"})
_MARKS_OF_MICROSOFT: Final = frozenset({"lastModifiedDateTime", "dueDateTime", "checklistItems"})


def is_task_record(keys: Collection[str]) -> bool:
    """Whether an object with these keys is a task, or names a list of tasks without any."""
    if not _LISTS.isdisjoint(keys):
        return False
    return "title" in keys or "summary" in keys or ("id" in keys and "status" in keys)


def read_task_record(fields: Mapping[str, Any], around: Mapping[str, Any]) -> Node | None:
    """The task in one record; None where it only says what a list is called.

    Raises:
        ItemRejected: a field is not what a task has.
    """
    kind = fields.get("kind")
    if kind in ("tasks#tasks", "tasks#taskList", "tasks#taskLists") and "status" not in fields:
        return None
    if not _MARKS_OF_MICROSOFT.isdisjoint(fields) or "importance" in fields:
        lines = _microsoft(fields)
    elif kind == "tasks#task" or fields.get("status") == "needsAction" or "task_type" in fields:
        lines = _google(fields)
    else:
        lines = _plain(fields)
    listed = around.get("title") or around.get("displayName")
    if isinstance(listed, str) and listed:
        lines.append(made("CATEGORIES", escape(listed.encode("utf-8", "surrogateescape"))))
    alarms = _alarms(fields)
    return Node("VTODO", lines, alarms, [])


def _google(fields: Mapping[str, Any]) -> list[Line]:
    """Takeout's `Tasks.json`: times in RFC 3339, of `due` only the day counts."""
    names = {"id": "UID", "title": "SUMMARY", "notes": "DESCRIPTION", "parent": "RELATED-TO"}
    return [
        *text_lines(fields, names),
        *_status(fields),
        *_due(fields, "due", "DUE", ""),
        *bookkeeping(
            fields,
            {"completed": "COMPLETED", "updated": "LAST-MODIFIED", "created": "CREATED"},
        ),
        *other_lines(fields, _GOOGLE | _TECHNICAL),
    ]


def _microsoft(fields: Mapping[str, Any]) -> list[Line]:
    """Microsoft Graph's `todoTask`."""
    lines = [*text_lines(fields, {"id": "UID", "title": "SUMMARY"}), *_status(fields)]
    lines += _described(fields)
    for key, name in (("startDateTime", "DTSTART"), ("dueDateTime", "DUE")):
        at = _zoned(fields, key)
        if at is not None:
            lines += _due({"at": at[0]}, "at", name, at[1])
    completed = _instant(fields, "completedDateTime")
    if completed is not None:
        lines.append(made("COMPLETED", completed))
    importance = text_field(fields, "importance").lower()
    if importance not in _IMPORTANCE:
        raise ItemRejected(Reason.VALUE, "field 'importance' is none that is known")
    if _IMPORTANCE[importance]:
        lines.append(made("PRIORITY", _IMPORTANCE[importance]))
    categories = fields.get("categories") or []
    if not isinstance(categories, list):
        raise ItemRejected(Reason.VALUE, "field 'categories' is no array")
    lines += [made("CATEGORIES", escape(str(one).encode())) for one in categories]
    if fields.get("recurrence"):
        lines.append(made("RRULE", _rule(fields["recurrence"]).encode()))
    lines += bookkeeping(
        fields, {"lastModifiedDateTime": "LAST-MODIFIED", "createdDateTime": "CREATED"}
    )
    return [*lines, *other_lines(fields, _MICROSOFT | _TECHNICAL)]


def _plain(fields: Mapping[str, Any]) -> list[Line]:
    """A row with fields of our own names."""
    identity = {"uid": "UID"} if fields.get("uid") not in (None, "") else {"id": "UID"}
    zone = text_field(fields, "time_zone")
    all_day = flag(fields, "all_day")
    lines = [*text_lines(fields, {**identity, **_PLAIN_TEXTS})]
    for key, name in (("start", "DTSTART"), ("due", "DUE")):
        if fields.get(key) not in (None, ""):
            lines.append(time_line(name, fields[key], zone, all_day=all_day))
    completed = fields.get("completed")
    if isinstance(completed, bool) or completed in (0, 1, "true", "false", "t", "f"):
        if flag(fields, "completed") and fields.get("status") in (None, ""):
            lines.append(made("STATUS", b"COMPLETED"))
    else:
        lines += bookkeeping(fields, {"completed": "COMPLETED"})
    lines += _status(fields)
    for key, name in (("priority", "PRIORITY"), ("percent", "PERCENT-COMPLETE")):
        if fields.get(key) not in (None, ""):
            lines.append(made(name, text_field(fields, key).encode()))
    rule = text_field(fields, "rrule")
    if rule:
        lines.append(made("RRULE", rule.removeprefix("RRULE:").encode()))
    revised = "revised" if fields.get("revised") else "updated"
    lines += bookkeeping(fields, {revised: "LAST-MODIFIED", "created": "CREATED"})
    return [*lines, *other_lines(fields, _PLAIN)]


def _status(fields: Mapping[str, Any]) -> list[Line]:
    written = text_field(fields, "status")
    if not written:
        return []
    plain = re.sub(r"[^a-z]", "", written.lower())
    status = _STATUS.get(plain)
    if status is None:
        raise ItemRejected(Reason.VALUE, "field 'status' is none of a task's")
    lines = [made("STATUS", status.encode())]
    if plain in _SAYS_MORE:
        lines.append(made("X-REINSTATE-STATUS", plain.encode()))
    return lines


def _due(fields: Mapping[str, Any], key: str, name: str, zone: str) -> list[Line]:
    """A time whose midnight stands for the day: these services know no time of day."""
    value = fields.get(key)
    if value in (None, ""):
        return []
    midnight = _MIDNIGHT.fullmatch(value) if isinstance(value, str) else None
    return [time_line(name, midnight[1] if midnight is not None else value, zone)]


def _zoned(fields: Mapping[str, Any], key: str) -> tuple[str, str] | None:
    """Graph's `dateTimeTimeZone`: wall-clock time and a zone by its Windows name."""
    value = fields.get(key)
    if value is None:
        return None
    match value:
        case {"dateTime": str(at), "timeZone": str(zone)}:
            return (at + "Z", "") if zone == "UTC" and not at.endswith("Z") else (at, zone)
        case {"dateTime": str(at)} | str(at):
            return at, ""
        case _:
            raise ItemRejected(Reason.VALUE, f"field {key!r} is no time")


def _instant(fields: Mapping[str, Any], key: str) -> bytes | None:
    found = _zoned(fields, key)
    if found is None:
        return None
    at, zone = read_time(found[0]), zone_name(found[1]) if found[1] else "UTC"
    if at is None or zone is None:
        raise ItemRejected(Reason.VALUE, f"field {key!r} is no time")
    return Moment(to_utc(at.replace(tzinfo=None), zone), utc=True).text.encode()


def _described(fields: Mapping[str, Any]) -> list[Line]:
    """The body as text, its HTML kept beside it, and the steps as lines of the text."""
    content, kind = "", "text"
    match fields.get("body"):
        case {"content": str(content), "contentType": str(kind)}:
            pass
        case None | {}:
            pass
        case str(content):
            pass
        case _:
            raise ItemRejected(Reason.VALUE, "field 'body' is no text")
    lines: list[Line] = []
    text = content
    if kind.lower() == "html" and content:
        broken = _BREAK_TAG.sub("\n", content)
        text = without_entities(_TAG.sub("", broken)).strip()
        lines.append(made("X-ALT-DESC", escape(content.encode()), (("FMTTYPE", ("text/html",)),)))
    steps = [_step(one) for one in fields.get("checklistItems") or []]
    text = "\n".join([text, *steps] if text.strip() else steps)
    if text:
        lines.append(made("DESCRIPTION", escape(text.encode())))
    return lines


def _step(value: object) -> str:
    match value:
        case {"displayName": str(name), "isChecked": bool(done)}:
            return f"[{'x' if done else ' '}] {name}"
        case {"displayName": str(name)}:
            return f"[ ] {name}"
        case _:
            raise ItemRejected(Reason.VALUE, "a step of 'checklistItems' has no name")


def _alarms(fields: Mapping[str, Any]) -> list[Node]:
    if not fields.get("isReminderOn"):
        return []
    at = _instant(fields, "reminderDateTime")
    if at is None:
        return []
    lines = [
        made("ACTION", b"DISPLAY"),
        made("DESCRIPTION", b"Reminder"),
        made("TRIGGER", at, (("VALUE", ("DATE-TIME",)),)),
    ]
    return [Node("VALARM", lines, [], [])]


_FREQUENCY: Final = {
    "daily": "DAILY",
    "weekly": "WEEKLY",
    "absoluteMonthly": "MONTHLY",
    "relativeMonthly": "MONTHLY",
    "absoluteYearly": "YEARLY",
    "relativeYearly": "YEARLY",
}
_INDEX: Final = {"first": "1", "second": "2", "third": "3", "fourth": "4", "last": "-1"}


def _rule(recurrence: Any) -> str:
    """Graph's `patternedRecurrence` as a rule.

    Raises:
        ItemRejected: `RECURRENCE`, where it says something that no rule can.
    """
    match recurrence:
        case {"pattern": dict(pattern), **rest}:
            span: Mapping[str, Any] = rest.get("range") or {}
        case _:
            raise ItemRejected(Reason.RECURRENCE, "no pattern")
    kind = str(pattern.get("type"))
    if kind not in _FREQUENCY:
        raise ItemRejected(Reason.RECURRENCE, "a pattern that is not known")
    parts = [f"FREQ={_FREQUENCY[kind]}"]
    interval = pattern.get("interval", 1)
    if interval != 1:
        parts.append(f"INTERVAL={interval}")
    days = [str(day)[:2].upper() for day in _listed(pattern.get("daysOfWeek"))]
    if kind.startswith("relative"):
        index = _INDEX.get(str(pattern.get("index", "first")))
        if index is None or not days:
            raise ItemRejected(Reason.RECURRENCE, "a pattern without its days")
        # Several days mean the first (or last) of any of them.
        parts += (
            [f"BYDAY={index}{days[0]}"]
            if len(days) == 1
            else [f"BYDAY={','.join(days)}", f"BYSETPOS={index}"]
        )
    elif kind == "weekly" and days:
        parts.append(f"BYDAY={','.join(days)}")
        first = str(pattern.get("firstDayOfWeek", "sunday"))[:2].upper()
        parts.append(f"WKST={first}")
    elif kind.startswith("absolute"):
        parts.append(f"BYMONTHDAY={pattern.get('dayOfMonth')}")
    if kind.endswith("Yearly"):
        parts.append(f"BYMONTH={pattern.get('month')}")
    parts += _ends(span)
    return ";".join(parts)


def _ends(span: Mapping[str, Any]) -> list[str]:
    """When it stops recurring."""
    match span.get("type", "noEnd"):
        case "endDate":
            return ["UNTIL=" + str(span.get("endDate")).replace("-", "")]
        case "numbered":
            return [f"COUNT={span.get('numberOfOccurrences')}"]
        case "noEnd":
            return []
        case _:
            raise ItemRejected(Reason.RECURRENCE, "a range that is not known")


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
