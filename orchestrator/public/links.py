"""Links by which a user reaches their own page: signed, limited in time, and nobody's name.

What a link holds is a run, a number within it, an end, and a generation; all of it means something
here only. Whoever holds a link is taken for the user, so it is a secret of theirs. It ends by its
time, with its run's keys, when its user is forgotten, or when the run begins a new generation.
"""

import base64
import binascii
import hmac
import struct

from msgspec import Struct

from orchestrator.sealing import Sealer

_VERSION = 1
_REST = struct.Struct(">IIH")
_MAC = 16
_PURPOSE = b"own-page"
LONGEST = 100
"""Characters; ours have fewer."""


class Link(Struct, frozen=True, kw_only=True):
    """What a link says; `expires` in seconds since the epoch."""

    run: str
    user: int
    expires: int
    generation: int


def written(sealer: Sealer, link: Link) -> str:
    """The link as the end of an address."""
    run = bytes.fromhex(link.run)
    said = bytes((_VERSION, len(run))) + run
    said += _REST.pack(link.user, link.expires, link.generation)
    return base64.urlsafe_b64encode(said + _mac(sealer, said)).decode().rstrip("=")


def read(sealer: Sealer, text: str) -> Link | None:
    """What a link says, be it over or not; None for one that we did not write.

    Asks nobody: whoever tries many links costs no more than the reckoning.
    """
    if len(text) > LONGEST:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    said, mac = raw[:-_MAC], raw[-_MAC:]
    if not hmac.compare_digest(mac, _mac(sealer, said)):
        return None
    length = said[1]
    user, expires, generation = _REST.unpack(said[2 + length :])
    return Link(run=said[2 : 2 + length].hex(), user=user, expires=expires, generation=generation)


def _mac(sealer: Sealer, said: bytes) -> bytes:
    return sealer.sign(_PURPOSE, said)[:_MAC]
