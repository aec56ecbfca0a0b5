"""Journal entries (VJOURNAL, RFC 5545 §3.6.3): notes in the language of calendars."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident
from orchestrator.reasons import Reason
from workers.formats.calendar_meaning import zone_meanings
from workers.formats.calendar_properties import entries, property_of
from workers.formats.calendar_times import moment
from workers.formats.components import Component, components
from workers.formats.content_lines import Blank, Line, escape, fields, unescape, write_line
from workers.formats.journal_notes import KEPT, file_of, meant
from workers.formats.notes import Note, marked_title, own_ident
from workers.formats.plain_text import checked_text

DERIVE_UID: Final = "derive-uid"
FIX_DTSTAMP: Final = "fix-dtstamp"

_HEAD: Final = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Reinstate//Notes//EN\r\n"
_TAIL: Final = b"END:VCALENDAR\r\n"
_BEGIN: Final = b"BEGIN:VJOURNAL"
_DTSTAMP: Final = write_line("DTSTAMP", b"19700101T000000Z")
_ONCE: Final = ("UID", "DTSTAMP", "SUMMARY", "DTSTART", "STATUS", "CLASS", "RECURRENCE-ID")
_TOLD: Final = frozenset(("SUMMARY", "DESCRIPTION", "CATEGORIES", "STATUS", KEPT))
_zone_meaning: Final = zone_meanings(frozenset())


class Stretch(Struct, frozen=True, kw_only=True):
    """A journal entry, or something else that should not be in a file of notes."""

    start: int
    end: int
    reason: Reason | None = None
    """None for an entry that is structured as it should be."""
    detail: str = ""
    zones: tuple[bytes, ...] = ()
    """The VTIMEZONEs of its calendar."""


def looks_like_calendar(data: bytes) -> bool:
    """Whether it starts as iCalendar does."""
    return data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().upper().startswith(b"BEGIN:V")


def journal_stretches(data: bytes) -> Iterator[Stretch]:
    """Every entry of a file, and everything else that is neither frame nor time zone."""
    for top in components(data):
        if isinstance(top, Component):
            yield from _entries(top, data)
        elif not isinstance(top, Blank):
            yield Stretch(
                start=top.offset, end=top.offset + top.length, reason=top.reason, detail=top.detail
            )


def _entries(top: Component, data: bytes) -> Iterator[Stretch]:
    if top.name != "VCALENDAR":
        yield _entry(top, ())
        return
    zones = tuple(
        data[child.offset : child.offset + child.length]
        for child in top.children
        if child.name == "VTIMEZONE" and child.whole
    )
    for child in top.children:
        if child.name != "VTIMEZONE":
            yield _entry(child, zones)
        elif not child.whole:
            yield _broken(child, Reason.TIME_ZONE, "a broken VTIMEZONE")
    for flaw in top.flaws:
        if flaw.length:
            yield Stretch(
                start=flaw.offset,
                end=flaw.offset + flaw.length,
                reason=flaw.reason,
                detail=flaw.detail,
            )


def _entry(component: Component, zones: tuple[bytes, ...]) -> Stretch:
    if component.name != "VJOURNAL":
        return _broken(component, Reason.UNSUPPORTED, "a component that is no note")
    if not component.whole:
        flaws = [*component.flaws, *(flaw for child in component.children for flaw in child.flaws)]
        flaw = flaws[0] if flaws else None
        reason = flaw.reason if flaw is not None else Reason.STRUCTURE
        return _broken(component, reason, flaw.detail if flaw is not None else "")
    if component.children:
        return _broken(component, Reason.STRUCTURE, "a component inside of a VJOURNAL")
    end = component.offset + component.length
    return Stretch(start=component.offset, end=end, zones=zones)


def _broken(component: Component, reason: Reason, detail: str) -> Stretch:
    end = component.offset + component.length
    return Stretch(start=component.offset, end=end, reason=reason, detail=detail)


def as_calendar(entry: bytes, zones: tuple[bytes, ...]) -> bytes:
    """One entry, verbatim, in a calendar of its own, with the time zones that it names."""
    named = {zone for line in _lines(entry) if (zone := line.param("TZID"))}
    needed = [zone for zone in zones if _zone_name(zone) in named]
    return _HEAD + b"".join(map(_ended, (*needed, entry))) + _TAIL


def _ended(component: bytes) -> bytes:
    return component if component.endswith((b"\n", b"\r")) else component + b"\r\n"


def _zone_name(zone: bytes) -> str:
    return next(
        (line.value.decode("utf-8", "replace") for line in _lines(zone) if line.name == "TZID"), ""
    )


def _lines(component: bytes) -> list[Line]:
    return [
        line for top in components(component) if isinstance(top, Component) for line in top.lines
    ]


def only_entry(content: bytes) -> bytes | None:
    """The one entry of a calendar; None where there is none or more than one."""
    entries = list(journal_stretches(content))
    if len(entries) != 1 or entries[0].reason is not None:
        return None
    return content[entries[0].start : entries[0].end]


def read_journal(entry: bytes) -> Note:
    """The note in one VJOURNAL.

    Raises:
        ItemRejected: not UTF-8, control characters, or a property twice that may stand once.
    """
    checked_text(entry)
    lines = _lines(entry)
    values: dict[str, list[bytes]] = {}
    for line in lines:
        values.setdefault(line.name, []).append(line.value)
    doubled = [name for name in _ONCE if len(values.get(name, ())) > 1]
    if doubled:
        raise ItemRejected(Reason.STRUCTURE, f"{doubled[0]} more than once")
    needs: list[str] = []
    stamp = values.get("DTSTAMP", [b""])[0].decode()
    if moment(stamp) is None:
        if stamp:
            raise ItemRejected(Reason.VALUE, "DTSTAMP")
        needs.append(FIX_DTSTAMP)
    ident = own_ident(_text(values.get("UID", [b""])[0]))
    if ident is None:
        needs.append(DERIVE_UID)
    degraded: list[str] = []
    files = [part for line in lines if (part := file_of(line)) is not None]
    more = _more(lines)
    note = Note(
        form="journal",
        title=_text(values.get("SUMMARY", [b""])[0]),
        body="\n\n".join(map(_text, values.get("DESCRIPTION", ()))),
        labels=tuple(
            _text(part) for value in values.get("CATEGORIES", ()) for part in fields(value, b",")
        ),
        state=tuple(value.decode().lower() for value in values.get("STATUS", ())),
        enclosed=tuple(sha256(part.data).hexdigest() for part in files),
        more=more,
        ident=ident,
        created=_utc(values, "CREATED", "created", degraded),
        revised=_utc(values, "LAST-MODIFIED", "revised", degraded),
        degraded=tuple(degraded),
        needs=tuple(needs),
    )
    return meant(note, _text(values[KEPT][0]), more) if KEPT in values else note


def _more(lines: Sequence[Line]) -> list[str]:
    """What else is said, each property as its meaning."""
    return sorted(
        said.decode("utf-8", "surrogateescape")
        for line in lines
        if line.name not in _TOLD and file_of(line) is None
        for said in entries(line, property_of(line), _zone_meaning)
    )


def sequence(entry: bytes) -> int:
    """SEQUENCE, 0 where it is missing or no number."""
    value = next((line.value for line in _lines(entry) if line.name == "SEQUENCE"), b"0").strip()
    return int(value) if value.isdigit() and len(value) < 10 else 0  # noqa: PLR2004 - 32 bits


def completed(entry: bytes, needs: tuple[str, ...], ident: Ident) -> bytes:
    """The entry with the properties that it `needs`."""
    added = b""
    if DERIVE_UID in needs:
        added += write_line("UID", ident.encode())
    if FIX_DTSTAMP in needs:
        added += _DTSTAMP
    start = entry.upper().index(_BEGIN)
    at = entry.index(b"\n", start) + 1 if b"\n" in entry else entry.index(b"\r", start) + 1
    return entry[:at] + added + entry[at:]


def marked_journal(content: bytes, ident: Ident, mark: str) -> bytes:
    """The calendar of one entry under another ident, its summary marked."""
    entry = only_entry(content)
    if entry is None:
        raise ValueError("not a calendar of one entry")
    title = marked_title(read_journal(entry).title, mark)
    replaced = {
        "UID": write_line("UID", ident.encode()),
        "SUMMARY": write_line("SUMMARY", escape(title.encode())),
    }
    kept = [
        content_line
        for line in _lines(entry)
        if line.name not in replaced
        for content_line in (entry[line.offset : line.offset + line.length],)
    ]
    body = b"BEGIN:VJOURNAL\r\n" + b"".join((*replaced.values(), *kept)) + b"END:VJOURNAL\r\n"
    start = content.index(entry)
    return content[:start] + body + content[start + len(entry) :]


def _text(value: bytes) -> str:
    return unescape(value).decode("utf-8").strip()


def _utc(
    values: dict[str, list[bytes]], name: str, field: str, degraded: list[str]
) -> datetime | None:
    value = values.get(name, [b""])[0].decode()
    read = moment(value)
    if value and read is None:
        degraded.append(field)
    return read.at.replace(tzinfo=UTC) if read is not None else None
