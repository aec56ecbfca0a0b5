"""What failed, by cause, and trying it again: looked at, confirmed by its number, followed."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from orchestrator.api.access import EVERYBODYS_USERS, may
from orchestrator.api.cursors import cursor as cursor_to
from orchestrator.api.cursors import unit_place
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, QueryText
from orchestrator.api.installation import Asked
from orchestrator.api.routes.operations import query_shown
from orchestrator.api.which import RunId, visible
from orchestrator.dashboard import figures
from orchestrator.dashboard.pages import Form, asked_for, reason_of, shown, to
from orchestrator.dashboard.routes.people import units_of_page
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import NotFound, PlanInvalid
from orchestrator.operations import OperationRow, OperationUnit
from orchestrator.query import parse, split
from orchestrator.run_standing import CauseRow

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

ROWS_A_PAGE = 50
LISTED = 20


@router.get("/runs/{run}/failures")
def list_failures(request: Request, run: RunId, asked: Asked, q: QueryText = "") -> Response:
    """Causes, the commonest first, and what was tried again so far."""
    facts = seen(asked, run, "failures")
    query, problem = asked_for(lambda: _of_causes(q), _of_causes(""))
    return shown(
        request,
        "failures.html",
        **facts,
        q=q,
        problem=problem,
        causes=[row for row in facts["status"].causes if _matches(row, query)],
        operations=asked.operations.page(run, after=None, limit=LISTED),
    )


def _of_causes(q: str) -> dict[str, list[str]]:
    return split(q, ("category", "cause", "state"), example="category:photos state:failed")


def _matches(row: CauseRow, query: dict[str, list[str]]) -> bool:
    """Each word that was given fits."""
    causes = query["cause"]
    return (
        row.category in (query["category"] or [row.category])
        and row.state in (query["state"] or [row.state])
        and (not causes or any(row.fingerprint.startswith(cause) for cause in causes))
    )


@router.get("/runs/{run}/failures/{cause}")
def get_cause(
    request: Request,
    run: RunId,
    cause: Annotated[str, Path(pattern="^[0-9a-f]{6}$")],
    asked: Asked,
    who: Who,
    q: QueryText = "",
    cursor: CursorText = None,
) -> Response:
    """One cause: what it means, whom it concerns, and trying them again."""
    facts = seen(asked, run, "failures")
    groups = [row for row in facts["status"].causes if row.fingerprint == cause]
    if not groups:
        raise NotFound("nothing fails for this cause (any more)", hint="look at all failures")
    plan = asked.progress.plan(run)
    query, problem = asked_for(lambda: parse([f"cause:{cause} {q}"], plan), None)
    which = f"pages cause {run} {cause} {q}"
    rows: list[dict[str, Any]] = []
    if query is not None and may(who, EVERYBODYS_USERS):
        after = unit_place(asked.sealer, which, cursor)
        rows = asked.progress.units(run, query, after=after, limit=ROWS_A_PAGE + 1)
    return shown(
        request,
        "cause.html",
        **facts,
        cause=groups[0],
        groups=groups,
        q=q,
        problem=problem,
        **units_of_page(asked, which, rows),
    )


@router.get("/runs/{run}/retry")
def ask_to_retry(request: Request, run: RunId, asked: Asked, q: QueryText = "") -> Response:
    """What shall be tried again, how carefully, and why."""
    return shown(request, "retry.html", **seen(asked, run, "failures"), q=q)


@router.post("/runs/{run}/retries")
def prepare(run: RunId, form: Form, asked: Asked, who: Who) -> Response:
    """Freeze the failed units that match; nothing is done until that is confirmed."""
    text = form.get("q", "").strip()
    made = asked.operations.prepare_retry(
        run,
        parse([text], asked.progress.plan(run)),
        text=query_shown(asked, text),
        canary=_count(form.get("canary", "")),
        who=who.holder,
        reason=reason_of(form),
    )
    return to(f"/operations/{made.id}")


def _count(text: str) -> int | None:
    if not text.strip():
        return None
    if not (text.isascii() and text.strip().isdecimal() and 0 < len(text.strip()) <= 7):  # noqa: PLR2004 - a million
        raise PlanInvalid("how many go first is a number", hint="go back, and give one, or none")
    return int(text) or None


# One operation ------------------------------------------------------------------------------------


def _seen(
    operation: Annotated[str, Path(pattern="^[0-9a-f]{4,16}$")], asked: Asked, who: Who
) -> OperationRow:
    found = asked.operations.get(operation)
    if not visible(asked, who, found.run):
        raise NotFound("there is no such operation")
    return found


Seen = Annotated[OperationRow, Depends(_seen)]


@router.get("/operations/{operation}")
def get_operation(
    request: Request, operation: Seen, asked: Asked, who: Who, cursor: CursorText = None
) -> Response:
    """What it is about, how far it is, and what could not be done."""
    which = f"pages not done {operation.id}"
    rows: list[OperationUnit] = []
    if may(who, EVERYBODYS_USERS):
        after = unit_place(asked.sealer, which, cursor)
        rows = asked.operations.not_done(operation.id, after=after, limit=ROWS_A_PAGE + 1)
    some = rows[:ROWS_A_PAGE]
    following = None
    if len(rows) > ROWS_A_PAGE:
        following = cursor_to(asked.sealer, which, [some[-1].user, some[-1].phase])
    phases = asked.progress.plan(operation.run).phases
    return shown(
        request,
        "operation.html",
        **seen(asked, operation.run, "failures"),
        operation=operation,
        bar=figures.operation_bar(operation.progress),
        query=asked.operations.query(operation.id),
        rows=[
            (asked.progress.reference(operation.run, row.user), phases[row.phase].restore, row)
            for row in some
        ],
        following=following,
    )


@router.post("/operations/{operation}/confirm")
def confirm(operation: Seen, form: Form, asked: Asked, who: Who) -> Response:
    """Begin it, confirmed by typing how many units it is about."""
    units = _count(form.get("units", "").replace(",", "")) or 0
    asked.operations.confirm(operation.id, units=units, who=who.holder)
    return to(f"/operations/{operation.id}")


@router.post("/operations/{operation}/continue")
def go_on(operation: Seen, asked: Asked, who: Who) -> Response:
    """Begin the rest, after its first few did well."""
    asked.operations.go_on(operation.id, who=who.holder)
    return to(f"/operations/{operation.id}")


@router.post("/operations/{operation}/drop")
def drop(operation: Seen, asked: Asked, who: Who) -> Response:
    """Do nothing of what has not begun."""
    asked.operations.drop(operation.id, who=who.holder)
    return to(f"/runs/{operation.run}/failures")
