"""After a run: verify, undo, close; and of one user: choose, forget."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.aftercare import Erased
from orchestrator.api.answers import answer, returns
from orchestrator.api.documents import RunDocument, run_document
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import Given, Name, NeededReason, Reason, SaidWhy, UserPath
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.which import MatchedRun, RunId, etag
from orchestrator.errors import Refused
from orchestrator.findings import UNDO, VERIFY, drifts, undone, would_be_undone
from orchestrator.ledger.scopes import Sample
from orchestrator.plan import Choice
from orchestrator.query import parse

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["aftercare"])

Words = Annotated[
    str, Field(max_length=2000, description="Which units; empty: everything that it wrote.")
]


class Verify(Given):
    """What shall be compared."""

    query: Words = ""
    sample: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="So many units by chance; or, with of:")
    ] = None
    of: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="`sample` of so many, as a share.")
    ] = None
    reason: Reason = ""


class Undo(Given):
    """What shall be taken back."""

    query: Words = ""
    reason: NeededReason


class Findings(Struct, frozen=True, kw_only=True):
    """What a verify or an undo has found out or done so far."""

    run: str
    purpose: str
    terminal: bool
    places: dict[str, int]
    """Sums by finding."""
    undo: dict[str, int] | None
    """Of a verify: what an undo would do now."""


class Close(Given):
    """Why nothing of a run shall ever be undone."""

    reason: NeededReason
    early: Annotated[bool, Field(description="Also within the days in which it may be undone.")] = (
        False
    )


class Choosing(Given):
    """What one user wants about conflicts."""

    choice: Choice
    category: Annotated[Name | None, Field(description="Without: in every category.")] = None
    reason: Reason = ""


class Chosen(Struct, frozen=True, kw_only=True):
    """How many categories go once more."""

    again: int


@router.post(
    "/runs/{run}/verify", status_code=HTTPStatus.ACCEPTED, responses=returns(RunDocument, 202)
)
def verify(run: RunId, given: Verify, asked: Asked, who: Who) -> Response:
    """Compare the target with the journal: a run about this one, which writes nothing there."""
    query = parse([given.query], asked.progress.plan(run))
    sample = None if given.sample is None else Sample(given.sample, given.of)
    made = asked.aftercare.verify(run, query, who=who.holder, sample=sample, reason=given.reason)
    return _begun(asked, made)


@router.post(
    "/runs/{run}/undo", status_code=HTTPStatus.ACCEPTED, responses=returns(RunDocument, 202)
)
def undo(run: MatchedRun, given: Undo, asked: Asked, who: Who) -> Response:
    """Take back what a run wrote: a run about this one, with approvals of its own."""
    query = parse([given.query], asked.progress.plan(run))
    made = asked.aftercare.undo(run, query, who=who.holder, reason=given.reason)
    return _begun(asked, made)


def _begun(asked: Installation, run: str) -> Response:
    status = asked.progress.status(run)
    headers = {"ETag": etag(status), "Location": f"/api/v1/runs/{run}"}
    return answer(run_document(status), HTTPStatus.ACCEPTED, headers)


@router.get("/runs/{run}/findings", responses=returns(Findings))
def get_findings(run: RunId, asked: Asked) -> Response:
    """Of a verify: how places compare with what was left there; of an undo: what became of them."""
    status = asked.recent.status(run)
    purpose = status.run.purpose
    if purpose not in {VERIFY, UNDO}:
        raise Refused(f"this run is a {purpose}", hint="ask for those of a verify or an undo")
    sums = drifts(status.books) if purpose == VERIFY else undone(status.books)
    return answer(
        Findings(
            run=run,
            purpose=purpose,
            terminal=status.over,
            places={str(name): number for name, number in sums.items()},
            undo={str(name): number for name, number in would_be_undone(status.books).items()}
            if purpose == VERIFY
            else None,
        )
    )


@router.post("/runs/{run}/close", responses=returns(Erased))
def close(run: MatchedRun, given: Close, asked: Asked, who: Who) -> Response:
    """Erase the keys of all that was kept of a run's users, for ever: no undo after that."""
    erased = asked.aftercare.close(run, who=who.holder, reason=given.reason, early=given.early)
    asked.recent.changed(run)
    return answer(erased)


@router.post("/runs/{run}/users/{user}/forget", responses=returns(Erased))
def forget(run: RunId, user: UserPath, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """Decline a user and erase what was kept of them."""
    number = _number(asked, run, user)
    return answer(asked.aftercare.forget(run, number, who=who.holder, reason=given.reason))


@router.post("/runs/{run}/users/{user}/choice", responses=returns(Chosen))
def choose(run: RunId, user: UserPath, given: Choosing, asked: Asked, who: Who) -> Response:
    """What one user wants about conflicts, where the plan would decide for everyone."""
    again = asked.runs.choose(
        run,
        _number(asked, run, user),
        given.choice,
        who=who.holder,
        reason=given.reason,
        category=given.category,
    )
    return answer(Chosen(again=again))


def _number(asked: Installation, run: str, user: str) -> int:
    with asked.ledger.read() as connection:
        return asked.progress.number(connection, run, user)
