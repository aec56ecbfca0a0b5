"""Pages by subject."""

from orchestrator.dashboard.routes import (
    aftercare,
    claims,
    copies,
    entrance,
    failures,
    notices,
    overseeing,
    own_page,
    people,
    plans,
    public,
    publishing,
    runs,
    sign_on,
)

ROUTERS = (
    claims.router,
    entrance.router,
    sign_on.router,
    runs.router,
    people.router,
    failures.router,
    copies.router,
    copies.large,
    aftercare.router,
    plans.router,
    overseeing.router,
    notices.router,
    own_page.router,
    public.router,
    publishing.router,
)
"""Every page; given to `create_app(more=…)`."""
