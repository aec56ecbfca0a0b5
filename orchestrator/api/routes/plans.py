"""Plans: check, store, compare; preview and submit them."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi import Path as InPath
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import Page, answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.documents import RunDocument, run_document
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Digest, Given, Limit
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.paging import page
from orchestrator.api.problems import Declined
from orchestrator.api.routes.copies import LargeRoute
from orchestrator.api.which import IfMatch, RunId, etag, require_match, visible
from orchestrator.books import Books
from orchestrator.errors import NotFound, PlanInvalid, Problem
from orchestrator.handing_in import checked, handed_in
from orchestrator.identity.roles import Caller
from orchestrator.plan import Plan
from orchestrator.plan_store import PlanEntry, StoredPlan, difference
from orchestrator.run_standing import DOCUMENT_VERSION, CauseRow, Status

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["plans"])
large = APIRouter(prefix="/api/v1", route_class=LargeRoute, tags=["plans"])

LARGEST_PLAN = 1024 * 1024
Text = Annotated[str, Field(max_length=LARGEST_PLAN, description="The plan, YAML.")]
Folder = Annotated[
    str,
    Field(max_length=1000, description="Where its relative paths start, on the server; absolute."),
]
Files = Annotated[
    dict[Annotated[str, Field(max_length=1000)], str],
    Field(
        max_length=3, description="Contents of the lists it names, by the names it has for them."
    ),
]
PlanId = Annotated[str, InPath(pattern="^[0-9a-f]{4,16}$")]
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]


class PlanText(Given):
    """A plan."""

    text: Text
    folder: Folder = ""


class PlanWithFiles(PlanText):
    """A plan, and what it names."""

    files: Files = Field(default_factory=dict)


class PlanToCheck(PlanWithFiles):
    """The same, to be checked."""

    lists: Annotated[bool, Field(description="Read the lists that it names, too.")] = True


class PlanToRun(PlanWithFiles):
    """The same, to be carried out or tried."""

    declined_at: Annotated[
        int | None,
        Field(
            ge=0,
            le=2**53,
            description="When the decline list among `files` was last changed, in milliseconds "
            "since 1970; null: now.",
        ),
    ] = None


class PreviewWish(PlanToRun):
    """A plan to be looked at against the data."""

    sample: Annotated[int | None, Field(ge=1, le=10_000_000)] = None


class RunWish(PlanToRun):
    """A plan to be carried out."""

    preview: Annotated[
        Digest | None, Field(description="Refuse when plan or data changed since that preview.")
    ] = None


class NamedLists(Struct, frozen=True, kw_only=True):
    """Lists by the names that a plan has for them."""

    users: str | None = None
    decline: str | None = None
    census: str | None = None


class CheckedPlan(Struct, frozen=True, kw_only=True):
    """What a check found."""

    valid: bool
    digest: str | None
    name: str | None
    phases: int
    problems: list[Problem]
    """Warnings, too; each with line, column and hint."""
    names: NamedLists
    """The lists that it names."""


def folder_of(asked: Installation, folder: str) -> Path:
    """Where a plan's relative paths start. Raises `PlanInvalid` for a relative folder."""
    if not folder:
        return asked.settings.home / "plans"
    if not Path(folder).is_absolute():
        raise PlanInvalid("the plan's folder is not absolute", hint="it is one on the server")
    return Path(folder)


@large.post("/plans/check", responses=returns(CheckedPlan))
def check_plan(given: PlanToCheck, asked: Asked) -> Response:
    """Everything that is wrong with a plan and its lists. Keeps nothing."""
    found = checked(
        given.text,
        folder=folder_of(asked, given.folder),
        files=given.files,
        lists=given.lists,
    )
    return answer(
        CheckedPlan(
            valid=found.plan is not None,
            digest=found.plan.digest if found.plan else None,
            name=found.plan.name if found.plan else None,
            phases=len(found.plan.phases) if found.plan else 0,
            problems=found.problems,
            names=_names(found.plan),
        )
    )


def _names(plan: Plan | None) -> NamedLists:
    if plan is None:
        return NamedLists()
    return NamedLists(users=plan.users.listed, decline=plan.users.decline, census=plan.census)


# Stored plans -------------------------------------------------------------------------------------


def _tag(plan: PlanEntry) -> str:
    return f'"{plan.version}-{plan.digest[:16]}"'


def _stored(plan: StoredPlan, status: int = HTTPStatus.OK) -> Response:
    headers = {"ETag": _tag(plan), "Location": f"/api/v1/plans/{plan.id}"}
    return answer(plan, status, headers)


@router.get("/plans", responses=returns_page(PlanEntry))
def list_plans(asked: Asked, cursor: CursorText = None, limit: Limit = 50) -> Response:
    """Stored plans in their newest version, the newest first."""
    rows = asked.plans.page(after=place_of(asked.sealer, "plans", cursor), limit=limit + 1)
    return page(asked.sealer, "plans", rows, limit, place=lambda row: row.place)


@router.post("/plans", status_code=HTTPStatus.CREATED, responses=returns(StoredPlan, 201))
def store_plan(given: PlanText, asked: Asked, who: Who) -> Response:
    """Keep a plan that has no errors."""
    made = asked.plans.add(given.text, folder=folder_of(asked, given.folder), who=who.holder)
    return _stored(made, HTTPStatus.CREATED)


