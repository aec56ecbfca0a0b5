"""Rows of the ledger as the values that people are shown."""

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from orchestrator.books import FIELDS, Books
from orchestrator.errors import NotFound
from orchestrator.ledger.flow import moment
from orchestrator.ledger.keys import Ids
from orchestrator.ledger.schema import run
from orchestrator.lifecycle import RunState
from orchestrator.plan import Plan
from orchestrator.plan_text.document import plan_from_document
from orchestrator.run_standing import RunRow
from orchestrator.sealing import reference


def row_of(connection: Connection, run_id: str) -> Row[Any]:
    """Raises `NotFound`."""
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such run", hint="list them: reinstate runs")
    return row


def plan_of(row: Row[Any]) -> Plan:
    """The plan of a run."""
    return plan_from_document(json.loads(row.plan))


def run_row(row: Row[Any]) -> RunRow:
    """A row of the ledger as a line of the list."""
    return RunRow(
        id=row.id,
        name=row.name,
        purpose=row.purpose,
        state=RunState(row.state),
        author=row.author,
        users=row.users,
        created=moment(row.created_at),
        finished=None if row.finished_at is None else moment(row.finished_at),
        why=row.why,
        about=row.about,
        closed=None if row.closed_at is None else moment(row.closed_at),
        closed_by=row.closed_by,
    )


def books_of(row: Any) -> Books:
    """What a row counts."""
    return Books(**{name: int(row[name] or 0) for name in FIELDS})


def user_id(sealed: bytes, user_hash: bytes, ids: Ids) -> str:
    """Who it is; where that was erased, their reference."""
    return ids.open(sealed) or reference(user_hash)
