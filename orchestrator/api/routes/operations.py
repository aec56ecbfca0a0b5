"""Retries as operations: prepared and looked at, confirmed by their number, followed."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import answer, nothing, returns, returns_page
from orchestrator.api.cursors import place_of, unit_place
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Given, Limit, Reason
from orchestrator.api.installation import Asked, Installation, named
from orchestrator.api.paging import page
from orchestrator.api.which import RunId, visible
from orchestrator.errors import NotFound, PlanInvalid
from orchestrator.lifecycle import UnitState
from orchestrator.operations import OperationRow, OperationUnit
from orchestrator.query import parse

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["operations"])


class Retry(Given):
    """Which failed units shall be tried again."""

    query: Annotated[
        str, Field(max_length=2000, description="cause:9f2c1a wave:canary; empty: all that failed")
    ] = ""
    canary: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="Try so many first, and wait.")
    ] = None
    reason: Reason = ""


class Confirmation(Given):
    """As many units as the operation is about: typed by whoever confirms it."""

    units: Annotated[int, Field(ge=1, le=2**53)]


class OperationDocument(OperationRow, frozen=True, kw_only=True):
    """An operation, and what was asked for."""

    query: str


class NotDone(Struct, frozen=True, kw_only=True):
    """A unit of an operation that was left out, or failed again."""

    user: str
    number: int
    category: str
    state: UnitState
    why: str


def _seen(
    operation: Annotated[str, Path(pattern="^[0-9a-f]{4,16}$")], asked: Asked, who: Who
) -> OperationRow:
    """The operation, if its run is there for this caller."""
    found = asked.operations.get(operation)
    if not visible(asked, who, found.run):
        raise NotFound("there is no such operation")
    return found


Seen = Annotated[OperationRow, Depends(_seen)]


@router.post(
    "/runs/{run}/retries",
    status_code=HTTPStatus.CREATED,
    responses=returns(OperationDocument, 201),
)
def prepare_retry(run: RunId, given: Retry, asked: Asked, who: Who) -> Response:
    """Freeze the failed units that match. Nothing is done until it is confirmed."""
    query = parse([given.query], asked.progress.plan(run))
    if set(query.states) - {UnitState.FAILED}:
        raise PlanInvalid("only failed units are tried again", hint="leave state: out")
    made = asked.operations.prepare_retry(
        run,
        query,
        text=query_shown(asked, given.query),
        canary=given.canary,
        who=who.holder,
        reason=given.reason,
    )
    return _document(asked, made, HTTPStatus.CREATED)


@router.get("/runs/{run}/operations", responses=returns_page(OperationRow))
def list_operations(
    run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """The operations of a run, the newest first."""
    which = f"operations {run}"
    rows = asked.operations.page(run, after=place_of(asked.sealer, which, cursor), limit=limit + 1)
    return page(asked.sealer, which, rows, limit, place=lambda row: row.place)


@router.get("/operations/{operation}", responses=returns(OperationDocument))
def get_operation(operation: Seen, asked: Asked) -> Response:
    """An operation with what became of its units."""
    return _document(asked, operation)


@router.post(
    "/operations/{operation}/confirm",
    status_code=HTTPStatus.ACCEPTED,
    responses=returns(OperationDocument, 202),
)
def confirm(operation: Seen, given: Confirmation, asked: Asked, who: Who) -> Response:
    """Begin it: all of its units, or its first few."""
    begun = asked.operations.confirm(operation.id, units=given.units, who=who.holder)
    return _document(asked, begun, HTTPStatus.ACCEPTED)


@router.post(
    "/operations/{operation}/continue",
    status_code=HTTPStatus.ACCEPTED,
    responses=returns(OperationDocument, 202),
)
def go_on(operation: Seen, asked: Asked, who: Who) -> Response:
    """Begin the rest, after its first few were restored."""
    begun = asked.operations.go_on(operation.id, who=who.holder)
    return _document(asked, begun, HTTPStatus.ACCEPTED)


@router.delete("/operations/{operation}", status_code=HTTPStatus.NO_CONTENT)
def drop(operation: Seen, asked: Asked, who: Who) -> Response:
    """Do nothing of what has not begun."""
    asked.operations.drop(operation.id, who=who.holder)
    return nothing()


@router.get("/operations/{operation}/failed", responses=returns_page(NotDone))
def list_not_done(
    operation: Seen, asked: Asked, cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """Units that were left out, and why, or that failed again."""
    which = f"not done {operation.id}"
    after = unit_place(asked.sealer, which, cursor)
    rows = asked.operations.not_done(operation.id, after=after, limit=limit + 1)
    return page(
        asked.sealer,
        which,
        rows,
        limit,
        place=lambda row: [row.user, row.phase],
        view=lambda row: _not_done(asked, operation.run, row),
    )


def _not_done(asked: Installation, run: str, row: OperationUnit) -> NotDone:
    return NotDone(
        user=asked.progress.reference(run, row.user),
        number=row.user,
        category=asked.progress.plan(run).phases[row.phase].restore,
        state=row.state,
        why=row.why,
    )


def _document(asked: Installation, row: OperationRow, status: int = HTTPStatus.OK) -> Response:
    facts: dict[str, Any] = {name: getattr(row, name) for name in row.__struct_fields__}
    query = asked.operations.query(row.id)
    where = {"Location": f"/api/v1/operations/{row.id}"} if status != HTTPStatus.OK else {}
    return answer({**facts, "query": query}, status, where)


def query_shown(asked: Installation, query: str) -> str:
    """A query with users by reference, whoever wrote it by id."""
    words = [
        f"user:{named(asked, word[5:])}" if word.startswith("user:") and word[5] != "#" else word
        for word in query.split()
    ]
    return " ".join(words)
