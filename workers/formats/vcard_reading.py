"""A card of any version, sound or not, from its lines: decoded, modern, repaired where allowed.

vCard 2.1 (the specification of 1996) becomes 3.0: quoted-printable and charsets are undone,
parameters get names, values are escaped. 3.0 and 4.0 stay in their version.
"""

import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from msgspec import Struct

from orchestrator.errors import ItemRejected
from orchestrator.ports import Rules
from orchestrator.reasons import Reason
from workers.formats.components import Component
from workers.formats.content_lines import Line, Params, escape, lex, unescape
from workers.formats.record_times import possible
from workers.formats.vcard import LONGEST_TEXT, Card, Property, write
from workers.formats.vcard_media import checked_media
from workers.formats.vcard_properties import (
    REV,
    Fact,
    Kind,
    fact_of,
    fact_of_line,
    plain_name,
)
from workers.formats.vcard_repairs import (
    ASIDE,
    CONVERT,
    DECODE_CHARSET,
    DECODE_PRINTABLE,
    EMPTY_TIME,
    JOIN,
    KEEP_ONE,
    NAME_PARAMETERS,
    REPAIRS,
    Repairing,
    aside,
    repaired,
)
from workers.formats.vcard_values import from_base64

_ANY_TIME: Final = Rules(repairs=frozenset(), loss=datetime(9999, 1, 1, tzinfo=UTC))
_VERSIONS: Final = frozenset({"2.1", "3.0", "4.0"})
_ZEROS: Final = bytes(16)
_ENCODINGS: Final = frozenset({"BASE64", "B", "QUOTED-PRINTABLE", "8BIT", "7BIT"})
_LONGEST_KEPT_HEAD: Final = 256
_FOLDED: Final = re.compile(rb"[\r\n][ \t]")
_LINE_BREAK: Final = re.compile(rb"\r\n?|\n")
_OLD_ESCAPE: Final = re.compile(rb"\\([;,:])")
_OLD_FIELD: Final = re.compile(rb";((?:[^\\;]++|\\.|\\\Z)*+)", re.DOTALL)
_OLD_PLACE: Final = re.compile(rb"\s*([+-]?[\d.]+)\s*,\s*([+-]?[\d.]+)\s*")


def read_card(component: Component, data: bytes, rules: Rules, repairing: Repairing) -> Card:
    """The card that the component holds.

    Raises:
        ItemRejected: it is damaged, or a repair that is needed is not switched on.
    """
    _reject_damage(component, data)
    version, properties = _decoded_properties(component, data, rules, repairing)
    return finished(properties, version, rules, repairing)


def finished(properties: list[Property], version: str, rules: Rules, repairing: Repairing) -> Card:
    """A card of properties that are decoded: repaired, its times and pictures checked.

    Raises:
        ItemRejected: as `read_card`.
    """
    properties = repaired(properties, version, repairing)
    properties = [
        kept for each in properties if (kept := checked_media(each, repairing)) is not None
    ]
    properties = _timely(properties, rules, repairing)
    return Card(version=version, properties=properties)


def live_card(component: Component, data: bytes) -> Card | None:
    """The card that a live system holds, whatever it made of it; None where it cannot be read."""
    repairing = Repairing(frozenset(REPAIRS))
    try:
        _reject_damage(component, data)
        version, properties = _decoded_properties(component, data, _ANY_TIME, repairing)
    except ItemRejected:
        return None
    try:
        return Card(version=version, properties=repaired(properties, version, repairing))
    except ItemRejected:
        return Card(version=version, properties=properties)


def moment(value: bytes) -> datetime | None:
    """What a REV says, in UTC; None where it is no date."""
    try:
        found = datetime.fromisoformat(value.strip().decode("ascii"))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _decoded_properties(
    component: Component, data: bytes, rules: Rules, repairing: Repairing
) -> tuple[str, list[Property]]:
    """The version to write, and the properties as it writes them."""
    lines = component.lines
    version = _version(lines, repairing)
    if version == "2.1":
        repairing.use(CONVERT, Reason.UNSUPPORTED, "vCard 2.1")
        span = data[component.offset : component.offset + component.length]
        if _FOLDED.search(span) and not component.children:
            lines = [each for each in lex(span, old=True) if isinstance(each, Line)]
            lines = [line for line in lines if line.name not in {"BEGIN", "END"}]
    properties = [_modern(line, version, repairing) for line in lines if line.name != "VERSION"]
    if component.children:
        properties = _with_agents(properties, component, data, rules, repairing)
    version = "3.0" if version == "2.1" else version
    return version, [(fact_of("VERSION"), version.encode()), *properties]


