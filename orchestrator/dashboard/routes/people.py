"""Users by reference: those that match a query, one at a time, and what they lost."""

from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import unit_place
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, QueryText, UserPath
from orchestrator.api.installation import Asked, Installation, named
from orchestrator.api.which import RunId
from orchestrator.dashboard import figures
from orchestrator.dashboard.pages import Form, reason_of, shown, to
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import PlanInvalid
from orchestrator.query import parse
from orchestrator.telling import of_unit
from orchestrator.timeline import timeline

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50
SHORTEST_REASON = 3


@router.get("/runs/{run}/users")
def list_users(
    request: Request, run: RunId, asked: Asked, q: QueryText = "", cursor: CursorText = None
) -> Response:
    """Units that match a query, by user."""
    problem: PlanInvalid | None = None
    rows: list[dict[str, Any]] = []
    which = f"pages units {run} {q}"
    try:
        query = parse([q], asked.progress.plan(run))
        after = unit_place(asked.sealer, which, cursor)
        rows = asked.progress.units(run, query, after=after, limit=ROWS_A_PAGE + 1)
    except PlanInvalid as invalid:
        problem = invalid
    return shown(
        request,
        "users.html",
        **seen(asked, run, "users"),
        q=q,
        problem=problem,
        **_page(asked, which, rows),
    )


@router.get("/runs/{run}/losses")
def list_losses(request: Request, run: RunId, asked: Asked, cursor: CursorText = None) -> Response:
    """Units of which something is lost or quarantined, by user."""
    which = f"pages losses {run}"
    after = unit_place(asked.sealer, which, cursor)
    rows = list(islice(asked.progress.losses(run, after=after), ROWS_A_PAGE + 1))
    return shown(request, "losses.html", **seen(asked, run, "losses"), **_page(asked, which, rows))


def _page(asked: Installation, which: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of one page, by reference, and where the next one begins."""
    some = rows[:ROWS_A_PAGE]
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, [some[-1]["number"], some[-1]["phase"]])
    shown_rows = [{"cause": None, **row, "user": named(asked, row["user"])} for row in some]
    return {"rows": shown_rows, "following": following}


@router.post("/runs/{run}/users/find")
def find_user(run: RunId, form: Form, asked: Asked) -> Response:
    """From an id to the page of whoever it is; the id stands in no address."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, form.get("user", "").strip())
    return to(f"/runs/{run}/users/{asked.progress.reference(run, number)}")


@router.get("/runs/{run}/users/{user}")
def get_user(request: Request, run: RunId, user: UserPath, asked: Asked) -> Response:
    """What happened to one user's things, and why."""
    return _user(request, asked, run, user, revealed=None)


@router.post("/runs/{run}/users/{user}/reveal")
def reveal(
    request: Request, run: RunId, user: UserPath, form: Form, asked: Asked, who: Who
) -> Response:
    """The same page, with who it is. The audit log keeps who asked and why."""
    reason = reason_of(form)
    if len(reason) < SHORTEST_REASON:
        raise PlanInvalid("a reason is needed to see who somebody is", hint="go back, and say why")
    found = asked.revealing.user(run, user, who=who.holder, reason=reason)
    return _user(request, asked, run, user, revealed=found)


@router.post("/runs/{run}/users/{user}/prioritize")
def prioritize(run: RunId, user: UserPath, form: Form, asked: Asked, who: Who) -> Response:
    """Let what waits for one user go before everything else of the run."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    asked.runs.prioritize(run, number, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}/users/{asked.progress.reference(run, number)}")


def _user(request: Request, asked: Installation, run: str, user: str, *, revealed: Any) -> Response:
    found = asked.progress.user(run, user)
    reference = asked.progress.reference(run, found.number)
    told = [(one, list(of_unit(one.expected, one.books, one.state))) for one in found.categories]
    return shown(
        request,
        "user.html",
        **seen(asked, run, "users"),
        user=reference,
        found=found,
        told=told,
        happenings=timeline(asked.ledger, run, found.number, asked.progress.plan(run)),
        outcomes_bar=figures.outcomes_bar,
        outcomes=figures.OUTCOMES,
        revealed=revealed,
    )
