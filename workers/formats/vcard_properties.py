"""What each property of a vCard is: type of its value, how often it may stand, what its head says.

Knows RFC 6350, RFC 6474 (BIRTHPLACE …), RFC 9554 (more fields of N and ADR), RFC 2426. What a
value says is the business of `workers.formats.vcard_values`.
"""

from enum import IntEnum
from typing import Final

from msgspec import Struct

from workers.formats import vcard_values as values_of
from workers.formats.content_lines import Line, Params, lex, write_params
from workers.formats.vcard_values import Check, Meaning


class Kind(IntEnum):
    """How a value is written, and what makes two of them equal."""

    TEXT = 1
    """One text: commas and semicolons are escaped."""
    LIST = 2
    """Texts between commas."""
    FIELDS = 3
    """Lists between semicolons."""
    DATE = 4
    MOMENT = 5
    URI = 6
    BINARY = 7
    """Base64, or a URI of it or to it."""
    PLACE = 8
    """Latitude and longitude."""
    FREE = 9
    """Of no type that we know: kept verbatim."""


class Fact(Struct, frozen=True, gc=False):
    """Everything that a head (what stands before the colon) says, worked out once."""

    head: bytes
    """As it is written."""
    name: str
    """In upper case."""
    group: str
    """As written."""
    params: Params
    kind: Kind
    canonical: bytes
    """Name and parameters by meaning; empty where the property says nothing of the content."""
    bit: int
    """Marks the property among those that are counted."""
    check: Check | None
    """Gives None for a value that needs a closer look; no check: any value will do."""
    meaning: Meaning | None
    """Gives the canonical value; None: the unescaped text is it."""
    base64: bool
    """The value is declared to be base64."""
    odd: bool
    """The head or value needs more than a plain reading: old encodings, charsets, bad names."""


FN: Final = 1
N: Final = 2
VERSION: Final = 4
UID: Final = 8
REV: Final = 16
ONCE: Final = {
    "VERSION": VERSION,
    "N": N,
    "UID": UID,
    "REV": REV,
    "BDAY": 32,
    "ANNIVERSARY": 64,
    "GENDER": 128,
    "KIND": 256,
    "PRODID": 512,
}
"""The bit of each property that a card may have once at most (RFC 6350 §6, cardinality)."""

BOOKKEEPING: Final = frozenset({"VERSION", "UID", "REV", "PRODID", "PROFILE"})
"""Says what the record is, not what it is about."""

_FIELDS: Final = {
    # The numbers of RFC 9554 are for 4.0, but nothing else could be meant in 3.0.
    "N": values_of.fields_pattern(5, 7),
    "ADR": values_of.fields_pattern(7, 18),
    "GENDER": values_of.fields_pattern(2),
    "CLIENTPIDMAP": values_of.fields_pattern(2),
}

_NAMES: Final = {
    Kind.TEXT: "FN NOTE TITLE ROLE LABEL MAILER SORT-STRING NAME PROFILE CLASS KIND PRODID TZ EMAIL"
    " TEL LANG BIRTHPLACE DEATHPLACE EXPERTISE HOBBY INTEREST GRAMGENDER PRONOUNS VERSION"
    # Extensions that are known to hold one text.
    " X-ABADR X-ABLABEL X-ABRELATEDNAMES X-ABSHOWAS X-MAIDENNAME X-SPOUSE X-MANAGER X-ASSISTANT"
    " X-PHONETIC-FIRST-NAME X-PHONETIC-MIDDLE-NAME X-PHONETIC-LAST-NAME X-PHONETIC-ORG"
    " X-MS-MANAGER X-MS-ASSISTANT X-MS-SPOUSE X-MS-CHILD X-EVOLUTION-FILE-AS X-EVOLUTION-SPOUSE"
    " X-EVOLUTION-MANAGER X-EVOLUTION-ASSISTANT",
    Kind.LIST: "NICKNAME CATEGORIES",
    Kind.FIELDS: "N ADR ORG GENDER CLIENTPIDMAP",
    Kind.DATE: "BDAY ANNIVERSARY DEATHDATE",
    Kind.MOMENT: "REV CREATED",
    Kind.URI: "URL SOURCE IMPP MEMBER RELATED FBURL CALURI CALADRURI UID ORG-DIRECTORY CONTACT-URI"
    " SOCIALPROFILE",
    Kind.BINARY: "PHOTO LOGO SOUND KEY",
    Kind.PLACE: "GEO",
}
_KINDS: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}

_MEANINGS: Final[dict[Kind, Meaning]] = {
    Kind.FIELDS: values_of.fields_meaning,
    Kind.LIST: values_of.list_meaning,
    Kind.DATE: values_of.date_meaning,
    Kind.MOMENT: values_of.date_meaning,
    Kind.PLACE: values_of.place_meaning,
    Kind.BINARY: values_of.link_meaning,
}
_MEANINGS_BY_NAME: Final[dict[str, Meaning]] = {
    "TEL": values_of.telephone_meaning,
    "KIND": values_of.kind_meaning,
    "GENDER": values_of.coded_meaning,
    "CLIENTPIDMAP": values_of.coded_meaning,
}

