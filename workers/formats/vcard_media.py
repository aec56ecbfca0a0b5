"""Photos, logos, sounds and keys inside of cards: they decode, and pictures are whole.

What a card only points to is left as it is and never fetched.
"""

import re
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.reasons import Reason
from workers.formats.content_lines import unescape
from workers.formats.vcard import Property
from workers.formats.vcard_properties import Fact, Kind
from workers.formats.vcard_repairs import DROP_BINARY, Repairing
from workers.formats.vcard_values import from_base64, from_data_uri

_PICTURES: Final = frozenset({"PHOTO", "LOGO"})
_KNOWN_FORMATS: Final = re.compile(
    r"(?:image/)?(?:jpe?g|png|gif|webp|avif|hei[cf]|tiff|bmp)", re.IGNORECASE
)
_URI: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")


def checked_media(item: Property, repairing: Repairing) -> Property | None:
    """The property where it is sound or no medium; None where it was left out.

    Raises:
        ItemRejected: it is damaged, and leaving it out is not switched on.
    """
    fact, value = item
    if not value.strip() or not (
        fact.kind is Kind.BINARY or (fact.kind is Kind.FREE and fact.base64)
    ):
        return item
    meant = unescape(value)
    try:
        data = from_base64(value) if fact.base64 else from_data_uri(meant)
    except ValueError:
        return _left_out(fact, Reason.VALUE, "base64 is damaged", repairing)
    if data is None:
        if fact.name in _PICTURES and _URI.match(meant) is None:
            return _left_out(fact, Reason.VALUE, "neither base64 nor a URI", repairing)
        return item
    if fact.name in _PICTURES and data:
        rejected = _damage(fact, data)
        if rejected is not None:
            return _left_out(fact, rejected.reason, rejected.detail, repairing)
    return (fact, b"".join(value.split())) if fact.base64 else item


def _left_out(fact: Fact, reason: Reason, detail: str, repairing: Repairing) -> None:
    repairing.use(DROP_BINARY, reason, f"{fact.name}: {detail}")
    repairing.degrade(fact.name)


def _damage(fact: Fact, data: bytes) -> ItemRejected | None:
    """What the checks of photos say. A format that they do not know is no damage."""
    from workers.formats.image_kinds import image_kind  # noqa: PLC0415 # loads decoders
    from workers.formats.images import HEAD, examine  # noqa: PLC0415 # loads decoders

    if image_kind(data[:HEAD]) is None:
        said = (value for name, values in fact.params if name == "TYPE" for value in values)
        if not any(_KNOWN_FORMATS.fullmatch(value) for value in said):
            return None
    try:
        examine(data)
    except ItemRejected as rejected:
        return rejected
    return None
