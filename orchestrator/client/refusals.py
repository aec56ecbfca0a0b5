"""Answers that say no, as the errors that commands know: problem details of RFC 9457, read back."""

from collections.abc import Sequence
from http import HTTPStatus

import httpx
import msgspec
from msgspec import Struct

from orchestrator.errors import (
    NotFound,
    PlanInvalid,
    Problem,
    Refused,
    ReinstateError,
    Unavailable,
)

_UNREACHABLE = frozenset({429, 502, 503, 504})
_USAGE = frozenset({400, 405, 408, 413, 414, 415, 422})
_TOKEN = "REINSTATE_TOKEN or --token-file holds the token; `reinstate token create` makes one"  # noqa: S105  no token


class _Detail(Struct, frozen=True):
    """A problem's body."""

    code: str
    detail: str
    hint: str = ""
    problems: Sequence[Problem] = ()


class Changed(Refused):
    """Somebody changed it between our look and our change."""


def error_of(response: httpx.Response, *, where: str) -> ReinstateError:
    """What an answer that says no means to whoever asked; `where`: the server's address."""
    found = _read(response)
    status = response.status_code
    if found is None:
        return _of_something_else(status, where)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return Refused(f"{where} does not know who asks: {found.detail}", hint=_TOKEN)
        case HTTPStatus.NOT_FOUND:
            return NotFound(found.detail, hint=found.hint)
        case HTTPStatus.PRECONDITION_FAILED:
            return Changed(found.detail, hint=found.hint)
        case _ if status in _UNREACHABLE or found.code == "under-way":
            return Unavailable(found.detail, retry_in=_wait(response), hint=found.hint)
        case _ if found.code == "malformed" and found.problems:
            return PlanInvalid(f"{found.detail}: {_places(found.problems)}", hint=found.hint)
        case _ if status in _USAGE:
            return PlanInvalid(found.detail, problems=found.problems, hint=found.hint)
        case HTTPStatus.FORBIDDEN | HTTPStatus.CONFLICT:
            return Refused(found.detail, hint=found.hint)
        case _:
            return ReinstateError(f"{where} says: {found.detail}", hint=found.hint)


def _read(response: httpx.Response) -> _Detail | None:
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        return msgspec.json.decode(response.content, type=_Detail)
    except msgspec.DecodeError:
        return None


def _of_something_else(status: int, where: str) -> ReinstateError:
    if status in _UNREACHABLE:
        return Unavailable(f"{where} answers {status}: nobody behind it is ready")
    if 300 <= status < 400:  # noqa: PLR2004  redirects
        return Unavailable(f"{where} sends us elsewhere", hint="name the address that it sends to")
    return Unavailable(
        f"what answers at {where} is not Reinstate's API (it says {status})",
        hint="check the address: --server, or REINSTATE_SERVER",
    )


def _places(problems: Sequence[Problem]) -> str:
    return "; ".join(
        f"{problem.path.removeprefix('body.')}: {problem.message}" for problem in problems[:5]
    )


def _wait(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else None