def _reject_damage(component: Component, data: bytes) -> None:
    span = data[component.offset : component.offset + component.length]
    if _ZEROS in span:
        raise ItemRejected(Reason.ZEROED, f"zeros at {span.index(_ZEROS)}")
    if component.flaws:
        flaw = min(component.flaws, key=lambda flaw: (flaw.reason is not Reason.CUT, flaw.offset))
        raise ItemRejected(flaw.reason, f"{flaw.detail}, at {flaw.offset - component.offset}")


def _version(lines: list[Line], repairing: Repairing) -> str:
    found = [
        line.value.strip().decode("ascii", "replace") for line in lines if line.name == "VERSION"
    ]
    if not found:
        raise ItemRejected(Reason.STRUCTURE, "no VERSION")
    if len(set(found)) > 1:
        raise ItemRejected(Reason.STRUCTURE, "VERSION twice, and they differ")
    if found[0] not in _VERSIONS:
        raise ItemRejected(Reason.UNSUPPORTED, "a VERSION that does not exist")
    if len(found) > 1:
        repairing.use(KEEP_ONE, Reason.STRUCTURE, "VERSION twice")
    return found[0]


def _timely(properties: list[Property], rules: Rules, repairing: Repairing) -> list[Property]:
    """REV lies where it can lie; what is no time at all is kept under another name."""
    kept: list[Property] = []
    for fact, value in properties:
        if fact.bit != REV or not value.strip():
            kept.append((fact, value))
            continue
        at = moment(value)
        if at is None:
            repairing.use(ASIDE, Reason.VALUE, "REV: no time")
            kept.append((aside(fact), escape(unescape(value))))
        elif possible(at, rules):
            kept.append((fact, value))
        else:
            repairing.use(EMPTY_TIME, Reason.TIME_TRAVEL, "REV")
            repairing.degrade("REV")
    return kept


def _with_agents(
    properties: list[Property],
    component: Component,
    data: bytes,
    rules: Rules,
    repairing: Repairing,
) -> list[Property]:
    """Each card inside of the card as the text of its AGENT (RFC 2426 §3.5.4)."""
    if any(child.name != "VCARD" for child in component.children):
        raise ItemRejected(Reason.STRUCTURE, "something else inside of the card")
    agents = iter(component.children)
    kept: list[Property] = []
    for fact, value in properties:
        agent = next(agents, None) if fact.name == "AGENT" and not value.strip() else None
        if agent is None:
            kept.append((fact, value))
        else:
            inner = write(read_card(agent, data, rules, repairing))
            kept.append((fact_of("AGENT", (), fact.group), escape(inner)))
    return kept


# Heads and encodings -----------------------------------------------------------------------------


def _modern(line: Line, version: str, repairing: Repairing) -> Property:
    """One property as 3.0 or 4.0 write it."""
    fact = fact_of_line(line)
    if len(line.value) > LONGEST_TEXT and fact.kind is not Kind.BINARY:
        raise ItemRejected(Reason.TOO_LARGE, f"{plain_name(line.name)}: {len(line.value)} bytes")
    if line.joined and fact.base64 and version != "2.1":
        repairing.use(JOIN, Reason.SYNTAX, f"{plain_name(line.name)}: goes on without a fold")
    if version != "2.1" and not fact.odd:
        _check_utf8(line.value, fact)
        return fact, line.value
    return _decoded(line, version, repairing)


def _check_utf8(value: bytes, fact: Fact) -> None:
    try:
        if not value.isascii():
            value.decode()
        if not fact.head.isascii():
            fact.head.decode()
    except UnicodeDecodeError:
        raise ItemRejected(Reason.ENCODING, f"{plain_name(fact.name)}: not UTF-8") from None


class _Head(Struct, frozen=True):
    """What an old head says, and the head to write in its place."""

    name: str
    fact: Fact
    printable: bool
    charset: str
    bare: bool
    """A parameter stands there without a name."""
    base64_text: bool
    """A text in base64: it is written plain."""

    def text(self, value: bytes) -> bytes:
        """A value, or a part of it, with its encoding and its charset undone."""
        if self.printable:
            value = binascii.a2b_qp(value)
        if self.charset or not value.isascii():
            value = _to_utf8(value, self.charset, self.name)
        return _LINE_BREAK.sub(b"\n", value) if b"\r" in value else value


