"""What operators tell the public: the draft to edit, what was said, and how the page looks."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.routes.bulletins import public_page
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, shown, to
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import PlanInvalid

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

PROMISES = {1: "1 hour", 2: "2 hours", 4: "4 hours", 8: "8 hours", 24: "a day", 72: "3 days"}
"""By when the next one can be promised, in hours."""
LISTED = 100


@router.get("/runs/{run}/bulletins")
def list_bulletins(request: Request, run: RunId, asked: Asked) -> Response:
    """What was said, a draft of what could be said now, and the public page's address."""
    return _page(request, asked, run)


@router.post("/runs/{run}/bulletins")
def publish(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Say it in public."""
    hours = form.get("next", "")
    if hours and not (hours.isdecimal() and int(hours) in PROMISES):
        raise PlanInvalid("the next update cannot be promised for then", hint="go back, choose one")
    due = None
    if hours:
        with asked.ledger.read() as connection:
            now = asked.ledger.clock(connection)
        due = datetime.fromtimestamp(now / 1000, UTC) + timedelta(hours=int(hours))
    asked.bulletins.publish(run, form.get("text", ""), next_due=due, who=who.holder)
    asked.recent.changed(run)
    return to(f"/runs/{run}/bulletins")


@router.post("/runs/{run}/public-page")
def change_page(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Choose the page's address, its title, where users ask, and until when they may choose."""
    asked.bulletins.change(
        run,
        slug=form.get("slug", "").strip(),
        title=form.get("title", "")[:200],
        support=form.get("support", "").strip(),
        choose_until=_moment(form.get("choose_until", "").strip()),
        who=who.holder,
    )
    return to(f"/runs/{run}/bulletins")


def _page(request: Request, asked: Installation, run: str) -> Response:
    return shown(
        request,
        "bulletins.html",
        **seen(asked, run, "bulletins"),
        draft=asked.bulletins.draft(run),
        rows=asked.bulletins.page(run, limit=LISTED),
        public=public_page(asked, run),
        promises=PROMISES,
    )


def _moment(text: str) -> datetime | None:
    """As a browser's field for date and time gives it; in UTC, as the page says."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise PlanInvalid("this is no date and time", hint="2009-10-21T18:00, in UTC") from None
