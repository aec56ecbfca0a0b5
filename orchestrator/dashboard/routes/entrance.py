"""Logging in and out, and what every page needs: its style, its script."""

from http import HTTPStatus
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who, clear_cookie, same_origin, set_cookie
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.problems import Declined, Detail
from orchestrator.api.routes.identities import begin_session
from orchestrator.dashboard.pages import Form, shown, to
from orchestrator.errors import NotFound

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

MEDIA = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DAY = 86_400
Following = Annotated[str, Query(alias="next", max_length=300)]
"""Where the browser wanted to go."""


@router.get("/login")
def ask_to_log_in(
    request: Request,
    asked: Asked,
    following: Following = "/",
    code: Annotated[str, Query(max_length=200)] = "",
    left: Annotated[str, Query(max_length=5)] = "",
) -> Response:
    """A form for a token; a login link brings a code instead."""
    return login_page(request, asked, following=local(following), code=code, left=bool(left))


def login_page(
    request: Request,
    asked: Installation,
    *,
    following: str,
    code: str = "",
    left: bool = False,
    problem: Detail | None = None,
) -> Response:
    """The ways in; `left`: somebody just logged out; `problem`: why it did not work."""
    sign_on = asked.sign_on
    return shown(
        request,
        "login.html",
        answer=HTTPStatus.OK if problem is None else problem.status,
        following=following,
        code=code,
        problem=problem,
        provider=sign_on.host if sign_on else None,
        farewell=sign_on.farewell() if sign_on and left else None,
        left=left,
    )


@router.post("/login")
def log_in(request: Request, form: Form, asked: Asked) -> Response:
    """Begin a session, and go where the browser wanted to."""
    if not same_origin(request):
        raise Declined(HTTPStatus.FORBIDDEN, "cross-site", "a browser sent this for another site")
    following = local(form.get("next", "/"))
    try:
        begun = begin_session(asked, token=form.get("token", ""), code=form.get("code", ""))
    except Declined as declined:
        return login_page(request, asked, following=following, problem=declined.described())
    response = to(following)
    set_cookie(response, request, begun)
    return response


@router.post("/logout")
def log_out(request: Request, asked: Asked, who: Who) -> Response:
    """End this browser's session."""
    asked.sessions.end(who.session, who=who.holder)
    asked.recent.forget_callers()
    response = to("/login?left=yes")
    clear_cookie(response, request)
    return response


def local(address: str) -> str:
    """An address of ours; any other becomes the first page."""
    ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if ours and address.isprintable() else "/"


@router.get("/static/{name}")
def get_static(
    name: Annotated[str, Path(pattern=r"^[a-z0-9-]+(\.min)?\.(css|js|svg)$")],
) -> Response:
    """A file of ours."""
    file = files("orchestrator.dashboard") / "static" / name
    if not file.is_file():
        raise NotFound("there is nothing here")
    return Response(
        file.read_bytes(),
        media_type=MEDIA[name[name.rindex(".") :]],
        headers={"Cache-Control": f"public, max-age={DAY}"},
    )
