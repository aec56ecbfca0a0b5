"""Links by which users reach their own pages: for one, for everybody, and no more for anybody."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from orchestrator.api.answers import answer, nothing, returns, returns_as
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import SMALL, Given, Name, NeededReason, Reason, SaidWhy, UserPath
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.which import RunId
from orchestrator.errors import PlanInvalid

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["links"])

Days = Annotated[int, Field(ge=1, le=366, description="For how many days a link is good.")]


class OneLink(Given):
    """A link for one user."""

    days: Days = 30
    reason: Reason = ""


class ManyLinks(Given):
    """Links for everybody, to be sent out."""

    days: Days = 30
    after: Annotated[
        int, Field(ge=-1, le=SMALL, description="Go on behind this `number` of a line before.")
    ] = -1
    wave: Annotated[Name | None, Field(description="Only for the users of this wave.")] = None
    reason: NeededReason


class UsersLink(Struct, frozen=True, kw_only=True):
    """Where one user sees what became of their things. Whoever has it is taken for them."""

    user: str
    """A reference, never an id."""
    url: str
    expires: datetime


@router.post("/runs/{run}/users/{user}/link", responses=returns(UsersLink))
def issue_link(run: RunId, user: UserPath, given: OneLink, asked: Asked, who: Who) -> Response:
    """A link to one user's own page, to be given to them and to nobody else."""
    return answer(
        users_link(asked, run, user, who=who.holder, reason=given.reason, days=given.days)
    )


def users_link(
    asked: Installation, run: str, user: str, *, who: str, reason: str, days: int = 30
) -> UsersLink:
    """A link of a user, named as in any address."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    text, expires = asked.own_pages.link(
        run, number, who=who, reason=reason, valid=timedelta(days=days)
    )
    return UsersLink(
        user=asked.progress.reference(run, number),
        url=f"{asked.settings.public_url}/mine/{text}",
        expires=expires,
    )


@router.post(
    "/runs/{run}/links", response_class=Response, responses=returns_as("application/jsonl")
)
def issue_links(run: RunId, given: ManyLinks, asked: Asked, who: Who) -> Response:
    """Everybody's link with their id, one JSON object a line, in the order of their numbers.

    Whoever is declined or forgotten is left out. A stream that was cut goes on with `after`.
    """
    wave = None
    if given.wave is not None:
        names = [one.name for one in asked.progress.plan(run).waves]
        if given.wave not in names:
            raise PlanInvalid("no such wave in this run", hint=f"one of: {', '.join(names)}")
        wave = names.index(given.wave)
    links = asked.own_pages.links(
        run,
        site=asked.settings.public_url,
        who=who.holder,
        reason=given.reason,
        after=given.after,
        wave=wave,
        valid=timedelta(days=given.days),
    )

    def lines() -> Iterator[bytes]:
        for link in links:
            yield msgspec.json.encode(link) + b"\n"

    return StreamingResponse(lines(), media_type="application/jsonl")


@router.post("/runs/{run}/links/revoke", status_code=204)
def revoke_links(run: RunId, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """Let no link of this run's users that was given out until now open anything any more."""
    asked.bulletins.revoke_links(run, who=who.holder, reason=given.reason)
    return nothing()
