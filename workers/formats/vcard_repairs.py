"""The repairs of cards: what each may do, and doing it. One at a time, each by its name.

A repair that is not switched on is not done: the card is rejected, and the detail names the
repair that would help.
"""

import re
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.content_lines import escape, fields, unescape
from workers.formats.mojibake import unmixed
from workers.formats.vcard import CONTROLS, Property, has_controls
from workers.formats.vcard_properties import FN, ONCE, VERSION, Fact, Kind, N, fact_of, plain_name
from workers.formats.vcard_properties import UID as UID_BIT

CONVERT: Final = "convert-2.1"
NAME_PARAMETERS: Final = "name-parameters"
DECODE_PRINTABLE: Final = "decode-quoted-printable"
DECODE_CHARSET: Final = "decode-charset"
JOIN: Final = "join-continuations"
RENAME: Final = "rename-properties"
MOJIBAKE: Final = "fix-mojibake"
KEEP_ONE: Final = "keep-one"
ESCAPE: Final = "escape-text"
PLAIN: Final = "drop-needless-escapes"
ASIDE: Final = "set-dates-aside"
EMPTY_TIME: Final = "empty-impossible-time"
DERIVE_FN: Final = "derive-fn"
DERIVE_N: Final = "derive-n"
DERIVE_UID: Final = "derive-uid"
DROP_BINARY: Final = "drop-damaged-media"
DROP_CONTROLS: Final = "drop-control-characters"

REPAIRS: Final = {
    CONVERT: "writes a vCard 2.1 as 3.0: encodings and charsets undone, parameters named",
    NAME_PARAMETERS: "names parameters that stand bare in a 3.0 or 4.0 card: TEL;WORK",
    DECODE_PRINTABLE: "undoes quoted-printable in a 3.0 or 4.0 card",
    DECODE_CHARSET: "turns text of a declared charset into UTF-8",
    JOIN: "joins values that go on in the next line without a fold",
    RENAME: "puts hyphens for characters that names of X- properties may not have",
    MOJIBAKE: "sets text right that was read in the wrong charset, where that is beyond doubt",
    KEEP_ONE: "keeps one of several BDAY, REV and the like; others become X- properties",
    ESCAPE: "escapes bare commas and semicolons of single texts",
    PLAIN: "writes escaped colons and quotes plain; some servers double their backslash",
    ASIDE: "keeps what is no date as text, or as an X- property where text is not allowed",
    EMPTY_TIME: "leaves out a REV from before the service began or after the loss",
    DERIVE_FN: "makes a missing FN of N, ORG, NICKNAME, EMAIL or TEL",
    DERIVE_N: "makes a missing N of FN",
    DERIVE_UID: "writes a UID made of user, category and content where there is none",
    DROP_BINARY: "leaves out a photo, logo, sound or key that is damaged",
    DROP_CONTROLS: "leaves out control characters",
}
LOSSY: Final = frozenset({DROP_BINARY, DROP_CONTROLS})

_ESCAPED_OR_BARE: Final = re.compile(rb"\\.|[,;]", re.DOTALL)
_ANY_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_FEWEST_FIXED: Final = 2
"""One strange character may be meant; two that agree are not."""


