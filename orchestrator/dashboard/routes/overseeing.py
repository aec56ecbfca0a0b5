"""Who is at work, and who did what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute
from orchestrator.api.given import CursorText, QueryText
from orchestrator.api.installation import Asked
from orchestrator.api.routes.overseeing import audit_line
from orchestrator.dashboard.pages import asked_for, shown
from orchestrator.errors import PlanInvalid
from orchestrator.ledger import audit_log
from orchestrator.query import split
from orchestrator.workforce import workforce

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 100
WORDS = ("run", "by", "action")
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
    q: QueryText = "",
    check: Word = "",
) -> Response:
    """Who did what and when, the newest first; when it is asked for, whether the log is whole."""
    which = f"pages audit {q}"
    query, problem = asked_for(lambda: _of_audit(q), _of_audit(""))
    run, by, action = (next(iter(query[word]), None) for word in WORDS)
    with asked.ledger.read() as connection:
        broken = audit_log.broken_links(connection) if check else None
        rows = audit_log.page(
            connection,
            before=place_of(asked.sealer, which, cursor),
            limit=ROWS_A_PAGE + 1,
            run=run,
            who=by,
            action=action,
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
        q=q,
        problem=problem,
        broken=broken,
    )


def _of_audit(q: str) -> dict[str, list[str]]:
    """At most one value a word: the log is walked in the order of its lines."""
    found = split(q, WORDS, example="run:7f3a01c2 action:retry by:jo")
    if any(len(values) > 1 for values in found.values()):
        raise PlanInvalid("each word is given once here", hint="leave one of them out")
    return found