def _decoded(line: Line, version: str, repairing: Repairing) -> Property:
    old = version == "2.1"
    translate = _translated if len(line.head) <= _LONGEST_KEPT_HEAD else _translated.__wrapped__
    head = translate(line.name, line.params, line.group, old)
    name = head.name
    if not old:
        if head.bare:
            repairing.use(NAME_PARAMETERS, Reason.SYNTAX, f"{name}: parameter without a name")
        if head.printable:
            repairing.use(DECODE_PRINTABLE, Reason.SYNTAX, f"{name}: quoted-printable")
        if head.charset not in {"", "UTF-8"}:
            repairing.use(DECODE_CHARSET, Reason.ENCODING, f"{name}: another charset")
    _check_utf8(b"", head.fact)
    if not old:
        return head.fact, _new_value(line.value, head.text)
    value = _text_in_base64(line.value, name) if head.base64_text else line.value
    return head.fact, _old_value(head.fact, value, head.text)


@lru_cache(maxsize=4096)
def _translated(name: str, params: Params, group: str, old: bool) -> _Head:  # noqa: FBT001 # cached by position
    encoding, charset, bare, others = _sorted_params(params)
    fact = fact_of(name, others, group)
    base64_text = False
    if encoding in {"B", "BASE64"}:
        base64_text = old and fact.kind in {Kind.TEXT, Kind.LIST, Kind.FIELDS}
        if not base64_text:
            fact = fact_of(name, (*others, ("ENCODING", ("b",))), group)
    return _Head(
        name=plain_name(name),
        fact=fact,
        printable=encoding == "QUOTED-PRINTABLE",
        charset=charset,
        bare=bare,
        base64_text=base64_text,
    )


def _text_in_base64(value: bytes, name: str) -> bytes:
    """In vCard 2.1 any value may be in base64, not only pictures."""
    try:
        return from_base64(value)
    except ValueError:
        raise ItemRejected(Reason.VALUE, f"{name}: base64 is damaged") from None


def _sorted_params(params: Params) -> tuple[str, str, bool, Params]:
    """Encoding, charset, whether any stands bare, and the others with their names."""
    encoding = charset = ""
    bare = False
    types: list[str] = []
    others: list[tuple[str, tuple[str, ...]]] = []
    for name, values in params:
        if not values:
            bare = True
            if name in _ENCODINGS:
                encoding = name
            elif name:
                types.append(name)
        elif name == "ENCODING":
            encoding = values[0].upper()
        elif name == "CHARSET":
            charset = values[0].upper()
        elif name == "TYPE":
            types.extend(values)
        elif name == "VALUE" and values[0].upper() == "URL":
            others.append(("VALUE", ("uri",)))
        elif name != "VALUE" or values[0].upper() != "INLINE":
            others.append((name, values))
    named = (("TYPE", tuple(types)),) if types else ()
    return encoding, charset, bare, (*named, *others)


def _to_utf8(value: bytes, charset: str, name: str) -> bytes:
    try:
        return value.decode(charset or "UTF-8").encode()
    except (LookupError, ValueError):
        which = "its charset" if charset else "UTF-8"
        raise ItemRejected(Reason.ENCODING, f"{name}: not {which}") from None


# Values ----------------------------------------------------------------------------------------


def _new_value(value: bytes, text: Callable[[bytes], bytes]) -> bytes:
    """A 3.0 or 4.0 value with an old encoding: what it holds is escaped already."""
    return text(value).replace(b"\n", b"\\n")


def _old_value(fact: Fact, value: bytes, text: Callable[[bytes], bytes]) -> bytes:
    match fact.kind:
        case Kind.FIELDS:
            if b"\\" not in value:
                return b";".join([escape(text(part)) for part in value.split(b";")])
            parts = _OLD_FIELD.findall(b";" + value)
            return b";".join(escape(_OLD_ESCAPE.sub(rb"\1", text(part))) for part in parts)
        case Kind.LIST:
            return b",".join(
                escape(_OLD_ESCAPE.sub(rb"\1", part)) for part in text(value).split(b",")
            )
        case Kind.TEXT:
            return escape(_OLD_ESCAPE.sub(rb"\1", text(value)))
        case Kind.BINARY | Kind.FREE if fact.base64:
            return b"".join(value.split())
        case Kind.PLACE:
            return _OLD_PLACE.sub(rb"\1;\2", text(value))
        case Kind.FREE:
            # Of unknown structure: commas and semicolons stay, what could be read as escapes goes.
            meant = re.sub(rb"\\(?![;,:])", rb"\\\\", text(value))
            return meant.replace(b"\n", b"\\n")
        case _:
            return text(value).strip().replace(b"\n", b"\\n")
