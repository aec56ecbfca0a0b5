"""Runs: the list, one at a glance, its plan, and what steers it."""

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, QueryText
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.which import RunId, etag
from orchestrator.dashboard import figures
from orchestrator.dashboard.pages import (
    Form,
    asked_for,
    must_be_typed,
    reason_of,
    shown,
    to,
)
from orchestrator.errors import Refused
from orchestrator.handing_in import handed_in
from orchestrator.lifecycle import RunState
from orchestrator.plan_store import difference
from orchestrator.run_list import RunQuery, earlier_run, parse_runs, runs_page
from orchestrator.run_standing import Status
from orchestrator.throughput import throughput

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

RUNS_A_PAGE = 50


@router.get("/")
def list_runs(
    request: Request, asked: Asked, who: Who, q: QueryText = "", cursor: CursorText = None
) -> Response:
    """The runs that are there for whoever looks, the newest first."""
    which = f"pages runs {q}"
    query, problem = asked_for(lambda: parse_runs(q), RunQuery())
    rows = runs_page(
        asked.ledger,
        after=place_of(asked.sealer, which, cursor),
        limit=RUNS_A_PAGE + 1,
        prefix=query.prefix,
        purpose=query.purpose,
        states=query.states,
        only=who.runs,
    )
    more = rows[RUNS_A_PAGE - 1].place if len(rows) > RUNS_A_PAGE else None
    following = None if more is None else cursor_to(asked.sealer, which, more)
    late = [one for one in asked.bulletins.promises(only=who.runs) if one.late_seconds]
    return shown(
        request,
        "runs.html",
        rows=rows[:RUNS_A_PAGE],
        following=following,
        q=q,
        problem=problem,
        late=late,
    )


def seen(asked: Installation, run: str, page: str) -> dict[str, Any]:
    """What every page of a run shows above all."""
    status = asked.progress.status(run)
    failed = sum(phase.failed for phase in status.phases)
    return {"run": run, "status": status, "page": page, "seen": etag(status), "failed": failed}


@router.get("/runs/{run}")
def get_overview(request: Request, run: RunId, asked: Asked) -> Response:
    """A run at a glance."""
    return shown(request, "overview.html", **_glance(asked, run))


@router.get("/runs/{run}/live")
def get_live(request: Request, run: RunId, asked: Asked) -> Response:
    """The part of it that changes by itself."""
    return shown(request, "_live.html", **_glance(asked, run))


def _glance(asked: Installation, run: str) -> dict[str, Any]:
    facts = seen(asked, run, "overview")
    status: Status = facts["status"]
    front = figures.wavefront(status)
    points = [figures.Point(at, items) for at, items, _ in throughput(asked.ledger, run)]
    return {
        **facts,
        "restores": sum(phase.units for phase in status.phases),
        "settled": sum(phase.settled for phase in status.phases),
        "cancelled": sum(phase.cancelled for phase in status.phases),
        "waiting": sum(phase.waiting for phase in status.phases),
        "curve": figures.curve(points),
        "wavefront": front,
        "wave_names": figures.wave_names(front[0][1]) if front else [],
        "left": figures.left_of_phases(status),
        "units_bar": figures.units_bar,
        "outcomes_bar": figures.outcomes_bar,
        "words": figures.words_of(status.run.purpose),
        "time_left": figures.time_left(status),
        "running": status.run.state is RunState.RUNNING,
    }


@router.get("/runs/{run}/plan")
def get_plan(request: Request, run: RunId, asked: Asked, who: Who) -> Response:
    """What was asked for, what changed since the last time, what inspection found, who approved."""
    text = asked.progress.plan_text(run)
    before = earlier_run(asked.ledger, run)
    if before is not None and not who.sees(before):
        before = None
    diff = None if before is None else asked.progress.plan_text(before)
    return shown(
        request,
        "plan.html",
        **seen(asked, run, "plan"),
        text=text,
        before=before,
        diff=""
        if diff is None
        else difference(diff, text, old_name=f"run {before}", new_name=f"run {run}"),
        inventory=json.dumps(asked.progress.inventory(run), indent=2, sort_keys=True),
    )


@router.post("/runs/{run}/submit")
def submit_previewed(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Submit the plan of a preview; refused where the data is not as it was any more."""
    unchanged(asked, run, form)
    if who.runs is not None:
        raise Refused("this token is for certain runs, and a new one is none of them")
    status = asked.progress.status(run)
    if status.run.purpose != "preview" or status.digest is None:
        raise Refused("only a preview that has ended is submitted", hint="wait until it has")
    text, folder = asked.progress.plan_text(run), asked.progress.folder(run)
    with handed_in(
        text, folder=folder, files={}, author=who.holder, expected_digest=status.digest
    ) as submission:
        made = asked.runs.submit(submission)
    return to(f"/runs/{made}")


@router.post("/runs/{run}/approve")
def approve(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Approve exactly what the page showed."""
    unchanged(asked, run, form)
    asked.runs.approve(
        run, who=who.holder, reason=reason_of(form), digest=form.get("digest") or None
    )
    return to(f"/runs/{run}")


@router.post("/runs/{run}/pause")
def pause(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Start nothing more: at once, whatever changed meanwhile."""
    asked.runs.pause(run, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}")


@router.post("/runs/{run}/resume")
def resume(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Go on with a paused run."""
    unchanged(asked, run, form)
    asked.runs.resume(run, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}")


@router.post("/runs/{run}/cancel")
def cancel(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """End a run for good, confirmed by typing its id."""
    unchanged(asked, run, form)
    must_be_typed(form, run, "ending a run for good")
    asked.runs.cancel(run, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}")


@router.post("/runs/{run}/promote")
def promote(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Let every held gate pass."""
    unchanged(asked, run, form)
    asked.runs.promote(run, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}")


@router.post("/runs/{run}/losses/accept")
def accept_losses(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Take note, by name, that what is lost or quarantined stays so."""
    unchanged(asked, run, form)
    asked.runs.accept_losses(run, who=who.holder, reason=reason_of(form))
    return to(f"/runs/{run}/losses")


def unchanged(asked: Installation, run: str, form: dict[str, str]) -> None:
    """Refuse a decision on what is not so any more."""
    if form.get("seen") != etag(asked.progress.status(run)):
        raise Refused("the run was changed since you looked", hint="go back, and look again")
