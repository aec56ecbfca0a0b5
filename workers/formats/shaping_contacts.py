"""A contact as the vCard 3.0 that address book servers take.

Knows what vobject (inside Radicale and Xandikos) does to a card: any text that is none of N, ADR,
ORG and CATEGORIES ends at its first bare comma; an escape that it does not know doubles its
backslash; ENCODING other than `b` breaks it; PROFILE is refused.
"""

import re
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import Item
from orchestrator.reasons import Reason
from workers.formats.content_lines import Line, Params, escape, fields, lex, unescape
from workers.formats.shaping_values import with_commas_escaped
from workers.formats.vcard import Card, Property, write
from workers.formats.vcard_files import live
from workers.formats.vcard_properties import FN, ONCE, Fact, Kind, N, fact_of, fact_of_line
from workers.formats.vcard_values import from_base64, from_data_uri, place_meaning

_WRITTEN_ANEW: Final = frozenset({"BEGIN", "END", "VERSION", "UID", "PROFILE"})
_ENCODED: Final = frozenset({"B", "BASE64"})
_PARTED: Final = frozenset({"N", "ADR", "ORG"})
"""Structured, and known to be so by servers."""
_LISTED: Final = frozenset({"CATEGORIES"})
"""A list in one line, and known to be so by servers."""
_PICTURE: Final = re.compile(rb"data:image/([a-z0-9.+-]+)[;,]", re.IGNORECASE)
_PLACE: Final = re.compile(rb"[+-]?[0-9.]+,[+-]?[0-9.]+")


def shaped_card(item: Item) -> bytes:
    """The contact as one vCard 3.0 under its ident.

    A card that says one thing in several ways (4.0's ALTID) stays 4.0: 3.0 has no place for it.

    Raises:
        ItemRejected: no card of this form means the same.
    """
    lines = [each for each in lex(item.content) if isinstance(each, Line)]
    facts = [(fact_of_line(line), line.value) for line in lines if line.name not in _WRITTEN_ANEW]
    once = [fact.bit for fact, _ in facts if fact.name in ONCE]
    version = "3.0" if len(set(once)) == len(once) else "4.0"
    properties: list[Property] = [
        (fact_of("VERSION"), version.encode()),
        (fact_of("UID"), escape(item.ident.encode("utf-8", "surrogateescape"))),
    ]
    for fact, value in facts:
        properties += _plain(fact, value) if version == "4.0" else _modest(fact, value)
    if not any(fact.bit == N for fact, _ in properties):
        properties += [
            (fact_of("N"), value + b";;;;") for fact, value in properties if fact.bit == FN
        ][:1]
    card = write(Card(version=version, properties=properties))
    meant = live(card)
    if meant is None or meant.digest != item.digest or unescape(meant.uid).decode() != item.ident:
        raise ItemRejected(Reason.REFUSED, "no vCard 3.0 of it means the same")
    return card


def _modest(fact: Fact, value: bytes) -> list[Property]:
    """A property as 3.0 writes it: none, one, or one for each of its values."""
    params = fact.params
    if fact.kind is Kind.BINARY and not fact.base64:
        found = _inline(fact, value)
        if found is not None:
            return [found]
    if fact.name == "TEL" and fact.kind is Kind.URI:
        number = unescape(value)
        if number[:4].lower() == b"tel:":
            number = number[4:]
        params = tuple(each for each in params if each[0] != "VALUE")
        return [(_fact(fact, params), escape(number))]
    if fact.name == "GEO":
        place = place_meaning(value)
        if _PLACE.fullmatch(place) is not None:
            params = tuple(each for each in params if each[0] != "VALUE")
            return [(_fact(fact, params), place.replace(b",", b";"))]
    return _plain(fact, value)


def _plain(fact: Fact, value: bytes) -> list[Property]:
    """The same property with nothing in it that a server reads otherwise."""
    fact = _fact(fact, fact.params)
    if fact.base64:
        return [(fact, b"".join(value.split()))]
    match fact.kind:
        case Kind.TEXT:
            return [(fact, escape(unescape(value)))]
        case Kind.LIST:
            parts = [escape(unescape(part)) for part in fields(value, b",")]
            if fact.name in _LISTED:
                return [(fact, b",".join(parts))]
            return [(fact, part) for part in parts if part] or [(fact, b"")]
        case Kind.FIELDS if fact.name in _PARTED:
            return [(fact, b";".join(map(_parts, fields(value, b";"))))]
        case Kind.PLACE:
            return [(fact, value)]
        case _:
            return [(fact, with_commas_escaped(value))]


def _parts(field: bytes) -> bytes:
    return b",".join(escape(unescape(part)) for part in fields(field, b","))


def _fact(fact: Fact, params: Params) -> Fact:
    """The head with parameters that 3.0 has, its group a name that servers can read."""
    kept: list[tuple[str, tuple[str, ...]]] = []
    for name, values in params:
        if name == "ENCODING":
            if values and values[0].upper() in _ENCODED:
                kept.append(("ENCODING", ("b",)))
        elif name == "PREF" and values == ("1",):
            kept.append(("TYPE", ("pref",)))
        elif name != "CHARSET":
            kept.append((name, values))
    group = fact.group.replace(".", "-")
    if tuple(kept) == fact.params and group == fact.group:
        return fact
    return fact_of(fact.name, tuple(kept), group)


def _inline(fact: Fact, value: bytes) -> Property | None:
    """A picture in a data URI as base64; None where it is a link."""
    meant = unescape(value)
    try:
        data = from_data_uri(meant)
    except ValueError:
        return None
    if data is None:
        return None
    picture = _PICTURE.match(meant)
    params = tuple(each for each in fact.params if each[0] not in ("VALUE", "MEDIATYPE"))
    if picture is not None and not any(name == "TYPE" for name, _ in params):
        params += (("TYPE", (picture[1].decode("ascii").upper(),)),)
    base64 = meant.partition(b",")[2]
    from_base64(base64)
    return _fact(fact, (*params, ("ENCODING", ("b",)))), b"".join(base64.split())
