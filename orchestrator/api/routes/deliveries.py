"""Who was told what of a run, and what came of each attempt."""

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from orchestrator.api.answers import answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Limit, Number
from orchestrator.api.installation import Asked
from orchestrator.api.paging import page
from orchestrator.api.which import RunId
from orchestrator.deliveries import Delivery, Sent

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["notices"])


@router.get("/runs/{run}/deliveries", responses=returns_page(Delivery))
def list_deliveries(
    run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """Notices on their way over each channel, the newest first, with every attempt."""
    which = f"deliveries {run}"
    before = place_of(asked.sealer, which, cursor)
    rows = asked.deliveries.page(run, before=before, limit=limit + 1)
    return page(asked.sealer, which, rows, limit, place=lambda row: row.id)


@router.post(
    "/runs/{run}/deliveries/{number}/resend",
    status_code=HTTPStatus.ACCEPTED,
    responses=returns(Sent, 202),
)
def send_again(run: RunId, number: Number, asked: Asked, who: Who) -> Response:
    """Let one go out once more, under the same id; who said 410 is told again from now on."""
    sent = asked.deliveries.send_again(run, number, who=who.holder)
    return answer(sent, HTTPStatus.ACCEPTED)


@router.post(
    "/runs/{run}/deliveries/test", status_code=HTTPStatus.ACCEPTED, responses=returns(Sent, 202)
)
def try_out(run: RunId, asked: Asked, who: Who) -> Response:
    """Tell everybody whom the plan names that this is only a test."""
    return answer(asked.deliveries.try_out(run, who=who.holder), HTTPStatus.ACCEPTED)
