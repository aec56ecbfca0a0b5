"""Whose a record says it is."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.items import UserId
from orchestrator.reasons import Reason

OWNER_FIELDS: Final = frozenset(
    ("owner", "ownerid", "user", "userid", "account", "accountid", "playerid")
)
"""Fields that hold an id of a user, in lower case without separators.

Fields that hold what people call themselves (`name`, `author`, `nick`) say nothing about whose
a record is: two users may choose the same one.
"""


@lru_cache(maxsize=4096)
def plain_key(key: str) -> str:
    """A field's name without what exporters vary: case, underscores, hyphens, spaces."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")


def check_owner(
    fields: Mapping[str, Any], owner: UserId, names: Collection[str] = OWNER_FIELDS
) -> None:
    """Refuse a record one of whose fields `names` holds another user's id.

    An empty field names nobody. Compared exactly: ids that differ in case are different users.

    Raises:
        ItemRejected: `WRONG_OWNER`.
    """
    for key, value in fields.items():
        if plain_key(key) not in names:
            continue
        named = value.get("id") if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType]  # JSON is Any
        if named is None or named == "" or str(named) == owner:
            continue
        raise ItemRejected(Reason.WRONG_OWNER, f"field {plain_key(key)!r}")
