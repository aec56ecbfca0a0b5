"""The chain of the audit log: each row's hash covers what it says and the hash of the row before.

    hash = SHA-256 of the row's JSON: at, who, action, run, detail, previous; keys in order

Rows cut off at the end are not seen: compare the last hash with one kept elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

GENESIS = "0" * 64
"""What stands before the first row."""
PARTS = ("at", "who", "action", "run", "detail", "previous")


def detail_text(detail: object) -> str:
    """The detail of a row, as it is kept and hashed."""
    return json.dumps(detail, sort_keys=True, ensure_ascii=False)


def link(entry: Mapping[str, object]) -> str:
    """The hash of a row: `at` in milliseconds since the epoch, `detail` as text."""
    text = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def broken(rows: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Ids of rows, the oldest first, that do not follow from the one before."""
    previous = GENESIS
    for row in rows:
        if row["previous"] != previous or row["hash"] != link({name: row[name] for name in PARTS}):
            yield row["id"]
        previous = row["hash"]


def as_kept(told: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the ledger keeps it, of one as the API tells it. Raises `KeyError`, `ValueError`."""
    at = datetime.fromisoformat(told["at"])
    return {
        **told,
        "at": round(at.timestamp() * 1000),
        "detail": detail_text(told["detail"]),
    }
