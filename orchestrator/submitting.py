"""What is submitted, and how it is kept: the plan, and every list that it names."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, insert

import orchestrator
from orchestrator.errors import Refused
from orchestrator.items import UserId
from orchestrator.ledger import previews
from orchestrator.ledger.database import insert_missing
from orchestrator.ledger.keys import Ids, new_list_key
from orchestrator.ledger.schema import census, decline, listed, run
from orchestrator.lifecycle import RunState
from orchestrator.plan import Plan
from orchestrator.sealing import Sealer

ROWS_AT_ONCE: Final = 5_000


class Submission(Struct, frozen=True, kw_only=True):
    """A plan with everything that it names, as it is at this moment."""

    plan: Plan
    text: str
    """As the operator wrote it."""
    folder: str
    """Where relative paths start; absolute."""
    author: str
    users: Iterable[UserId] = ()
    declined: Iterable[UserId] = ()
    declined_at: int | None = None
    """When that list was last changed, in milliseconds since the epoch; None: now."""
    census: Iterable[tuple[UserId, str, int]] = ()
    """User, category, expected items."""
    preview: bool = False
    sample: int | None = None
    expected_digest: str | None = None


def keep(
    connection: Connection, sealer: Sealer, run_id: str, given: Submission, *, now: int
) -> None:
    """Keep it as a run of that id. Raises `Refused` where an expected preview does not fit."""
    if given.expected_digest is not None:
        _must_be_previewed(connection, given)
    connection.execute(
        insert(run).values(
            id=run_id,
            name=given.plan.name,
            purpose="preview" if given.preview else "restore",
            state=RunState.SUBMITTED,
            author=given.author,
            plan=json.dumps(given.plan.document, sort_keys=True),
            plan_text=given.text,
            plan_digest=given.plan.digest,
            folder=given.folder,
            code_version=orchestrator.VERSION,
            sample=given.sample,
            expected_digest=given.expected_digest,
            created_at=now,
        )
    )
    _keep_lists(connection, sealer, run_id, given, now)


def _keep_lists(
    connection: Connection, sealer: Sealer, run_id: str, given: Submission, now: int
) -> None:
    new_list_key(connection, sealer, run_id)
    ids = Ids(connection, sealer, run_id)
    hashed = sealer.user_hash
    _insert_all(
        connection,
        listed,
        (
            {
                "run": run_id,
                "position": position,
                "user_hash": hashed(user),
                "sealed_id": ids.seal(user),
            }
            for position, user in enumerate(given.users)
        ),
    )
    made = now if given.declined_at is None else given.declined_at
    _insert_all(connection, decline, declines(run_id, given.declined, hashed, made))
    _insert_all(
        connection,
        census,
        (
            {
                "run": run_id,
                "user_hash": hashed(user),
                "category": category,
                "expected": expected,
            }
            for user, category, expected in given.census
        ),
    )


def _must_be_previewed(connection: Connection, given: Submission) -> None:
    """A preview of just this plan, by this release, ended with the digest that is expected."""
    found = previews.find(connection, given.expected_digest or "")
    again = "look again: reinstate preview PLAN"
    if found is None:
        raise Refused("no preview that has ended has this digest", hint=again)
    if found.plan_digest != given.plan.digest:
        raise Refused("the plan changed since that preview; nothing was submitted", hint=again)
    if found.code_version != orchestrator.VERSION:
        raise Refused("that preview was made by another release", hint=again)


def declines(
    run_id: str, users: Iterable[UserId], hashed: Callable[[str], bytes], now: int
) -> Iterator[dict[str, Any]]:
    """Rows of the decline list."""
    for user in users:
        yield {"run": run_id, "user_hash": hashed(user), "added_at": now}


def _insert_all(connection: Connection, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        insert_missing(connection, table, chunk)
