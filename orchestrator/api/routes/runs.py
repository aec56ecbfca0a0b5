"""Runs as they stand: the list, one run, its phases and waves, its plan, its report."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from msgspec import Struct, structs
from starlette.responses import Response

from orchestrator.api.answers import Page, answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.documents import RunDocument, run_document
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Limit
from orchestrator.api.installation import Asked
from orchestrator.api.paging import page
from orchestrator.api.which import RunId, etag
from orchestrator.audit import audit
from orchestrator.lifecycle import RunState
from orchestrator.report import Report, as_html, as_markdown, report_of
from orchestrator.run_list import RunEntry, runs_page
from orchestrator.run_standing import CauseRow, PhaseProgress, RunRow

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["runs"])


class RunLine(RunRow, frozen=True, kw_only=True):
    """One run in the list."""

    terminal: bool
    outcome: str | None


@router.get("/runs", responses=returns_page(RunLine))
def list_runs(
    asked: Asked,
    who: Who,
    cursor: CursorText = None,
    limit: Limit = 50,
    prefix: Annotated[
        str, Query(pattern="^[0-9a-f]{0,16}$", description="How their ids begin.")
    ] = "",
    purpose: Literal["restore", "preview"] | None = None,
    state: Annotated[list[RunState], Query(max_length=10)] = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """The runs that are there for the caller, the newest first."""
    which = f"runs {prefix} {purpose} {' '.join(sorted(state))}"
    rows = runs_page(
        asked.ledger,
        after=place_of(asked.sealer, which, cursor),
        limit=limit + 1,
        prefix=prefix,
        purpose=purpose,
        states=state,
        only=who.runs,
    )
    return page(asked.sealer, which, rows, limit, place=lambda row: row.place, view=_line)


def _line(entry: RunEntry) -> dict[str, Any]:
    return {
        **structs.asdict(entry.run),
        "terminal": entry.terminal,
        "outcome": entry.outcome,
    }


@router.get("/runs/{run}", responses=returns(RunDocument))
def get_run(
    run: RunId, asked: Asked, if_none_match: Annotated[str | None, Header(max_length=200)] = None
) -> Response:
    """A run as it stands. Its ETag changes when its course does, not with every item."""
    status = asked.recent.status(run)
    tag = etag(status)
    if if_none_match == tag and status.over:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return answer(run_document(status), headers={"ETag": tag})


@router.get("/runs/{run}/phases", responses=returns_page(PhaseProgress))
def list_phases(run: RunId, asked: Asked) -> Response:
    """Every phase, summed over its waves."""
    return answer(Page(rows=asked.recent.status(run).phases))


@router.get("/runs/{run}/waves", responses=returns_page(PhaseProgress))
def list_waves(run: RunId, asked: Asked) -> Response:
    """Every phase in every wave: the wavefront."""
    return answer(Page(rows=asked.recent.status(run).cells))


@router.get("/runs/{run}/failures", responses=returns_page(CauseRow))
def list_failures(run: RunId, asked: Asked) -> Response:
    """What failed or waits, grouped by cause, the commonest first."""
    return answer(Page(rows=asked.progress.causes(run)))


class RunPlan(Struct, frozen=True, kw_only=True):
    """The plan of a run."""

    name: str
    digest: str
    text: str
    """As it was submitted."""
    document: dict[str, Any]
    """Every default filled in: what the digest is made of."""


@router.get("/runs/{run}/plan", responses=returns(RunPlan))
def get_run_plan(run: RunId, asked: Asked) -> Response:
    """The plan of a run, as written and as understood."""
    plan, text = asked.progress.plan(run), asked.progress.plan_text(run)
    found = RunPlan(name=plan.name, digest=plan.digest, text=text, document=dict(plan.document))
    return answer(found)


class Inventory(Struct, frozen=True, kw_only=True):
    """What inspection found."""

    found: dict[str, Any]


@router.get("/runs/{run}/inventory", responses=returns(Inventory))
def get_inventory(run: RunId, asked: Asked) -> Response:
    """What inspection found: sources, capabilities, warnings."""
    return answer(Inventory(found=asked.progress.inventory(run)))


@router.get("/runs/{run}/report", responses=returns(Report, others=("text/markdown", "text/html")))
def get_report(
    run: RunId, asked: Asked, form: Literal["json", "markdown", "html"] = "json"
) -> Response:
    """The report: what was asked, what came back, what did not, and why. It names no user."""
    found = report_of(asked.progress, run)
    match form:
        case "json":
            return answer(found)
        case "markdown":
            return Response(as_markdown(found), media_type="text/markdown")
        case "html":
            policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
            return Response(
                as_html(found),
                media_type="text/html",
                headers={"Content-Security-Policy": policy},
            )


class Finding(Struct, frozen=True, kw_only=True):
    """Something that does not add up."""

    finding: str


@router.get("/runs/{run}/audit", responses=returns_page(Finding))
def audit_run(run: RunId, asked: Asked) -> Response:
    """The books counted again from the raw rows, and the audit log's chain: what is wrong."""
    return answer(Page(rows=[Finding(finding=found) for found in audit(asked.ledger, run)]))
