"""Users by reference: those that match a query, one at a time, and what they lost."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import unit_place
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, QueryText, UserPath
from orchestrator.api.installation import Asked, Installation, named
from orchestrator.api.routes.people import masked
from orchestrator.api.which import RunId
from orchestrator.dashboard import figures
from orchestrator.dashboard.pages import (
    Form,
    asked_for,
    must_be_typed,
    needed_reason,
    reason_of,
    shown,
    to,
)
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import PlanInvalid
from orchestrator.plan import Choice
from orchestrator.query import parse
from orchestrator.run_standing import UnitAnswer
from orchestrator.telling import of_unit
from orchestrator.timeline import timeline

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50
ITEMS_SHOWN = 200


@router.get("/runs/{run}/users")
def list_users(
    request: Request, run: RunId, asked: Asked, q: QueryText = "", cursor: CursorText = None
) -> Response:
    """Units that match a query, by user."""
    which = f"pages units {run} {q}"
    plan = asked.progress.plan(run)
    query, problem = asked_for(lambda: parse([q], plan), None)
    rows: list[dict[str, Any]] = []
    if query is not None:
        after = unit_place(asked.sealer, which, cursor)
        rows = asked.progress.units(run, query, after=after, limit=ROWS_A_PAGE + 1)
    return shown(
        request,
        "users.html",
        **seen(asked, run, "users"),
        q=q,
        problem=problem,
        **units_of_page(asked, which, rows),
    )


@router.get("/runs/{run}/losses")
def list_losses(
    request: Request, run: RunId, asked: Asked, q: QueryText = "", cursor: CursorText = None
) -> Response:
    """Units of which something is lost or quarantined, by user."""
    which = f"pages losses {run} {q}"
    plan = asked.progress.plan(run)
    query, problem = asked_for(lambda: parse([q], plan), None)
    rows: list[dict[str, Any]] = []
    if query is not None:
        after = unit_place(asked.sealer, which, cursor)
        query = query.only_losses()
        rows = asked.progress.units(run, query, after=after, limit=ROWS_A_PAGE + 1)
    return shown(
        request,
        "losses.html",
        **seen(asked, run, "losses"),
        q=q,
        problem=problem,
        **units_of_page(asked, which, rows),
    )


def units_of_page(asked: Installation, which: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
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
    reason = needed_reason(form, "to see who somebody is")
    found = asked.revealing.user(run, user, who=who.holder, reason=reason)
    return _user(request, asked, run, user, revealed=found)


@router.post("/runs/{run}/users/{user}/prioritize")
def prioritize(run: RunId, user: UserPath, form: Form, asked: Asked, who: Who) -> Response:
    """Let what waits for one user go before everything else of the run."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    asked.runs.prioritize(run, number, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}/users/{asked.progress.reference(run, number)}")


@router.post("/runs/{run}/users/{user}/choice")
def choose(run: RunId, user: UserPath, form: Form, asked: Asked, who: Who) -> Response:
    """What one user wants about conflicts, where the plan would decide for everyone."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    if form.get("choice") not in list(Choice):
        raise PlanInvalid("there is no such choice", hint=f"one of: {', '.join(Choice)}")
    asked.runs.choose(
        run,
        number,
        Choice(form["choice"]),
        who=who.holder,
        reason=reason_of(form),
        category=form.get("category") or None,
    )
    return to(f"/runs/{run}/users/{asked.progress.reference(run, number)}")


@router.post("/runs/{run}/users/{user}/forget")
def forget(run: RunId, user: UserPath, form: Form, asked: Asked, who: Who) -> Response:
    """Decline a user and erase what was kept of them, confirmed by typing their number."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    must_be_typed(form, f"#{number}", "erasing what was kept of somebody")
    reason = needed_reason(form, "to erase what was kept of somebody")
    asked.aftercare.forget(run, number, who=who.holder, reason=reason)
    return to(f"/runs/{run}/users/{asked.progress.reference(run, number)}")


def _items(asked: Installation, one: UnitAnswer) -> list[dict[str, Any]]:
    """What became of each item, those that are not simply there again first; names are masked."""
    ordered = sorted(one.items, key=lambda item: (item["outcome"] == "restored", item["outcome"]))
    return [{**item, "ident": masked(asked, item["ident"])} for item in ordered[:ITEMS_SHOWN]]


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
        items={one.category: _items(asked, one) for one in found.categories},
        items_shown=ITEMS_SHOWN,
        choices=list(Choice),
        happenings=timeline(asked.ledger, run, found.number, asked.progress.plan(run)),
        outcomes_bar=figures.outcomes_bar,
        outcomes=figures.OUTCOMES,
        revealed=revealed,
    )
