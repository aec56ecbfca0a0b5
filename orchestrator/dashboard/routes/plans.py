"""Plans: write one, see every problem where it is, compare versions, preview, submit."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.routes.plans import folder_of
from orchestrator.dashboard.pages import Form, shown, to
from orchestrator.errors import PlanInvalid
from orchestrator.handing_in import checked, handed_in
from orchestrator.plan_store import difference

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

LISTED = 100
PlanId = Annotated[str, Path(pattern="^[0-9a-f]{4,16}$")]
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]


@router.get("/plans")
def list_plans(request: Request, asked: Asked) -> Response:
    """Stored plans in their newest version, the newest first."""
    return shown(request, "plans.html", rows=asked.plans.page(after=None, limit=LISTED))


@router.get("/plans/new")
def new_plan(request: Request, asked: Asked) -> Response:
    """An empty page to write on."""
    folder = str(asked.settings.home / "plans")
    return _draft(request, text="", folder=folder, plan="", version=0)


@router.get("/plans/{plan}")
def get_plan(request: Request, plan: PlanId, asked: Asked, version: Version = None) -> Response:
    """A stored plan, to be read or changed; with what changed since the version before."""
    found = asked.plans.get(plan, version)
    before = asked.plans.get(plan, found.version - 1) if found.version > 1 else None
    return _draft(
        request,
        text=found.text,
        folder=found.folder,
        plan=plan,
        version=found.version,
        versions=asked.plans.versions(plan),
        diff=""
        if before is None
        else difference(
            before.text,
            found.text,
            old_name=f"version {before.version}",
            new_name=f"version {found.version}",
        ),
    )


@router.post("/plans/check")
def check(request: Request, form: Form, asked: Asked) -> Response:
    """The same page, with everything that is wrong."""
    return _diagnosed(request, asked, form)


@router.post("/plans/store")
def store(request: Request, form: Form, asked: Asked, who: Who) -> Response:
    """Keep it, as a new plan or a newer version."""
    text, plan = _text(form), form.get("plan", "")
    try:
        if plan:
            version = int(form.get("version", "0") or 0)
            made = asked.plans.change(plan, text, version=version, who=who.holder)
        else:
            folder = folder_of(asked, form.get("folder", "").strip())
            made = asked.plans.add(text, folder=folder, who=who.holder)
    except PlanInvalid:
        return _diagnosed(request, asked, form)
    return to(f"/plans/{made.id}")


@router.post("/plans/preview")
def preview(request: Request, form: Form, asked: Asked, who: Who) -> Response:
    """Find out what it would do to the data as it is now; nothing is written."""
    return _handed_in(request, asked, form, who.holder, preview=True)


@router.post("/plans/submit")
def submit(request: Request, form: Form, asked: Asked, who: Who) -> Response:
    """Submit it: inspected, then it awaits approval by somebody else."""
    return _handed_in(request, asked, form, who.holder, preview=False)


def _handed_in(
    request: Request, asked: Installation, form: dict[str, str], author: str, *, preview: bool
) -> Response:
    try:
        folder = folder_of(asked, form.get("folder", "").strip())
        with handed_in(
            _text(form), folder=folder, files={}, author=author, preview=preview
        ) as submission:
            run = asked.runs.submit(submission)
    except PlanInvalid:
        return _diagnosed(request, asked, form)
    return to(f"/runs/{run}")


def _diagnosed(request: Request, asked: Installation, form: dict[str, str]) -> Response:
    text = _text(form)
    folder = form.get("folder", "").strip()
    found = checked(text, folder=folder_of(asked, folder), files={})
    version = form.get("version", "0")
    return _draft(
        request,
        text=text,
        folder=folder,
        plan=form.get("plan", ""),
        version=int(version) if version.isdecimal() else 0,
        problems=found.problems,
        valid=found.plan is not None,
        answer=HTTPStatus.OK if found.plan is not None else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


def _text(form: dict[str, str]) -> str:
    return form.get("text", "").replace("\r\n", "\n")


def _draft(request: Request, *, text: str, answer: int = HTTPStatus.OK, **facts: Any) -> Response:
    """The page to write on; `facts`: what is known of the plan besides its text."""
    nothing: dict[str, Any] = {"problems": (), "valid": None, "versions": (), "diff": ""}
    known = nothing | facts
    return shown(request, "draft.html", answer=answer, text=text, lines=text.split("\n"), **known)
