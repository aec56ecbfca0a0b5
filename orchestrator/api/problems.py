"""What goes wrong, as RFC 9457 problem details: what is wrong, what to do, and where in the plan.

Nothing of a request is repeated, and no exception's text but our own sentences, which hold nothing
personal.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from orchestrator.errors import (
    NotFound,
    PlanInvalid,
    Problem,
    Refused,
    ReinstateError,
    Unavailable,
)
from orchestrator.identity.roles import OWN_CALLER
from orchestrator.logs import get_logger

log = get_logger("api")

MEDIA_TYPE = "application/problem+json"
MOST = 200
"""Problems of a plan that are told at once."""


class Detail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that says no."""

    type: str
    title: str
    status: int
    code: str
    """The end of `type`: what a program looks at."""
    detail: str
    hint: str = ""
    problems: Sequence[Problem] = ()
    """Of a plan, a list or a request: everything that is wrong, each with its place."""


class Declined(HTTPException):
    """The API itself says no. `code` is a word that programs may rely on."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(int(status), detail, dict(headers) if headers else None)
        self.code = code
        self.hint = hint
        self.problems = problems

    def described(self) -> Detail:
        """The body that says it."""
        return _described(self.status_code, self.code, self.detail, self.hint, self.problems)


def _described(
    status: int, code: str, detail: str, hint: str = "", problems: Sequence[Problem] = ()
) -> Detail:
    return Detail(
        type=f"urn:reinstate:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        hint=hint,
        problems=tuple(problems[:MOST]),
    )


def of_error(error: ReinstateError) -> Detail:
    """What an error of a use case is to whoever asked."""
    match error:
        case PlanInvalid():
            status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"
        case NotFound():
            status, code = HTTPStatus.NOT_FOUND, "not-found"
        case Unavailable():
            status, code = HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"
        case Refused():
            status, code = HTTPStatus.CONFLICT, "refused"
        case _:
            status, code = HTTPStatus.CONFLICT, "conflict"
    problems = error.problems if isinstance(error, PlanInvalid) else ()
    return _described(status, code, error.message, error.hint, problems)


def as_response(detail: Detail, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as an answer."""
    return Response(
        msgspec.json.encode(detail), detail.status, dict(headers or {}), media_type=MEDIA_TYPE
    )


PageOfProblem = Callable[[Request, Detail], Response]
"""How a problem looks to a person: given by the dashboard for everything outside /api/."""
FOR_PROGRAMS = frozenset({"/health", "/ready", "/metrics"})
"""Outside /api/, and no page for people either."""


def explain_problems(app: FastAPI, *, page: PageOfProblem | None = None) -> None:
    """Let every error that leaves a route become a problem."""

    def told(request: Request, detail: Detail, headers: Mapping[str, str] | None) -> Response:
        path = request.url.path
        if page is None or path.startswith("/api/") or path in FOR_PROGRAMS:
            return as_response(detail, headers)
        answer = page(request, detail)
        answer.headers.update(dict(headers or {}))
        return answer

    async def declined(request: Request, error: Exception) -> Response:
        if isinstance(error, Declined):
            return told(request, error.described(), error.headers)
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        return told(request, _of_status(status), headers)

    async def ours(request: Request, error: Exception) -> Response:
        if not isinstance(error, ReinstateError):
            raise error
        wait = error.retry_in if isinstance(error, Unavailable) else None
        headers = {"Retry-After": str(max(1, round(wait or 2)))} if _away(error) else None
        if _away(error) and OWN_CALLER not in request.scope:
            log.warning("ledger_away", error=error)
        return told(request, of_error(error), headers)

    async def malformed(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else ()
        return told(request, _of_request(found), None)

    async def unforeseen(request: Request, error: Exception) -> Response:
        if OWN_CALLER not in request.scope:  # whoever asks in process gets the exception itself
            log.error("request_failed", error=error)
        return told(request, _of_status(500), None)

    app.add_exception_handler(HTTPException, declined)
    app.add_exception_handler(ReinstateError, ours)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(Exception, unforeseen)


def _away(error: Exception) -> bool:
    return isinstance(error, Unavailable)


_SAID = {
    404: ("not-found", "there is nothing here"),
    405: ("method-not-allowed", "this address takes other methods"),
    500: ("unforeseen", "this was not foreseen; it is in the log"),
}


def _of_status(status: int) -> Detail:
    code, detail = _SAID.get(status, ("refused", HTTPStatus(status).description))
    return _described(status, code, detail)


def _of_request(errors: Sequence[Mapping[str, Any]]) -> Detail:
    """What does not fit the route, by place; never the value that was given."""
    problems = [
        Problem(
            code=str(found["type"]).replace("_", "-"),
            message=_SAFE.get(str(found["type"]), str(found["msg"])),
            line=1,
            column=1,
            path=".".join(_place(part) for part in found["loc"]),
        )
        for found in errors
    ]
    return _described(422, "malformed", "the request does not fit this address", "", problems)


def _place(part: object) -> str:
    """A field or index, unless it is none of ours: a key that somebody made up may say anything."""
    text = str(part)
    return text if _FIELD.fullmatch(text) else "…"


_FIELD = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_SAFE = {
    "value_error": "this value is not allowed here",
    "union_tag_invalid": "this value is not allowed here",
    "extra_forbidden": "there is no such field",
}
"""What pydantic may say with the value in it, or less clearly."""