_ENCODINGS: Final = frozenset({"BASE64", "B", "QUOTED-PRINTABLE", "8BIT", "7BIT"})
_BASE64: Final = frozenset({"BASE64", "B"})
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_SAYS_HOW: Final = frozenset({"VALUE", "ENCODING", "CHARSET", "MEDIATYPE"})
# What a type adds where nothing else is meant: RFC 2426 §3.3.1 and §3.3.2, RFC 6350 §6.4.1.
_DEFAULT_TYPES: Final = {"EMAIL": frozenset({"internet"}), "TEL": frozenset({"voice"})}

_MOST_FACTS: Final = 4096
_LONGEST_KEPT_HEAD: Final = 256
_facts: dict[bytes, Fact] = {}


def known_facts() -> dict[bytes, Fact]:
    """The facts that were worked out so far, by head: for the hot path, which must not miss."""
    return _facts


def fact_of_head(head: bytes) -> Fact | None:
    """What a head says; None where it is no head of one property, or is a BEGIN or an END."""
    fact = _facts.get(head)
    if fact is not None:
        return fact
    match lex(head + b":"):
        case [Line() as line] if line.name not in {"BEGIN", "END"}:
            return fact_of_line(line)
        case _:
            return None


def fact_of_line(line: Line) -> Fact:
    """The same for a line that was lexed."""
    fact = _facts.get(line.head)
    if fact is None:
        fact = _kept(_worked_out(line.head, line.name, line.group, line.params))
    return fact


def _kept(fact: Fact) -> Fact:
    if len(fact.head) <= _LONGEST_KEPT_HEAD:
        if len(_facts) >= _MOST_FACTS:
            _facts.clear()
        _facts[fact.head] = fact
    return fact


def fact_of(name: str, params: Params = (), group: str = "") -> Fact:
    """A fact for a head that is written anew."""
    prefix = f"{group}.{name}" if group else name
    head = prefix.encode("utf-8", "surrogateescape") + write_params(params)
    return _facts.get(head) or _kept(_worked_out(head, name, group, params))


def plain_name(name: str) -> str:
    """The name with what the grammar does not allow (RFC 6350 §3.3) replaced by hyphens."""
    if _LETTERS.issuperset(name):
        return name
    return "".join(letter if letter in _LETTERS else "-" for letter in name)


def _worked_out(head: bytes, name: str, group: str, params: Params) -> Fact:
    values = {value.upper() for key, values in params if key == "VALUE" for value in values}
    kind = _KINDS.get(name, Kind.FREE)
    if kind is not Kind.BINARY and not values.isdisjoint({"URI", "URL"}):
        kind = Kind.URI
    elif "TEXT" in values and kind in {Kind.DATE, Kind.URI, Kind.MOMENT}:
        kind = Kind.TEXT
    base64 = _is_base64(params)
    return Fact(
        head=head,
        name=name,
        group=group,
        params=params,
        kind=kind,
        canonical=b"" if name in BOOKKEEPING else _canonical(name, params, kind),
        bit=FN if name == "FN" else ONCE.get(name, 0),
        check=_check(name, kind),
        meaning=values_of.base64_meaning
        if base64 and kind in {Kind.BINARY, Kind.FREE}
        else _MEANINGS_BY_NAME.get(name) or _MEANINGS.get(kind),
        base64=base64,
        odd=_is_odd(name, params),
    )


def _check(name: str, kind: Kind) -> Check | None:
    match kind:
        case Kind.TEXT if name == "VERSION":
            return values_of.VERSION.fullmatch
        case Kind.TEXT:
            return values_of.TEXT.fullmatch
        case Kind.DATE:
            return values_of.DATE.fullmatch
        case Kind.FIELDS if name in _FIELDS:
            return _FIELDS[name].fullmatch
        case Kind.BINARY:
            return values_of.WEB_ADDRESS.fullmatch
        case _:
            return None


def _is_base64(params: Params) -> bool:
    for key, values in params:
        if (key == "ENCODING" and values and values[0].upper() in _BASE64) or (
            not values and key in _BASE64
        ):
            return True
    return False


def _is_odd(name: str, params: Params) -> bool:
    if not _LETTERS.issuperset(name):
        return True
    for key, values in params:
        if not values or not _LETTERS.issuperset(key):
            return True
        if key == "ENCODING":
            return True
        if key == "CHARSET" and any(value.upper() != "UTF-8" for value in values):
            return True
    return False


def _canonical(name: str, params: Params, kind: Kind) -> bytes:
    """Name and parameters, insensitive to order, case and spelling of what means the same."""
    types: set[str] = set()
    others: list[str] = []
    for key, values in params:
        if not values:
            if key not in _ENCODINGS:
                types.add(key.lower())
        elif key == "TYPE":
            types.update(part for value in values for part in value.lower().split(","))
        elif key == "PREF" and values == ("1",):
            types.add("pref")
        elif key not in _SAYS_HOW:
            others.append(f"{key}={','.join(sorted(values))}")
    types -= _DEFAULT_TYPES.get(name, frozenset())
    types.discard("")
    if kind is Kind.BINARY:
        types &= {"pref"}  # the bytes say what they are
    said = (plain_name(name), *sorted(types), *sorted(others))
    return "\x01".join(said).encode("utf-8", "surrogateescape") + b"\x01\x01"
