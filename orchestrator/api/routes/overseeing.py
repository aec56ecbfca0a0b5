"""Who is at work, and who did what."""

import json
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from starlette.responses import Response, StreamingResponse

from orchestrator.api.answers import answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute
from orchestrator.api.given import CursorText, Limit
from orchestrator.api.installation import Asked
from orchestrator.api.paging import page
from orchestrator.ledger import audit_log
from orchestrator.ledger.flow import moment
from orchestrator.workforce import Workforce, workforce

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["overseeing"])

Word = Annotated[str | None, Query(max_length=100)]


class AuditLine(Struct, frozen=True, kw_only=True):
    """One row of the audit log, with its place in the chain."""

    id: int
    at: str
    who: str
    action: str
    run: str | None
    detail: dict[str, Any]
    previous: str
    hash: str


class Verification(Struct, frozen=True, kw_only=True):
    """Whether the audit log is whole."""

    whole: bool
    broken: list[int]
    """Rows that do not follow from the one before."""
    last: str | None
    """The hash of the last row: keep it elsewhere, and rows cut off at the end show, too."""
    rows: int
    known: bool | None
    """Whether a row has the hash that was kept; null: none was given."""


@router.get("/workers", responses=returns(Workforce))
def list_workers(asked: Asked) -> Response:
    """Who works at this moment: the conductor, and workers with what they have in hand."""
    return answer(workforce(asked.ledger))


@router.get("/audit-log", responses=returns_page(AuditLine))
def list_audit_log(
    asked: Asked,
    cursor: CursorText = None,
    limit: Limit = 50,
    run: Word = None,
    by: Word = None,
    action: Word = None,
) -> Response:
    """Who did what and when, the newest first."""
    which = json.dumps(["audit-log", run, by, action])
    before = place_of(asked.sealer, which, cursor)
    with asked.ledger.read() as connection:
        rows = audit_log.page(
            connection, before=before, limit=limit + 1, run=run, who=by, action=action
        )
    return page(asked.sealer, which, rows, limit, place=lambda row: row.id, view=audit_line)


def audit_line(row: Any) -> AuditLine:
    """A row of the audit log as the API tells it."""
    return AuditLine(
        id=row.id,
        at=moment(row.at).isoformat(),
        who=row.who,
        action=row.action,
        run=row.run,
        detail=json.loads(row.detail),
        previous=row.previous,
        hash=row.hash,
    )


@router.get("/audit-log/verification", responses=returns(Verification))
def verify_audit_log(
    asked: Asked,
    known: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="A hash that was kept.")
    ] = None,
) -> Response:
    """Follow the chain from its first row to its last."""
    with asked.ledger.read() as connection:
        broken = audit_log.broken_links(connection)
        newest = audit_log.page(connection, limit=1)
        there = None if known is None else audit_log.holds(connection, known)
        rows = audit_log.number(connection)
    found = Verification(
        whole=not broken and there is not False,
        broken=broken[:100],
        last=newest[0].hash if newest else None,
        rows=rows,
        known=there,
    )
    return answer(found)


@router.get(
    "/audit-log/export",
    responses={200: {"description": "rows", "content": {"application/jsonl": {}}}},
)
def export_audit_log(asked: Asked) -> Response:
    """Every row, the oldest first, one JSON object a line: its chain can be followed anywhere."""
    lines = (
        msgspec.json.encode(audit_line(row)) + b"\n" for row in audit_log.everything(asked.ledger)
    )
    return StreamingResponse(lines, media_type="application/jsonl")
