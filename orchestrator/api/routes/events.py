"""Live progress of a run, as server-sent events."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from orchestrator.api.access import ROUTES, may
from orchestrator.api.events import MOST_CLIENTS
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.installation import Asked
from orchestrator.api.problems import Declined
from orchestrator.api.which import RunId
from orchestrator.identity.roles import Caller

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["runs"])

LastEvent = Annotated[str, Header(max_length=100, description="Where to go on.")]


def event_stream(
    asked: Asked, run: str, who: Caller, *, last_event: str = "", view: str = "document"
) -> Response:
    """Events of a run for a caller; `view`: what of it (`Hub.views`). Raises `Declined`."""
    if asked.hub.clients >= MOST_CLIENTS:
        raise Declined(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "too many are watching here",
            headers={"Retry-After": "5"},
        )
    stream = asked.hub.follow(
        run, last_event=last_event, view=view, whole=may(who, ROUTES["GET /api/v1/audit-log"])
    )
    return StreamingResponse(
        stream,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    "/runs/{run}/events",
    responses={200: {"description": "events", "content": {"text/event-stream": {}}}},
)
async def follow_run(run: RunId, asked: Asked, who: Who, last_event_id: LastEvent = "") -> Response:
    """Events `run` (the run as it stands, when it changes) and `action` (what somebody did).

    Reconnect with Last-Event-ID: every action since is sent again, and the run, if it changed.
    """
    return event_stream(asked, run, who, last_event=last_event_id)
