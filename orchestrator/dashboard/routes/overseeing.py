"""Who is at work, and who did what."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute
from orchestrator.api.given import CursorText
from orchestrator.api.installation import Asked
from orchestrator.api.routes.overseeing import audit_line
from orchestrator.dashboard.pages import shown
from orchestrator.ledger import audit_log
from orchestrator.workforce import workforce

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 100
Word = Annotated[str, Query(max_length=100)]


@router.get("/workers")
def list_workers(request: Request, asked: Asked) -> Response:
    """The conductor, and workers with what they have in hand."""
    return shown(request, "workers.html", found=workforce(asked.ledger))


@router.get("/audit")
def list_audit_log(
    request: Request,
    asked: Asked,
    cursor: CursorText = None,
    run: Word = "",
    by: Word = "",
    action: Word = "",
) -> Response:
    """Who did what and when, the newest first; and whether the log is whole."""
    which = json.dumps(["pages audit", run, by, action])
    with asked.ledger.read() as connection:
        rows = audit_log.page(
            connection,
            before=place_of(asked.sealer, which, cursor),
            limit=ROWS_A_PAGE + 1,
            run=run or None,
            who=by or None,
            action=action or None,
        )
    some = rows[:ROWS_A_PAGE]
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, some[-1].id)
    return shown(
        request,
        "audit.html",
        rows=[audit_line(row) for row in some],
        following=following,
        run=run,
        by=by,
        action=action,
    )
