"""Whose a folder is: folders named after users, by `path_parts.escape` or by hand.

A folder whose name could mean two users belongs to none of them: it is reported, never guessed.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from orchestrator.items import UserId
from workers.formats.path_parts import escape, unescape

OWNER_FILE: Final = b".owner"
"""In a folder whose name had to be cut: holds the whole user id, and nothing else, in UTF-8."""

ID_BYTES: Final = 64 * 1024
"""Bytes of an owner file that are read."""

_NAME_BYTES: Final = 255


class Nobody(Struct, frozen=True, gc=False):
    """Nobody's folder, and why."""

    why: str


OwnerFile = Callable[[bytes], bytes | None]
"""What the owner file in a user's folder holds; None where none can be read."""


def owner_of(
    part: bytes, present: Callable[[bytes], bool], owner_file: OwnerFile
) -> UserId | Nobody:
    """Whose the folder `part` is; `present` tells whether another one is there.

    An escaped name is unescaped. A cut one needs its owner file, whose content has to lead back to
    the same cut name. Any other name is taken literally where nothing speaks against it: no '%',
    not hidden, no control characters, and no escaped folder of the same user.
    """
    try:
        name = part.decode()
    except UnicodeDecodeError:
        return Nobody("a folder's name is not UTF-8")
    try:
        return UserId(unescape(name))
    except ValueError:
        pass
    if "%~" in name:
        return _cut(part, name, owner_file)
    if "%" in name:
        return Nobody("a folder's name is neither an escaped user id nor a plain one")
    if name.startswith("."):
        return Nobody("a hidden folder")
    if any(character < " " or "\x7f" <= character < "\xa0" for character in name):
        return Nobody("a folder's name holds control characters")
    if present(escape(name).encode()):
        return Nobody("two folders are the same user's: one escaped, one not")
    return UserId(name)


def part_of(owner: UserId, present: Callable[[bytes], bool]) -> bytes | None:
    """The name of the folder that `owner_of` gives to this user; None where there is none.

    `present` tells whether a folder of exactly that name is there.
    """
    escaped = escape(owner).encode()
    if present(escaped):
        return escaped
    try:
        literal = owner.encode()
    except UnicodeEncodeError:
        return None
    if b"/" in literal or b"\0" in literal or len(literal) > _NAME_BYTES or literal == escaped:
        return None
    plausible = owner_of(literal, lambda _: False, lambda _: None) == owner
    return literal if plausible and present(literal) else None


def _cut(part: bytes, name: str, owner_file: OwnerFile) -> UserId | Nobody:
    told = owner_file(part)
    try:
        owner = None if told is None else told.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        owner = None
    if owner is None:
        return Nobody("a folder's name was cut, and no .owner file in it says whose it is")
    if escape(owner) != name:
        return Nobody("a folder's name was cut, and its .owner file names somebody else")
    return UserId(owner)
