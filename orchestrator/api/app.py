"""The application: every route behind the gate, every error a problem, every answer guarded.

app = create_app(installation)                       # API alone
app = create_app(installation, more=[pages.router])  # with pages: see `orchestrator.web`
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI

import orchestrator
from orchestrator.api.installation import Installation
from orchestrator.api.openapi import document
from orchestrator.api.problems import PageOfProblem, explain_problems
from orchestrator.api.surroundings import Surroundings

THREADS = 6
"""That ask the ledger at once. More would wait for its connections, and for Python's lock."""
SUBJECTS = (
    "health",
    "identities",
    "plans",
    "runs",
    "events",
    "steering",
    "people",
    "links",
    "operations",
    "aftercare",
    "bulletins",
    "claims",
    "copies",
    "overseeing",
    "deliveries",
)
"""Modules of `orchestrator.api.routes`; no path of one means a route of another, too."""


def routers_of(subject: str) -> list[APIRouter]:
    """The routers of a module; it is imported when they are asked for."""
    module = import_module(f"orchestrator.api.routes.{subject}")
    return [getattr(module, name) for name in ("router", "large") if hasattr(module, name)]


def create_app(
    installation: Installation,
    *,
    more: Sequence[APIRouter] = (),
    page_of_problem: PageOfProblem | None = None,
    subjects: Sequence[str] = SUBJECTS,
) -> FastAPI:
    """An application that answers for one installation; `subjects`: about these."""

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
    for router in (*(router for subject in subjects for router in routers_of(subject)), *more):
        app.include_router(router)
    explain_problems(app, page=page_of_problem)
    app.add_middleware(Surroundings)

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = described
    return app
