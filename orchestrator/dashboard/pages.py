"""How a page is made: template and facts in, HTML out; forms in, one answer out.

Every page works without script. What is live asks again for a part of itself, and says how old it
is where it cannot.
"""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

import orchestrator
from orchestrator.api.access import ROUTES, may
from orchestrator.api.problems import Declined, Detail
from orchestrator.dashboard import figures
from orchestrator.identity.roles import Caller

FIELDS_AT_MOST = 60


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("orchestrator.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = made.filters
    filters |= {
        "number": figures.number,
        "percent": figures.percent,
        "share": figures.share,
        "span": figures.span,
        "moment": figures.moment,
        "size": figures.size,
        "spelled": _spelled,
        "query": urlencode,
        "part": _part,
    }
    return made


def _spelled(word: object) -> str:
    """A word of ours as people write it."""
    return str(word).replace("_", " ")


def _part(text: object) -> str:
    """A text as one part of an address."""
    return quote(str(text), safe="")


def shown(
    request: Request, template: str, *, answer: int = HTTPStatus.OK, **facts: Any
) -> Response:
    """A template with its facts; it knows who looks, and what they may."""
    who: Caller | None = getattr(request.state, "caller", None)

    def allowed(route: str) -> bool:
        return who is not None and may(who, ROUTES[route])

    text = (
        _templates()
        .get_template(template)
        .render(
            who=who, allowed=allowed, release=orchestrator.VERSION, path=request.url.path, **facts
        )
    )
    return HTMLResponse(text, answer)


def to(address: str) -> Response:
    """After a form: look there, by GET."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


async def _form(request: Request) -> dict[str, str]:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded":
        raise Declined(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", "this address takes a form")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_AT_MOST))
    except ValueError:
        raise Declined(HTTPStatus.BAD_REQUEST, "malformed", "this is no form") from None


Form = Annotated[dict[str, str], Depends(_form)]
"""What a form was filled in with."""


def reason_of(form: Mapping[str, str]) -> str:
    """Why somebody does it, as they wrote it."""
    return form.get("reason", "").strip()[:1000]


def page_of_problem(request: Request, detail: Detail) -> Response:
    """A problem, to a person: what is wrong and what to do. Whoever is nobody yet logs in first."""
    if detail.status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        return to(f"/login?{urlencode({'next': request.url.path})}")
    if getattr(request.state, "caller", None) is None:
        request.state.caller = None
    return shown(request, "problem.html", answer=detail.status, problem=detail)
