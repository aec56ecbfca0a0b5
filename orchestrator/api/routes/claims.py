"""Claims: what a user misses is searched for in every source; what is found can be brought back."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import SMALL, CursorText, Given, Limit, Name, Reason, SaidWhy, UserName
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.paging import page
from orchestrator.api.routes.people import masked
from orchestrator.api.which import RunId, visible
from orchestrator.errors import NotFound
from orchestrator.lifecycle import RunState
from orchestrator.public.claims import ClaimRow, Damaged, FoundItem, Searched

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["claims"])

Count = Annotated[int, Field(ge=0, le=SMALL)]


class Claiming(Given):
    """What somebody misses."""

    user: UserName
    category: Name
    had: Count
    sees: Count
    reason: Reason = ""


class TopUp(Given):
    """That what was found shall be brought back."""

    reason: Reason = ""


class ClaimLine(Struct, frozen=True, kw_only=True):
    """What was claimed."""

    id: str
    run: str
    user: str
    """A reference, never an id."""
    category: str
    had: int
    sees: int
    search: str
    """The preview that searches every source."""
    top_up: str | None
    """The run that brings back what it found."""
    who: str
    at: datetime


class ClaimDocument(ClaimLine, frozen=True, kw_only=True):
    """A claim, and where everything is that the search found."""

    state: Literal["searching", "searched", "failed"]
    why: str
    places: dict[str, int]
    """restored, merged, there, kept, deleted, quarantined, found, never-found: how many."""
    items: list[FoundItem]
    """Each item with a masked name."""
    damaged: list[Damaged]
    may_top_up: bool
    top_up_state: RunState | None
    brought_back: int
    answer: str
    """For the user, in plain words."""


def _claim_of(
    claim: Annotated[str, Path(pattern="^[0-9a-f]{4,16}$")], asked: Asked, who: Who
) -> ClaimRow:
    found = asked.claims.row(claim)
    if not visible(asked, who, found.run):
        raise NotFound("there is no such claim", hint="list those of a run")
    return found


ClaimId = Annotated[ClaimRow, Depends(_claim_of)]
"""What a route takes as its claim."""


@router.get("/runs/{run}/claims", responses=returns_page(ClaimLine))
def list_claims(run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50) -> Response:
    """Claims about a run, the newest first."""
    which = f"claims {run}"
    place = place_of(asked.sealer, which, cursor)
    before = None if place is None else (int(place[0]), str(place[1]))
    rows = asked.claims.page(run, before=before, limit=limit + 1)
    return page(
        asked.sealer,
        which,
        rows,
        limit,
        place=place_of_claim,
        view=lambda row: ClaimLine(**_line(asked, row)),
    )


def place_of_claim(row: ClaimRow) -> list[Any]:
    """Where a claim stands in the list."""
    return [round(row.at.timestamp() * 1000), row.id]


@router.post(
    "/runs/{run}/claims", status_code=HTTPStatus.CREATED, responses=returns(ClaimLine, 201)
)
def open_claim(run: RunId, given: Claiming, asked: Asked, who: Who) -> Response:
    """Note what a user misses, and search every source and the quarantine for it."""
    with asked.ledger.read() as connection:
        user = asked.progress.number(connection, run, given.user)
    made = asked.claims.open(
        run,
        user,
        given.category,
        had=given.had,
        sees=given.sees,
        who=who.holder,
        reason=given.reason,
    )
    line = ClaimLine(**_line(asked, asked.claims.row(made)))
    return answer(line, HTTPStatus.CREATED, {"Location": f"/api/v1/claims/{made}"})


@router.get("/claims/{claim}", responses=returns(ClaimDocument))
def get_claim(claim: ClaimId, asked: Asked) -> Response:
    """Where everything is that the search found, and what to tell the user."""
    found = asked.claims.get(claim.id)
    return answer(document(asked, found))


@router.post(
    "/claims/{claim}/top-up", status_code=HTTPStatus.ACCEPTED, responses=returns(ClaimDocument, 202)
)
def top_up(claim: ClaimId, given: TopUp, asked: Asked, who: Who) -> Response:
    """Ask for what was found to be brought back: a run, with the approvals of the plan."""
    asked.claims.top_up(claim.id, who=who.holder, reason=given.reason)
    return answer(document(asked, asked.claims.get(claim.id)), HTTPStatus.ACCEPTED)


@router.post("/claims/{claim}/reveal", responses=returns(ClaimDocument))
def reveal_claim(claim: ClaimId, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """The same with the items' own names, which may name people. The audit log keeps why."""
    found = asked.claims.reveal(claim.id, who=who.holder, reason=given.reason)
    return answer(document(asked, found, revealed=True))


def document(asked: Installation, found: Searched, *, revealed: bool = False) -> ClaimDocument:
    """A claim as the API tells it."""
    items = [
        one
        if revealed
        else FoundItem(
            ident=masked(asked, one.ident),
            place=one.place,
            source=one.source,
            reason=one.reason,
        )
        for one in found.items
    ]
    return ClaimDocument(
        **_line(asked, found.claim),
        state=found.state,
        why=found.why,
        places={str(place): count for place, count in found.places.items()},
        items=items,
        damaged=list(found.damaged),
        may_top_up=found.may_top_up,
        top_up_state=found.top_up_state,
        brought_back=found.brought_back,
        answer=found.answer,
    )


def _line(asked: Installation, row: ClaimRow) -> dict[str, Any]:
    named = {name: getattr(row, name) for name in ClaimRow.__struct_fields__}
    return {**named, "user": asked.progress.reference(row.run, row.user)}
