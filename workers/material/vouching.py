"""Digests that were recorded before the loss: bytes that match one are what the service accepted.

A decoder shows that a picture can be shown; a digest shows that not a bit of it has changed. But
only the operator knows when digests were made: those of a copy that was made after the loss vouch
for the damage as well. So a plan has to say it.

Why MD5 and SHA-1 prove nothing: whoever uploads two files can make them share such a digest.
"""

import hashlib
from enum import StrEnum
from typing import Final

from orchestrator.errors import ItemRejected
from orchestrator.items import HEAD_BYTES, Vouched
from orchestrator.reasons import Reason

PROOFS: Final = frozenset({"sha512", "sha384", "sha256", "sha224"})
"""Algorithms whose digests are proof."""

VOUCHED: Final = "files are vouched for by digests from before the loss, as the plan says"
"""What an inspection says of so many: pictures among them are not decoded again."""


class Digests(StrEnum):
    """When a source's digests were recorded, as the operator knows."""

    UNDATED = "undated"
    """Nobody can say: they show what changed since then, and everything is validated in full."""
    BEFORE_LOSS = "before-loss"
    """While the service still worked: what matches one is what it had accepted."""


def checked(data: bytes, algorithm: str, digest: str) -> bytes:
    """The same bytes. Raises `ItemRejected` where their digest is another."""
    if hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() != digest:
        raise ItemRejected(Reason.CHECKSUM, f"another {algorithm} than listed", data=data)
    return data


def vouched(data: bytes, algorithm: str, digest: str) -> Vouched:
    """The same bytes as the digest vouches for them. Raises `ItemRejected` where it is another."""
    checked(data, algorithm, digest)
    known = bytes.fromhex(digest) if algorithm == "sha256" else hashlib.sha256(data).digest()
    return Vouched(head=data[:HEAD_BYTES], length=len(data), sha256=known, content=data)
