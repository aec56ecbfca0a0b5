"""When two calendar objects mean the same: their canonical form and its digest."""

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from orchestrator.items import Digest
from workers.formats.calendar_properties import ZoneNames, entries, is_utc, property_of
from workers.formats.calendar_times import moment
from workers.formats.calendar_writing import Writable
from workers.formats.content_lines import Line, unescape
from workers.formats.time_zones import zone_name


def zone_meanings(sound: Container[str]) -> ZoneNames:
    """What TZIDs mean where these are defined: known names first, whoever defines them too."""
    known: dict[str, bytes] = {}

    def meaning(tzid: str) -> bytes:
        found = known.get(tzid)
        if found is None:
            name = zone_name(tzid)
            if name is None:
                prefix = b"own " if tzid in sound else b"lost "
                found = prefix + tzid.encode("utf-8", "surrogateescape")
            else:
                found = b"Z" if is_utc(name) else name.encode()
            known[tzid] = found
        return found

    return meaning


def canonical(component: Writable, means: ZoneNames) -> bytes:
    """A component by its meaning: equal for all that say the same."""
    found: list[bytes] = []
    for line in component.lines:
        found += entries(line, property_of(line), means)
    return form(component.name, found, [canonical(child, means) for child in component.children])


def form(name: str, found: Iterable[bytes], inside: Iterable[bytes]) -> bytes:
    """The canonical form of a component's entries and of what is inside of it."""
    return b"\x1d%s\x1e%s%s\x1c" % (
        name.encode(),
        b"\x1e".join(sorted(found)),
        b"".join(sorted(inside)),
    )


def digest_of(components: Sequence[Writable], means: ZoneNames) -> Digest:
    """The digest of an object: its components in any order."""
    return digest_of_forms([canonical(component, means) for component in components])


def digest_of_forms(forms: Iterable[bytes]) -> Digest:
    """The digest of the canonical forms of an object's components."""
    return Digest(sha256(b"".join(sorted(forms))).digest())


def text_of(line: Line) -> str:
    """A TEXT value as it is meant, without white space around it."""
    return unescape(line.value).decode("utf-8", "surrogateescape").strip()


def instant_of(value: bytes) -> datetime | None:
    """A DATE-TIME in UTC, aware; None where it is none."""
    found = moment(value.decode("latin-1")) if value else None
    return found.at.replace(tzinfo=UTC) if found is not None and found.utc else None
