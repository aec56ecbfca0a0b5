"""What the public is told of a run: bulletins, the promise of the next one, the page's address."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from msgspec import Struct
from pydantic import AwareDatetime, Field, StringConstraints
from starlette.responses import Response

from orchestrator.api.answers import Page, answer, returns, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import CursorText, Given, Limit
from orchestrator.api.installation import Asked, Installation
from orchestrator.api.paging import page
from orchestrator.api.which import RunId
from orchestrator.public.bulletins import LONGEST, Bulletin, Draft, DuePromise

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["public"])


class Say(Given):
    """A bulletin."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST, description="Plain text.")]
    next_due: Annotated[
        AwareDatetime | None,
        Field(description="By when the next one is promised. Without: none is promised."),
    ] = None


class Showing(Given):
    """How a run shows itself to the public."""

    slug: Annotated[
        str,
        StringConstraints(pattern="^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"),
        Field(description="The end of the page's address."),
    ]
    title: Annotated[str, Field(max_length=200)] = ""
    support: Annotated[
        str, Field(max_length=300, description="Where users ask: https://… or a mail address.")
    ] = ""
    choose_until: Annotated[
        AwareDatetime | None,
        Field(
            description="Until when users may choose what is done about conflicts, also of what "
            "was done already. Without: until their things are begun."
        ),
    ] = None


class PublicPage(Struct, frozen=True, kw_only=True):
    """How a run shows itself to the public, and where."""

    run: str
    url: str
    slug: str
    title: str
    support: str
    choose_until: datetime | None


@router.get("/promises", responses=returns_page(DuePromise))
def list_promises(asked: Asked, who: Who) -> Response:
    """The updates that the public waits for, the soonest first; `late_seconds`: the alarm."""
    return answer(Page(rows=asked.bulletins.promises(only=who.runs)))


@router.get("/runs/{run}/bulletins", responses=returns_page(Bulletin))
def list_bulletins(
    run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """What was said, the newest first."""
    which = f"bulletins {run}"
    before = place_of(asked.sealer, which, cursor)
    rows = asked.bulletins.page(run, before=before, limit=limit + 1)
    return page(asked.sealer, which, rows, limit, place=lambda row: row.id)


@router.get("/runs/{run}/bulletins/draft", responses=returns(Draft))
def draft_bulletin(run: RunId, asked: Asked) -> Response:
    """What could be said now, made of the run's counters: to be edited, then published."""
    return answer(asked.bulletins.draft(run))


@router.post(
    "/runs/{run}/bulletins", status_code=HTTPStatus.CREATED, responses=returns(Bulletin, 201)
)
def publish_bulletin(run: RunId, given: Say, asked: Asked, who: Who) -> Response:
    """Say it in public. With the first one the run has a public page."""
    made = asked.bulletins.publish(run, given.text, next_due=given.next_due, who=who.holder)
    asked.recent.changed(run)
    return answer(made, HTTPStatus.CREATED)


@router.get("/runs/{run}/public-page", responses=returns(PublicPage))
def get_public_page(run: RunId, asked: Asked) -> Response:
    """Where the public looks, and how the run shows itself there."""
    return answer(public_page(asked, run))


@router.put("/runs/{run}/public-page", responses=returns(PublicPage))
def change_public_page(run: RunId, given: Showing, asked: Asked, who: Who) -> Response:
    """Choose the page's address, its title, where users ask, and until when they may choose."""
    asked.bulletins.change(
        run,
        slug=given.slug,
        title=given.title,
        support=given.support,
        choose_until=given.choose_until,
        who=who.holder,
    )
    return answer(public_page(asked, run))


def public_page(asked: Installation, run: str) -> PublicPage:
    """How a run shows itself, with the whole address."""
    found = asked.bulletins.settings(run)
    return PublicPage(
        run=run,
        url=f"{asked.settings.public_url}/status/{found.slug}",
        slug=found.slug,
        title=found.title,
        support=found.support,
        choose_until=found.choose_until,
    )