@router.get("/plans/{plan}", responses=returns(StoredPlan))
def get_plan(plan: PlanId, asked: Asked, version: Version = None) -> Response:
    """A stored plan: its newest version, or the one that is asked for."""
    return _stored(asked.plans.get(plan, version))


@router.get("/plans/{plan}/versions", responses=returns_page(PlanEntry))
def list_versions(plan: PlanId, asked: Asked) -> Response:
    """Every version of a stored plan, the newest first."""
    return answer(Page(rows=asked.plans.versions(plan)))


class NewText(Given):
    """The text of a newer version."""

    text: Text


@router.put("/plans/{plan}", responses=returns(StoredPlan))
def change_plan(
    plan: PlanId, given: NewText, asked: Asked, who: Who, if_match: IfMatch = None
) -> Response:
    """Keep a newer version; `If-Match` says which one was looked at."""
    before = asked.plans.get(plan)
    require_match(if_match, _tag(before))
    made = asked.plans.change(plan, given.text, version=before.version, who=who.holder)
    return _stored(made)


class Difference(Struct, frozen=True, kw_only=True):
    """What changed between two plans."""

    same: bool
    diff: str
    """Unified; empty where the texts are the same."""


@router.get("/plans/{plan}/diff", responses=returns(Difference))
def compare_plan(
    plan: PlanId,
    asked: Asked,
    who: Who,
    version: Version = None,
    against: Version = None,
    run: Annotated[str | None, Query(pattern="^[0-9a-f]{4,16}$")] = None,
) -> Response:
    """What changed: against the version before, another version, or the plan of a run."""
    new = asked.plans.get(plan, version)
    if run is not None:
        asked.recent.require(run)
        if not visible(asked, who, run):
            raise NotFound("there is no such run", hint="list them: reinstate runs")
        old, old_name = asked.progress.plan_text(run), f"run {run}"
    else:
        number = against or max(1, new.version - 1)
        old, old_name = asked.plans.get(plan, number).text, f"version {number}"
    found = difference(old, new.text, old_name=old_name, new_name=f"version {new.version}")
    return answer(Difference(same=not found, diff=found))


# Previews and runs --------------------------------------------------------------------------------


class PreviewLine(Struct, frozen=True, kw_only=True):
    """What would be done to one category."""

    category: str
    create: int
    failed: int
    books: Books


class PreviewDocument(Struct, frozen=True, kw_only=True):
    """A preview as it stands."""

    version: int
    run: str
    name: str
    terminal: bool
    state: str
    digest: str | None
    refused: str | None
    users: int | None
    sample: bool
    seconds: float | None
    categories: list[PreviewLine]
    books: Books
    causes: list[CauseRow]
    warnings: list[str]
    inventory: dict[str, Any]


@large.post("/previews", status_code=HTTPStatus.ACCEPTED, responses=returns(RunDocument, 202))
def begin_preview(given: PreviewWish, asked: Asked, who: Who) -> Response:
    """Find out what a plan would do to the data as it is now. Writes none of it."""
    return _submitted(asked, given, who, where="previews", preview=True, sample=given.sample)


@router.get("/previews/{run}", responses=returns(PreviewDocument))
def get_preview(run: RunId, asked: Asked) -> Response:
    """What a preview has found so far; its digest, when it has ended."""
    status = asked.progress.status(run)
    if status.run.purpose != "preview":
        raise NotFound("there is no such preview")
    return answer(_preview(asked, status))


def _preview(asked: Installation, status: Status) -> PreviewDocument:
    return PreviewDocument(
        version=DOCUMENT_VERSION,
        run=status.run.id,
        name=status.run.name,
        terminal=status.over,
        state=status.run.state,
        digest=status.digest,
        refused=status.run.why,
        users=status.run.users,
        sample=asked.progress.sample(status.run.id) is not None,
        seconds=status.elapsed,
        categories=[
            PreviewLine(
                category=phase.category,
                create=phase.books.restored - phase.books.replaced - phase.books.beside,
                failed=phase.failed,
                books=phase.books,
            )
            for phase in status.phases
        ],
        books=status.books,
        causes=list(status.causes),
        warnings=list(status.warnings),
        inventory=asked.progress.inventory(status.run.id),
    )


@large.post("/runs", status_code=HTTPStatus.CREATED, responses=returns(RunDocument, 201))
def submit(given: RunWish, asked: Asked, who: Who) -> Response:
    """Submit a plan: its sources and targets are inspected, then it awaits approval."""
    return _submitted(
        asked,
        given,
        who,
        where="runs",
        status=HTTPStatus.CREATED,
        expected_digest=given.preview,
    )


def _submitted(
    asked: Installation,
    given: PlanToRun,
    who: Caller,
    *,
    where: str,
    status: int = HTTPStatus.ACCEPTED,
    **how: Any,
) -> Response:
    if who.runs is not None:
        raise Declined(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            "this token is for certain runs, and a new one is none of them",
            hint="submit with a token for every run",
        )
    folder = folder_of(asked, given.folder)
    with handed_in(
        given.text,
        folder=folder,
        files=given.files,
        declined_at=given.declined_at,
        author=who.holder,
        **how,
    ) as submission:
        run = asked.runs.submit(submission)
    found = asked.progress.status(run)
    headers = {"ETag": etag(found), "Location": f"/api/v1/{where}/{run}"}
    return answer(msgspec.to_builtins(run_document(found)), status, headers)
