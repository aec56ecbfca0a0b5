"""The application: every route behind the gate, every error a problem, every answer guarded.

app = create_app(installation)                       # API alone
app = create_app(installation, more=[pages.router])  # with pages: see `orchestrator.web`
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI

import orchestrator
from orchestrator.api.installation import Installation
from orchestrator.api.openapi import document
from orchestrator.api.problems import PageOfProblem, explain_problems
from orchestrator.api.routes import (
    aftercare,
    bulletins,
    claims,
    copies,
    deliveries,
    events,
    health,
    identities,
    links,
    operations,
    overseeing,
    people,
    plans,
    runs,
    steering,
)
from orchestrator.api.surroundings import Surroundings

THREADS = 6
"""That ask the ledger at once. More would wait for its connections, and for Python's lock."""
ROUTERS = (
    health.router,
    identities.router,
    plans.router,
    plans.large,
    runs.router,
    events.router,
    steering.router,
    people.router,
    links.router,
    operations.router,
    aftercare.router,
    bulletins.router,
    claims.router,
    copies.router,
    copies.large,
    overseeing.router,
    deliveries.router,
)


def create_app(
    installation: Installation,
    *,
    more: Sequence[APIRouter] = (),
    page_of_problem: PageOfProblem | None = None,
) -> FastAPI:
    """An application that answers for one installation."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    app = FastAPI(
        lifespan=lifespan,
        title="Reinstate",
        version=orchestrator.VERSION,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # a route of ours, behind the gate like every other
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.installation = installation
    for router in (*ROUTERS, *more):
        app.include_router(router)
    explain_problems(app, page=page_of_problem)
    app.add_middleware(Surroundings)

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = described
    return app
