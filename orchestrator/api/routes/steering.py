"""What changes the course of a run. Names come from the token, never from the request."""

from typing import Annotated, Any

from fastapi import APIRouter
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import answer, returns
from orchestrator.api.documents import RunDocument, run_document
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import Digest, Given, Name, Reason, Said, SaidWhy, UserName, UserPath
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.which import MatchedRun, RunId, etag
from orchestrator.errors import PlanInvalid
from orchestrator.items import UserId

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["steering"])


class Approval(Given):
    """What is approved, and why."""

    digest: Annotated[Digest, Field(description="Of the run, as it was looked at.")]
    reason: Reason = ""


class Gates(Given):
    """Which held gates shall pass; without phase and wave: all of them."""

    phase: Name | None = None
    wave: Name | None = None
    reason: Reason = ""


class Declines(Given):
    """Users that are never restored."""

    users: Annotated[list[UserName], Field(min_length=1, max_length=100_000)]


class Promoted(Struct, frozen=True, kw_only=True):
    """How many held gates were let pass."""

    gates: int


class Declined(Struct, frozen=True, kw_only=True):
    """How many users were given."""

    users: int


class Prioritized(Struct, frozen=True, kw_only=True):
    """How many batches go first now."""

    batches: int


def _as_it_stands(asked: Installation, run: str) -> Response:
    status = asked.recent.changed(run)
    return answer(run_document(status), headers={"ETag": etag(status)})


@router.post("/runs/{run}/approve", responses=returns(RunDocument))
def approve(run: MatchedRun, given: Approval, asked: Asked, who: Who) -> Response:
    """Approve what was inspected, by its digest; not one's own plan."""
    asked.runs.approve(run, who=who.holder, reason=given.reason, digest=given.digest)
    return _as_it_stands(asked, run)


@router.post("/runs/{run}/pause", responses=returns(RunDocument))
def pause(run: RunId, given: Said, asked: Asked, who: Who) -> Response:
    """Start nothing more. Needs neither If-Match nor Idempotency-Key: stopping is easy."""
    asked.runs.pause(run, who=who.holder, reason=given.reason)
    return _as_it_stands(asked, run)


@router.post("/runs/{run}/resume", responses=returns(RunDocument))
def resume(run: MatchedRun, given: Said, asked: Asked, who: Who) -> Response:
    """Go on with a paused run."""
    asked.runs.resume(run, who=who.holder, reason=given.reason)
    return _as_it_stands(asked, run)


@router.post("/runs/{run}/cancel", responses=returns(RunDocument))
def cancel(run: MatchedRun, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """End a run for good; what was restored stays."""
    asked.runs.cancel(run, who=who.holder, reason=given.reason)
    return _as_it_stands(asked, run)


@router.post("/runs/{run}/promote", responses=returns(Promoted))
def promote(run: MatchedRun, given: Gates, asked: Asked, who: Who) -> Response:
    """Let held gates pass; not in one's own run."""
    plan: Any = asked.progress.plan(run)
    gates = asked.runs.promote(
        run,
        who=who.holder,
        reason=given.reason,
        phase=_place("phase", given.phase, [phase.restore for phase in plan.phases]),
        wave=_place("wave", given.wave, [wave.name for wave in plan.waves]),
    )
    asked.recent.changed(run)
    return answer(Promoted(gates=gates))


def _place(word: str, name: str | None, known: list[str]) -> int | None:
    if name is None:
        return None
    if name not in known:
        raise PlanInvalid(f"no such {word} in this run", hint=f"one of: {', '.join(known)}")
    return known.index(name)


@router.post("/runs/{run}/losses/accept", responses=returns(RunDocument))
def accept_losses(run: MatchedRun, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """Take note, by name, that what is lost or quarantined stays so."""
    asked.runs.accept_losses(run, who=who.holder, reason=given.reason)
    return _as_it_stands(asked, run)


@router.post("/runs/{run}/declines", responses=returns(Declined))
def decline(run: RunId, given: Declines, asked: Asked, who: Who) -> Response:
    """Put users, by id, on the list of those who are never restored; takes effect at once."""
    users = [UserId(user) for user in given.users]
    return answer(Declined(users=asked.runs.decline(run, users, who=who.holder)))


@router.post("/runs/{run}/users/{user}/prioritize", responses=returns(Prioritized))
def prioritize(run: RunId, user: UserPath, given: Said, asked: Asked, who: Who) -> Response:
    """Let what waits for one user go before everything else of the run."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    moved = asked.runs.prioritize(run, number, who=who.holder, reason=given.reason)
    return answer(Prioritized(batches=moved))
