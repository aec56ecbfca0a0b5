"""After a run: verify it, undo it, close it; each is looked at first and confirmed by typing."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import QueryText
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, asked_for, must_be_typed, needed_reason, shown, to
from orchestrator.dashboard.routes.runs import seen, unchanged
from orchestrator.errors import PlanInvalid
from orchestrator.ledger.scopes import Sample
from orchestrator.query import Query, parse
from orchestrator.run_list import runs_about

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

COUNTED = 10_000
"""Units that match a query are counted so far; beyond it, a page would take too long."""


@router.get("/runs/{run}/afterwards")
def get_afterwards(request: Request, run: RunId, asked: Asked) -> Response:
    """What was verified and undone of a run, and what can be done now."""
    return shown(
        request,
        "afterwards.html",
        **seen(asked, run, "afterwards"),
        about=runs_about(asked.ledger, run),
    )


@router.get("/runs/{run}/verify")
def look_at_verify(request: Request, run: RunId, asked: Asked, q: QueryText = "") -> Response:
    """How much would be compared. Nothing is done yet."""
    return _looked_at(request, asked, run, q, what="verify")


@router.get("/runs/{run}/undo")
def look_at_undo(request: Request, run: RunId, asked: Asked, q: QueryText = "") -> Response:
    """How much would be taken back. Nothing is done yet."""
    return _looked_at(request, asked, run, q, what="undo")


def _looked_at(request: Request, asked: Installation, run: str, q: str, *, what: str) -> Response:
    facts = seen(asked, run, "afterwards")
    plan = asked.progress.plan(run)
    query, problem = asked_for(lambda: parse([q], plan), Query())
    matched: int | None = sum(phase.units - phase.waiting for phase in facts["status"].phases)
    if query != Query() and problem is None:
        found = asked.progress.count(run, query, at_most=COUNTED + 1)
        matched = found if found <= COUNTED else None
    return shown(
        request,
        "aftercare.html",
        **facts,
        what=what,
        q=q,
        problem=problem,
        matched=matched,
        counted=COUNTED,
    )


@router.post("/runs/{run}/verify")
def verify(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Compare the target with the journal: a run about this one, which writes nothing there."""
    query = _query(asked, run, form)
    made = asked.aftercare.verify(
        run, query, who=who.holder, sample=_sample(form), reason=form.get("reason", "").strip()
    )
    return to(f"/runs/{made}")


@router.post("/runs/{run}/undo")
def undo(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Take back what a run wrote: a run about this one, with approvals of its own."""
    unchanged(asked, run, form)
    must_be_typed(form, run, "taking back what a run wrote")
    reason = needed_reason(form, "to take something back")
    made = asked.aftercare.undo(run, _query(asked, run, form), who=who.holder, reason=reason)
    return to(f"/runs/{made}")


@router.post("/runs/{run}/close")
def close(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Erase the keys of all that was kept of a run's users, for ever."""
    unchanged(asked, run, form)
    must_be_typed(form, run, "closing a run for ever")
    reason = needed_reason(form, "to close a run")
    early = form.get("early", "") == "yes"
    asked.aftercare.close(run, who=who.holder, reason=reason, early=early)
    asked.recent.changed(run)
    return to(f"/runs/{run}/afterwards")


def _query(asked: Installation, run: str, form: dict[str, str]) -> Query:
    return parse([form.get("q", "").strip()], asked.progress.plan(run))


def _sample(form: dict[str, str]) -> Sample | None:
    text = form.get("sample", "").strip()
    if not text:
        return None
    number, _, of = text.partition("/")
    parts = [number.strip(), of.strip() or "0"]
    if not all(part.isascii() and part.isdecimal() and len(part) <= 8 for part in parts):  # noqa: PLR2004
        raise PlanInvalid("a sample is a number, or a share", hint="for example 500, or 1/10")
    count, whole = map(int, parts)
    if not count:
        raise PlanInvalid("a sample of nothing shows nothing", hint="leave it empty for everything")
    return Sample(count, whole or None)
