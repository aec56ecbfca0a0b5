"""Logging in and out, and what every page needs: its style, its script."""

from http import HTTPStatus
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who, clear_cookie, same_origin, set_cookie
from orchestrator.api.installation import Asked
from orchestrator.api.problems import Declined
from orchestrator.api.routes.identities import begin_session
from orchestrator.dashboard.pages import Form, shown, to
from orchestrator.errors import NotFound

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

MEDIA = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DAY = 86_400


@router.get("/login")
def ask_to_log_in(
    request: Request,
    following: Annotated[str, Query(alias="next", max_length=300)] = "/",
    code: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """A form for a token; a login link brings a code instead."""
    return shown(request, "login.html", following=_local(following), code=code, problem=None)


@router.post("/login")
def log_in(request: Request, form: Form, asked: Asked) -> Response:
    """Begin a session, and go where the browser wanted to."""
    if not same_origin(request):
        raise Declined(HTTPStatus.FORBIDDEN, "cross-site", "a browser sent this for another site")
    following = _local(form.get("next", "/"))
    try:
        begun = begin_session(asked, token=form.get("token", ""), code=form.get("code", ""))
    except Declined as declined:
        return shown(
            request,
            "login.html",
            answer=declined.status_code,
            following=following,
            code="",
            problem=declined.described(),
        )
    response = to(following)
    set_cookie(response, request, begun)
    return response


@router.post("/logout")
def log_out(request: Request, asked: Asked, who: Who) -> Response:
    """End this browser's session."""
    asked.sessions.end(who.session, who=who.holder)
    response = to("/login")
    clear_cookie(response, request)
    return response


def _local(address: str) -> str:
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
