"""What tells that an item was typed in again: a few hashes, one of which both have in common.

Contacts: the name, however its words are ordered, cased and accented, with one number or one
address of mail. Events and tasks: the summary with the moment and the rule. Nothing else tells:
two notes or two tasks without a date may have one title and be two.
"""

import re
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from workers.formats.content_lines import unescape
from workers.formats.vcard import Card

_WORD: Final = re.compile(r"\w+")
_NO_DIGIT: Final = re.compile(r"\D+")
_FEWEST_DIGITS: Final = 5
_COUNTED_DIGITS: Final = 9
"""From the end: the country's prefix, and the zero in its place, are written or left out."""


def of_card(card: Card) -> frozenset[bytes]:
    """Of a person: empty where there is no name, or neither number nor address."""
    reached = {_digits(_plain(value)) for value in card.values("TEL")}
    reached |= {_plain(value).strip().casefold() for value in card.values("EMAIL")}
    reached.discard("")
    names = {words(_plain(value)) for value in card.values("FN")} - {""}
    return frozenset(hashed(name, way) for name in names for way in reached)


def words(text: str) -> str:
    """The words of a name or title in one order, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return " ".join(sorted(_WORD.findall(bare)))


def hashed(*parts: str) -> bytes:
    """One short hash of texts: what a scene keeps of a live item."""
    joined: Iterable[bytes] = (part.encode("utf-8", "surrogatepass") for part in parts)
    return sha256(b"\0".join(joined)).digest()[:16]


def _digits(number: str) -> str:
    found = _NO_DIGIT.sub("", number)
    return found[-_COUNTED_DIGITS:] if len(found) >= _FEWEST_DIGITS else ""


def _plain(value: bytes) -> str:
    return unescape(value).decode("utf-8", "replace")
