"""Quarantine: which copies failed validation, their raw bytes, and mended ones handed back."""

import base64
import binascii
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from orchestrator.api.answers import answer, returns, returns_as, returns_page
from orchestrator.api.cursors import place_of
from orchestrator.api.gate import LARGEST_WITH_FILES, GatedRoute, Who
from orchestrator.api.given import CursorText, Given, Limit, Number, Reason, SaidWhy
from orchestrator.api.installation import Asked, Installation, named
from orchestrator.api.paging import page
from orchestrator.api.which import RunId
from orchestrator.errors import PlanInvalid


class LargeRoute(GatedRoute):
    """A route whose body carries files."""

    largest_body = LARGEST_WITH_FILES


router = APIRouter(prefix="/api/v1", route_class=GatedRoute, tags=["quarantine"])
large = APIRouter(prefix="/api/v1", route_class=LargeRoute, tags=["quarantine"])


class CopyLine(Struct, frozen=True, kw_only=True):
    """A copy in quarantine, without what is in it."""

    number: int
    user: str
    user_number: int
    category: str
    source: str
    reason: str
    means: str
    length: int
    sha256: str
    repairs_tried: list[str]
    released: bool


class ReasonLine(Struct, frozen=True, kw_only=True):
    """How many copies are in quarantine for one reason."""

    category: str
    source: str
    reason: str
    copies: int
    means: str


@router.get("/runs/{run}/quarantine", responses=returns_page(CopyLine))
def list_quarantine(
    run: RunId, asked: Asked, cursor: CursorText = None, limit: Limit = 50
) -> Response:
    """Copies that failed validation, in the order of their numbers."""
    which = f"quarantine {run}"
    after = place_of(asked.sealer, which, cursor) or 0
    rows = list(islice(asked.progress.quarantine(run, after=after), limit + 1))
    return page(
        asked.sealer,
        which,
        rows,
        limit,
        place=lambda row: row["number"],
        view=lambda row: _line(asked, row),
    )


def _line(asked: Installation, row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in CopyLine.__struct_fields__}
    return {**shown, "user": named(asked, row["user"])}


@router.get("/runs/{run}/quarantine/reasons", responses=returns_page(ReasonLine))
def list_reasons(run: RunId, asked: Asked) -> Response:
    """How many copies are in quarantine, by category, source and reason."""
    return answer({"rows": asked.progress.reasons(run), "next": None})


@router.post(
    "/runs/{run}/quarantine/{number}/raw",
    response_class=Response,
    responses=returns_as("application/octet-stream"),
)
def raw_copy(run: RunId, number: Number, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """The bytes of one copy as they were found. The audit log keeps who asked and why."""
    found = asked.revealing.copy(run, number, who=who.holder, reason=given.reason)
    return Response(
        found["data"],
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{number:09d}.bin"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
    )


@router.post(
    "/runs/{run}/quarantine/export",
    response_class=Response,
    responses=returns_as("application/jsonl"),
)
def export(run: RunId, given: SaidWhy, asked: Asked, who: Who) -> Response:
    """Every copy with its bytes (base64) and evidence, one JSON object a line."""
    copies = asked.revealing.copies(run, who=who.holder, reason=given.reason)

    def lines() -> Iterator[bytes]:
        for row in copies:
            yield msgspec.json.encode(row) + b"\n"

    return StreamingResponse(lines(), media_type="application/jsonl")


class Mended(Given):
    """One copy, mended."""

    number: Annotated[int, Field(ge=1, le=2**53)]
    data: Annotated[str, Field(max_length=LARGEST_WITH_FILES, description="base64")]


class Release(Given):
    """Mended copies that are handed back."""

    copies: Annotated[list[Mended], Field(min_length=1, max_length=10_000)]
    reason: Reason = ""


class Released(Struct, frozen=True, kw_only=True):
    """How many of them were still in quarantine."""

    copies: int


@large.post("/runs/{run}/quarantine/release", responses=returns(Released))
def release(run: RunId, given: Release, asked: Asked, who: Who) -> Response:
    """Hand back copies that were mended: their units are read again, with these before all else."""
    copies = {copy.number: _bytes(copy.data) for copy in given.copies}
    taken = asked.runs.release(run, copies, who=who.holder, reason=given.reason)
    return answer(Released(copies=taken))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PlanInvalid("the data of a copy is not base64") from None
