"""How a page is made: template and facts in, HTML out; forms in, one answer out.

Every page works without script. What is live asks again for a part of itself, and says how old it
is where it cannot.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct
from starlette.responses import HTMLResponse, RedirectResponse, Response

import orchestrator
from orchestrator.api.access import ROUTES, may
from orchestrator.api.problems import Declined, Detail
from orchestrator.dashboard import figures
from orchestrator.errors import PlanInvalid, Refused
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
        "clock": figures.clock,
        "spelled": _spelled,
        "query": urlencode,
        "part": _part,
        "listed": _listed,
    }
    return made


def _spelled(word: object) -> str:
    """A word of ours as people write it."""
    return str(word).replace("_", " ")


def _listed(words: object) -> str:
    """Several words, or one, or none."""
    some = [words] if isinstance(words, str) else cast("list[object]", words or [])
    return ", ".join(str(word) for word in some if word) or figures.NOTHING


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


class Sent(Struct, frozen=True, kw_only=True):
    """A form with a file."""

    fields: dict[str, str]
    files: dict[str, bytes]


async def _sent(request: Request) -> Sent:
    """RFC 7578, as browsers write it: parts between boundaries, each with a name."""
    media, _, options = request.headers.get("content-type", "").partition(";")
    found = _BOUNDARY.search(options)
    if media.strip().lower() != "multipart/form-data" or found is None:
        raise Declined(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", "this address takes a form")
    mark = b"\r\n--" + (found[1] or found[2]).encode()
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    parts = (b"\r\n" + await request.body()).split(mark)
    for part in parts[1:-1][:FIELDS_AT_MOST]:
        head, _, body = part.partition(b"\r\n\r\n")
        named = _NAME.search(head.decode("utf-8", "replace"))
        if named is None:
            continue
        if b"filename=" in head:
            files[named[1]] = body
        else:
            fields[named[1]] = body.decode("utf-8", "replace")
    return Sent(fields=fields, files=files)


_BOUNDARY = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^;\s"]{1,70}))', re.ASCII)
_NAME = re.compile(r'[; ]name="([a-z]{1,20})"')

Upload = Annotated[Sent, Depends(_sent)]
"""What a form with a file was filled in with."""


def reason_of(form: Mapping[str, str]) -> str:
    """Why somebody does it, as they wrote it."""
    return form.get("reason", "").strip()[:1000]


SHORTEST_REASON = 3


def needed_reason(form: Mapping[str, str], what: str) -> str:
    """The same, where there has to be one. Raises `PlanInvalid`."""
    reason = reason_of(form)
    if len(reason) < SHORTEST_REASON:
        raise PlanInvalid(f"a reason is needed {what}", hint="go back, and say why")
    return reason


def must_be_typed(form: Mapping[str, str], expected: str, what: str) -> None:
    """Something that cannot be taken back is confirmed by typing. Raises `Refused`."""
    if form.get("typed", "").strip() != expected:
        raise Refused(f"{what} is confirmed by typing its id", hint="go back, and type it")


T = TypeVar("T")


def asked_for(read: Callable[[], T], otherwise: T) -> tuple[T, PlanInvalid | None]:
    """What a query asks for, or what to show where it is none, and what is wrong with it."""
    try:
        return read(), None
    except PlanInvalid as problem:
        return otherwise, problem


def page_of_problem(request: Request, detail: Detail) -> Response:
    """A problem, to a person: what is wrong and what to do. Whoever is nobody yet logs in first."""
    if detail.status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        return to(f"/login?{urlencode({'next': request.url.path})}")
    if getattr(request.state, "caller", None) is None:
        request.state.caller = None
    return shown(request, "problem.html", answer=detail.status, problem=detail)
