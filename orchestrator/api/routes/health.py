"""Whether this process lives and can work, its numbers, and what the API looks like."""

from functools import partial

from fastapi import APIRouter, Request
from msgspec import Struct
from starlette.responses import Response

from orchestrator import VERSION
from orchestrator.api.answers import answer, returns, returns_as
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.installation import Asked
from orchestrator.ledger import versions
from orchestrator.metrics import listening

router = APIRouter(route_class=GatedRoute)


class Health(Struct, frozen=True, kw_only=True):
    """That there is somebody."""

    status: str
    version: str


@router.get("/health", responses=returns(Health), tags=["health"])
def health() -> Response:
    """The process lives."""
    return answer(Health(status="ok", version=VERSION))


@router.get("/ready", responses=returns(Health), tags=["health"])
def ready(asked: Asked) -> Response:
    """The ledger answers, and this release can work with it; 503 or 409 where not."""
    with asked.ledger.read() as connection:
        versions.usable(versions.standing(connection))
    return answer(Health(status="ok", version=VERSION))


@router.get(
    "/metrics", tags=["health"], response_class=Response, responses=returns_as("text/plain")
)
def metrics(asked: Asked, who: Who) -> Response:
    """Numbers for Prometheus; of runs, those that this caller sees."""
    gauges = partial(asked.gauges.collect, who.sees)
    return Response(
        listening.exposed(gauges, asked.tally.collect),
        headers={"content-type": listening.CONTENT_TYPE},
    )


@router.get("/api/v1/openapi.json", tags=["health"])
def openapi(request: Request) -> Response:
    """This document."""
    return answer(request.app.openapi())