class Repairing:
    """What may be done to one card, and what was done."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.applied: list[str] = []
        self.degraded: list[str] = []

    def use(self, repair: str, reason: Reason, detail: str) -> None:
        """Go on only where the repair is switched on.

        Raises:
            ItemRejected: it is not; for that reason, with that detail.
        """
        if repair not in self.allowed:
            raise ItemRejected(reason, f"{detail}; the repair {repair} would help")
        if repair not in self.applied:
            self.applied.append(repair)

    def degrade(self, field: str) -> None:
        """Note that a field is missing now."""
        if field not in self.degraded:
            self.degraded.append(field)


def repaired(properties: list[Property], version: str, repairing: Repairing) -> list[Property]:
    """The properties with everything done that does not need the card's time or pictures.

    Raises:
        ItemRejected: something is wrong that no repair that is switched on sets right.
    """
    properties = _without_controls(properties, repairing)
    properties = _renamed(properties, repairing)
    properties = _unmixed(properties, repairing)
    properties = _plain(properties, repairing)
    properties = _kept_one(properties, version, repairing)
    properties = [_checked(fact, value, version, repairing) for fact, value in properties]
    properties = _named(properties, repairing)
    return _structured_name(properties, version, repairing)


def _without_controls(properties: list[Property], repairing: Repairing) -> list[Property]:
    if not any(has_controls(value) or has_controls(fact.head) for fact, value in properties):
        return properties
    kept: list[Property] = []
    for fact, value in properties:
        if has_controls(fact.head):
            detail = f"{plain_name(fact.name)}: control character before the colon"
            raise ItemRejected(Reason.CONTROL_CHARACTER, detail)
        if has_controls(value):
            repairing.use(DROP_CONTROLS, Reason.CONTROL_CHARACTER, plain_name(fact.name))
            repairing.degrade(plain_name(fact.name))
        kept.append((fact, value.translate(None, CONTROLS)))
    return kept


def _renamed(properties: list[Property], repairing: Repairing) -> list[Property]:
    kept: list[Property] = []
    for fact, value in properties:
        name = plain_name(fact.name)
        if name == fact.name:
            kept.append((fact, value))
            continue
        repairing.use(RENAME, Reason.SYNTAX, "a name with characters that none may have")
        kept.append((fact_of(name, fact.params, fact.group), value))
    return kept


def _unmixed(properties: list[Property], repairing: Repairing) -> list[Property]:
    """All texts of a card went the same way, so what they tell is added up."""
    fixed: dict[int, bytes] = {}
    characters = 0
    for place, (fact, value) in enumerate(properties):
        if fact.kind in {Kind.TEXT, Kind.LIST, Kind.FIELDS, Kind.FREE}:
            meant, count = unmixed(value)
            if count:
                fixed[place] = meant
                characters += count
    if characters < _FEWEST_FIXED:
        return properties
    repairing.use(MOJIBAKE, Reason.ENCODING, "text was read in the wrong charset")
    return [(fact, fixed.get(place, value)) for place, (fact, value) in enumerate(properties)]


def _plain(properties: list[Property], repairing: Repairing) -> list[Property]:
    """Means the same by RFC 2426 §5, so it is no damage where the repair is switched off."""
    if PLAIN not in repairing.allowed:
        return properties
    kept: list[Property] = []
    for fact, value in properties:
        if has_needless_escapes(value):
            plain = _ANY_ESCAPE.sub(_plain_escape, value)
            if plain != value:
                repairing.use(PLAIN, Reason.SYNTAX, fact.name)
                kept.append((fact, plain))
                continue
        kept.append((fact, value))
    return kept


def has_needless_escapes(data: bytes) -> bool:
    """Whether a backslash stands before a colon or a quote."""
    return b"\\:" in data or b'\\"' in data


def _plain_escape(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return found[1:] if found[1:] in {b":", b'"'} else found


def _kept_one(properties: list[Property], version: str, repairing: Repairing) -> list[Property]:
    kept: list[Property] = []
    places: dict[int, int] = {}
    for fact, value in properties:
        place = places.setdefault(fact.bit, len(kept)) if fact.name in ONCE else len(kept)
        if place == len(kept) or (version == "4.0" and _alternatives(kept[place][0], fact)):
            kept.append((fact, value))
            continue
        first_fact, first = kept[place]
        same = unescape(first).strip() == unescape(value).strip()
        if not same and fact.bit in {VERSION, N, UID_BIT}:
            raise ItemRejected(Reason.STRUCTURE, f"{fact.name} twice, and they differ")
        repairing.use(KEEP_ONE, Reason.STRUCTURE, f"{fact.name} twice")
        if same:
            continue
        if fact.name == "REV" and _comparable(value) > _comparable(first):
            kept[place] = (fact, value)
            fact, value = first_fact, first  # noqa: PLW2901 # the older one is set aside
        kept.append((aside(fact), value))
    return kept


def _alternatives(one: Fact, other: Fact) -> bool:
    """4.0 may say one thing in several ways, under one ALTID (RFC 6350 §5.4)."""
    first, second = (
        next((values for name, values in fact.params if name == "ALTID"), None)
        for fact in (one, other)
    )
    return first is not None and first == second


def _comparable(value: bytes) -> bytes:
    return value.translate(None, b"-: ")


def aside(fact: Fact) -> Fact:
    """Where a value is kept that its own property cannot hold."""
    return fact_of(f"X-{fact.name}", fact.params, fact.group)


def _checked(fact: Fact, value: bytes, version: str, repairing: Repairing) -> Property:
    if fact.check is None or fact.check(value) is not None:
        return fact, value
    match fact.kind:
        case Kind.TEXT:
            repairing.use(ESCAPE, Reason.SYNTAX, f"{fact.name}: bare comma or semicolon")
            return fact, _ESCAPED_OR_BARE.sub(_escaped, value)
        case Kind.FIELDS:
            number = len(fields(value, b";"))
            raise ItemRejected(Reason.VALUE, f"{fact.name}: {number} fields")
        case Kind.DATE:
            repairing.use(ASIDE, Reason.VALUE, f"{fact.name}: no date")
            text = _ESCAPED_OR_BARE.sub(_escaped, value)
            if version == "4.0":
                others = tuple(pair for pair in fact.params if pair[0] != "VALUE")
                return fact_of(fact.name, (*others, ("VALUE", ("text",))), fact.group), text
            return aside(fact), text
        case _:
            return fact, value


def _escaped(match: re.Match[bytes]) -> bytes:
    found = match[0]
    return b"\\" + found if len(found) == 1 else found


def _named(properties: list[Property], repairing: Repairing) -> list[Property]:
    """FN at least once, and not empty."""
    if any(fact.bit == FN and value.strip() for fact, value in properties):
        return properties
    name = _derived_name(properties)
    if not name:
        raise ItemRejected(Reason.STRUCTURE, "no FN, and nothing to make one of")
    repairing.use(DERIVE_FN, Reason.STRUCTURE, "no FN")
    kept = [(fact, value) for fact, value in properties if fact.bit != FN]
    place = next((at + 1 for at, (fact, _) in enumerate(kept) if fact.bit == VERSION), 0)
    return [*kept[:place], (fact_of("FN"), escape(name)), *kept[place:]]


def _derived_name(properties: list[Property]) -> bytes:
    """From the name's parts, or else from what a client would show in its place."""
    values: dict[str, bytes] = {}
    for fact, value in properties:
        if value.strip(b"; "):
            values.setdefault(fact.name, value)
    family, given, additional, prefix, suffix, *_ = (
        *map(_one_text, fields(values.get("N", b""), b";")),
        *[b""] * 5,
    )
    full = b" ".join(filter(None, (prefix, given, additional, family, suffix)))
    candidates = (
        full,
        _one_text(fields(values.get("ORG", b""), b";")[0]),
        _one_text(fields(values.get("NICKNAME", b""), b",")[0]),
        _one_text(values.get("EMAIL", b"")),
        _one_text(values.get("TEL", b"")),
    )
    return next(filter(None, candidates), b"")


def _one_text(value: bytes) -> bytes:
    """The parts of a field as one text in one line."""
    return b" ".join(b" ".join(map(unescape, fields(value, b","))).split())


def _structured_name(
    properties: list[Property], version: str, repairing: Repairing
) -> list[Property]:
    """3.0 demands N. Which word of a name is the family name cannot be known: none is."""
    if version != "3.0" or any(fact.bit == N for fact, _ in properties):
        return properties
    repairing.use(DERIVE_N, Reason.STRUCTURE, "no N")
    kept: list[Property] = []
    for fact, value in properties:
        kept.append((fact, value))
        if fact.bit == FN and not any(fact.bit == N for fact, _ in kept):
            kept.append((fact_of("N"), escape(unescape(value)) + b";;;;"))
    return kept
