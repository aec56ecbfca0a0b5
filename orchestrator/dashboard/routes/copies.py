"""Quarantine: why copies are kept back, which they are, and their bytes for whoever may see."""

from itertools import islice

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Number
from orchestrator.api.installation import Asked, named
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, reason_of, shown
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import PlanInvalid

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50
SHORTEST_REASON = 3


@router.get("/runs/{run}/quarantine")
def list_quarantine(
    request: Request, run: RunId, asked: Asked, cursor: CursorText = None
) -> Response:
    """Reasons with their counts, then the copies in the order of their numbers."""
    which = f"pages quarantine {run}"
    after = place_of(asked.sealer, which, cursor) or 0
    rows = list(islice(asked.progress.quarantine(run, after=after), ROWS_A_PAGE + 1))
    some = [{**row, "user": named(asked, row["user"])} for row in rows[:ROWS_A_PAGE]]
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, some[-1]["number"])
    return shown(
        request,
        "quarantine.html",
        **seen(asked, run, "quarantine"),
        reasons=asked.progress.reasons(run),
        rows=some,
        following=following,
    )


@router.post("/runs/{run}/quarantine/{number}/raw")
def raw_copy(run: RunId, number: Number, form: Form, asked: Asked, who: Who) -> Response:
    """The bytes of one copy as they were found. The audit log keeps who asked and why."""
    reason = reason_of(form)
    if len(reason) < SHORTEST_REASON:
        raise PlanInvalid("a reason is needed to see what a copy holds", hint="go back, say why")
    found = asked.revealing.copy(run, number, who=who.holder, reason=reason)
    return Response(
        found["data"],
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{number:09d}.bin"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )
