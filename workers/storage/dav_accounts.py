"""How a user's place on a DAV server is entered: by whose name, and with which secret.

Either somebody who may enter every place (an administrator, a master password), or each user by
themselves, from a file of the operator's. What a server would take for another account's address
is no account's: it is refused, never rewritten.
"""

import unicodedata
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from orchestrator.errors import Unavailable
from orchestrator.items import UserId
from workers.storage.dav_requests import path_part

USER: Final = "{user}"
"""What stands for the user's id in addresses and names."""
_LONGEST: Final = 200
"""Bytes of a user id; a file name has at most 255, and servers keep places in folders."""
_FORBIDDEN: Final = frozenset("/\\:")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Controls and characters that nobody sees: two ids that differ in these only look the same."""


class Account(Struct, frozen=True, kw_only=True):
    """One user's way in."""

    owner: UserId
    authorization: str
    """The header's value; empty: none is sent."""
    own: bool
    """These credentials are this user's alone: that they are refused concerns nobody else."""


def addressable(owner: UserId) -> bool:
    """Whether the id can be one part of an address and a name to log in by, as it is."""
    try:
        size = len(owner.encode())
    except UnicodeEncodeError:
        return False
    return (
        0 < size <= _LONGEST
        and bool(owner.strip("."))
        and owner == owner.strip()
        and not any(
            character in _FORBIDDEN or unicodedata.category(character) in _INVISIBLE
            for character in owner
        )
    )


def filled(template: str, owner: UserId) -> str:
    """An address with the user's id in its place, escaped."""
    return template.replace(USER, path_part(owner))


class Accounts:
    """Every user's account; the file of secrets is read on first use."""

    def __init__(
        self,
        *,
        name: str,
        username: str,
        password: Callable[[], str],
        token: Callable[[], str],
        file: Path | None,
    ) -> None:
        self._name = name
        self._username = username
        self._password = password
        self._token = token
        self._file = file
        self._secrets: Mapping[str, str] | None = None

    def of(self, owner: UserId) -> Account:
        """That user's; raises `Unavailable` where their secret is not known."""
        if self._file is not None:
            username = (self._username or USER).replace(USER, owner)
            return Account(
                owner=owner,
                authorization=_basic(username, self._secret_of(owner, self._file)),
                own=True,
            )
        if token := self._token():
            return Account(owner=owner, authorization=f"Bearer {token}", own=False)
        if not self._username:
            return Account(owner=owner, authorization="", own=False)
        username = self._username.replace(USER, owner)
        return Account(
            owner=owner,
            authorization=_basic(username, self._password()),
            own=USER in self._username,
        )

    def _secret_of(self, owner: UserId, file: Path) -> str:
        if self._secrets is None:
            self._secrets = self._read(file)
        secret = self._secrets.get(owner)
        if secret is None:
            raise Unavailable(
                f"{self._name}: the file of accounts has no line for a user",
                hint="add a line of the user's id, a tab and the password",
                owners=(owner,),
            )
        return secret

    def _read(self, file: Path) -> dict[str, str]:
        try:
            with file.open(encoding="utf-8", newline="\n") as lines:
                pairs = (line.rstrip("\r\n").partition("\t") for line in lines)
                return {owner: secret for owner, tab, secret in pairs if tab}
        except (OSError, UnicodeDecodeError):
            raise Unavailable(
                f"{self._name}: the file of accounts cannot be read by the workers",
                hint="check the option `accounts` and the file's permissions",
            ) from None


def _basic(username: str, password: str) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")
