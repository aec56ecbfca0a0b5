"""Who I am, logging a browser in and out, and tokens."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import Page, answer, nothing, returns, returns_page
from orchestrator.api.gate import GatedRoute, Who, clear_cookie, same_origin, set_cookie
from orchestrator.api.given import Given, Name
from orchestrator.api.installation import Asked
from orchestrator.api.problems import Declined
from orchestrator.identity.roles import Role, Scope
from orchestrator.identity.sessions import Begun
from orchestrator.identity.tokens import TokenRow

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["identity"])

RunIds = Annotated[list[Annotated[str, Field(pattern="^[0-9a-f]{4,16}$")]], Field(max_length=100)]


class Me(Struct, frozen=True, kw_only=True):
    """Who asks."""

    holder: str
    role: Role
    scopes: list[Scope]
    """Empty: everything that the role may."""
    runs: list[str] | None
    """Null: every run."""


@router.get("/me", responses=returns(Me))
def me(who: Who) -> Response:
    """Who the token or session belongs to."""
    return answer(
        Me(
            holder=who.holder,
            role=who.role,
            scopes=sorted(who.scopes),
            runs=None if who.runs is None else sorted(who.runs),
        )
    )


# Sessions -----------------------------------------------------------------------------------------


class LogIn(Given):
    """A token, or a login code."""

    token: Annotated[str, Field(max_length=200)] = ""
    code: Annotated[str, Field(max_length=200)] = ""


@router.post("/sessions", status_code=HTTPStatus.CREATED, responses=returns(Me, 201))
def log_in(given: LogIn, request: Request, asked: Asked) -> Response:
    """Begin a browser's session: its secret comes as a cookie that scripts cannot read."""
    if not same_origin(request):
        raise Declined(HTTPStatus.FORBIDDEN, "cross-site", "a browser sent this for another site")
    begun = begin_session(asked, token=given.token, code=given.code)
    response = me(begun.caller)
    response.status_code = HTTPStatus.CREATED
    set_cookie(response, request, begun)
    return response


def begin_session(asked: Asked, *, token: str = "", code: str = "") -> Begun:
    """The session that a token or a login code begins. Raises `Declined`."""
    if code:
        begun = asked.sessions.redeem(code)
    else:
        found = asked.tokens.find(token.strip())
        begun = None if found is None else asked.sessions.begin(found)
    if begun is None:
        raise Declined(
            HTTPStatus.UNAUTHORIZED,
            "unknown-caller",
            "this token or code is not valid, or not any more",
            hint="a login code is good once and for a quarter of an hour",
        )
    return begun


@router.delete("/sessions/current", status_code=HTTPStatus.NO_CONTENT)
def log_out(request: Request, asked: Asked, who: Who) -> Response:
    """End this browser's session."""
    asked.sessions.end(who.session, who=who.holder)
    asked.recent.forget_callers()
    response = nothing()
    clear_cookie(response, request)
    return response


# Tokens -------------------------------------------------------------------------------------------


class TokenWish(Given):
    """A token to be made."""

    holder: Name
    role: Role
    purpose: Annotated[str, Field(max_length=200)] = ""
    scopes: Annotated[list[Scope], Field(max_length=len(Scope))] = Field(default_factory=list)
    runs: RunIds | None = None
    days: Annotated[int | None, Field(ge=1, le=3650)] = 90


class NewToken(Struct, frozen=True, kw_only=True):
    """A token, shown this once."""

    token: str
    row: TokenRow


@router.get("/tokens", responses=returns_page(TokenRow))
def list_tokens(asked: Asked) -> Response:
    """Every token, the newest first; never the tokens themselves."""
    return answer(Page(rows=asked.tokens.rows()))


@router.post("/tokens", status_code=HTTPStatus.CREATED, responses=returns(NewToken, 201))
def create_token(given: TokenWish, asked: Asked, who: Who) -> Response:
    """Make a token. It is shown in this answer only."""
    text, row = asked.tokens.create(
        holder=given.holder,
        role=given.role,
        purpose=given.purpose,
        scopes=given.scopes,
        runs=given.runs,
        days=given.days,
        who=who.holder,
    )
    return answer(NewToken(token=text, row=row), HTTPStatus.CREATED)


@router.delete("/tokens/{token}", status_code=HTTPStatus.NO_CONTENT)
def revoke_token(token: str, asked: Asked, who: Who) -> Response:
    """End a token at once, with every session begun by it."""
    asked.tokens.revoke(token, who=who.holder)
    asked.recent.forget_callers()
    return nothing()
