"""What an approval covers, as one digest: what was inspected, and what its preview counted.

Inspected are plan, release, users in scope and declined, and the recovered material. Of a preview
only those counts are covered that come of the material: what is live goes on changing, and would
void approvals that nobody has a reason to doubt.
"""

import hashlib
import json
from collections.abc import Sequence

from msgspec import Struct


class Counted(Struct, frozen=True, kw_only=True):
    """What a preview counted in one phase."""

    category: str
    copies: int
    items: int
    nameless: int


def covered(inspected: str, phases: Sequence[Counted], *, users: int, sample: int | None) -> str:
    """The digest of what was inspected and previewed; `sample`: of so many users at most."""
    parts = {
        "inspected": inspected,
        "users": users,
        "sample": sample,
        "phases": [[one.category, one.copies, one.items, one.nameless] for one in phases],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
