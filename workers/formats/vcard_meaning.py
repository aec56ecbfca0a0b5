"""What a card says, apart from how it is written: the digest by which two are equal.

Equal are: any order of properties and parameters, any case of names and types, any folding, any
escaping; groups by what they hold together, not by their names; base64 and data URIs of the same
bytes; `TYPE=pref` and `PREF=1`; dates with and without hyphens; 3.0's and 4.0's GEO; telephone
numbers with and without `tel:`. Empty properties, the default KIND and an N that repeats FN
alone say nothing, and a list says the same in one line and in several. UID, REV, PRODID, PROFILE
and VERSION are no content.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from orchestrator.items import Digest
from workers.formats.content_lines import unescape
from workers.formats.vcard import Property
from workers.formats.vcard_properties import FN, Kind, N
from workers.formats.vcard_values import PART

LIST: Final = Kind.LIST


def digest_of(properties: Sequence[Property]) -> Digest:
    """SHA-256 over the canonical form."""
    entries: list[bytes] = []
    groups: dict[str, list[bytes]] = {}
    formatted = b""
    names: list[bytes] = []
    for fact, value in properties:
        canonical = fact.canonical
        if not canonical or not value:
            continue
        if fact.meaning is not None:
            value = fact.meaning(value)  # noqa: PLW2901 # the hot path
        elif b"\\" in value:
            value = unescape(value)  # noqa: PLW2901 # the hot path
        if not value:
            continue
        bit = fact.bit
        if bit == N:
            names.append(value)
            continue
        if bit == FN:
            formatted = formatted or value
        said = [canonical + value]
        if fact.kind is LIST:  # one list in several lines is the same list
            said = [canonical + part for part in value.split(PART)]
        if fact.group:
            groups.setdefault(fact.group.lower(), []).extend(said)
        else:
            entries.extend(said)
    entries.extend(b"N\x01\x01" + name for name in names if name != formatted)
    if groups:
        entries.extend(b"\x00".join(sorted(members)) for members in groups.values())
    entries.sort()
    return Digest(sha256(b"\x00\x00".join(entries)).digest())
