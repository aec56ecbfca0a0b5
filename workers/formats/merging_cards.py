"""Two cards of one person as one: which properties are the same, and where what loses is kept.

Numbers are the same however they are punctuated, addresses of mail in any case. A property with
its labels (`item1.TEL` and `item1.X-ABLabel`) is one value. What may stand once, and loses, stays
as an X- property; notes become one text.
"""

import re
from base64 import b64encode
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from orchestrator.items import Side
from orchestrator.ports import Origins
from workers.formats.components import Component, components
from workers.formats.content_lines import Blank, Params, escape, fields, unescape, write_params
from workers.formats.merging import Value, together, within
from workers.formats.vcard import Card, Property, sound, with_crlf
from workers.formats.vcard_properties import (
    BOOKKEEPING,
    FN,
    Fact,
    Kind,
    N,
    fact_of,
    fact_of_head,
    plain_name,
)
from workers.formats.vcard_reading import live_card, moment
from workers.formats.vcard_repairs import aside
from workers.formats.vcard_values import from_base64, from_data_uri

SINGLE: Final = frozenset(
    {"FN", "N", "BDAY", "ANNIVERSARY", "GENDER", "KIND", "DEATHDATE", "BIRTHPLACE", "DEATHPLACE"}
)
"""What clients show one of, whatever the grammar allows."""

_PUNCTUATION: Final = re.compile(rb"[\s().\-/]+")
_MEDIA_TYPE: Final = re.compile(rb"data:([^;,]*)", re.IGNORECASE)

Lines = tuple[Property, ...]


def card_of(content: bytes) -> Card | None:
    """The one card that a content is; None where it is none."""
    lined = with_crlf(content)
    found = sound(lined) if lined is not None else None
    if found is not None:
        return Card(version=found.version.decode(), properties=found.properties)
    tops = [top for top in components(content) if not isinstance(top, Blank)]
    if len(tops) != 1 or not isinstance(tops[0], Component) or tops[0].name != "VCARD":
        return None
    return live_card(tops[0], content)


def merged_card(
    live: Card, recovered: Card, base: Card | None, *, wins: Side
) -> tuple[Card, Origins]:
    """Both as one card: of the live one's version, UID and order."""
    cards = [live, recovered, *([base] if base is not None else [])]
    one_note = all(len(card.values("NOTE")) <= 1 for card in cards)
    read = partial(_values, one_note=one_note)
    ours = _in_version(recovered.properties, live.version)
    known = {fact.group.lower() for fact, _ in live.properties if fact.group}
    values, origins = together(
        [*_bookkeeping(live), *read(live.properties)],
        [value for value in read(_renamed(ours, known)) if value.key],
        list(read(base.properties)) if base is not None else (),
        wins=wins,
        form=_FORM,
    )
    properties = _newest(list(_in_lines(values)), recovered)
    return Card(version=live.version, properties=_named(properties, live.version)), origins


def _named(properties: list[Property], version: str) -> list[Property]:
    """3.0 demands N, which the side that wins may not have: it repeats FN then."""
    if version != "3.0" or any(fact.bit == N for fact, _ in properties):
        return properties
    place = next((at for at, (fact, _) in enumerate(properties, 1) if fact.bit == FN), 0)
    name = escape(unescape(properties[place - 1][1])) + b";;;;"
    return [*properties[:place], (fact_of("N"), name), *properties[place:]]


def _bookkeeping(card: Card) -> Iterator[Value[Lines]]:
    """What says which record it is stays the live card's."""
    for fact, value in card.properties:
        if fact.name in BOOKKEEPING:
            yield Value(field=f"\0{fact.name}", key=value, holds=((fact, value),))


def _newest(properties: list[Property], recovered: Card) -> list[Property]:
    """The later REV of both."""
    theirs = recovered.first("REV")
    at = moment(theirs)
    if at is None:
        return properties
    for number, (fact, value) in enumerate(properties):
        if fact.name == "REV":
            before = moment(value)
            newer = before is None or at > before
            kept = theirs if newer else value
            return [*properties[:number], (fact, kept), *properties[number + 1 :]]
    return properties


# Values ----------------------------------------------------------------------------------------


