"""Users by reference: units that match a query, one user, what they lost, and who they are."""

from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response

from orchestrator.api.answers import Page, answer, returns, returns_page
from orchestrator.api.cursors import unit_place
from orchestrator.api.gate import GatedRoute, Who
from orchestrator.api.given import (
    SMALL,
    CursorText,
    Given,
    Limit,
    QueryText,
    SaidWhy,
    UserName,
    UserPath,
)
from orchestrator.api.installation import Asked, Installation, named
from orchestrator.api.paging import page
from orchestrator.api.which import RunId
from orchestrator.books import Books
from orchestrator.lifecycle import UnitState
from orchestrator.query import parse
from orchestrator.revealing import Revealed
from orchestrator.run_standing import UserAnswer
from orchestrator.timeline import Happening, timeline
from orchestrator.user_standing import UserStanding, standing

router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["users"])


class UnitLine(Struct, frozen=True, kw_only=True):
    """A user's category."""

    user: str
    """A reference, never an id."""
    number: int
    wave: str
    category: str
    state: UnitState
    attempts: int
    expected: int | None
    cause: str | None
    books: Books


class UserDocument(UserAnswer, frozen=True, kw_only=True):
    """Everything about one user in one run, without who it is; items by masked ident."""

    user: str


class Found(Struct, frozen=True, kw_only=True):
    """A user, by reference."""

    user: str
    number: int


@router.get("/runs/{run}/units", responses=returns_page(UnitLine))
def list_units(
    run: RunId, asked: Asked, q: QueryText = "", cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """Units (a user's category each) that match a query, by user."""
    query = parse([q], asked.progress.plan(run))
    which = f"units {run} {q}"
    after = unit_place(asked.sealer, which, cursor)
    rows = asked.progress.units(run, query, after=after, limit=limit + 1)
    return page(asked.sealer, which, rows, limit, place=_place, view=lambda r: _line(asked, r))


@router.get("/runs/{run}/losses", responses=returns_page(UnitLine))
def list_losses(run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50) -> Response:
    """Units of which something is lost or quarantined, by user."""
    which = f"losses {run}"
    after = unit_place(asked.sealer, which, cursor)
    rows = list(islice(asked.progress.losses(run, after=after), limit + 1))
    return page(asked.sealer, which, rows, limit, place=_place, view=lambda r: _line(asked, r))


def _place(row: dict[str, Any]) -> list[int]:
    return [row["number"], row["phase"]]


def _line(asked: Installation, row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name != "phase"}
    return {"cause": None, **shown, "user": named(asked, row["user"])}


# One user -----------------------------------------------------------------------------------------


class Named(Given):
    """A user, named so that no address has to hold the id."""

    user: UserName


@router.post("/runs/{run}/users/find", responses=returns(Found))
def find_user(run: RunId, given: Named, asked: Asked) -> Response:
    """The reference and number of a user; so that ids stay out of addresses and their logs."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, given.user)
    return answer(Found(user=asked.progress.reference(run, number), number=number))


@router.get("/runs/{run}/users/{user}", responses=returns(UserDocument))
def get_user(run: RunId, user: UserPath, asked: Asked) -> Response:
    """What happened to one user's things, and why. Says neither who it is nor what they hold."""
    found = asked.progress.user(run, user)
    document = msgspec.to_builtins(found)
    document["user"] = asked.progress.reference(run, found.number)
    for category in document["categories"]:
        for item in category["items"]:
            item["ident"] = masked(asked, item["ident"])
    return answer(document)


def masked(asked: Installation, ident: str) -> str:
    """An item's name that is the same each time and says nothing: idents can hold names."""
    return f"i_{asked.sealer.sign(b'ident', str(ident).encode()).hex()[:10]}"


@router.get("/runs/{run}/users/{user}/timeline", responses=returns_page(Happening))
def get_timeline(run: RunId, user: UserPath, asked: Asked) -> Response:
    """What happened to one user, in the order in which it happened."""
    with asked.ledger.read() as connection:
        number = asked.progress.number(connection, run, user)
    return answer(Page(rows=timeline(asked.ledger, run, number, asked.progress.plan(run))))


@router.post("/runs/{run}/users/{user}/reveal", responses=returns(Revealed))
def reveal(run: RunId, user: UserPath, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """Who a reference stands for. The audit log keeps who asked and why."""
    return answer(asked.revealing.user(run, user, who=who.holder, reason=given.reason))


class SaidWhyOfMany(SaidWhy):
    """Users, by number, and why somebody has to know who they are."""

    numbers: Annotated[
        list[Annotated[int, Field(ge=0, le=SMALL)]], Field(min_length=1, max_length=500)
    ]


@router.post("/runs/{run}/users/reveal", responses=returns_page(Revealed))
def reveal_many(run: RunId, given: SaidWhyOfMany, asked: Asked, who: Who) -> Response:
    """Who many numbers stand for; whoever was erased is left out. The audit log keeps it."""
    found = asked.revealing.users(run, given.numbers, who=who.holder, reason=given.reason)
    return answer(Page(rows=found))


@router.get("/users/{user}/status", responses=returns(UserStanding))
def get_standing(user: UserPath, asked: Asked, who: Who) -> Response:
    """How far one user is, by category: for a banner in your own product."""
    found = standing(asked.ledger, asked.sealer, asked.progress, user, only=who.runs)
    return answer(found, HTTPStatus.OK)
