"""Idents for items that have none of their own: the same on every run, machine and version."""

from hashlib import sha1
from typing import Final
from uuid import UUID

from orchestrator.items import Digest, Ident, UserId

NAMESPACE: Final = UUID("5d1c9c1e-8d63-5f0b-9a52-0c6c7a3b6f21")
"""Never changes: a derived ident has to be found again by every later version."""


def derived_ident(owner: UserId, category: str, digest: Digest) -> Ident:
    """The UUIDv5 (RFC 9562) of whose, what and which content.

    Unambiguous: `category` holds no line break and a digest has a fixed length.
    """
    name = b"\n".join((category.encode(), owner.encode("utf-8", "surrogatepass"), digest))
    return _version_5(name)


def ident_beside(ident: Ident, mark: str = "") -> Ident:
    """The ident of the item that is put beside the one called `ident`.

    Leave out the mark where a later run may mark it otherwise and still has to find it again.
    """
    return _version_5(b"beside\n" + mark.encode() + b"\n" + ident.encode("utf-8", "surrogatepass"))


def _version_5(name: bytes) -> Ident:
    # Not uuid.uuid5: before Python 3.12 it takes no bytes, and names need not be valid UTF-8.
    hashed = sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return Ident(str(UUID(bytes=hashed[:16], version=5)))
