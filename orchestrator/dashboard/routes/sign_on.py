"""Logging in at the identity provider of the house: there, and back."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from orchestrator.api.gate import GatedRoute, is_https, set_cookie
from orchestrator.api.idempotency import Kept, Verdict, fingerprint
from orchestrator.api.installation import CALLBACK, Asked, Installation
from orchestrator.api.problems import of_error
from orchestrator.dashboard.pages import to
from orchestrator.dashboard.routes.entrance import Following, local, login_page
from orchestrator.errors import NotFound, Refused, Unavailable
from orchestrator.identity.sign_on import LASTS_SECONDS, Arrived, SignOn
from orchestrator.logs import get_logger

log = get_logger("api")

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

COOKIE = "reinstate_sign_on"
PATH = "/login/sso"
ONCE = "single sign-on"
Text = Annotated[str, Query(max_length=4000)]


@router.get("/login/sso")
def leave(request: Request, asked: Asked, following: Following = "/") -> Response:
    """Send the browser to the provider; a cookie of this browser alone keeps what was asked."""
    try:
        begun = _sign_on(asked).begin(local(following))
    except (Refused, Unavailable) as error:
        return _not_in(request, asked, error)
    response = RedirectResponse(begun.address, HTTPStatus.SEE_OTHER)
    response.set_cookie(
        COOKIE,
        begun.cookie,
        max_age=LASTS_SECONDS,
        path=PATH,
        httponly=True,
        samesite="lax",  # or it would not come back with the browser
        secure=is_https(request),
    )
    return response


@router.get(CALLBACK)
def come_back(
    request: Request,
    asked: Asked,
    state: Text = "",
    code: Text = "",
    iss: Text = "",
    error: Text = "",
) -> Response:
    """The provider sent the browser back: begin its session, if everything proves true."""
    try:
        arrived = _arrived(request, asked, state=state, code=code, issuer=iss, error=error)
    except (Refused, Unavailable) as refused:
        log.warning("sign_on_refused", error=refused)
        response = _not_in(request, asked, refused)
    else:
        response = to(local(arrived.following))
        set_cookie(response, request, asked.sessions.begin(arrived.caller))
    response.delete_cookie(COOKIE, path=PATH, httponly=True, secure=is_https(request))
    return response


def _arrived(
    request: Request, asked: Installation, *, state: str, code: str, issuer: str, error: str
) -> Arrived:
    """Who came back; with one state only once, also where somebody kept the cookie."""
    arrived = _sign_on(asked).end(
        request.cookies.get(COOKIE), state=state, code=code, issuer=issuer, error=error
    )
    if asked.answers.look(ONCE, state, fingerprint("GET", PATH, state, b"")) != Verdict.GO_ON:
        raise Refused("this login was used before", hint="log in once more")
    asked.answers.keep(ONCE, state, Kept(HTTPStatus.SEE_OTHER, [], b""))
    return arrived


def _sign_on(asked: Installation) -> SignOn:
    if asked.sign_on is None:
        raise NotFound("there is no single sign-on here", hint="log in with a token")
    return asked.sign_on


def _not_in(request: Request, asked: Installation, error: Refused | Unavailable) -> Response:
    return login_page(request, asked, following="/", problem=of_error(error))
