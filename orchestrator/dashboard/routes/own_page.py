"""A user's own page: what came back, what did not and why, what to do, and what they may choose.

Why it takes no session and no token against forged requests: what lets somebody in is the link
itself, which stands in the address and is sent by no browser on its own. Who could forge a request
would have to know the link, and could as well use it. The address goes nowhere else: no referrer is
sent, nothing is stored, nothing of another site is loaded, and log lines hold routes only.

Why nothing limits how often links are tried: 16 bytes are not guessed, and a wrong link costs one
hash, before anything is looked up.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import UserPath
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.routes.links import users_link
from orchestrator.api.which import RunId
from orchestrator.dashboard.pages import Form, reason_of, shown, to
from orchestrator.dashboard.routes.runs import seen
from orchestrator.errors import NotFound, Refused, Unavailable
from orchestrator.plan import Choice

router = APIRouter(route_class=GatedRoute, include_in_schema=False)

HIDDEN = {"X-Robots-Tag": "noindex, nofollow, noarchive"}
IN_HAND = "We are restoring just this at the moment. Please choose again in a few minutes."


@router.get("/mine/{link}")
def get_own_page(request: Request, link: str, asked: Asked) -> Response:
    """What became of one user's things."""
    return _page(request, asked, link)


@router.post("/mine/{link}")
def choose(request: Request, link: str, form: Form, asked: Asked) -> Response:
    """What they want where what they have differs from what was recovered."""
    try:
        wanted = Choice(form.get("choice", ""))
    except ValueError:
        return _page(request, asked, link, notice="Please choose one of the three.", answer=422)
    try:
        asked.own_pages.choose(link, wanted, category=form.get("category") or None)
    except NotFound:
        return _nothing(request)
    except Refused as refused:
        notice = f"{refused.message.capitalize()}: {refused.hint}."
        return _page(request, asked, link, notice=notice, answer=HTTPStatus.CONFLICT)
    except Unavailable:
        return _page(request, asked, link, notice=IN_HAND, answer=HTTPStatus.SERVICE_UNAVAILABLE)
    return to(f"/mine/{link}#choose")


def _page(
    request: Request,
    asked: Installation,
    link: str,
    *,
    notice: str = "",
    answer: int = HTTPStatus.OK,
) -> Response:
    try:
        page = asked.own_pages.look(link)
    except NotFound:
        return _nothing(request)
    made = shown(request, "own_page.html", answer=answer, page=page, link=link, notice=notice)
    made.headers.update(HIDDEN)
    return made


def _nothing(request: Request) -> Response:
    """The same for every link that opens nothing, whatever the reason."""
    made = shown(request, "own_nothing.html", answer=HTTPStatus.NOT_FOUND)
    made.headers.update(HIDDEN)
    return made


# For support --------------------------------------------------------------------------------------


@router.post("/runs/{run}/users/{user}/link")
def issue_link(
    request: Request, run: RunId, user: UserPath, form: Form, asked: Asked, who: Who
) -> Response:
    """A link to one user's own page, to be copied and sent to them."""
    found = users_link(asked, run, user, who=who.holder, reason=reason_of(form))
    return shown(request, "own_link.html", **seen(asked, run, "users"), found=found)
