"""Who was told what of a run, and what came of each attempt."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Number
from orchestrator.api.installation import Asked
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import shown, to
from orchestrator.dashboard.routes.runs import seen

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50


@router.get("/runs/{run}/deliveries")
def list_deliveries(
    request: Request, run: RunId, asked: Asked, cursor: CursorText = None
) -> Response:
    """Notices on their way, the newest first."""
    which = f"pages deliveries {run}"
    before = place_of(asked.sealer, which, cursor)
    rows = asked.deliveries.page(run, before=before, limit=ROWS_A_PAGE + 1)
    some = rows[:ROWS_A_PAGE]
    following = cursor_to(asked.sealer, which, some[-1].id) if len(rows) > ROWS_A_PAGE else None
    return shown(
        request,
        "deliveries.html",
        **seen(asked, run, "deliveries"),
        rows=some,
        following=following,
    )


@router.post("/runs/{run}/deliveries/{number}/resend")
def send_again(run: RunId, number: Number, asked: Asked, who: Who) -> Response:
    """Let one go out once more."""
    asked.deliveries.send_again(run, number, who=who.holder)
    return to(f"/runs/{run}/deliveries")


@router.post("/runs/{run}/deliveries/test")
def try_out(run: RunId, asked: Asked, who: Who) -> Response:
    """Tell everybody whom the plan names that this is only a test."""
    asked.deliveries.try_out(run, who=who.holder)
    return to(f"/runs/{run}/deliveries")