def _values(properties: Sequence[Property], *, one_note: bool) -> list[Value[Lines]]:
    """The values of a card in order, each where its first line stands."""
    singles: dict[str, list[Property]] = {}
    groups: dict[str, list[Property]] = {}
    for each in properties:
        fact = each[0]
        if fact.name in SINGLE:
            singles.setdefault(_field(fact), []).append(each)
        elif fact.group:
            groups.setdefault(fact.group.lower(), []).append(each)
    names = {_meaning(*each) for each in singles.get("FN", ()) if each[0].bit == FN}
    found: list[Value[Lines]] = []
    for fact, value in properties:
        if fact.name in BOOKKEEPING:
            continue
        if fact.name in SINGLE:
            lines = singles.pop(_field(fact), None)
            if lines is not None:
                found.append(_single(_field(fact), lines, names))
        elif fact.group:
            lines = groups.pop(fact.group.lower(), None)
            if lines is not None:
                found.append(_labelled(lines))
        elif fact.kind is Kind.LIST:
            found += [_plain((fact, part)) for part in fields(value, b",") if part.strip()]
        elif fact.name == "NOTE" and one_note:
            found.append(_single(fact.name, [(fact, value)]))
        else:
            found.append(_plain((fact, value)))
    return found


def _field(fact: Fact) -> str:
    """Both names are one value, or one side's FN would come with the other's N."""
    return "FN" if fact.bit == N else fact.name


def _single(name: str, lines: Sequence[Property], names: Container[bytes] = ()) -> Value[Lines]:
    """All lines of a property; an N that repeats one of the `names` says nothing."""
    meant = [(fact, _meaning(fact, value)) for fact, value in lines]
    says = frozenset(
        fact.canonical + said
        for fact, said in meant
        if said and not (fact.bit == N and said in names)
    )
    key = b"\x00".join(sorted(says))
    return Value(field=name, key=key, says=says, single=True, holds=tuple(lines))


def _plain(line: Property, labels: Sequence[Property] = ()) -> Value[Lines]:
    """A property that may stand several times, with what labels it."""
    fact, value = line
    types, others = _parameters(fact)
    said = _comparable(fact, value)
    named = (b"\x03" + each.canonical + _meaning(each, label) for each, label in labels)
    return Value(
        field=plain_name(fact.name),
        key=said and b"\x01".join([*sorted(others), said]),
        says=frozenset([*types, *named]),
        holds=(line, *labels),
    )


def _labelled(lines: Sequence[Property]) -> Value[Lines]:
    """A group: one property and its labels, or several that belong together."""
    anchors = [line for line in lines if not line[0].name.startswith("X-")]
    if len(anchors) == 1 and anchors[0][0].kind is not Kind.LIST:
        return _plain(anchors[0], [line for line in lines if line is not anchors[0]])
    key = b"\x02".join(sorted(fact.canonical + _meaning(fact, value) for fact, value in lines))
    return Value(field=plain_name((anchors or lines)[0][0].name), key=key, holds=tuple(lines))


def _meaning(fact: Fact, value: bytes) -> bytes:
    return fact.meaning(value) if fact.meaning is not None else unescape(value)


def _comparable(fact: Fact, value: bytes) -> bytes:
    """What makes two values of a property the same one; empty where it says nothing."""
    said = _meaning(fact, value)
    match fact.name:
        case "TEL":
            return _PUNCTUATION.sub(b"", said).lower() or said
        case "EMAIL":
            return said.strip().lower()
        case _:
            return said


def _parameters(fact: Fact) -> tuple[list[bytes], list[bytes]]:
    """The kinds that a head names, and its other parameters but for its rank among its like."""
    said = fact.canonical.removesuffix(b"\x01\x01").split(b"\x01")[1:]
    types = [each for each in said if b"=" not in each]
    return types, [each for each in said if b"=" in each and not each.startswith(b"PREF=")]


# Writing ---------------------------------------------------------------------------------------


class _CardForm(Struct, frozen=True):
    """How a card holds two values."""

    def joined(self, value: Value[Lines], other: Value[Lines]) -> Value[Lines]:
        """The property with the other's kinds and labels."""
        (fact, said), *labels = value.holds
        (other_fact, _), *other_labels = other.holds
        known = {_label(line) for line in labels}
        labels += [line for line in other_labels if _label(line) not in known]
        group = fact.group or (other_fact.group if labels else "")
        if not group and labels:
            group = labels[0][0].group
        params = fact.params
        missing = [
            kind
            for name, kinds in other_fact.params
            if name == "TYPE"
            for kind in kinds
            if kind.lower().encode() in other.says - value.says
        ]
        if b"pref" in other.says - value.says and not any(
            kind.lower() == "pref" for kind in missing
        ):
            missing.append("pref")
        if missing:
            params = (*params, ("TYPE", tuple(missing)))
        lines = [(_head(fact, params, group), said)]
        lines += [(_head(each, each.params, group), label) for each, label in labels]
        return Value(
            field=value.field, key=value.key, says=value.says | other.says, holds=tuple(lines)
        )

    def both(self, value: Value[Lines], other: Value[Lines]) -> Value[Lines] | None:
        """Notes are one text."""
        if value.field != "NOTE" or not value.key or not other.key:
            return None
        ((fact, first),), ((_, second),) = value.holds, other.holds
        if within(_text(second), _text(first)):
            return value
        if within(_text(first), _text(second)):
            return other
        text = f"{_text(first).rstrip()}\n\n{_text(second).lstrip()}"
        return _single("NOTE", [(fact, escape(text.encode("utf-8", "surrogateescape")))])

    def aside(self, value: Value[Lines]) -> Iterable[Value[Lines]]:
        """Under the name with X-, as a repair keeps a second BDAY."""
        return [_plain((aside(fact), said)) for fact, said in value.holds if _meaning(fact, said)]


_FORM: Final = _CardForm()


def _head(fact: Fact, params: Params, group: str) -> Fact:
    """The same property in another group or with other parameters, spelled as it was."""
    name = fact.head.partition(b";")[0].rpartition(b".")[2]
    prefix = group.encode() + b"." if group else b""
    return fact_of_head(prefix + name + write_params(params)) or fact


def _label(line: Property) -> bytes:
    return line[0].canonical + _meaning(*line)


def _text(value: bytes) -> str:
    return unescape(value).decode("utf-8", "surrogateescape")


def _in_lines(values: Iterable[Value[Lines]]) -> Iterator[Property]:
    """Properties; neighbours that are parts of one list are one line."""
    pending: Property | None = None
    for value in values:
        for fact, said in value.holds:
            if fact.kind is not Kind.LIST or fact.group:
                if pending is not None:
                    yield pending
                    pending = None
                yield fact, said
            elif pending is not None and pending[0].canonical == fact.canonical:
                pending = pending[0], pending[1] + b"," + said
            else:
                if pending is not None:
                    yield pending
                pending = fact, said
    if pending is not None:
        yield pending


def _renamed(properties: Sequence[Property], taken: set[str]) -> list[Property]:
    """The same with other names for groups that are taken."""
    names: dict[str, str] = {}
    used = taken | {fact.group.lower() for fact, _ in properties}
    numbers = (
        name
        for number in range(1, len(used) + 2 * len(properties) + 2)
        if (name := f"item{number}") not in used
    )
    kept: list[Property] = []
    for fact, value in properties:
        group = fact.group.lower()
        if not group or group not in taken:
            kept.append((fact, value))
            continue
        if group not in names:
            names[group] = next(numbers)
        kept.append((_head(fact, fact.params, names[group]), value))
    return kept


def _in_version(properties: Sequence[Property], version: str) -> list[Property]:
    """Pictures and the like as the version writes them: base64 in 3.0, data URIs in 4.0."""
    return [
        _medium(fact, value, version) if fact.kind is Kind.BINARY else (fact, value)
        for fact, value in properties
    ]


def _medium(fact: Fact, value: bytes, version: str) -> Property:
    others = tuple(pair for pair in fact.params if pair[0] not in {"ENCODING", "TYPE", "VALUE"})
    try:
        if version == "4.0" and fact.base64:
            data = from_base64(value)
            kinds = [kind for name, kinds in fact.params if name == "TYPE" for kind in kinds]
            kind = next((kind.lower() for kind in kinds if kind.lower() != "pref"), "")
            pref = (("PREF", ("1",)),) if len(kinds) > bool(kind) else ()
            sort = {"PHOTO": "image", "LOGO": "image", "SOUND": "audio"}.get(fact.name)
            mime = kind if "/" in kind else f"{sort}/{kind}" if sort and kind else ""
            head = fact_of(fact.name, (*others, *pref), fact.group)
            return head, f"data:{mime};base64,".encode() + b64encode(data)
        meant = unescape(value)
        data = from_data_uri(meant) if version == "3.0" and not fact.base64 else None
    except ValueError:
        return fact, value
    if data is None:
        return fact, value
    named = _MEDIA_TYPE.match(meant)
    kind = named[1].decode("ascii", "replace").rpartition("/")[2].upper() if named else ""
    kinds = (("TYPE", (kind,)),) if kind.isalnum() else ()
    head = fact_of(fact.name, (*others, ("ENCODING", ("b",)), *kinds), fact.group)
    return head, b64encode(data)
