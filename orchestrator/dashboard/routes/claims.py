"""Claims: what users miss, where it is, and what to tell them."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, UserPath
from orchestrator.api.installation import Asked
from orchestrator.api.routes.claims import ClaimId, document, place_of_claim
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, reason_of, shown, to
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import PlanInvalid

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50
ITEMS_SHOWN = 200
MOST = 10_000_000


@router.get("/runs/{run}/claims")
def list_claims(request: Request, run: RunId, asked: Asked, cursor: CursorText = None) -> Response:
    """Claims about a run, the newest first."""
    which = f"pages claims {run}"
    place = place_of(asked.sealer, which, cursor)
    before = None if place is None else (int(place[0]), str(place[1]))
    rows = asked.claims.page(run, before=before, limit=ROWS_A_PAGE + 1)
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, place_of_claim(rows[ROWS_A_PAGE - 1]))
    some = [(row, asked.progress.reference(run, row.user)) for row in rows[:ROWS_A_PAGE]]
    return shown(
        request, "claims.html", **seen(asked, run, "claims"), rows=some, following=following
    )


@router.post("/runs/{run}/users/{user}/claims")
def open_claim(run: RunId, user: UserPath, form: Form, asked: Asked, who: Who) -> Response:
    """Note what a user misses, and begin to search."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    made = asked.claims.open(
        run,
        number,
        form.get("category", ""),
        had=_count(form.get("had", "")),
        sees=_count(form.get("sees", "")),
        who=who.holder,
        reason=reason_of(form),
    )
    return to(f"/claims/{made}")


@router.get("/claims/{claim}")
def get_claim(request: Request, claim: ClaimId, asked: Asked) -> Response:
    """Where everything is that the search found, and what to tell the user."""
    found = document(asked, asked.claims.get(claim.id))
    return shown(
        request,
        "claim.html",
        **seen(asked, claim.run, "claims"),
        claim=found,
        items=found.items[:ITEMS_SHOWN],
    )


@router.post("/claims/{claim}/top-up")
def top_up(claim: ClaimId, form: Form, asked: Asked, who: Who) -> Response:
    """Ask for what was found to be brought back."""
    asked.claims.top_up(claim.id, who=who.holder, reason=reason_of(form))
    return to(f"/claims/{claim.id}")


def _count(text: str) -> int:
    digits = text.replace(",", "").replace(" ", "")
    if not (digits.isascii() and digits.isdecimal()) or int(digits[:12]) > MOST:
        raise PlanInvalid("had and sees are whole numbers", hint="go back, and say how many")
    return int(digits)
